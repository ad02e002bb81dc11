"""Rows T of the quality list: forks, threads, threading layers, damaged caches, folders that cannot be written, few cores, memory.

Everything works, or ends in one clear sentence; nothing dies by a signal, nothing hangs.
"""

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp import Network, machine
from fastmlp.compilation import stamps
from tests.kernels.processes import ROOT, result_of
from tests.kernels.test_compiling import code_files, fresh_kernel, names_compiled, use_cache, warnings_of
from tests.kernels.test_threads import AFTER_FORK, FORKING
from tests.quality.counts import count, record

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# What Numba's wheel brings, where this system has the library behind it.
LAYERS = [layer for layer in ("omp", "workqueue") if importlib.util.find_spec(f"numba.np.ufunc.{layer.replace('omp', 'omppool')}")]
TBB = Path(sys.prefix) / "lib"  # where the package tbb puts its library
if importlib.util.find_spec("numba.np.ufunc.tbbpool") and (ctypes.util.find_library("tbb") or list(TBB.glob("libtbb.so.*"))):
    LAYERS.append("tbb")


def layer_environment(layer: str) -> dict[str, str]:
    paths = [str(TBB), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"NUMBA_THREADING_LAYER": layer, **({"LD_LIBRARY_PATH": os.pathsep.join(paths)} if layer == "tbb" else {})}


# T1: fork


@has_fork
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("layer", LAYERS)
def test_t01_forked_children_work(layer):
    wrong, tried = [], 0
    for kernels in ["scalar", "auto"][: count(1, 2)] * count(1, 2):  # auto: tests/kernels/test_threads.py
        codes = result_of(f"import sys; sys.argv.append({kernels!r})\n{FORKING}", timeout=300, **layer_environment(layer))
        tried += len(AFTER_FORK)
        wrong += [f"{layer}, {kernels}, {what}: {codes[what]}" for what in AFTER_FORK if codes[what] not in (0, 3)]
    record("T1", tried, len(wrong))
    assert wrong == []


DIRECT_CALL = """
import json, os, signal
import numpy as np
from fastmlp.kernels import dense_forward, dense_forward_parallel
square, row = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.float32)
expected, found = np.empty_like(square), np.empty_like(square)
dense_forward(square, square, row, expected)
dense_forward_parallel(square, square, row, found)
child = os.fork()
if child == 0:
    signal.alarm(60)
    found[:] = 0
    dense_forward_parallel(square, square, row, found)
    os._exit(0 if (found == expected).all() else 1)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), bool((found == expected).all())]))
"""


@has_fork
@pytest.mark.parametrize("layer", LAYERS)
def test_t01_parallel_kernel_called_in_a_forked_child_gives_what_the_serial_one_gives(layer):
    found = result_of(DIRECT_CALL, **layer_environment(layer))
    record("T1", 1, int(found != [0, True]))
    assert found == [0, True]


WHILE_COMPILING = """
import json, os, signal, sys, threading
import numpy as np
import fastmlp
from fastmlp.compilation import decorators, waiting
from fastmlp.kernels import softmax

@decorators.kernel
def slow_to_compile(x):
    total = 0.0
    for i in range(x.size):
        total += np.sin(x[i]) ** x[i] + np.sort(x)[i]
    return total

started, codes = threading.Event(), []
with waiting.watch(lambda name, seconds: started.set()):
    other = threading.Thread(target=slow_to_compile, args=(np.ones(3),))
    other.start()
    started.wait()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            z, out = np.zeros((1, 2)), np.ones((1, 2))
            softmax(z, out)
            os._exit(0 if (out == 0.5).all() else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    other.join()
print(json.dumps(codes))
"""


@has_fork
def test_t01_fork_while_another_thread_compiles(tmp_path):
    codes = result_of(WHILE_COMPILING, FASTMLP_CACHE_DIR=str(tmp_path))
    record("T1", len(codes), sum(code != 0 for code in codes))
    assert codes == [0, 0, 0]


# T2: Python threads

EIGHT_THREADS = """
import json, sys, threading
import numba
import numpy as np
import fastmlp
from fastmlp.kernels import dense_forward_parallel

TIMES = int(sys.argv[1])
draw = np.random.default_rng(0)
x, y = draw.integers(0, 256, (100, 784)).astype(np.uint8), draw.integers(0, 10, 100)
nets = [fastmlp.Network([784, 40, 10], seed=1), fastmlp.Network([784, 10], seed=1)]  # by tiles and teams, and by a prange region
expected = [(net.predict_proba(x), net.predict_proba(x[7]), net.logits(x, kernels="scalar")) for net in nets]
square, row = np.eye(64, dtype=np.float32), np.arange(64, dtype=np.float32)

def trained():
    net = fastmlp.Network([784, 10], seed=2)
    fastmlp.train(net, x, y, epochs=1, batch_size=100)
    return net.parameters

alone = trained()
right = []

def call():
    good = True
    for turn in range(TIMES):
        net, (many, one, logits) = nets[turn % 2], expected[turn % 2]
        good &= bool((net.predict_proba(x[7]) == one).all())
        if turn % 10 < 2:
            good &= bool((net.predict_proba(x) == many).all()) and bool((net.logits(x, kernels="scalar") == logits).all())
            out = np.empty_like(square)
            dense_forward_parallel(square, square, row, out)
            good &= bool((out == square + row).all())
        if turn % 50 == 0:
            good &= bool((trained() == alone).all())
    right.append(good)

callers = [threading.Thread(target=call) for _ in range(8)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(json.dumps([numba.threading_layer(), right]))
"""


@pytest.mark.parametrize("layer", LAYERS)
def test_t02_eight_python_threads_predict_and_train(layer):
    times = count(20, 1000)
    used, right = result_of(f"import sys; sys.argv.append('{times}')\n{EIGHT_THREADS}", timeout=1500, **layer_environment(layer))
    record("T2", 8 * times, 8 - sum(right))
    assert (used, right) == (layer, [True] * 8)


NUMBERS_OF_BLOCKS = """
import json, sys, threading
from numba import types
from fastmlp.compilation import calls, forms
from fastmlp.kernels import textbook

sys.setswitchinterval(1e-6)
blocks = [forms.specialise(textbook.activate, str(number), ACTIVATION=abs) for number in range(160)]
together, numbers = threading.Barrier(8), []

def ask(first):
    together.wait()
    numbers.extend(calls.address(block, types.float32[::1], types.float32[::1], interpreted=True) for block in blocks[first::8])

callers = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(json.dumps(len(set(numbers))))
"""


def test_t02_eight_threads_number_interpreted_blocks():
    """Two blocks of one number would be taken for each other: a network would run with another one's activation."""
    different = result_of(NUMBERS_OF_BLOCKS)
    record("T2", 160, 160 - different)
    assert different == 160


# T3 and T4: processes

KINDS = ["fork", "spawn", "forkserver", "ProcessPoolExecutor"]
if importlib.util.find_spec("joblib"):
    KINDS.append("loky")

IN_PROCESSES = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from fastmlp import Network
from tests.quality import work

kind, tasks = sys.argv[1], int(sys.argv[2])

def run(function, arguments):
    if kind == "loky":
        import joblib
        return joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(function)(argument) for argument in arguments)
    if kind == "ProcessPoolExecutor":
        with ProcessPoolExecutor(2) as pool:
            return list(pool.map(function, arguments))
    with multiprocessing.get_context(kind).Pool(2) as pool:
        return pool.map(function, arguments)

expected = [work.train(seed) for seed in range(tasks)]  # the threads of this process run when it forks
nets = [Network([784, 40, 10], seed=seed) for seed in range(tasks)]
print(json.dumps([a == b for a, b in zip(run(work.train, range(tasks)), expected)]
    + [a == work.predict(net) for a, net in zip(run(work.predict, nets), nets)]))
"""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "fork" not in kind or hasattr(os, "fork")])
def test_t03_workers_of_every_kind_of_pool(kind):
    tasks = count(2, 10)
    right = result_of(f"import sys; sys.argv += [{kind!r}, '{tasks}']\n{IN_PROCESSES}")
    record("T3", len(right), len(right) - sum(right))
    assert right == [True] * (2 * tasks)


def test_t04_workers_share_the_cores():
    joblib = pytest.importorskip("joblib")
    code = """
import json, joblib
from tests.quality import work
kinds = list(work.SIZES) * 2
print(json.dumps(joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(work.threads)(kind) for kind in kinds)))
"""
    found = result_of(code)
    allowed = max(1, joblib.cpu_count() // 2)
    record("T4", len(found), sum(threads > allowed for threads in found))
    assert max(found) <= allowed


# T5 to T7: the cache of machine code

OTHER_USER = 12_345


def give_away(path: Path, monkeypatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, OTHER_USER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)


def make_unreadable(path: Path, _) -> None:
    path.unlink()
    path.mkdir()  # opening it fails, for root, too


def swap(path: Path, _) -> None:
    """Put the code of another kernel in this one's place."""
    other = next(other for other in code_files(path.parent) if other != path)
    path.write_bytes(other.read_bytes())


DAMAGES = {
    "cut": lambda path, _: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path, _: path.write_bytes(b""),
    "garbage": lambda path, _: path.write_bytes(b"\x80garbage" * 100),
    "another kernel's": swap,
    "unreadable": make_unreadable,
    "another user's": give_away,
}


@pytest.fixture
def forgotten_folder():
    """Let the next test ask anew where compiled code is kept."""
    yield
    stamps.code_folder.cache_clear()


@pytest.mark.usefixtures("forgotten_folder")
@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "another user's" or hasattr(os, "geteuid")])
def test_t05_damaged_cache_files(damage, tmp_path, monkeypatch):
    wrong = []
    rounds = ["plus_one"] if damage == "another kernel's" else ["plus_one", ""]  # the kernel's file; that of its callee, too
    for damaged in rounds:
        use_cache(tmp_path / f"cache {damaged}", monkeypatch)
        fresh_kernel()(3)
        with monkeypatch.context() as patched:
            for path in code_files(tmp_path / f"cache {damaged}"):
                if damaged in path.name:
                    DAMAGES[damage](path, patched)
            names, results = [], []
            _, messages = warnings_of(
                lambda names=names, found=results: names.extend(names_compiled(lambda: found.append(fresh_kernel()(3))))
            )
        if results != [7] or len(messages) != 1 or "plus_one" not in names:
            wrong.append(f"{results}, compiled {names}, said {messages}")
    record("T5", len(rounds), len(wrong))
    assert wrong == []


def test_t05_command_with_a_damaged_cache(tmp_path, small_model, monkeypatch):
    np.save(tmp_path / "rows.npy", np.ones((3, 4), np.float32))
    Network.load(small_model).predict_proba(np.ones((3, 4), np.float32))  # compiled by now
    wrong, damages = [], list(DAMAGES)[: count(1, len(DAMAGES) if os.geteuid() == 0 else len(DAMAGES) - 1)]
    for damage in damages:
        folder = tmp_path / damage.replace("'", "")
        kept = stamps.code_folder()
        shutil.copytree(kept, folder / "compiled" / kept.name)
        for path in code_files(folder):
            DAMAGES[damage](path, monkeypatch)
        variables = os.environ | {"FASTMLP_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-m", "fastmlp", "predict", str(small_model), "rows.npy"]
        done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
        if done.returncode != 0 or len(said) != 1 or len(done.stdout.splitlines()) != 4:
            wrong.append(f"{damage}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    record("T5", len(damages), len(wrong))
    assert wrong == []


COLD_START = """
import json
import numpy as np
from fastmlp.kernels import softmax
out = np.empty((1, 4), np.float32)
softmax(np.zeros((1, 4), np.float32), out)
print(json.dumps(out.tolist()))
"""


@pytest.mark.timeout(3600)
def test_t06_eight_cold_starts_at_once(tmp_path):
    rounds, wrong = count(1, 10), []
    for number in range(rounds):
        cache = tmp_path / f"cache {number}"
        variables = os.environ | {"FASTMLP_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-W", "error", "-c", COLD_START]
        started = [
            subprocess.Popen(line, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)
        ]
        for process in started:
            out, err = process.communicate()
            if (process.returncode, out) != (0, "[[0.25, 0.25, 0.25, 0.25]]\n"):
                wrong.append(f"exit code {process.returncode}: {err[-500:]}")
        if {path.suffix for path in cache.rglob("*") if path.is_file()} != {".code"}:
            wrong.append("something is left in the cache besides code")
    record("T6", 8 * rounds, len(wrong))
    assert wrong == []


WITHOUT_CACHE = """
import json, resource, sys, warnings
import numpy as np
import fastmlp
from fastmlp.kernels import softmax
if "full" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file can be written to, wherever it is
out = np.empty((1, 2), np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    softmax(np.zeros((1, 2), np.float32), out)
    if "train" in sys.argv:
        fastmlp.train(fastmlp.Network([2, 3, 2]), np.eye(2), [0, 1], epochs=2)
print(json.dumps([out.tolist(), sorted({str(w.message) for w in caught})]))
"""


def test_t07_nowhere_to_write(tmp_path):
    """A home that is none, a package that may only be read, a cache path that leads nowhere, full disks."""
    package = tmp_path / "site" / "fastmlp"
    shutil.copytree(ROOT / "fastmlp", package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [package, *package.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (tmp_path / "file").write_text("")
    nowhere = {name: "" for name in os.environ if name.startswith(("FASTMLP_", "XDG_"))}
    cases = {
        "no home": ({"HOME": "/proc/nowhere"}, ""),
        "full disks": ({"FASTMLP_CACHE_DIR": str(tmp_path / "full")}, "full"),
        "cache below a file": ({"FASTMLP_CACHE_DIR": str(tmp_path / "file" / "cache")}, ""),
        "cache in a file system that is no place for files": ({"FASTMLP_CACHE_DIR": "/proc/cache"}, ""),
    }
    wrong, cases = [], dict(list(cases.items())[: count(2, 4)])
    for case, (environment, disk) in cases.items():
        arguments = [disk, *["train"] * count(0, 1)]
        found, messages = result_of(
            f"import sys; sys.argv += {arguments}\n{WITHOUT_CACHE}", cwd=package.parent, timeout=300, **nowhere | environment
        )
        if found != [[0.5, 0.5]] or len(messages) != 1 or "FASTMLP_CACHE_DIR" not in messages[0]:
            wrong.append(f"{case}: {found}, {messages}")
    names = {path.name for path in package.parent.rglob("*")}
    left = names - {path.name for path in (ROOT / "fastmlp").rglob("*")} - {"fastmlp"}
    record("T7", len(cases), len(wrong) + len(left))
    assert wrong == []
    assert left == set()
    assert not (tmp_path / "full" / "compiled").exists() or not code_files(tmp_path / "full")


# T8 and T9: cores and memory


def test_t08_as_many_threads_as_allowed(tmp_path):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    code = """
import functools, json, os, pathlib, sys
import numpy as np
from fastmlp import Network, Trainer, make_plan, TrainingSettings, machine
if sys.argv[1] == "affinity":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if sys.argv[1] == "cgroup":
    machine.cgroup_cpu_quota = functools.partial(machine.cgroup_cpu_quota, pathlib.Path(sys.argv[2]))
from tests.quality import work
settings = TrainingSettings(batch_size=100)
found = [Trainer(make_plan(Network(sizes), work.ROWS, work.CLASSES, settings)).threads for sizes in work.SIZES.values()]
work.train(0)
print(json.dumps([*found, machine.usable_cores()]))
"""
    cores = machine.usable_cores()
    cases = {
        "affinity": ({}, 1),
        "cgroup": ({}, 1),
        "NUMBA_NUM_THREADS=64": ({"NUMBA_NUM_THREADS": "64"}, cores),
        "NUMBA_NUM_THREADS=1": ({"NUMBA_NUM_THREADS": "1"}, 1),
    }
    wrong, cases = [], dict(list(cases.items())[: count(2, 4)])
    for case, (environment, allowed) in cases.items():
        found = result_of(f"import sys; sys.argv[1:] = {[case, str(tmp_path)]}\n{code}", **environment)
        if set(found) != {allowed}:
            wrong.append(f"{case}: {found}, allowed {allowed}")
    record("T8", len(cases), len(wrong))
    assert wrong == []


GROWTH = """
import gc, json, sys
import numpy as np
import fastmlp
from tests.quality import work

fits, epochs, predictions = map(int, sys.argv[1:])
net = fastmlp.Network([784, 40, 10])

def fit():
    fastmlp.train(fastmlp.Network([784, 40, 10]), work.ROWS, work.CLASSES, epochs=1, batch_size=100)

def predict():
    for _ in range(predictions // 10):
        for row in range(9):
            net.predict(work.ROWS[row])
        net.predict(work.ROWS[:100])

def train_long():
    fastmlp.train(fastmlp.Network([4, 3, 2]), np.eye(4), [0, 1, 0, 1], epochs=epochs)

grown = {}
for name, call, times in (("fits", fit, fits), ("epochs", train_long, 1), ("predictions", predict, 1)):
    for _ in range(max(1, times // 4)):
        call()
    gc.collect()
    before = work.resident_bytes()
    for _ in range(times):
        call()
    gc.collect()
    grown[name] = work.resident_bytes() - before
print(json.dumps(grown))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_t09_memory_does_not_grow():
    counts = [count(20, 200), count(100, 1000), count(2_000, 100_000)]
    grown = result_of(f"import sys; sys.argv[1:] = {[str(number) for number in counts]}\n{GROWTH}", timeout=1500)
    too_much = {name: size for name, size in grown.items() if size >= 5 << 20}
    record("T9", 3, len(too_much))
    assert too_much == {}


# Beyond the list


def test_threading_layer_that_is_not_there_is_told_in_one_line():
    code = """
import json
import numpy as np
import fastmlp
try:
    fastmlp.train(fastmlp.Network([2000, 10]), np.zeros((100, 2000), np.uint8), np.zeros(100, int), epochs=1)
except fastmlp.ConfigError as error:
    print(json.dumps(str(error)))
"""
    message = result_of(code, NUMBA_THREADING_LAYER="nonsense")
    assert message.startswith("NUMBA_THREADING_LAYER: ")
    assert "\n" not in message
