"""Function pointers for C: from a C program, ctypes, cffi, Cython and SciPy, to the bit what Python gets."""

import ctypes
import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from fastmlp.embedding import c_functions, c_handle
from fastmlp.errors import DataError
from tests.embedding.networks import OUTPUTS, problem
from tests.kernels.processes import run_python

# Those of float32 are compiled for these tests alone, for many seconds.
DTYPES = ["float64", pytest.param("float32", marks=pytest.mark.long)]
PROGRAM = r"""
HEADER
#include <stddef.h>

/* Everything that can be done with a network, in C. Returns the sum of all losses. */
double use(void *network, fastmlp_predict predict, fastmlp_predict_batch predict_batch, fastmlp_loss loss, fastmlp_gradient gradient,
           fastmlp_train_step train_step, fastmlp_input_gradient input_gradient,
           const REAL *x, const REAL *target, int64_t rows, REAL *one, REAL *all, REAL *slope, REAL *dx)
{
    double sum = 0;
    predict(network, x, one);
    predict_batch(network, x, rows, all);
    sum += loss(network, x, target, rows);
    sum += gradient(network, x, target, rows, slope);
    sum += input_gradient(network, x, target, rows, dx);
    for (int step = 0; step < 5; step++)
        sum += train_step(network, x, target, rows, 0.01);
    return sum;
}
"""


def build(source: Path, *flags: str) -> Path:
    library = source.with_suffix(".so")
    command = ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", *flags, str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


@pytest.fixture(scope="module", params=DTYPES)
def program(request, tmp_path_factory):
    """The C program above, compiled with the header that fastmlp gives, for one number type."""
    c = c_functions(problem([4, 9, 3], dtype=request.param).network.compiled()[0])
    text = PROGRAM.replace("HEADER", c.header).replace("REAL", {"float64": "double", "float32": "float"}[request.param])
    path = tmp_path_factory.mktemp("c") / "program.c"
    path.write_text(text)
    use = ctypes.CDLL(str(build(path, "-Wextra"))).use
    use.restype = ctypes.c_double
    use.argtypes = [ctypes.c_void_p] * 9 + [ctypes.c_int64] + [ctypes.c_void_p] * 4
    return request.param, use


def full_of_nan(p, dtype):
    """Return outputs: of one row, of all rows, the gradient, the gradient of the inputs."""
    network, rows = p.network, len(p.x)
    shapes = ((network.n_outputs,), (rows, network.n_outputs), network.parameters.shape, p.x.shape)
    return [np.full(shape, np.nan, dtype) for shape in shapes]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_c_program_gets_the_bits_that_python_gets(program, output, optimizer):
    dtype, use = program
    p = problem([4, 9, 3], output, rows=40, dtype=dtype)
    x, target = p.x.astype(dtype), p.target
    begin, functions = p.network.compiled(optimizer)
    in_c, in_python = functions.copy_state(begin), functions.copy_state(begin)

    c, handle, from_c = c_functions(in_c), c_handle(in_c), full_of_nan(p, dtype)
    handle.scratch[:] = np.nan
    pointers = [getattr(c, name).address for name in ("predict", "predict_batch", "loss", "gradient", "train_step", "input_gradient")]
    sum_in_c = use(handle.address, *pointers, x.ctypes.data, target.ctypes.data, 40, *(out.ctypes.data for out in from_c))

    scratch, from_python = functions.make_scratch(in_python), full_of_nan(p, dtype)
    one, every, slope, dx = from_python
    functions.predict(in_python, scratch, x[0], one)
    functions.predict_batch(in_python, scratch, x, every)
    losses = [
        functions.loss(in_python, scratch, x, target),
        functions.gradient(in_python, scratch, x, target, slope),
        functions.input_gradient(in_python, scratch, x, target, dx),
        *(functions.train_step(in_python, scratch, x, target, 0.01) for _ in range(5)),
    ]
    for found, expected in zip(from_c, from_python, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sum_in_c == sum(losses)
    np.testing.assert_array_equal(in_c.parameters, in_python.parameters)
    assert in_c.steps[0] == in_python.steps[0] == 5


def pointer(array):
    return array.ctypes.data_as(ctypes.POINTER(np.ctypeslib.as_ctypes_type(array.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_ctypes_calls_a_function(dtype):
    p = problem([4, 9, 3], dtype=dtype)
    state, _ = p.network.compiled()
    c, handle = c_functions(state), c_handle(state)
    x, out = p.x.astype(dtype), np.full((5, 3), np.nan, dtype)
    c.predict_batch.ctypes(handle.ctypes, pointer(x), 5, pointer(out))
    np.testing.assert_allclose(out, p.outputs(), atol=1e-6)


def test_ctypes_refuses_numbers_of_another_type():
    state, _ = problem([4, 9, 3]).network.compiled()
    with pytest.raises(ctypes.ArgumentError):
        c_functions(state).predict.ctypes(c_handle(state).ctypes, pointer(np.zeros(4, np.float32)), pointer(np.zeros(3, np.float32)))


def test_two_handles_of_one_network_share_its_parameters_and_not_their_scratch():
    state, _ = problem([4, 9, 3]).network.compiled()
    first, second = c_handle(state), c_handle(state)
    assert not np.shares_memory(first.scratch, second.scratch)
    assert np.shares_memory(first.state.parameters, second.state.parameters)
    assert first.address != second.address


@pytest.mark.parametrize("wrong", [{"target": [3.0]}, {"target": [-1.0]}, {"target": [0.5]}, {"rows": 0}, {"rate": -0.1}], ids=str)
def test_rows_that_do_not_fit_give_nan_and_change_nothing(wrong):
    p = problem([4, 9, 3], rows=1)
    state, _ = p.network.compiled()
    before, c, handle = state.parameters.copy(), c_functions(state), c_handle(state)
    target = np.array(wrong.get("target", [0.0]))
    assert np.isnan(c.train_step.ctypes(handle.ctypes, pointer(p.x), pointer(target), wrong.get("rows", 1), wrong.get("rate", 0.1)))
    np.testing.assert_array_equal(state.parameters, before)


def test_handle_of_parameters_that_are_not_the_networks_is_refused():
    state, _ = problem([4, 9, 3]).network.compiled()
    for wrong in (state.parameters[1:], state.parameters.astype(np.float32), np.repeat(state.parameters, 2)[::2]):
        with pytest.raises(DataError, match="parameters: expected a contiguous vector of 75 numbers, float64"):
            c_handle(state._replace(parameters=wrong))


@pytest.mark.long  # that of float64 stands in the document
def test_header_declares_every_function_for_the_number_type():
    state, _ = problem([4, 9, 3], dtype="float32").network.compiled()
    header = c_functions(state).header
    assert "typedef void (*fastmlp_predict)(void *network, const float *x, float *out);" in header
    assert "typedef double (*fastmlp_value)(int count, double *x, void *network);" in header
    assert header.count("typedef") == 7


def test_c_functions_without_a_compiler_are_refused_in_one_line():
    code = """
import fastmlp
from fastmlp.embedding import c_functions
try:
    c_functions(fastmlp.Network([2, 3, 2]).compiled()[0])
except fastmlp.ConfigError as error:
    print(error)
"""
    assert run_python(code, NUMBA_DISABLE_JIT="1").stdout == "C functions: expected a compiler, got NUMBA_DISABLE_JIT=1; unset it\n"


# --- other people's ways to call C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_scipy_integrates_a_network_through_a_low_level_callable(dtype):
    from scipy import LowLevelCallable, integrate

    p = problem([2, 9, 1], "identity", dtype=dtype)
    state, _ = p.network.compiled()
    handle = c_handle(state)
    integrand = LowLevelCallable(c_functions(state).value.ctypes, handle.ctypes)
    found, _ = integrate.nquad(integrand, [(-1.0, 2.0), (0.0, 1.5)], opts={"epsabs": 1e-6, "epsrel": 1e-6})

    # Gauss and Legendre's rule over the oracle
    nodes, weights = np.polynomial.legendre.leggauss(60)
    grid = np.array([(0.5 + 1.5 * a, 0.75 + 0.75 * b) for a in nodes for b in nodes])
    expected = 1.5 * 0.75 * (np.outer(weights, weights).ravel() * p.outputs(grid)[:, 0]).sum()
    assert found == pytest.approx(expected, abs=1e-5)


def test_value_of_another_number_of_inputs_is_nan():
    state, _ = problem([2, 9, 1], "identity").network.compiled()
    handle, x = c_handle(state), np.zeros(3)
    assert np.isnan(c_functions(state).value.ctypes(3, pointer(x), handle.ctypes))


def test_cffi_calls_a_function():
    import cffi

    p = problem([4, 9, 3])
    state, _ = p.network.compiled()
    c, handle = c_functions(state), c_handle(state)
    ffi = cffi.FFI()
    ffi.cdef("\n".join(function.declaration for function in c))
    predict = ffi.cast("fastmlp_predict", c.predict.address)
    out = np.full(3, np.nan)
    predict(
        ffi.cast("void *", handle.address), ffi.from_buffer("double[]", p.x[0]), ffi.from_buffer("double[]", out, require_writable=True)
    )
    np.testing.assert_allclose(out, p.outputs()[0], atol=1e-12)


CYTHON = """
# cython: language_level=3
ctypedef void (*fastmlp_predict)(void *network, const double *x, double *out) noexcept nogil

def outputs(size_t predict, size_t network, const double[::1] x, double[::1] out):
    with nogil:
        (<fastmlp_predict> predict)(<void *> network, &x[0], &out[0])
"""


@pytest.mark.long  # as C does above, by the same address
def test_cython_calls_a_function(tmp_path, monkeypatch):
    headers = Path(sysconfig.get_path("include"))
    if importlib.util.find_spec("Cython") is None or not (headers / "Python.h").exists():
        pytest.skip("needs Cython and the headers of Python")
    (tmp_path / "caller.pyx").write_text(CYTHON)
    subprocess.run([sys.executable, "-m", "cython", "caller.pyx"], cwd=tmp_path, check=True)
    library = build(tmp_path / "caller.c", f"-I{headers}", "-Wno-error")
    monkeypatch.syspath_prepend(library.parent)
    import caller

    p = problem([4, 9, 3])
    state, _ = p.network.compiled()
    handle, out = c_handle(state), np.full(3, np.nan)
    caller.outputs(c_functions(state).predict.address, handle.address, p.x[0], out)
    np.testing.assert_allclose(out, p.outputs()[0], atol=1e-12)
