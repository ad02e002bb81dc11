"""A simulation in C that calls a network by a function pointer, in the process of Python.

The C compiler makes a library of simulation.c; it gets the address of `predict` and a handle of the network. The same steps, taken in
Python with the same kernels, have to give the same bits.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.embedding import c_functions, c_handle
from fastmlp.kernels import make_scratch, predict

SOURCE = Path(__file__).with_name("simulation.c")
H, STEPS = 0.01, 1000


def in_c(folder, state, start):
    """Compile the simulation into a folder, load it, run it."""
    library = Path(folder) / "simulation.so"
    # a contraction of a * b + c into one rounding would be faster, and give other bits than Python
    subprocess.run(["cc", "-O2", "-ffp-contract=off", "-shared", "-fPIC", SOURCE, "-o", library], check=True)
    simulate = ctypes.CDLL(str(library)).simulate
    simulate.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double]
    simulate.restype = None
    y, handle = start.copy(), c_handle(state)  # the handle has to live while C uses its address
    simulate(c_functions(state).predict.address, handle.address, y.ctypes.data, STEPS, H)
    return y


def in_python(state, start):
    """Take the same steps here."""
    y, force, scratch = start.copy(), np.empty(2), make_scratch(state)
    for _ in range(STEPS):
        predict(state, scratch, y, force)
        y[2:] += H * force
        y[:2] += H * y[2:]
    return y


def main():
    """Run both, compare the bits."""
    network = fastmlp.Network([4, 16, 2], activation="tanh", output="identity", dtype="float64", seed=3)
    state, _ = network.compiled()
    start = np.array([1.0, 0.0, 0.0, 0.5])
    with tempfile.TemporaryDirectory() as folder:
        c = in_c(folder, state, start)
    python = in_python(state, start)
    print(f"after {STEPS} steps: C {c}, Python {python}")
    assert np.array_equal(c, python)
    assert not np.allclose(c, start, atol=0.1)  # it has moved


if __name__ == "__main__":
    main()
