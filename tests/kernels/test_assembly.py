"""What the compiler makes of the kernels: float32 stays float32, and loops become vector instructions. x86-64 only."""

import functools
import platform
import re

import llvmlite.binding
import numba
import pytest
from numba import types

from fastmlp.compilation import decorators, forms, stamps
from fastmlp.kernels import textbook
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.updates import UPDATES
from tests.kernels.comparison import activation, activation_backward

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 assembly")

number = types.float32
flat, table = number[::1], number[:, ::1]
rows = types.Array(types.uint8, 2, "C", readonly=True)

KERNELS = {
    "gather": (textbook.gather, (rows, types.int64[::1], flat, flat, table)),
    "dense_forward": (textbook.dense_forward, (table, table, flat, table)),
    "softmax": (textbook.softmax, (table, table)),
    "dense_backward_input": (textbook.dense_backward_input, (table, table, table)),
    "dense_backward_parameters": (textbook.dense_backward_parameters, (table, table, table, flat)),
    "dense_sgd_update": (textbook.dense_sgd_update, (table, flat, table, table, number)),
    "sgd_update": (textbook.sgd_update, (flat, flat, number)),
}
KERNELS |= {f"activate_{name}": (activation(name), (flat, flat)) for name in ACTIVATIONS}
KERNELS |= {f"activate_backward_{name}": (activation_backward(name), (flat, flat, flat)) for name in ACTIVATIONS}
RULES = {f"update_{name}": rule.formula for name, rule in UPDATES.items() if rule.formula is not None}
for each in RULES:
    KERNELS[each] = (forms.specialise(textbook.update_with_state, each, UPDATE=decorators.formula(RULES[each])), (flat,) * 5)
KERNELS["average_weights"] = (textbook.average_weights, (flat, flat, flat))

TO_DOUBLE = r"\bv?cvt(?:ss2sd|ps2pd)\b"
PACKED_FMA = r"\bvfn?m(?:add|sub)\w*ps\b"

MULTIPLY_ADD = ["dense_forward", "dense_backward_input", "dense_backward_parameters", "dense_sgd_update", "sgd_update"]
BY_POLYNOMIALS = ["sigmoid", "tanh", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "softplus"]
POLYNOMIALS = [f"activate_{name}" for name in BY_POLYNOMIALS]
DERIVATIVES = [f"activate_backward_{name}" for name in ("gelu", "gelu_tanh", "silu", "mish", "softplus")]
has_fma = pytest.mark.skipif(
    bool(numba.config.CPU_NAME) or not llvmlite.binding.get_host_cpu_features().get("fma"), reason="needs code for a CPU with FMA"
)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    """Return a function that gives the assembly of a kernel, compiled afresh, once: that of kept code cannot be read."""

    @functools.cache
    def compiled(name):
        kernel, signature = KERNELS[name]
        fresh = forms.specialise(kernel, "assembly")
        fresh.compile(signature)
        return fresh.inspect_asm(signature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTMLP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        stamps.code_folder.cache_clear()
        yield compiled
    stamps.code_folder.cache_clear()


READ = [*MULTIPLY_ADD, *POLYNOMIALS, *DERIVATIVES, *RULES, "average_weights"]  # what is read for its instructions, too
# Each is compiled for nobody else: some of each kind, with the longest formulas, stand for the others.
SOME = [*MULTIPLY_ADD, "activate_sigmoid", "activate_gelu", "activate_backward_mish", "update_adam", "update_lion"]
OTHERS = [name for name in READ if name not in SOME]
REST = [name for name in KERNELS if name not in READ]
some_and_others = pytest.mark.parametrize("names", [SOME, pytest.param(OTHERS, marks=pytest.mark.long)], ids=len)


@pytest.mark.parametrize("names", [SOME, *(pytest.param(names, marks=pytest.mark.long) for names in (OTHERS, REST))], ids=len)
def test_float32_kernels_never_convert_to_float64(assembly, names):
    assert [name for name in names if "ret" not in assembly(name) or re.search(TO_DOUBLE, assembly(name))] == []


@has_fma
@some_and_others
def test_multiply_and_add_are_one_vector_instruction(assembly, names):
    assert [name for name in names if not re.search(PACKED_FMA, assembly(name))] == []


@some_and_others
def test_activations_call_no_library_for_each_number(assembly, names):
    formulas = [name for name in names if name in POLYNOMIALS + DERIVATIVES]
    assert formulas
    assert [name for name in formulas if re.search(r"call.*(?:exp|tanh|log|erf)", assembly(name))] == []


@has_fma
def test_the_searches_find_what_they_look_for():
    @numba.njit(fastmath=True)
    def creeping(x, out):
        for i in range(x.size):
            out[i] = x[i] * 1.1 + 0.3  # a bare literal is a float64

    creeping.compile((flat, flat))
    text = creeping.inspect_asm((flat, flat))
    assert re.findall(TO_DOUBLE, text)
    assert re.findall(PACKED_FMA, text) == []
