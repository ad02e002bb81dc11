"""Hamiltonian Monte Carlo over the weights of a network, one chain per turn of a prange.

Each chain has parameters of its own; the network's table, normalisation and loss are shared. Whether the chains have come to the same
distribution is read from the predictions (split R-hat, Gelman et al. 2013, section 11.4): the weights themselves cannot agree, because
hidden units may change places without a change in the function.
"""

import math

import numba
import numpy as np

import fastmlp
from fastmlp.kernels import fill_normal, gradient, make_scratch, predict_batch, stream_key, uniform, with_parameters

NOISE = 0.1  # standard deviation of the observations
PRIOR = 1.0  # standard deviation of each weight before anything was observed
CHAINS, WARM_UP, DRAWS, LEAPS, STEP = 4, 200, 500, 60, 0.012


@numba.njit
def energy(state, scratch, x, y, slope):
    """Return -log posterior, up to a constant; slope (P,) = its derivative. The network's loss is the mean squared error."""
    scale = 0.5 * x.shape[0] / NOISE**2
    total = scale * gradient(state, scratch, x, y, slope)
    for p in range(slope.shape[0]):
        weight = state.parameters[p]
        total += 0.5 * weight * weight / PRIOR**2
        slope[p] = scale * slope[p] + weight / PRIOR**2
    return total


@numba.njit
def draw(state, scratch, x, y, key, momentum, slope, old):
    """Take one step of Hamiltonian Monte Carlo with the state's parameters; return whether it was accepted. Neal 2011, figure 2."""
    place = state.parameters
    fill_normal(key, 1.0, momentum)
    old[:] = place
    before = energy(state, scratch, x, y, slope) + 0.5 * (momentum**2).sum()
    momentum -= 0.5 * STEP * slope
    for leap in range(LEAPS):
        place += STEP * momentum
        after = energy(state, scratch, x, y, slope)
        momentum -= (STEP if leap + 1 < LEAPS else 0.5 * STEP) * slope
    after += 0.5 * (momentum**2).sum()
    accepted = math.log(uniform(key, 1_000_000)) < before - after
    if not accepted:
        place[:] = old
    return accepted


@numba.njit(parallel=True)
def sample(state, starts, x, y, grid, predictions, seed):
    """Run one chain per row of starts; predictions (chains, draws, points) = what each draw predicts. Return the rate of acceptance."""
    accepted = np.zeros(starts.shape[0])
    for chain in numba.prange(starts.shape[0]):
        mine = with_parameters(state, starts[chain])
        scratch = make_scratch(state)
        momentum, slope, old = np.empty_like(starts[chain]), np.empty_like(starts[chain]), np.empty_like(starts[chain])
        out = np.empty((grid.shape[0], 1))
        for number in range(WARM_UP + DRAWS):
            accepted[chain] += draw(mine, scratch, x, y, stream_key(seed, chain, number), momentum, slope, old)
            if number >= WARM_UP:
                predict_batch(mine, scratch, grid, out)
                predictions[chain, number - WARM_UP] = out[:, 0]
    return accepted.sum() / (starts.shape[0] * (WARM_UP + DRAWS))


def split_r_hat(draws):
    """Return R-hat of draws (chains, n) by halves of chains: 1 where they all tell the same."""
    halves = draws[:, : draws.shape[1] // 2 * 2].reshape(2 * len(draws), -1)
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    between = n * halves.mean(axis=1).var(ddof=1)
    return math.sqrt(((n - 1) / n * within + between / n) / within)


def main():
    """Sample the posterior of a curve, and look whether the chains agree."""
    network = fastmlp.Network([1, 3, 1], activation="tanh", output="identity", dtype="float64")
    state, _ = network.compiled()
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2.0, 2.0, 40))[:, None]
    y = np.sin(x) + NOISE * rng.standard_normal(x.shape)
    grid = np.linspace(-2.0, 2.0, 15)[:, None]
    starts = 0.5 * rng.standard_normal((CHAINS, network.parameters.size))
    predictions = np.empty((CHAINS, DRAWS, len(grid)))
    rate = sample(state, starts, x, y, grid, predictions, 0)

    r_hat = max(split_r_hat(predictions[:, :, point]) for point in range(len(grid)))
    mean = predictions.mean(axis=(0, 1))
    print(f"{CHAINS} chains of {DRAWS} draws, {rate:.0%} accepted, largest R-hat of {len(grid)} predictions {r_hat:.3f}")
    assert r_hat < 1.05
    assert 0.6 < rate < 1.0
    assert np.sqrt(np.mean((mean - np.sin(grid[:, 0])) ** 2)) < NOISE  # nearer to the curve than an observation is


if __name__ == "__main__":
    main()
