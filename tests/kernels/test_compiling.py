"""Compiling and keeping machine code: what is compiled when, what is found again, and what a bad cache costs."""

import hashlib
import shutil
import tomllib
import warnings

import numba
import numpy as np
import pytest

from fastmlp import kernels, machine, prebuilt
from fastmlp.compilation import code_cache, decorators, forms, levels, machine_code, options, shipped, stamps, supported, waiting
from fastmlp.errors import DataError, NotEnoughMemory
from fastmlp.kernels import textbook, textbook_step
from tests.kernels.processes import ROOT, result_of

CONSTANT = 1


@decorators.kernel
def constant():
    return CONSTANT


@decorators.kernel
def calls_constant():
    return constant() + 1


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache folder that this process uses for the time of a test."""
    folder = tmp_path / "cache"
    use_cache(folder, monkeypatch)
    yield folder
    stamps.code_folder.cache_clear()


def use_cache(folder, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(folder))
    monkeypatch.setattr(machine_code, "_warned", [])
    stamps.code_folder.cache_clear()


def fresh_kernel():
    """Return a kernel with one callee that this process has not compiled or loaded yet."""

    @decorators.kernel
    def multiplied(value):
        return 2 * value

    @decorators.kernel
    def plus_one(value):
        return multiplied(value) + 1

    return plus_one


def names_compiled(action):
    """Return the names of the kernels that an action waits for the compiler to finish."""
    names = []
    with waiting.watch(lambda name, seconds: names.append(name.rpartition(".")[2]) if seconds is not None else None):
        action()
    return names


def warnings_of(action):
    """Return what an action gives, and the warnings that it makes, all of the test's own file: where the caller called, not fastmlp's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = action()
    assert {warning.filename for warning in caught} <= {action.__code__.co_filename}
    return result, [str(warning.message) for warning in caught]


# --- watching ------------------------------------------------------------------------------------------------------------


def test_watch_tells_when_a_kernel_starts_to_compile_and_when_it_is_done(cache):
    events = []
    with waiting.watch(lambda name, seconds: events.append((name.rpartition(".")[2], seconds))):
        fresh_kernel()(3)
    assert [(name, seconds is None) for name, seconds in events] == [
        ("plus_one", True),
        ("multiplied", True),
        ("multiplied", False),
        ("plus_one", False),
    ]
    assert all(seconds > 0 for _, seconds in events if seconds is not None)


def test_watch_ends_with_its_block(cache):
    events = []
    with waiting.watch(lambda name, seconds: events.append(name)):
        pass
    fresh_kernel()(3)
    assert events == []


def test_time_of_a_kernel_inside_another_counts_once(cache):
    events = {}
    before = waiting.compile_seconds()
    with waiting.watch(lambda name, seconds: events.update({name.rpartition(".")[2]: seconds})):
        fresh_kernel()(3)
    assert waiting.compile_seconds() - before == pytest.approx(events["plus_one"])
    assert events["plus_one"] > events["multiplied"]


def test_time_counts_on_after_a_kernel_that_could_not_be_compiled(cache):
    with pytest.raises(DataError):
        fresh_kernel()("text")
    before = waiting.compile_seconds()
    fresh_kernel()(3)
    assert waiting.compile_seconds() > before


# --- forms ---------------------------------------------------------------------------------------------------------------


def test_kernel_without_a_loop_over_threads_is_its_own_parallel_form():
    assert forms.parallel(textbook.count_correct) is textbook.count_correct


def test_parallel_form_is_made_once():
    assert forms.parallel(textbook.dense_forward) is forms.parallel(textbook.dense_forward)


def test_parallel_form_reaches_the_kernels_that_a_kernel_calls():
    called = forms.parallel(textbook_step.outputs_of_rows).py_func.__globals__
    assert called["gather"] is forms.parallel(textbook.gather)
    assert called["forward"] is forms.parallel(textbook_step.forward)


def test_constant_is_replaced_in_the_kernels_that_a_kernel_calls(cache):
    changed = forms.with_constant(calls_constant, "CONSTANT", 5)
    assert [calls_constant(), changed(), forms.pure(changed)()] == [2, 6, 6]


def test_constant_that_a_kernel_does_not_name_changes_nothing():
    assert forms.with_constant(textbook.softmax, "SKIP_ZEROS", False) is textbook.softmax


def test_literal_of_a_formula_takes_the_type_of_its_argument(cache):
    def third(z):
        return z / 3 + 0.1

    formula = decorators.formula(third)
    formula.compile((numba.float32,))
    formula.compile((numba.float64,))
    assert [formula.overloads[key].signature.return_type for key in formula.overloads] == [numba.float32, numba.float64]


def test_formula_and_its_plain_function_agree(cache):
    def cubic(z):
        return 1 - 2 * z * z * z

    calls_it = forms.specialise(decorators.kernel(_calls_second), "cubic", _second_kernel=decorators.formula(cubic))
    assert calls_it(0.3) == pytest.approx(cubic(0.3), rel=1e-15)


# --- what is kept --------------------------------------------------------------------------------------------------------


def test_kept_code_is_found_by_the_next_process(cache):
    assert names_compiled(lambda: fresh_kernel()(3)) == ["multiplied", "plus_one"]
    assert names_compiled(lambda: fresh_kernel()(3)) == []


def test_each_type_of_argument_is_kept_apart(cache):
    fresh_kernel()(3)
    assert names_compiled(lambda: fresh_kernel()(3.5)) == ["multiplied", "plus_one"]
    assert fresh_kernel()(3.5) == 8
    assert fresh_kernel()(3) == 7


def test_nothing_is_left_in_the_cache_but_code(cache):
    fresh_kernel()(3)
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".code"}


@pytest.mark.parametrize("flag", ["OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX"])
def test_code_made_with_another_option_is_kept_in_another_folder(flag, cache, monkeypatch):
    before = stamps.code_folder()
    monkeypatch.setattr(numba.config, flag, "other")
    stamps.code_folder.cache_clear()
    assert stamps.code_folder() != before
    assert stamps.code_folder().parent == before.parent


# --- what a bad cache costs ----------------------------------------------------------------------------------------------

DAMAGE = {
    "emptied": lambda content: b"",
    "cut in the checksum": lambda content: content[:16],
    "cut behind the checksum": lambda content: content[:32],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut by one byte": lambda content: content[:-1],
    "longer by one byte": lambda content: content + b"\0",
    "garbage": lambda content: b"\x80garbage" * 100,
    "one bit flipped": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "checksum zeroed": lambda content: b"\0" * 32 + content[32:],
}


def code_files(folder):
    return sorted(folder.rglob("*.code"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_code_is_made_anew(damage, cache):
    fresh_kernel()(3)
    before = [path.read_bytes() for path in code_files(cache)]
    for path, content in zip(code_files(cache), before, strict=True):
        path.write_bytes(DAMAGE[damage](content))
    result, _ = warnings_of(lambda: fresh_kernel()(3))
    assert result == 7
    assert names_compiled(lambda: fresh_kernel()(3)) == []


def test_damaged_code_costs_one_warning_however_many_files_are_damaged(cache):
    fresh_kernel()(3)
    for path in code_files(cache):
        path.write_bytes(b"garbage")
    _, messages = warnings_of(lambda: fresh_kernel()(3))
    assert len(messages) == 1
    assert "damaged" in messages[0]


def test_file_that_cannot_be_read_costs_one_warning(cache):
    fresh_kernel()(3)
    for path in code_files(cache):
        path.unlink()
        path.mkdir()  # opening it fails, for root, too
    result, messages = warnings_of(lambda: fresh_kernel()(3))
    assert result == 7
    assert len(messages) == 1


def test_folder_that_cannot_be_written_costs_one_warning_that_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    use_cache(tmp_path / "file" / "cache", monkeypatch)  # below a file no folder can be made, not even by root
    try:
        result, messages = warnings_of(lambda: fresh_kernel()(3))
    finally:
        stamps.code_folder.cache_clear()
    assert result == 7
    assert len(messages) == 1
    assert "FASTMLP_CACHE_DIR" in messages[0]


def test_folder_that_others_may_write_to_costs_one_warning_that_says_what_to_do(cache):
    fresh_kernel()(3)
    stamps.code_folder().chmod(0o777)
    result, messages = warnings_of(lambda: fresh_kernel()(3))
    assert result == 7
    assert len(messages) == 1
    assert "chmod go-w" in messages[0]
    assert "FASTMLP_CACHE_DIR" in messages[0]


def test_renamed_internal_of_numba_costs_one_warning_that_names_the_versions(cache, monkeypatch):
    monkeypatch.delattr(numba.core.compiler.CompileResult, "_reduce")
    result, messages = warnings_of(lambda: fresh_kernel()(3))
    assert result == 7
    assert len(messages) == 1
    assert supported.NUMBA in messages[0]
    assert "FASTMLP_CACHE_DIR" not in messages[0]


def test_renamed_internal_of_numba_that_kernels_need_is_an_error_that_names_the_versions():
    code = """
import json, numba.core.compiler_machinery, warnings
del numba.core.compiler_machinery.register_pass
import fastmlp
try:
    fastmlp.Network([2, 2]).predict([[0.0, 1.0]])
except fastmlp.FastmlpError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    kind, message = result_of(code)
    assert kind == "MissingExtra"
    assert supported.NUMBA in message


@pytest.mark.parametrize(("version", "warns"), [("0.65.1", True), ("0.66.0", False), ("0.68.3", False), ("0.69.0rc1", True), ("1.0", True)])
def test_version_of_numba_that_is_not_supported_is_named(version, warns, monkeypatch):
    monkeypatch.setattr(numba, "__version__", version)
    message = supported.doubt()
    assert (message is not None) == warns
    assert message is None or version in message and supported.NUMBA in message


def test_supported_versions_of_numba_are_those_that_are_installed_with_fastmlp():
    assert supported.NUMBA in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.long
def test_training_works_without_a_cache(tmp_path):
    (tmp_path / "file").write_text("")
    code = """
import json, warnings
import numpy as np
import fastmlp
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    history = fastmlp.train(fastmlp.Network([2, 3, 2]), np.eye(2), [0, 1], epochs=2, kernels="scalar")
print(json.dumps([len(history), len({str(w.message) for w in caught})]))
"""
    assert result_of(code, FASTMLP_CACHE_DIR=str(tmp_path / "file" / "cache")) == [2, 1]


# --- processes -----------------------------------------------------------------------------------------------------------

KINDS_OF_X = """
def kinds_of_x(folder):
    values = np.random.default_rng(0).integers(0, 2, (60, 6))
    frozen = values.astype(np.uint8)
    frozen.flags.writeable = False
    mapped = np.memmap(folder + "/x", np.uint8, "w+", shape=values.shape)
    mapped[:] = values
    wide = np.zeros((120, 12), np.float32)
    wide[::2, ::2] = values
    shifted = np.frombuffer(b"\\0" + values.astype(np.float32).tobytes(), np.uint8)[1:].view(np.float32).reshape(60, 6)
    return {
        "bytes": values.astype(np.uint8),
        "float32": values.astype(np.float32),
        "float64": values.astype(np.float64),
        "int64": values,
        "int8": values.astype(np.int8),
        "bool": values.astype(bool),
        "read-only": frozen,
        "Fortran order": np.asfortranarray(values.astype(np.float32)),
        "strided": wide[::2, ::2],
        "reversed": np.ascontiguousarray(values[::-1].astype(np.uint8))[::-1],
        "images": values.astype(np.uint8).reshape(60, 2, 3),
        "memory map": mapped,
        "other byte order": values.astype(">f4"),
        "not aligned": shifted,
        "float16": values.astype(np.float16),
        "lists": values.tolist(),
    }
"""

FIRST_PROCESS = f"""
import json, sys, tempfile
import numpy as np
import fastmlp
from fastmlp.compilation import waiting
{KINDS_OF_X}

def train(sizes, x=None, activation="sigmoid", batch_size=50, kernels="scalar"):
    net = fastmlp.Network(sizes, activation)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (100, sizes[0])).astype(np.uint8) if x is None else x
    given = dict(epochs=1, batch_size=batch_size, optimizer="sgd", learning_rate=0.1, normalize="none", kernels=kernels)
    fastmlp.train(net, x, generator.integers(0, sizes[-1], len(x)), **given)
    return net.parameters.tobytes().hex()

report = {{}}

def compiled(what, *actions):
    names = []
    with waiting.watch(lambda name, seconds: names.append(name) if seconds is not None else None):
        for action in actions:
            action()
    report[what] = names

compiled("784-300-10", lambda: train([784, 300, 10]))
compiled("other widths", lambda: train([784, 299, 10]), lambda: train([256, 512, 7]), lambda: train([783, 301, 2], batch_size=33))
compiled("other depths", lambda: train([784, 300, 100, 10]), lambda: train([784, 100, 90, 80, 70, 10]), lambda: train([2000, 10]))
compiled("2-3-2", lambda: train([2, 3, 2]))
compiled("other small networks", lambda: train([5, 4, 3, 2]), lambda: train([6, 2]), lambda: train([3, 3, 3], batch_size=2))
compiled("relu", lambda: train([5, 4, 3], activation="relu"))
mixtures = ["relu", "sigmoid", "relu"], ["sigmoid", "sigmoid", "relu"]
compiled("combinations", *[lambda mixture=mixture: train([5, 4, 4, 4, 3], activation=mixture) for mixture in mixtures])
with tempfile.TemporaryDirectory() as folder:
    kinds = kinds_of_x(folder)
    train([6, 5, 3], kinds["bytes"])
    compiled("floats", lambda: train([6, 5, 3], kinds["float32"]))
    trained = {{}}
    compiled("other kinds of x", *[lambda k=k: trained.update({{k: train([6, 5, 3], kinds[k])}}) for k in kinds])
report["kinds"] = len(kinds)
report["different results"] = [kind for kind in kinds if trained[kind] != trained["bytes"]]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def first_process(tmp_path_factory):
    """Return the cache folder and the report of a process that trained many networks with an empty cache."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, result_of(FIRST_PROCESS, FASTMLP_CACHE_DIR=str(folder))


@pytest.mark.long
def test_first_training_compiles_its_steps_once(first_process):
    _, report = first_process
    assert [name for name in report["784-300-10"] if name.startswith("train_steps")] == ["train_steps_parallel"]


@pytest.mark.long
@pytest.mark.parametrize("what", ["other widths", "other depths", "other small networks", "combinations", "other kinds of x"])
def test_nothing_is_compiled_for(first_process, what):
    _, report = first_process
    assert report[what] == []


@pytest.mark.long
def test_another_activation_compiles_its_own_blocks_only(first_process):
    _, report = first_process
    assert sorted(report["relu"]) == ["activate_backward_relu", "activate_relu", "relu", "relu_derivative"]


@pytest.mark.long
def test_floats_compile_what_reads_them_and_nothing_else(first_process):
    _, report = first_process
    assert sorted(report["floats"]) == ["gather", "train_steps"]


@pytest.mark.long
def test_every_kind_of_x_trains_to_the_same_bits(first_process):
    _, report = first_process
    assert report["kinds"] >= 12
    assert report["different results"] == []


@pytest.mark.long
def test_second_process_compiles_nothing(first_process):
    folder, _ = first_process
    report = result_of(FIRST_PROCESS, FASTMLP_CACHE_DIR=str(folder))
    assert [name for what in report.values() if isinstance(what, list) for name in what] == []


# The outputs of a small network pass through textbook_step.outputs_of_rows to textbook.dense_forward; softmax calls elementary.exp.
OUTPUTS_AND_SOFTMAX = """
import json
import numpy as np
import fastmlp
from fastmlp import kernels
net = fastmlp.Network([1, 1], output="identity")
net.parameters[:] = [2, 3]
probs = np.empty((1, 2), np.float32)
kernels.softmax(np.array([[0, -50]], np.float32), probs)
print(json.dumps([fastmlp.__file__, float(net.predict(np.ones((1, 1)))[0]), float(probs[0, 1])]))
"""


@pytest.mark.long
def test_code_of_an_edited_source_never_runs(tmp_path):
    shutil.copytree(ROOT / "fastmlp", tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    where = {"cwd": tmp_path, "FASTMLP_CACHE_DIR": str(tmp_path / "cache")}

    def edit(file, old, new):
        path = tmp_path / "fastmlp" / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    edits = [
        ("kernels/textbook.py", "            out[m, n] = bias[n]\n", "            out[m, n] = -bias[n]\n"),  # a callee of a callee
        ("kernels/elementary.py", "EXP_LOWEST, EXP_HIGHEST = F(-88)", "EXP_LOWEST, EXP_HIGHEST = F(-1)"),  # a constant of another file
    ]
    file, output, probability = result_of(OUTPUTS_AND_SOFTMAX, **where)
    assert file == str(tmp_path / "fastmlp" / "__init__.py")
    assert [output, round(probability, 6)] == [5.0, 0.0]

    for edited in edits:
        edit(*edited)
    _, output_then, probability_then = result_of(OUTPUTS_AND_SOFTMAX, **where)
    assert [output_then, round(probability_then, 6)] == [-1.0, 0.268941]  # 1 / (1 + e)

    for name, old, new in edits:
        edit(name, new, old)
    assert result_of(OUTPUTS_AND_SOFTMAX, **where)[1:] == [output, probability]

    edit("compilation/formulas.py", "return narrow if x == types.float32 else wide\n", "return lambda x: x * 0 + 1\n")  # that of exp
    assert result_of(OUTPUTS_AND_SOFTMAX, **where)[1:] == [output, 0.5]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "relu",
            [np.ones((2, 2), np.float32)] * 2,
            r"activate_relu: expected z \(n,\) -> out .*; got float32 \(2, 2\), float32 \(2, 2\), ",
        ),
        ("sigmoid_backward", [np.ones(3, int)] * 3, r"activate_backward_sigmoid: expected delta \(n,\) .*; got int64 \(3,\), "),
        ("adam_update", [np.ones((2, 2))] * 5, r"update_with_state_adam: expected parameters, m, v \(P,\) .*; got float64 \(2, 2\), "),
        ("dense_forward_parallel", [np.ones((2, 2, 2))] * 4, r"dense_forward_parallel: expected x \(M, K\), .*; got float64 \(2, 2, 2\), "),
        ("softmax", [[1.0], [2.0]], r"softmax: expected z \(M, C\) .*; got list, list, "),
    ],
)
def test_arguments_that_a_kernel_cannot_take_are_told_in_one_line(name, arguments, message):
    with pytest.raises(DataError, match=f"^{message}.*for which it cannot be compiled$"):
        getattr(kernels, name)(*arguments)


def test_memory_that_ends_while_a_kernel_is_compiled_is_told(monkeypatch):
    def full(signature):
        raise MemoryError

    with pytest.raises(NotEnoughMemory, match=r"^compiling some_kernel: the system gave no more memory; "):
        waiting.timed("some_kernel", full, None)
    monkeypatch.setattr(machine, "address_space_left", lambda: 30 << 20)
    with pytest.raises(NotEnoughMemory, match=r"^compiling some_kernel: this process may use 30 MiB more of address space; raise"):
        waiting.timed("some_kernel", lambda signature: None, None)


@pytest.mark.skipif(not options.JIT, reason="nothing is compiled with the JIT off")
def test_a_kernel_for_compiled_code_alone_refuses_to_be_called_from_python():
    inner = decorators.kernel(_second_kernel, inner=True)
    calls_it = forms.specialise(decorators.kernel(_calls_second), "inner", _second_kernel=inner)
    assert calls_it(2.0) == 4.0
    with pytest.raises(TypeError, match=r"compiled code alone; forms\.pure"):
        inner(2.0)
    assert forms.pure(inner)(2.0) == 4.0


def _second_kernel(x):
    return x * x


def _calls_second(x):
    return _second_kernel(x)


# --- code that came with the package ---------------------------------------------------------------------------------------


@pytest.fixture
def package(cache, tmp_path, monkeypatch):
    """Return a package of the code of fresh_kernel, as a wheel brings it; the cache is empty again."""
    level, folder, digests = levels.target().name, tmp_path / "prebuilt", {}
    (folder / level).mkdir(parents=True)
    fresh_kernel()(3)
    for path in code_files(cache):
        payload = code_cache.read(path)
        (folder / level / path.name).write_bytes(payload)
        digests[f"{level}/{path.name}"] = hashlib.sha256(payload).hexdigest()
        path.unlink()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.setattr(prebuilt, "DIGESTS", digests)
    monkeypatch.setattr(prebuilt, "MADE_FOR", stamps.made_for())
    stamps.why_not_shipped.cache_clear()
    yield folder / level
    stamps.why_not_shipped.cache_clear()


def test_code_that_came_with_the_package_is_run_where_the_user_has_none(package, cache):
    assert names_compiled(lambda: fresh_kernel()(3)) == []
    assert code_files(cache) == []  # it is not copied


def test_folder_that_cannot_be_used_is_no_matter_where_the_package_brings_the_code(package, cache):
    stamps.code_folder().chmod(0o777)
    result, messages = warnings_of(lambda: fresh_kernel()(3))
    assert (result, messages) == (7, [])


@pytest.mark.parametrize("what", ["kernels", "Python", "Numba", "llvmlite", "NumPy", "options"])
def test_code_made_for_something_else_is_not_run(what, package, monkeypatch):
    monkeypatch.setitem(prebuilt.MADE_FOR, what, "another")
    assert names_compiled(lambda: fresh_kernel()(3)) == ["multiplied", "plus_one"]
    assert stamps.why_not_shipped() == f"it was made for {what} another, here is {stamps.made_for()[what]}"


def test_exchanged_code_of_the_package_is_not_run_and_costs_one_warning(package):
    for path in package.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    result, messages = warnings_of(lambda: fresh_kernel()(3))
    assert result == 7
    assert len(messages) == 1
    assert "is not as it was made" in messages[0]
