"""Which level of x86-64 code is made for, and that machine code keeps to it."""

import json
import os
import platform

import pytest

from fastmlp.compilation import levels
from tests.kernels.processes import result_of, run_python

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="levels are those of x86-64")

V3 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in levels.LEVELS["x86-64-v3"])}
needs_v3 = pytest.mark.skipif("x86-64-v3" not in levels.possible(), reason="runs code for x86-64-v3")
# For each set of variables, in a child that was forked before any code was made, what code is made for, or why it cannot be.
TARGETS = """if True:
    import json, os
    import numba
    for variables in ASKED:
        child = os.fork()
        if child == 0:
            os.environ.update(variables)
            numba.core.config.reload_config()
            from fastmlp.compilation import levels
            try:
                found = levels.target().key
            except ValueError as error:
                found = str(error)
            print(json.dumps(found), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
"""
# A level is asked for in a process that could have more; the library of Numba's that is linked in is its allocator of arrays.
MACHINE_CODE = """if True:
    import json
    import numpy as np
    from numba import types
    from fastmlp.compilation import decorators

    @decorators.entry
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


@pytest.fixture(scope="module", autouse=True)
def nothing_asked():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FASTMLP_LEVEL", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def targets():
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    asked = {
        "level": {"FASTMLP_LEVEL": "x86-64-v3"},
        "haswell": V3,
        "znver3": V3 | {"NUMBA_CPU_NAME": "znver3"},
        "nehalem": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"},
        "hidden": V3 | {"FASTMLP_LEVEL": "x86-64-v4"},
        "unknown": V3 | {"FASTMLP_LEVEL": "x86-64-v9"},
    }
    if "x86-64-v3" not in levels.possible():
        del asked["level"]
    said = run_python(TARGETS.replace("ASKED", repr(list(asked.values()))))
    return dict(zip(asked, map(json.loads, said.stdout.splitlines()), strict=True))


@needs_v3
def test_processors_of_one_level_share_their_code(targets):
    assert targets["level"][1:] == ["x86-64-v3"]  # the system stands before it, no processor
    assert targets["haswell"] == targets["znver3"] == targets["level"]


def test_processor_without_a_level_has_code_of_its_own(targets):
    assert targets["nehalem"][1:] == ["nehalem", "sse4.2"]


@pytest.mark.parametrize(("case", "level"), [("hidden", "x86-64-v4"), ("unknown", "x86-64-v9")])
def test_level_that_cannot_be_had_is_refused_in_one_line(targets, case, level):
    assert targets[case] == (
        "FASTMLP_LEVEL: expected a level that this processor has, as far as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES let it "
        f"(x86-64-v3, native), got {level!r}; unset it, or choose one"
    )


@needs_v3
def test_code_for_a_level_has_its_instructions_alone_in_what_is_linked_in_too(tmp_path):
    found, registers = result_of(MACHINE_CODE, FASTMLP_LEVEL="x86-64-v3", FASTMLP_CACHE_DIR=str(tmp_path))
    assert len(found) > 2
    assert [each for each in found if each.count('"target-cpu"="x86-64-v3"') != 1] == []
    assert "zmm" not in registers
    assert "ymm" in registers


# Whatever comes before the steps and rests on NumPy or on the C library: those choose code by the processor, too.
BITS = """
import hashlib, json
import numpy as np
import fastmlp

def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()

points = fastmlp.load_dataset("synthetic")
x = np.random.Generator(np.random.Philox(3)).standard_normal((700, 20)) * 3 + 1
y = x[:, :3].sum(axis=1)
found = {"data": points.fingerprint()}
for initializer in ("glorot_normal", "he_uniform", "orthogonal"):
    found[initializer] = digest(fastmlp.Network([50, 30, 10], initializer=initializer).parameters)
for dtype in ("float32", "float64"):
    network = fastmlp.Network([20, 30, 1], "tanh", "identity", dtype=dtype)
    fastmlp.train(network, x, y, epochs=3, learning_rate=0.01, schedule="cosine", warmup_epochs=1, normalize="standardize", validation=0.2)
    found[dtype] = digest(network.parameters, network.predict(x))
classes = (y > 0).astype(int) + (y > 2)
for optimizer in ("adam", "nadam"):
    network = fastmlp.Network([20, 30, 3])
    fastmlp.train(network, x, classes, epochs=3, optimizer=optimizer, schedule="exponential", validation=0.2)
    found[optimizer] = digest(network.parameters, network.predict_proba(x)), network.evaluate(x, classes, metrics="all")
print(json.dumps(found))
"""


@pytest.mark.long
@pytest.mark.skipif(not levels.possible(), reason="this processor has no level")
def test_bits_stay_where_numpy_and_its_products_take_code_for_a_lesser_processor_of_the_level():
    level = {"FASTMLP_LEVEL": "x86-64-v3"}
    lesser = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"}
    assert result_of(BITS, **level) == result_of(BITS, **level, **lesser)
