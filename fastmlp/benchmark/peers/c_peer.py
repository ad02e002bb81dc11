"""C: the textbook loops of textbook.c, compiled here for this machine. Variants: the compiler's flags; "dense" skips no zeros."""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from fastmlp.benchmark.problem import BYTE_SCALE, Problem, delta_of, layers_of
from fastmlp.benchmark.runner import Repeated, Runner, Training, Unavailable, called_often
from fastmlp.benchmark.workloads import LAYER

SOURCE = Path(__file__).with_name("textbook.c")
FLAGS = {"O3": ("-O3",), "fast-math": ("-O3", "-ffast-math"), "dense": ("-O3", "-DSKIP_ZEROS=0")}
# The textbook kernels of fastmlp use threads from this many multiply-adds a step on (engines/program.py), so the loops here do too.
PARALLEL_MULTIPLY_ADDS = 500_000


def build(problem: Problem, variant: str, threads: int) -> Runner:
    """Return compiled C at work on a problem."""
    workload = problem.workload
    if workload.task == LAYER:
        return _layer(problem, variant, threads)
    if (workload.activation, workload.output, workload.optimizer) != ("sigmoid", "softmax", "sgd"):
        raise Unavailable(f"textbook.c knows sigmoid, softmax and plain SGD only, not workload {workload.name}")
    library = _compile(FLAGS[variant], "uint8_t" if problem.x.dtype == np.uint8 else "float", threads)
    library.set_threads(threads)
    train_epoch = library.train_epoch
    train_epoch.restype = ctypes.c_double
    sizes = np.array(workload.sizes, np.int64)
    parameters, x, y = problem.parameters.copy(), np.ascontiguousarray(problem.x), np.ascontiguousarray(problem.y)
    scratch = np.empty(2 * workload.batch_size * int(sizes.sum()), np.float32)
    correct = ctypes.c_int64(0)
    scale = 1.0 / BYTE_SCALE if x.dtype == np.uint8 else 1.0
    parallel = threads > 1 and workload.batch_size * int((sizes[:-1] * sizes[1:]).sum()) >= PARALLEL_MULTIPLY_ADDS

    def epoch(order: np.ndarray) -> None:
        train_epoch(
            _pointer(parameters), _pointer(sizes), ctypes.c_int64(len(sizes) - 1), _pointer(x), _pointer(y), _pointer(order),
            ctypes.c_int64(len(order)), ctypes.c_int64(workload.batch_size), ctypes.c_float(scale), ctypes.c_float(workload.learning_rate),
            ctypes.c_int(parallel), _pointer(scratch), ctypes.byref(correct),
        )  # fmt: skip

    return Training(epoch, parameters.copy)


def _layer(problem: Problem, variant: str, threads: int) -> Repeated:
    flags, _, operation = variant.partition(" ")
    library = _compile(FLAGS[flags], "float", threads)
    library.set_threads(threads)
    x, delta, parameters = np.ascontiguousarray(problem.inputs), delta_of(problem), problem.parameters.copy()
    ((weight, bias),) = layers_of(parameters, problem.workload.sizes)
    sizes = tuple(ctypes.c_int64(size) for size in (len(x), *problem.workload.sizes))
    z, before = np.empty_like(delta), np.empty_like(x)
    weights, biases, inputs, deltas, parallel = _pointer(weight), _pointer(bias), _pointer(x), _pointer(delta), ctypes.c_int(threads > 1)
    function, arguments, answer = {
        "forward": (library.layer_forward, (inputs, weights, biases, *sizes, parallel, _pointer(z)), z.ravel),
        "backward": (library.layer_backward, (deltas, weights, *sizes, parallel, _pointer(before)), before.ravel),
        "update": (
            library.layer_update,
            (weights, biases, inputs, deltas, *sizes, ctypes.c_float(problem.workload.learning_rate), parallel),
            lambda: parameters - problem.parameters,
        ),
    }[operation]
    kept = (x, delta, weight, bias, z, before)  # C has only their addresses

    def call() -> int:
        function(*arguments)
        return len(kept)

    return Repeated(called_often(call), answer)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@functools.cache  # a ladder asks for the same loops a dozen times
def _compile(flags: tuple[str, ...], input_type: str, threads: int) -> ctypes.CDLL:
    """Compile textbook.c and load it. On one thread without OpenMP: not even the test for a parallel region is left."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Unavailable("the loops in C need gcc")
    openmp = "-fopenmp" if threads > 1 else "-fopenmp-simd"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "textbook.so"
        part = library.with_suffix(".o")
        # linked without the flags: with -ffast-math, gcc adds code that takes subnormal numbers from the whole process
        compile_part = [compiler, *flags, "-march=native", openmp, f"-DINPUT={input_type}", "-fPIC", "-c", str(SOURCE), "-o", str(part)]
        link = [compiler, openmp, "-shared", str(part), "-o", str(library), "-lm"]
        for line in (compile_part, link):
            done = subprocess.run(line, capture_output=True, text=True)
            if done.returncode != 0:
                raise Unavailable(f"gcc failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")
        return ctypes.CDLL(str(library))  # stays mapped after its file is gone
