"""A network as the right-hand side of an ordinary differential equation, solved in compiled code.

A network learns the field of a pendulum with friction from samples, dy/dt = net(y). A Runge-Kutta solver, compiled together with the
network, then follows it; SciPy, calling the same weights through NumPy, has to come to the same place.
"""

import numba
import numpy as np
from scipy.integrate import solve_ivp

import fastmlp
from fastmlp.kernels import make_scratch, predict

FRICTION = 0.2
END, STEPS = 10.0, 4000

network = fastmlp.Network([2, 32, 2], activation="tanh", output="identity", dtype="float64", seed=1)


@numba.njit
def solve(state, start, end, steps):
    """Return y(end) of dy/dt = net(y), y(0) = start, by the classical Runge-Kutta method of fourth order."""
    scratch = make_scratch(state)
    h = end / steps
    y = start.copy()
    k1, k2, k3, k4 = np.empty_like(y), np.empty_like(y), np.empty_like(y), np.empty_like(y)
    for _ in range(steps):
        predict(state, scratch, y, k1)
        predict(state, scratch, y + 0.5 * h * k1, k2)
        predict(state, scratch, y + 0.5 * h * k2, k3)
        predict(state, scratch, y + h * k3, k4)
        y += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y


def field(time, y):
    """Return net(y) by NumPy alone: targets were standardised, so the outputs count standard deviations from their mean."""
    first, second = network.weights
    outputs = np.tanh(y @ first + network.biases[0]) @ second + network.biases[1]
    return network.target_scaling.mean + network.target_scaling.std * outputs


def main():
    """Learn the pendulum, follow it, compare."""
    sample = np.random.default_rng(0).uniform([-2.0, -2.5], [2.0, 2.5], (4000, 2))
    angle, speed = sample.T
    slope = np.column_stack([speed, -np.sin(angle) - FRICTION * speed])
    fastmlp.train(network, sample, slope, epochs=60, batch_size=50, learning_rate=0.01, optimizer="adam", normalize="none")
    state, _ = network.compiled()

    start = np.array([1.5, 0.0])
    ours = solve(state, start, END, STEPS)
    scipy = solve_ivp(field, (0.0, END), start, rtol=1e-10, atol=1e-12).y[:, -1]
    true = solve_ivp(lambda _, y: [y[1], -np.sin(y[0]) - FRICTION * y[1]], (0.0, END), start, rtol=1e-10, atol=1e-12).y[:, -1]
    print(f"at t = {END:g}: compiled {ours}, SciPy {scipy}, the pendulum itself {true}")
    assert np.abs(ours - scipy).max() < 1e-6
    assert np.abs(ours - true).max() < 0.1  # and the network has learned a pendulum


if __name__ == "__main__":
    main()
