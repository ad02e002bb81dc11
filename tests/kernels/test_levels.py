"""Which level of x86-64 code is made for, and that machine code keeps to it."""

import platform

import pytest

from fastmlp.kernels import levels
from tests.kernels.processes import result_of, run_python

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels are those of x86-64")

V3 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in levels.LEVELS["x86-64-v3"])}
needs_v3 = pytest.mark.skipif("x86-64-v3" not in levels.possible(), reason="runs code for x86-64-v3")
TARGET = "import json; from fastmlp.kernels.levels import target; print(json.dumps(target().key))"

# A level is asked for in a process that could have more; the library of Numba's that is linked in is its allocator of arrays.
MACHINE_CODE = """if True:
    import json
    import numpy as np
    from numba import types
    from fastmlp.kernels import compiling

    @compiling.entry
    def twice(x):
        out = np.zeros(x.size, x.dtype)
        for i in range(x.size):
            out[i] = x[i] + x[i]
        return out

    signature = (types.float32[::1],)
    twice.compile(signature)
    definitions = [function for function in twice.overloads[signature].library._final_module.functions if not function.is_declaration]
    attributes = [b" ".join(function.attributes).decode() for function in definitions]
    assembly = twice.inspect_asm(signature)
    print(json.dumps([attributes, [register for register in ("xmm", "ymm", "zmm") if register in assembly]]))
"""


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    for name in ("FASTMLP_LEVEL", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT"):
        monkeypatch.delenv(name, raising=False)


@needs_v3
def test_processors_of_one_level_share_their_code():
    asked = result_of(TARGET, FASTMLP_LEVEL="x86-64-v3")
    assert asked[1:] == ["x86-64-v3"]  # the system stands before it, no processor
    assert result_of(TARGET, **V3) == asked
    assert result_of(TARGET, **V3 | {"NUMBA_CPU_NAME": "znver3"}) == asked


def test_processor_without_a_level_has_code_of_its_own():
    assert result_of(TARGET, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2")[1:] == ["nehalem", "sse4.2"]


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v9"], ids=["hidden", "unknown"])
def test_level_that_cannot_be_had_is_refused_in_one_line(level):
    done = run_python(f"try:\n    {TARGET}\nexcept ValueError as error:\n    print(error)", **V3 | {"FASTMLP_LEVEL": level})
    assert done.stdout == (
        "FASTMLP_LEVEL: expected a level that this processor has, as far as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES let it "
        f"(x86-64-v3, native), got {level!r}; unset it, or choose one\n"
    )


@needs_v3
def test_code_for_a_level_has_its_instructions_alone_in_what_is_linked_in_too(tmp_path):
    found, registers = result_of(MACHINE_CODE, FASTMLP_LEVEL="x86-64-v3", FASTMLP_CACHE_DIR=str(tmp_path))
    assert len(found) > 2
    assert [each for each in found if each.count('"target-cpu"="x86-64-v3"') != 1] == []
    assert "zmm" not in registers
    assert "ymm" in registers
