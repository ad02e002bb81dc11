"""Crash and resume: whatever ends a training, what was saved can be read and goes on bit for bit. Rows C1 to C19 of the list of faults."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import run
from fastmlp.data import dataset as data_module
from fastmlp.errors import ModelFileError
from fastmlp.storage.checkpoints import Checkpoints
from fastmlp.storage.model_file import StoredTensors, read_tensors
from fastmlp.storage.runs import read_manifest, read_metrics
from fastmlp.training.plan import make_plan
from fastmlp.training.saving import pack, unpack
from fastmlp.training.trainer import Trainer
from tests.crash.server import prepared
from tests.crash.supervisor import SAVING, Supervisor, calls, can_trace, wait_until
from tests.quality.counts import FULL, count, record
from tests.quality.limits import limit

ROOT = Path(__file__).parents[2]

INTERVAL = 0.05  # seconds between checkpoints
SETTINGS = {"batch_size": 50, "optimizer": "adam", "learning_rate": 0.01, "seed": 4}
FLAGS = ("--batch-size", 50, "--optimizer", "adam", "--learning-rate", 0.01, "--seed", 4)
ENDLESS = ("train", "synthetic", *FLAGS, "--epochs", 1_000_000, "--run-folder", "run", "--checkpoint-seconds", INTERVAL)
GO_ON = ("train", "--resume", "run", "--checkpoint-seconds", INTERVAL)

pytestmark = pytest.mark.timeout(3600)

# A fault that is injected needs strace; a full run of the list has to have it.
needs_strace = pytest.mark.skipif(not FULL and not can_trace(), reason="strace is not installed, or may trace no process")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Supervisor(tmp_path_factory.mktemp("server")) as supervisor:
        yield supervisor


@pytest.fixture
def supervisor(server, tmp_path):
    server.folder = tmp_path
    return server


@pytest.fixture
def chance():
    return random.Random(0)


def saved_in(folder: Path):
    """Return the newest checkpoint of a run; one that is damaged would warn, and fail the test."""
    return Checkpoints(folder / "checkpoints").newest(unpack)


def checkpoint_files(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("ckpt-*.safetensors"))


def bits_of(saved) -> tuple:
    """Return everything that decides how a training goes on, for comparison bit by bit; the times alone are left out."""
    state = saved.state._replace(seconds=0.0, earlier_seconds=0.0, m=None, v=None)
    arrays = (saved.network.parameters, saved.state.m, saved.state.v)
    return (state, *(None if array is None else hashlib.sha256(array.tobytes()).hexdigest() for array in arrays))


def unbroken(epoch: int, steps: int) -> Trainer:
    """Return a training of FLAGS that nothing ever broke off, where so many epochs are finished and so many steps taken."""
    data = fastmlp.load_dataset("synthetic")
    network = fastmlp.Network([2, 3, 2], "sigmoid", seed=SETTINGS["seed"])
    trainer = Trainer(make_plan(network, data.x_train, data.y_train, fastmlp.TrainingSettings(epochs=1_000_000, **SETTINGS)))
    events = trainer.run()
    while trainer.epoch < epoch:
        next(events)
    while trainer.steps < steps:
        trainer.step()
    return trainer


def assert_unbroken(folder: Path) -> None:
    """Fail unless the newest checkpoint has the bits of an unbroken training."""
    saved = saved_in(folder)
    trainer = unbroken(saved.state.epoch, saved.state.steps)
    assert bits_of(saved) == bits_of(saved._replace(network=trainer.network, state=trainer.state()))


def has_saved(folder: Path) -> bool:
    return len(checkpoint_files(folder)) > 0


def test_c01_kill_at_random_instants(supervisor, tmp_path, chance):
    kills, failures, reached = count(8, 500), 0, 0
    folder = tmp_path / "run"
    child = supervisor.command(*ENDLESS)
    wait_until(lambda: has_saved(folder))
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, 0.5))
        killed = time.time()
        child.kill(signal.SIGKILL)
        assert child.wait().code == -signal.SIGKILL
        newest = checkpoint_files(folder)[-1].stat().st_mtime
        went_on = child.has_said("going on") or reached == 0
        saved = saved_in(folder)
        lost = killed - newest
        # a chunk of steps is under way when the interval ends; a process that was still loading has nothing to lose
        failures += saved.state.steps < reached or (went_on and saved.state.steps > reached and lost > limit(INTERVAL + 0.5))
        reached = saved.state.steps
        child = supervisor.command(*GO_ON)
        wait_until(lambda child=child: child.has_said("going on"))
    child.kill(signal.SIGTERM)
    assert child.wait().code == 128 + signal.SIGTERM
    record("C1", kills, failures)
    assert failures == 0
    assert saved_in(folder).state.steps >= reached > 0
    assert_unbroken(folder)
    epochs = [epoch["epoch"] for epoch in read_metrics(folder / "metrics.jsonl")]
    assert epochs == list(range(1, saved_in(folder).state.epoch + 1))
    assert list(folder.rglob("*.tmp")) == []


KINDS = ("checkpoint", "model", "manifest")


def target_of(kind: str, folder: Path) -> Path:
    """Return where a save of this kind goes: a file for a model, a folder for the others."""
    if kind == "manifest":
        (folder / "target").mkdir(exist_ok=True)
    return folder / "target"


def first_of(file: StoredTensors, name: str) -> float:
    dtype, shape = file.shapes[name]
    array = np.empty(shape, dtype)
    file.read_into({name: array})
    return float(array[0])


def content_of(kind: str, target: Path) -> float | None:
    """Return the number that was saved, None where nothing was; fail where it cannot be read."""
    if kind == "checkpoint":
        return Checkpoints(target).newest(lambda path, file: first_of(file, "content"))
    if kind == "model":
        return float(fastmlp.Network.load(target).parameters[0]) if target.exists() else None
    return read_manifest(target)["results"]["content"] if (target / "manifest.json").exists() else None


def clear(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)


@needs_strace
def test_c02_kill_at_every_call_of_a_save(supervisor, tmp_path, chance):
    cases = []
    for kind in KINDS:
        for before in (None, 1.0):
            target = target_of(kind, tmp_path)
            if before is not None:
                prepared(kind, target, before)()
            _, log = supervisor.save(kind, target, 2.0)
            cases += [(kind, before, name, number) for name in SAVING.split(",") for number in range(1, 1 + len(calls(log, name)))]
            clear(target)
    assert len(cases) >= 6 * len(KINDS)
    chosen = chance.sample(cases, count(min(24, len(cases)), len(cases)))
    failures = 0
    for kind, before, name, number in chosen:
        target = target_of(kind, tmp_path)
        if before is not None:
            prepared(kind, target, before)()
        ended, _ = supervisor.save(kind, target, 2.0, inject=f"{name}:signal=KILL:when={number}")
        assert ended.code == -signal.SIGKILL, (kind, name, number)
        failures += content_of(kind, target) not in (before, 2.0)
        prepared(kind, target, 3.0)()  # what the dead process left does not disturb the next one
        failures += content_of(kind, target) != 3.0
        clear(target)
    record("C2", len(chosen), failures)
    assert failures == 0


@needs_strace
@pytest.mark.parametrize("kind", KINDS)
def test_c03_order_of_the_calls_of_a_save(supervisor, tmp_path, kind):
    target = target_of(kind, tmp_path)
    ended, log = supervisor.save(kind, target, 1.0)
    assert ended.code == 0
    first = next(index for index, line in enumerate(log) if ".tmp" in line)
    opened = re.search(r"= (\d+)$", log[first])[1]
    rest = log[first + 1 :]
    folder = next(re.search(r"= (\d+)$", line)[1] for line in rest if line.startswith("openat") and "O_DIRECTORY" in line)
    order = [
        next(index for index, line in enumerate(rest) if re.match(pattern, line) and line.endswith(end))
        for pattern, end in (
            (rf"write\({opened},", ""),
            (rf"fsync\({opened}\)", "= 0"),
            (r"rename(at2?)?\(.*\.tmp", "= 0"),
            (r"openat\(.*O_DIRECTORY", f"= {folder}"),
        )
    ]
    order.append(next(index for index, line in enumerate(rest) if index > order[-1] and line.startswith(f"fsync({folder})")))
    record("C3", 1, order != sorted(order))
    assert order == sorted(order)
    assert not any(re.match(r"write\(", line) for line in rest[order[1] : order[2]])


FAULTS = {"ENOSPC": 74, "EIO": 74, "EDQUOT": 74, "EROFS": 73, "EINTR": 0}


@needs_strace
@pytest.mark.parametrize("call", ["openat", "write", "fsync", "rename"])
@pytest.mark.parametrize("name", FAULTS)
def test_c04_errors_of_the_system_during_a_save(supervisor, tmp_path, name, call):
    target = target_of("model", tmp_path)
    prepared("model", target, 1.0)()
    fatal = 1  # a model is saved by one call of each kind before the folder is synced
    traced = "rename,renameat,renameat2" if call == "rename" else call
    ended, log = supervisor.save("model", target, 2.0, inject=f"{traced}:error={name}:when={fatal}")
    injected = [line for line in log if "(INJECTED)" in line]
    assert len(injected) == 1
    assert "m.safetensors" in injected[0] or ".tmp" in injected[0] or call in ("write", "fsync")
    good = ended.code == FAULTS[name] and content_of("model", target) == (2.0 if name == "EINTR" else 1.0)
    said = name == "EINTR" or (f"({name})" in ended.err and str(target) in ended.err and len(ended.err.splitlines()) == 1)
    record("C4", 1, not (good and said))
    assert good, ended
    assert said, ended
    assert list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp")) == []


LIMITED = {  # a limit in bytes, flags, and the file that is larger
    "manifest": (1300, ("--run-folder", "run"), "manifest.json"),  # what is said of it fits into as much
    "checkpoint": (2200, ("--run-folder", "run"), "ckpt-000001.safetensors"),
    "model": (500, ("--no-run-folder",), "synthetic.safetensors"),
}


@pytest.mark.parametrize("what", LIMITED)
def test_c05_limit_on_file_sizes(supervisor, tmp_path, what):
    most, flags, name = LIMITED[what]
    line = ("train", "synthetic", *FLAGS, "--epochs", 1, "--quiet", *flags)
    ended = supervisor.command(*line, limits={"RLIMIT_FSIZE": most}).wait()
    left = list(tmp_path.rglob("*.tmp"))
    record("C5", 1, ended.code != 74 or bool(left))
    assert ended.code == 74
    assert "EFBIG" in ended.err.splitlines()[-1]
    assert name in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert left == []
    assert not list(tmp_path.rglob(name))


PLACES = ("/dev/full", "a read-only folder", "a missing folder", "a folder", "a dangling link", "no inode left")


@pytest.mark.parametrize("place", PLACES)
def test_c06_places_that_cannot_be_written(supervisor, tmp_path, place):
    target, mounted = tmp_path / "place" / "m.safetensors", False
    target.parent.mkdir()
    if place == "/dev/full":
        target = Path("/dev/full")
    elif place in ("a read-only folder", "no inode left"):
        options = "ro" if place == "a read-only folder" else "nr_inodes=2,size=1m"  # the folder itself, and one file
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", target.parent], capture_output=True)
        mounted = done.returncode == 0
        if not mounted and place == "no inode left":
            assert not FULL, "a full run has to be allowed to mount a file system"
            pytest.skip("may mount no file system")
        if not mounted:
            target = Path("/sys/m.safetensors")  # refuses root, too
        elif place == "no inode left":
            (target.parent / "taken").touch()
    elif place == "a missing folder":
        target = tmp_path / "missing" / "m.safetensors"
    elif place == "a folder":
        target.mkdir()
    else:
        target.symlink_to("missing/m.safetensors")
    try:
        ended = supervisor.command("train", "synthetic", *FLAGS, "--epochs", 1, "--out", target).wait()
        left = list(target.parent.glob(".fastmlp-*")) if target.parent.is_dir() else []
    finally:
        if mounted:
            subprocess.run(["umount", target.parent], check=True)
    record("C6", 1, ended.code not in (73, 74) or bool(left))
    assert ended.code == (74 if place == "no inode left" else 73)
    assert str(target) in ended.err
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in ended.err
    assert left == []


@pytest.fixture
def two_checkpoints(tmp_path):
    """A run with two checkpoints, made in this process, and what the older one holds."""
    folder = tmp_path / "run"
    done = subprocess_free_run(tmp_path, "train", "synthetic", *FLAGS, "--epochs", 2, "--run-folder", folder, "--checkpoint-seconds", 0)
    assert done == 0
    files = checkpoint_files(folder)
    assert len(files) == 2
    return folder, files, unpack(files[0], read_tensors(files[0]))


def subprocess_free_run(folder: Path, *arguments: object) -> int:
    """Run a command line in this process, from a folder; return its exit code."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        return run([str(argument) for argument in arguments])
    finally:
        os.chdir(before)


def test_c07_newest_checkpoint_cut_anywhere(two_checkpoints, capsys):
    folder, (older, newest), expected = two_checkpoints
    content, failures = newest.read_bytes(), 0
    lengths = np.linspace(0, len(content) - 1, count(64, 64)).astype(int)
    for length in lengths:
        newest.write_bytes(content[:length])
        with pytest.warns(UserWarning, match=re.escape(older.name)):
            found = saved_in(folder)
        failures += bits_of(found) != bits_of(expected)
    older.write_bytes(older.read_bytes()[:-1])
    with pytest.raises(ModelFileError):
        saved_in(folder)
    code = subprocess_free_run(folder.parent, "train", "--resume", folder)
    failures += code != 65
    record("C7", len(lengths) + 1, failures)
    assert failures == 0
    error = capsys.readouterr().err.splitlines()[-1]
    assert str(folder / "checkpoints") in error


def test_c08_one_flipped_bit_is_found(two_checkpoints, chance):
    _, (_, newest), _ = two_checkpoints
    content, flips, missed = newest.read_bytes(), count(150, 1000), 0
    for _ in range(flips):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        newest.write_bytes(flipped)
        try:
            read_tensors(newest)
            missed += 1
        except ModelFileError:
            pass
    record("C8", flips, missed)
    assert missed == 0


OPTIMIZERS = (
    {"optimizer": "adam"},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "adamw", "weight_decay": 0.01},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
)


def test_c09_stopped_after_every_epoch_and_at_random_batches(mnist, tmp_path, chance):
    x, y, epochs, batches = mnist.x_train[:1000], mnist.y_train[:1000], 10, 20
    stops = [batches * epoch for epoch in range(1, epochs)] + chance.sample(range(1, batches * epochs), 20)
    assert len(stops) == 29
    whole, failures = {}, 0
    for number, stop in enumerate(stops):
        kind = number % len(OPTIMIZERS)
        settings = fastmlp.TrainingSettings(
            epochs=epochs, batch_size=50, learning_rate=0.01, validation=0, **OPTIMIZERS[kind],
            normalize=("scale", "standardize", "none")[number // 5 % 2 if kind else 1],
            zero_skipping=("auto", "on", "off")[number % 3],
        )  # fmt: skip
        if settings not in whole:
            trainer = Trainer(make_plan(fastmlp.Network([784, 20, 10], seed=1), x, y, settings))
            list(trainer.run())
            whole[settings] = trainer.network.parameters.tobytes()
        stopped = Trainer(make_plan(fastmlp.Network([784, 20, 10], seed=1), x, y, settings))
        while stopped.steps < stop:
            stopped.step()
        checkpoints = Checkpoints(tmp_path / str(number))
        checkpoints.save(*pack(stopped.network, stopped.settings, stopped.state(), {}))
        saved = checkpoints.newest(unpack)
        goes_on = Trainer(make_plan(saved.network, x, y, settings, resume=saved.state))
        list(goes_on.run())
        failures += goes_on.network.parameters.tobytes() != whole[settings]
    record("C9", len(stops), failures)
    assert failures == 0


CHANGES = {
    "layers": (["--hidden", "4"], 78, "hidden 3 → 4"),
    "data": (["mnist"], 78, "data set synthetic → mnist"),
    "seed": (["--seed", "9"], 78, "seed 4 → 9"),
    "learning rate": (["--learning-rate", "0.5"], 78, "learning_rate 0.01 → 0.5"),
    "batch": (["--batch-size", "60"], 78, "batch_size 50 → 60"),
    "dtype": (["--dtype", "float64"], 78, "dtype float32 → float64"),
    "threads": (["--threads", "1"], 0, ""),
    "version": ([], 0, "warning: saved with fastmlp 0.0.1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_c10_resumed_with_something_else(two_checkpoints, monkeypatch, capsys, what):
    folder, _, _ = two_checkpoints
    flags, expected, said = CHANGES[what]
    if what == "version":
        saved_with_version(folder, "0.0.1")
    before = saved_in(folder)
    code = subprocess_free_run(folder.parent, "train", *flags, "--resume", folder)
    err = capsys.readouterr().err
    record("C10", 1, code != expected or said not in err)
    assert code == expected
    assert said in err
    assert bits_of(saved_in(folder)) == bits_of(before)
    if what == "version":
        assert read_manifest(folder)["resumed"][-1]["changed"]["fastmlp"] == ["0.0.1", fastmlp.__version__]


def saved_with_version(folder: Path, version: str) -> None:
    """Have the newest checkpoint say that another version of fastmlp saved it."""
    path = checkpoint_files(folder)[-1]
    file = read_tensors(path)
    told = json.loads(file.metadata["run"])
    told["versions"]["fastmlp"] = version
    Checkpoints(folder / "checkpoints").save(file.tensors, {**file.metadata, "run": json.dumps(told)})


def test_c10_resumed_with_changed_data(two_checkpoints, monkeypatch, capsys):
    folder, _, _ = two_checkpoints
    data = fastmlp.load_dataset("synthetic")
    data.hashes["synthetic"] = "f" * 64
    monkeypatch.setattr(data_module, "load_dataset", lambda *arguments, **options: data)
    code = subprocess_free_run(folder.parent, "train", "--resume", folder)
    record("C10", 1, code != 78)
    assert code == 78
    assert "→ ffffffffffff" in capsys.readouterr().err


def stop_at_random(supervisor, tmp_path, chance, row: str, numbers: list[int]) -> None:
    """Start, send each signal at a random instant, go on: each is to save, to say how to go on, and to end with its code."""
    folder, bad = tmp_path / "run", []
    child = supervisor.command(*ENDLESS)
    wait_until(lambda: (folder / "metrics.jsonl").exists())
    steps = 0
    for number in numbers:
        time.sleep(chance.uniform(0.0, 0.3))
        sent = time.perf_counter()
        child.kill(number)
        ended = child.wait()
        seconds = time.perf_counter() - sent
        saved = saved_in(folder)
        says = "go on with: fastmlp train --resume run" in ended.err.splitlines()[-1]
        good = ended.code == 128 + number and says and "Traceback" not in ended.err and seconds <= limit(1.0)
        if not good or saved.state.steps <= steps or read_manifest(folder)["outcome"] != "interrupted":
            bad.append((ended, seconds, saved.state.steps, steps, read_manifest(folder)["outcome"]))
        steps = saved.state.steps
        child = supervisor.command(*GO_ON)
        wait_until(lambda child=child: child.has_said("epoch  train loss"))
    child.kill(signal.SIGKILL)
    child.wait()
    record(row, len(numbers), len(bad))
    assert bad == []
    assert_unbroken(folder)


def test_c11_one_ctrl_c(supervisor, tmp_path, chance):
    stop_at_random(supervisor, tmp_path, chance, "C11", [signal.SIGINT] * count(5, 50))


def test_c12_two_times_ctrl_c(supervisor, tmp_path, chance):
    folder, bad, tries = tmp_path / "run", [], count(4, 20)
    child = supervisor.command(*ENDLESS)
    wait_until(lambda: has_saved(folder))
    for _ in range(tries):
        child.kill(signal.SIGINT)
        time.sleep(chance.choice([0.0, chance.uniform(0.0, 0.05)]))
        sent = time.perf_counter()
        try:
            child.kill(signal.SIGINT)
        except ProcessLookupError:  # the first has done
            pass
        ended = child.wait()
        seconds = time.perf_counter() - sent
        if ended.code != 130 or seconds > limit(0.5) or "Traceback" in ended.err or saved_in(folder) is None:
            bad.append((ended, seconds))
        child = supervisor.command(*GO_ON)
        wait_until(lambda child=child: child.has_said("epoch  train loss"))
    child.kill(signal.SIGKILL)
    child.wait()
    record("C12", tries, len(bad))
    assert bad == []
    assert_unbroken(folder)


def test_c12_the_second_ends_a_step_that_takes_long(tmp_path):
    line = [sys.executable, "-c", LONG_STEP]
    with subprocess.Popen(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        sent = time.perf_counter()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        seconds = time.perf_counter() - sent
    record("C12", 1, seconds > limit(0.5) or process.returncode != 130)
    assert process.returncode == 130
    assert seconds <= limit(0.5)
    assert "ended at once" in err


LONG_STEP = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

def train_rows(trainer, last, goes_on):
    print("begun", file=sys.stderr, flush=True)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        time.sleep(1)

Trainer._train_rows = train_rows
sys.argv = ["fastmlp", "train", "synthetic", "--run-folder", "run", "--quiet"]
from fastmlp.cli import main
main()
"""


def test_c13_sigterm_and_sighup(supervisor, tmp_path, chance):
    stop_at_random(supervisor, tmp_path, chance, "C13", [signal.SIGTERM] * count(3, 50) + [signal.SIGHUP] * count(2, 10))


def test_c15_stopped_and_continued(supervisor, tmp_path):
    tries, seconds, failures = count(1, 5), count(1, 10), 0
    for number in range(tries):
        folder = tmp_path / str(number)
        child = supervisor.command("train", "synthetic", *FLAGS, "--epochs", 15, "--run-folder", folder)
        wait_until(lambda folder=folder: (folder / "metrics.jsonl").exists())
        child.kill(signal.SIGSTOP)
        time.sleep(seconds)
        child.kill(signal.SIGCONT)
        assert child.wait().code == 0
        saved = saved_in(folder)
        expected = unbroken(15, saved.state.steps).network.parameters
        model = fastmlp.Network.load(folder / "model.safetensors")
        failures += saved.state.epoch != 15 or model.parameters.tobytes() != expected.tobytes()
    record("C15", tries, failures)
    assert failures == 0


GIB = 1 << 30
TOO_LARGE = {
    "parameters": ("--hidden", 100_000, "--hidden", 11_000),  # 4.1 GiB
    "parameters of float64": ("--hidden", 100_000, "--hidden", 5_500, "--dtype", "float64"),
    "a batch": ("--hidden", 10_000, "--batch-size", 60_000),
    "moments of the gradient": ("--hidden", 9_500, "--hidden", 9_500, "--optimizer", "adam"),  # the parameters alone would fit
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_c16_limit_on_memory(supervisor, tmp_path, what):
    ended = supervisor.command("train", "synthetic", *TOO_LARGE[what], "--epochs", 1, limits={"RLIMIT_AS": GIB}).wait()
    error = ended.err.splitlines()[-1]
    told = re.search(r"need (\d+) MiB.* may use (\d+) MiB", error)
    record("C16", 1, ended.code != 71 or told is None)
    assert ended.code == 71, ended.err
    assert "Traceback" not in ended.err
    assert told is not None, error
    assert int(told[1]) > int(told[2]) == GIB >> 20
    assert list(tmp_path.glob("runs/*")) == []


def test_c17_runs_started_at_once(tmp_path):
    tries = count(4, 20)
    line = [sys.executable, "-m", "fastmlp", "train", "synthetic", "--epochs", "0", "--quiet", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) for _ in range(tries)]
    records = [json.loads(process.communicate()[0]) for process in processes]
    folders = {told["run_folder"] for told in records}
    failures = sum(process.returncode != 0 for process in processes) + tries - len(folders)
    record("C17", tries, failures)
    assert failures == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {Path(folder).name for folder in folders}
    assert all((tmp_path / told["model"]).is_file() for told in records)


def test_c18_metrics_cut_anywhere_in_the_last_line(two_checkpoints):
    folder, _, _ = two_checkpoints
    metrics = folder / "metrics.jsonl"
    content, first = metrics.read_bytes(), read_metrics(metrics)[:1]
    begin = content.index(b"\n") + 1
    cuts, failures = np.linspace(begin, len(content) - 2, count(50, 50)).astype(int), 0
    for number, cut in enumerate(cuts):
        metrics.write_bytes(content[:cut])
        failures += read_metrics(metrics) != first
        if number % 25 == 0:  # going on drops what was torn, and appends whole lines
            code = subprocess_free_run(folder.parent, "train", "--resume", folder, "--epochs", 3 + number // 25, "--quiet")
            failures += code != 0 or [epoch["epoch"] for epoch in read_metrics(metrics)] != [1, 3 + number // 25]
            failures += not metrics.read_bytes().endswith(b"}\n")
    record("C18", len(cuts), failures)
    assert failures == 0


def test_c19_second_trainer_on_one_folder(supervisor, tmp_path):
    tries, bad = count(2, 20), []
    folder = tmp_path / "run"
    child = supervisor.command(*ENDLESS)
    wait_until(lambda: has_saved(folder))
    for number in range(tries):
        files = ("manifest.json", "config.toml", "env.json", "lock")
        before = {name: (folder / name).read_bytes() for name in files}
        codes = [subprocess_free_run(tmp_path, *GO_ON), subprocess_free_run(tmp_path, *ENDLESS)]
        if codes != [75, 75] or {name: (folder / name).read_bytes() for name in files} != before:
            bad.append((number, codes))
        child.kill(signal.SIGKILL)
        child.wait()
        child = supervisor.command(*GO_ON)  # the lock is free at once
        wait_until(lambda child=child: child.has_said("going on") or child.has_said("error: "))
    child.kill(signal.SIGTERM)
    code = child.wait().code
    record("C19", tries, len(bad) + (code != 143))
    assert bad == []
    assert code == 143
