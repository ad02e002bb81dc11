"""Teams of threads: all run at once, meet at barriers, and stop without hanging, whatever happens around them."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import machine
from fastmlp.compilation import options
from fastmlp.engines import tiled
from fastmlp.engines.threads import Block, Team, ThreadChoice, new_shared
from fastmlp.kernels.step import STOP, wait_for_all
from fastmlp.kernels.textbook_step import ROWS
from fastmlp.kernels.updates import Rates
from fastmlp.kernels.vectors import give_way, look
from tests.kernels.processes import result_of
from tests.kernels.test_textbook_step import Job
from tests.kernels.tiled_training import STEPS, run, steps_of, tiled_program

pytestmark = [
    pytest.mark.skipif(not options.JIT, reason="interpreted, one thread does all shares"),
    pytest.mark.timeout(600),  # a team that hangs is the failure looked for
]

JOB = Job([100, 90, 40, 3], ["relu", "tanh"], "cross_entropy", rows=200, batch_size=50, learning_rate=0.01)
LONG = 2_000_000  # rows of a run that no test waits for


@pytest.fixture
def two_threads(monkeypatch):
    """Give every network two threads, whatever its size and however many cores there are."""
    share_every_network(monkeypatch.setattr)


def share_every_network(setattr):
    setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    setattr(machine, "usable_cores", lambda: 2)


def long_run(last=LONG, rows=LONG):
    """Return steps over the same few rows again and again."""
    rates = np.zeros((rows // JOB.batch_size, len(Rates._fields)), np.float32)
    rates[:, 0] = JOB.learning_rate
    return steps_of(JOB, "float32", order=np.arange(rows) % JOB.rows, last=last, rates=rates)


@contextlib.contextmanager
def interrupted(*after, error=KeyboardInterrupt):
    """Raise an error in the main thread after some times in seconds, as Ctrl-C does, by another signal."""

    def raise_error(number, frame):
        raise error

    before = signal.signal(signal.SIGUSR1, raise_error)
    timers = [threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1)) for seconds in after]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        for timer in timers:
            timer.cancel()
            timer.join()
        signal.signal(signal.SIGUSR1, before)


def threads_of_teams():
    return {thread for thread in threading.enumerate() if thread.name.startswith("fastmlp")}


# --- running -------------------------------------------------------------------------------------------------------------


@numba.njit(nogil=True)
def phases_together(shared, slots, phases, thread, threads):
    """Write a slot, meet, read all slots, meet, and so on; return in how many phases all slots were there."""
    arrived, right = 0, 0
    for phase in range(1, phases + 1):
        slots[thread] = phase
        arrived += threads
        wait_for_all(shared, arrived)
        complete = True
        for other in range(threads):
            complete = complete and slots[other] == phase
        right += complete
        arrived += threads
        wait_for_all(shared, arrived)
    return right


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_all_threads_see_at_a_barrier_what_each_did_before_it(threads):
    shared, slots, right = new_shared(), np.zeros(threads, np.int64), np.zeros(threads, np.int64)

    def work(thread):
        right[thread] = phases_together(shared, slots, 100, thread, threads)
        return 0

    Team(threads).run(work, shared)
    assert right.tolist() == [100] * threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_thread_works_once_and_the_first_one_answers(threads):
    worked = []

    def work(thread):
        worked.append(thread)
        return 10 + thread

    assert Team(threads).run(work, new_shared()) == 10
    assert sorted(worked) == list(range(threads))


@pytest.mark.parametrize("threads", [1, 2])
def test_no_work_is_done_in_the_thread_of_the_caller(threads):
    found = []
    Team(threads).run(lambda thread: found.append(threading.get_ident()) or 0, new_shared())
    assert len(found) == threads
    assert threading.get_ident() not in found  # where an interrupt could fall into it


def test_a_run_starts_with_a_clean_slate():
    shared = new_shared()
    shared[:] = 7
    Team(2).run(lambda thread: 0, shared)
    assert not shared.any()


def test_an_error_of_the_first_thread_is_raised():
    def work(thread):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Team(2).run(work, new_shared())


def test_threads_are_started_once_and_end_with_the_team():
    before, team, shared, slots = threads_of_teams(), Team(2), new_shared(), np.zeros(2, np.int64)
    assert threads_of_teams() == before
    found = []
    for _ in range(10):
        team.run(lambda thread: phases_together(shared, slots, 1, thread, 2), shared)
        found.append(threads_of_teams() - before)
    assert [len(threads) for threads in found] == [2] * 10
    assert len(set.union(*found)) == 2
    del team
    gc.collect()
    while threads_of_teams() & found[0]:  # or else the limit of this file
        time.sleep(0.01)


# --- interrupts ----------------------------------------------------------------------------------------------------------


@numba.njit(nogil=True)
def until_told_to_stop(shared):
    while look(shared, STOP) == 0:
        give_way()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, SystemExit])
def test_an_interrupt_tells_the_threads_to_stop_and_waits_for_them(error):
    shared, ended = new_shared(), []

    def work(thread):
        until_told_to_stop(shared)
        time.sleep(0.1)
        ended.append(thread)
        return 0

    with pytest.raises(error), interrupted(0.05, error=error):
        Team(2).run(work, shared)
    assert sorted(ended) == [0, 1]


def test_a_second_interrupt_waits_for_the_threads_too():
    shared, ended = new_shared(), []

    def work(thread):
        until_told_to_stop(shared)
        time.sleep(0.5)
        ended.append(thread)
        return 0

    with pytest.raises(KeyboardInterrupt), interrupted(0.05, 0.2):
        Team(2).run(work, shared)
    assert sorted(ended) == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_an_interrupted_training_stops_after_a_step_and_holds_every_step_taken(error, two_threads):
    program = tiled_program(JOB, "float32")
    assert program.threads == 2
    program.train(long_run(last=0))
    for seconds in (0.1, 1.0, 10.0):  # a busy machine may not have begun
        steps = long_run()
        with pytest.raises(error), interrupted(seconds, error=error):
            program.train(steps)
        reached = int(steps.total[ROWS])
        if reached:
            break
    assert 0 < reached < LONG
    assert reached % JOB.batch_size == 0
    expected = run(tiled_program(JOB, "float32"), long_run(last=reached))
    np.testing.assert_array_equal(steps.parameters, expected.parameters)
    np.testing.assert_array_equal(steps.total, expected.total)


def test_an_interrupted_program_trains_on_like_a_new_one(two_threads):
    program, steps = tiled_program(JOB, "float32"), long_run()
    with pytest.raises(KeyboardInterrupt), interrupted(0.1):
        program.train(steps)
    again = run(program, steps_of(JOB, "float32"))
    np.testing.assert_array_equal(again.parameters, run(tiled_program(JOB, "float32"), steps_of(JOB, "float32")).parameters)


def test_an_interrupt_while_the_parameters_are_written_back_leaves_them_whole(two_threads, monkeypatch):
    program, steps = tiled_program(JOB, "float32"), steps_of(JOB, "float32")
    expected = run(tiled_program(JOB, "float32"), steps_of(JOB, "float32"))
    unpack, half = program._layout.unpack, steps.parameters.size // 2

    def slow_unpack(vector, copy, thread, threads):
        if thread > 0:  # the first one does it all
            return
        kept = vector[half:].copy()
        unpack(vector, copy)
        written, vector[half:] = vector[half:].copy(), kept
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        time.sleep(0.1)
        vector[half:] = written

    program.train(steps._replace(last=0))
    monkeypatch.setattr(program._layout, "unpack", slow_unpack)
    with pytest.raises(KeyboardInterrupt), interrupted():
        program.train(steps)
    np.testing.assert_array_equal(steps.parameters, expected.parameters)


def test_an_interrupted_trainer_goes_on_to_the_same_bits(two_threads):
    def trainer():
        generator = np.random.default_rng(0)
        settings = fastmlp.TrainingSettings(epochs=1, batch_size=20, optimizer="adam", learning_rate=0.001)
        x, y = generator.standard_normal((150_000, 20)), generator.integers(0, 3, 150_000)
        return fastmlp.Trainer(fastmlp.make_plan(fastmlp.Network([20, 40, 3]), x, y, settings))

    whole, cut = trainer(), trainer()
    list(whole.run())
    interrupts = 0
    while cut.epoch == 0:
        try:
            with interrupted(0.03):
                list(cut.run())
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 0
    assert cut.steps == whole.steps
    np.testing.assert_array_equal(cut.network.parameters, whole.network.parameters)


# --- whatever happens around a team --------------------------------------------------------------------------------------


def test_two_teams_work_at_once(two_threads):
    expected = run(tiled_program(JOB, "float32"), long_run(20_000, 20_000))
    programs = [tiled_program(JOB, "float32") for _ in range(3)]
    found = {}

    def train(number):
        for _ in range(3):
            found[number] = run(programs[number], long_run(20_000, 20_000))

    callers = [threading.Thread(target=train, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for trained in found.values():
        np.testing.assert_array_equal(trained.parameters, expected.parameters)
    assert len(found) == 3


def test_a_team_ends_its_work_beside_busy_processes(two_threads):
    expected = run(tiled_program(JOB, "float32"), long_run(5000, 5000))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        found = run(tiled_program(JOB, "float32"), long_run(5000, 5000))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    np.testing.assert_array_equal(found.parameters, expected.parameters)


# In processes of their own: where they hang, so does the end of the process.
PREPARED = """
import json, os, signal, threading, time
import numpy as np
from tests.kernels.test_team import JOB, interrupted, long_run, share_every_network
from tests.kernels.tiled_training import STEPS, run, steps_of, tiled_program

share_every_network(setattr)
expected = run(tiled_program(JOB, "float32"), steps_of(JOB, "float32")).parameters

def trains_alike(program):
    return bool((run(program, steps_of(JOB, "float32")).parameters == expected).all())
"""

FORKING = """
def in_child(program):
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        os._exit(0 if trains_alike(program) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

program, never_run = tiled_program(JOB, "float32"), tiled_program(JOB, "float32")
assert trains_alike(program)
codes = {"after a run": in_child(program), "before a run": in_child(never_run)}
running = threading.Thread(target=run, args=(program, long_run(200_000)))
running.start()
time.sleep(0.02)
codes["while another thread trains"] = in_child(never_run)
running.join()
codes["in the parent, after that"] = 0 if trains_alike(program) and trains_alike(never_run) else 1
print(json.dumps(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_team_of_its_own():
    codes = result_of(PREPARED + FORKING)
    assert len(codes) == 4
    assert set(codes.values()) == {0}


MANY_INTERRUPTS = """
program, steps = tiled_program(JOB, "float32"), long_run()
program.train(steps._replace(last=0))
caught = 0
for number in range(20):
    try:
        with interrupted(0.02 + 0.001 * number):
            program.train(steps)
    except KeyboardInterrupt:
        caught += 1
print(json.dumps([caught, bool(np.isfinite(steps.parameters).all()), trains_alike(program)]))
"""


def test_many_interrupts_never_leave_a_thread_at_a_barrier():
    assert result_of(PREPARED + MANY_INTERRUPTS) == [20, True, True]


# An interrupt falls into the thread of the caller, which starts the first thread only.
THREADS_THAT_CANNOT_START = """
start, found = threading.Thread.start, []
for error, number in ((RuntimeError, 1), (RuntimeError, 2), (KeyboardInterrupt, 1)):
    program, steps, started = tiled_program(JOB, "float32"), steps_of(JOB, "float32"), []
    before = steps.parameters.copy()

    def start_some(thread):
        started.append(thread)
        if len(started) == number:
            raise error
        start(thread)

    threading.Thread.start = start_some
    try:
        program.train(steps)
        ended = "trained"
    except BaseException as raised:
        ended = type(raised).__name__
    threading.Thread.start = start
    found.append([ended, trains_alike(program), bool((steps.parameters == before).all())])
print(json.dumps(found), flush=True)
"""


def test_a_thread_that_cannot_start_leaves_nothing_waiting_and_nothing_trained():
    found = result_of(PREPARED + THREADS_THAT_CANNOT_START)
    assert found == [[error, True, True] for error in ("RuntimeError", "RuntimeError", "KeyboardInterrupt")]


# --- how many threads ----------------------------------------------------------------------------------------------------


def chosen(choice, blocks, seconds_by_threads, processor_share):
    """Return the threads that each of some blocks of 1,000 rows is given, where it takes so long by so many."""
    found = []
    for _ in range(blocks):
        found.append(choice.threads)
        seconds = seconds_by_threads[choice.threads]
        choice.note(Block(1000, seconds, processor_share * choice.threads * seconds))
    return found


def test_a_team_that_gets_its_processors_keeps_all_threads():
    assert chosen(ThreadChoice(2), 100, {1: 0.01, 2: 0.1}, processor_share=0.99) == [2] * 100


@pytest.mark.parametrize(("faster", "seconds"), [(1, {1: 0.05, 2: 0.3}), (2, {1: 0.3, 2: 0.25})])
def test_a_disturbed_team_goes_on_by_the_threads_that_are_faster_and_rarely_tries_the_others(faster, seconds):
    found = chosen(ThreadChoice(2), 300, seconds, processor_share=0.5)
    assert found[2:5] == [faster] * 3
    assert found.count(faster) >= 285


def test_a_team_takes_all_threads_again_when_nobody_disturbs_it():
    choice = ThreadChoice(2)
    chosen(choice, 20, {1: 0.05, 2: 0.3}, processor_share=0.5)
    assert chosen(choice, 100, {1: 0.1, 2: 0.05}, processor_share=0.99)[-30:] == [2] * 30


def test_where_one_thread_gets_no_processor_of_its_own_the_others_are_not_tried_again():
    assert chosen(ThreadChoice(2), 300, {1: 0.05, 2: 0.3}, processor_share=0.5) == [2] + [1] * 299


def test_short_blocks_are_told_by_what_they_take_together():
    found = chosen(ThreadChoice(2), 300, {1: 0.001, 2: 0.004}, processor_share=0.5)
    assert found[:4] == [2] * 4  # 20 ms are enough to tell
    assert found.count(1) >= 250


def test_a_short_run_ends_in_the_thread_that_asks_for_it_with_the_bits_of_a_team(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 500_000)
    before, here = threads_of_teams(), run(tiled_program(JOB, "float32"), steps_of(JOB, "float32"))
    assert threads_of_teams() == before
    monkeypatch.setattr(tiled, "TEAM_STEPS", 0)
    program = tiled_program(JOB, "float32")
    there = run(program, steps_of(JOB, "float32"))
    assert threads_of_teams() != before
    np.testing.assert_array_equal(here.parameters, there.parameters)
    np.testing.assert_array_equal(here.total, there.total)


def test_a_small_network_trains_and_predicts_without_a_team(monkeypatch):
    def run(*arguments):
        raise AssertionError("a team")

    monkeypatch.setattr(Team, "run", run)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((1000, 20)), generator.integers(0, 3, 1000)
    net = fastmlp.Network([20, 40, 3])
    fastmlp.train(net, x, y, epochs=2, batch_size=100, validation=200)
    assert 0 <= net.evaluate(x, y)["accuracy"] <= 1


def test_the_number_of_threads_of_each_block_changes_no_bit(two_threads):
    found = []
    for numbers in ([2, 2, 2, 2], [1, 2, 1, 2]):
        program, steps = tiled_program(JOB, "float32"), steps_of(JOB, "float32")
        for first, threads in zip(range(0, JOB.rows, JOB.batch_size), numbers, strict=True):
            program._choice.threads = threads
            program.train(steps._replace(first=first, last=first + JOB.batch_size))
        found.append(steps.parameters)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("update", STEPS)
def test_a_run_that_goes_on_takes_the_steps_that_it_would_take_anew(update, two_threads):
    found = []
    for goes_on in (False, True):
        program, steps = tiled_program(JOB, "float32", update=update), steps_of(JOB, "float32", rule=STEPS[update])
        for first in range(0, JOB.rows, JOB.batch_size):
            program.train(steps._replace(first=first, last=first + JOB.batch_size, goes_on=goes_on and first > 0))
        found.append(np.concatenate([steps.parameters, steps.m_state, steps.v_state]))
    np.testing.assert_array_equal(*found)


def test_weights_that_a_callback_writes_within_an_epoch_are_trained_on(two_threads, monkeypatch):
    class Clear:
        blocks = 0

        def on_steps_end(self, network, progress):
            self.blocks += 1
            if self.blocks == 1:
                network.parameters[:] = 0

    monkeypatch.setattr(tiled, "TEAM_STEPS", 0)
    generator, clear = np.random.default_rng(0), Clear()
    x, y = generator.standard_normal((1000, 20)), generator.integers(0, 3, 1000)
    net = fastmlp.Network([20, 200, 3])
    fastmlp.train(net, x, y, epochs=1, batch_size=100, learning_rate=1e-9, callbacks=[clear])
    assert clear.blocks > 1
    assert np.abs(net.parameters).max() < 1e-6
