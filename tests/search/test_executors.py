"""Workers train what this process would train: the same bits, whatever happens to them."""

import json
import multiprocessing.connection
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError, DataError, InputNotFound, MissingExtra, TrainingError
from fastmlp.search import executors
from fastmlp.search.bank import train_bank
from fastmlp.search.cross_validation import cv_tasks
from fastmlp.search.executors import MOST_LOSSES, Ended, Loss, WorkerLost, opened, run
from fastmlp.search.ledger import Ledger, complete
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.sources import load, source_of
from fastmlp.search.sweep import grid, run_sweep
from fastmlp.search.task import Trained
from fastmlp.search.worker import Job, program, work
from fastmlp.settings import NetworkSettings, TrainingSettings

ROOT = Path(__file__).parents[2]
NETWORK = NetworkSettings(hidden=(20,))
BASE = TrainingSettings(epochs=1, batch_size=50, learning_rate=0.2, validation=200)


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.first_rows(2000, 300)


def table(y=None):
    x = np.random.default_rng(0).standard_normal((60, 4))
    y = np.arange(60) % 3 if y is None else y
    return Dataset("mine", x, y, x[:9], y[:9], kind="table", target_kind="classes", class_names=("a", "b", "c"))


def trained(tasks, data, **where):
    return {event.task.key: event for event in train_bank(tasks, data, **where) if isinstance(event, Trained)}


def same(models, others):
    assert models.keys() == others.keys()
    return all(models[key].network.parameters.tobytes() == others[key].network.parameters.tobytes() for key in models)


# --- data: named or in files, never sent ----------------------------------------------------------------------------------


def test_a_job_names_its_rows_and_holds_none(mnist, tmp_path):
    tasks = cv_tasks(NETWORK, BASE.replace(validation=0), mnist, 10)
    assert len(pickle.dumps(Job(program(), source_of(mnist, tmp_path), tuple(tasks[:1]), 1))) < 5000
    assert list(tmp_path.iterdir()) == []


def test_a_job_is_read_before_numba_starts(mnist, tmp_path):
    job = Job(program(), source_of(mnist.first_rows(500, 10), tmp_path), tuple(repeat_tasks(NETWORK, BASE, 1)), 2)
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    code = f"""
import pickle, sys
job = pickle.load(open({str(tmp_path / "job")!r}, "rb"))
from fastmlp.search.worker import work
before = "numba" in sys.modules
finished = work(job, 0)
import numba
print(before, len(finished.models), numba.config.NUMBA_NUM_THREADS)
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert out == "False 1 2\n"


def test_rows_without_a_name_are_written_once_and_read_back(tmp_path):
    data = table()
    source = source_of(data, tmp_path)
    [folder] = tmp_path.iterdir()
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert source_of(data, tmp_path) == source
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    for mine, its in zip(data.arrays(), load(source).arrays(), strict=True):
        np.testing.assert_array_equal(mine, its)
        assert mine.dtype == its.dtype
    assert data.test_openings == []


def test_other_rows_under_a_known_name_are_refused(mnist, tmp_path):
    rows = mnist.x_train[:100].copy()
    rows[0, 0, 0] ^= 1
    changed = Dataset(
        "mnist", rows, mnist.y_train[:100], rows[:9], mnist.y_train[:9], kind="image", target_kind="classes", image_shape=(28, 28)
    )
    with pytest.raises(DataError, match="give changed data another name"):
        load(source_of(changed, tmp_path))


def test_objects_are_refused_and_nothing_is_written(tmp_path):
    x = np.zeros((3, 2))
    data = Dataset(
        "mine", x, np.array(["a", None, "b"], object), x, np.array(["a", None, "b"], object), kind="table", target_kind="classes"
    )
    with pytest.raises(DataError, match="y_train: expected numbers or text"):
        source_of(data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_see_the_files_says_which_folder_it_needs(tmp_path):
    source = source_of(table(), tmp_path)._replace(folder=str(tmp_path / "elsewhere"))
    with pytest.raises(InputNotFound, match="name a folder that all workers can read: shared_dir"):
        load(source)


# --- workers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fastmlp", "sources", "numba"])
def test_a_worker_of_another_version_refuses(digits, tmp_path, name):
    job = Job({**program(), name: "0.0.1"}, source_of(digits, tmp_path), tuple(repeat_tasks(NETWORK, BASE, 1)), 1)
    error = work(job, 0)
    assert isinstance(error, ConfigError)
    assert f"expected {name} 0.0.1, got {program()[name]}" in str(error)


def test_an_error_of_a_worker_is_the_error_here(digits):
    def broken(network):
        if threading.current_thread() is not threading.main_thread() and threading.current_thread().name.startswith("fastmlp-bank"):
            raise RuntimeError("unforeseen")

    with ThreadPoolExecutor(1) as pool, pytest.raises(Exception, match="a worker on .* failed: RuntimeError: unforeseen"):
        trained([repeat_tasks(NETWORK, BASE, 1)[0]._replace(start=broken)], digits, executor=pool)


def test_arrays_given_in_memory_have_the_same_bits_at_a_worker():
    tasks = repeat_tasks(NETWORK, BASE.replace(validation=12), 3)
    with ThreadPoolExecutor(2) as pool:
        assert same(trained(tasks, table()), trained(tasks, table(), executor=pool, cores=2))


def test_finished_models_are_not_sent(digits, tmp_path):
    tasks = repeat_tasks(NETWORK, BASE, 2)
    ledger = Ledger(tmp_path / "models.jsonl")
    list(complete(tasks[:1], digits, ledger))
    sent = []

    class Spy(ThreadPoolExecutor):
        def submit(self, function, job, attempt):
            sent.extend(task.key for task in job.tasks)
            return super().submit(function, job, attempt)

    with Spy(1) as pool:
        list(complete(tasks, digits, ledger, executor=pool))
    assert sent == [tasks[1].key]


def test_a_model_is_in_the_ledger_before_the_others_end(digits, tmp_path):
    path = tmp_path / "models.jsonl"
    tasks = repeat_tasks(NETWORK, BASE, 3)
    with ThreadPoolExecutor(1) as pool:
        events = complete(tasks, digits, Ledger(path), executor=pool)
        first = next(event for event in events if isinstance(event, Trained))
        assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [first.task.key]
        events.close()
    assert {event.task.key for event in complete(tasks, digits, Ledger(path)) if isinstance(event, Trained)} == {
        task.key for task in tasks
    } - {first.task.key}


def test_a_sweep_by_halves_is_ranked_as_it_is_here(digits):
    def result_of(**where):
        events = run_sweep(
            NETWORK, BASE.replace(epochs=2), grid({"learning_rate": [0.01, 0.1, 0.3, 1.0]}), 2, True, digits, Ledger(), **where
        )
        while True:
            try:
                next(events)
            except StopIteration as end:
                return [ranked._replace(seconds=None) for ranked in end.value.ranked]

    with ThreadPoolExecutor(2) as pool:
        assert result_of(executor=pool, cores=2) == result_of()


# --- what can go wrong between here and there -----------------------------------------------------------------------------


class Scripted:
    """An executor whose futures are what was written down, call by call; then the call's value."""

    def __init__(self, *script):
        self.script, self.calls = list(script), []

    def submit(self, function, *arguments):
        self.calls.append(arguments)
        future = Future()
        error = self.script.pop(0) if self.script else None
        if error is None:
            future.set_result(function(*arguments))
        elif isinstance(error, RuntimeError) and not isinstance(error, WorkerLost):
            raise error
        else:
            future.set_exception(error)
        return future


def double(number, attempt):
    return 2 * number


def test_what_is_lost_is_submitted_again_as_another_call():
    executor = Scripted(None, WorkerLost("process 7 ended by SIGKILL"), ConnectionResetError("gone"))
    events = list(run(executor, double, [1, 2]))
    assert [event for event in events if isinstance(event, Loss)] == [
        Loss(1, "WorkerLost: process 7 ended by SIGKILL"), Loss(1, "ConnectionResetError: gone"),
    ]  # fmt: skip
    assert sorted(event for event in events if isinstance(event, Ended)) == [Ended(0, 2), Ended(1, 4)]
    assert executor.calls == [(1, 0), (2, 0), (2, 1), (2, 2)]


def test_what_is_always_lost_ends_with_an_error():
    executor = Scripted(*[WorkerLost("process 7 ended by SIGKILL")] * 100)
    with pytest.raises(TrainingError, match="lost 12 times with their workers .*SIGKILL.*enough memory"):
        list(run(executor, double, [1]))
    assert len(executor.calls) == MOST_LOSSES


def test_what_cannot_be_sent_is_not_tried_again():
    executor = Scripted(pickle.PicklingError("a lambda"))
    with pytest.raises(TrainingError, match="a worker could not take its models, .*PicklingError: a lambda"):
        list(run(executor, double, [1]))
    assert len(executor.calls) == 1


def test_an_executor_that_takes_no_work_says_how_to_go_on():
    with pytest.raises(TrainingError, match="takes no more work .*cannot schedule.*go on with a new one"):
        list(run(Scripted(RuntimeError("cannot schedule new futures after shutdown")), double, [1]))


def test_closing_cancels_what_waits():
    futures = [Future(), Future()]
    executor = Scripted()
    executor.submit = lambda *given: futures[len(executor.calls) - 1] if not executor.calls.append(given) else None
    events = run(executor, double, [1, 2])
    futures[0].set_result(2)
    assert next(events) == Ended(0, 2)
    events.close()
    assert futures[1].cancelled()


class Started:
    """What stands for a process: a thread that serves the other end of the pipe, or nothing, where it ends with a code while it starts."""

    def __init__(self, pid, code):
        self.pid, self.exitcode, self.killed = pid, code, False

    def start(self):
        if self.exitcode is None:
            self.pipe = multiprocessing.connection.Connection(os.dup(self.its_end.fileno()))
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            executors._serve(self.pipe)
        except SystemExit as error:
            self.exitcode = error.code
        self.pipe.close()

    def kill(self):
        self.killed = True

    def join(self):
        pass


@pytest.fixture
def processes(monkeypatch):
    """Make Processes of which those that are started do what is told: serve calls (None), or end with a code while they start."""
    opened_here = []

    def made(count, *codes):
        started = [Started(pid, code) for pid, code in enumerate(codes, 1)]
        left = iter(started)

        def process(target, args, **named):
            one = next(left)
            [one.its_end] = args
            return one

        context = types.SimpleNamespace(Pipe=multiprocessing.Pipe, Process=process)
        monkeypatch.setattr(executors.multiprocessing, "get_context", lambda kind: context)
        opened_here.append(executors.Processes(count))
        return opened_here[0], started

    yield made
    for each in opened_here:
        each.close()


def test_a_process_that_dies_costs_its_own_call_and_is_replaced(processes):
    executor, started = processes(1, None, None)
    assert [executor.submit(double, number, 0).result() for number in (1, 2)] == [2, 4]
    with pytest.raises(WorkerLost, match="process 1 ended with code 3"):
        executor.submit(sys.exit, 3).result()
    assert executor.submit(double, 3, 0).result() == 6
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
    assert executor.submit(double, 4, 0).result() == 8
    executor.close()
    assert started[1].killed


def test_a_first_process_that_ends_by_itself_tells_of_the_guard_and_no_other_is_started(processes):
    executor, _ = processes(1, 1, None)
    with pytest.raises(ConfigError, match="__main__"):
        executor.submit(double, 1, 0).result()
    with pytest.raises(WorkerLost, match="closed"):
        executor.submit(double, 1, 0).result()


@pytest.mark.parametrize(("codes", "how"), [((-9,), "process 1 ended by SIGKILL"), ((None, 1), "process 2 ended with code 1")])
def test_a_process_that_is_killed_while_it_starts_or_ends_later_is_lost_as_any_other(processes, codes, how):
    executor, _ = processes(1, *codes, None)
    if codes[0] is None:
        executor.submit(double, 1, 0).result()
        with pytest.raises(WorkerLost):
            executor.submit(sys.exit, 3).result()
    with pytest.raises(WorkerLost, match=how):
        executor.submit(double, 1, 0).result()
    assert executor.submit(double, 2, 0).result() == 4


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("processes:0", "expected processes:N with a number of processes"), ("processes:two", "got 'processes:two'"),
        ("processes", "for example processes:4"), ("threads:2", "expected processes:N, dask:tcp://HOST:PORT, got 'threads:2'"),
        ("dask:", "expected processes:N"), (7, "or an object with submit"),
    ],
)  # fmt: skip
def test_what_is_no_executor_is_refused(executor, message):
    with pytest.raises(ConfigError, match=message), opened(executor):
        pass


def test_dask_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fastmlp\[cluster\]'"), opened("dask:tcp://127.0.0.1:1"):
        pass


# --- real engines ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("engine", ["processes:2", "pool", "loky", "dask"])
def test_every_engine_gives_the_bits_of_one_process(engine):
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.engines", engine], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    runs = 1 if engine in ("pool", "loky") else 2
    assert json.loads(done.stdout) == {"models": 4, "same": [True] * runs, "opened": 1 + runs}


@pytest.mark.long
def test_the_code_of_the_page_runs(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "search.md").read_text(), re.DOTALL)
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sorted(line[:2] for line in lines) == [[f"learning_rate={rate}", f"seed={seed}"] for rate in (0.05, 0.2) for seed in range(3)]
    assert all(float(line[-1]) > 0.5 for line in lines)


SCRIPT = """
import sys
import fastmlp
from fastmlp.search.bank import train_bank
from fastmlp.search.repeat import repeat_tasks
from fastmlp.settings import NetworkSettings, TrainingSettings

def main():
    data = fastmlp.load_dataset("synthetic").first_rows(500, 10)
    settings = TrainingSettings(epochs={epochs}, batch_size=50, learning_rate=0.2, validation=100)
    for event in train_bank(repeat_tasks(NetworkSettings(hidden=(3,)), settings, 3), data, executor="processes:2"):
        print("event", flush=True)

"""


@pytest.mark.long
def test_a_script_without_its_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(epochs=1) + "main()\n")
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"fastmlp.errors.ConfigError: {executors.GUARD}"
    assert "Lost" not in done.stdout


INTERRUPTED = """
import os, signal
from fastmlp.search.executors import Processes

executor = Processes(2)
first = {executor.submit(os.getpid).result() for _ in range(20)}
for process in first:
    os.kill(process, signal.SIGINT)
    os.kill(process, signal.SIGHUP)
print({executor.submit(os.getpid).result() for _ in range(20)} == first)
executor.close()
"""


def test_an_interrupt_of_the_terminal_leaves_the_processes_to_the_one_that_started_them():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.long
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(tmp_path, ending):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(epochs=1_000_000) + 'if __name__ == "__main__":\n    main()\n')
    process = subprocess.Popen(
        [sys.executable, script], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # the shell of a test may have switched it off
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while len(workers := of_session(process.pid) - {process.pid}) < 3 and time.monotonic() < deadline:  # two, and their tracker
            time.sleep(0.1)
        time.sleep(3)  # the models are under way
        assert len(workers) == 3
        if ending == signal.SIGINT:
            os.killpg(process.pid, ending)  # as a terminal does
        else:
            process.send_signal(ending)
        stderr = process.communicate(timeout=300)[1]
        if ending == signal.SIGINT:
            assert stderr.count("Traceback") == 1, stderr  # that of the script: its workers say nothing
            assert stderr.splitlines()[-1] == "KeyboardInterrupt"
        deadline = time.monotonic() + 300
        while of_session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert of_session(process.pid) == set()
    finally:
        if of_session(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def of_session(session):
    """The processes of a session that have not ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its) == session and state != "Z":
            found.add(int(path.parent.name))
    return found
