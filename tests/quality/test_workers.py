"""Workers are killed at random moments: nothing is lost, nothing is trained twice, and no bit changes."""

import os
import random
import signal
import threading
from multiprocessing import active_children

import pytest

from fastmlp.search.executors import WORKER
from fastmlp.search.ledger import Ledger, complete
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.task import Lost
from fastmlp.settings import NetworkSettings, TrainingSettings
from tests.quality.counts import count

pytestmark = pytest.mark.timeout(3600)

NETWORK = NetworkSettings(hidden=(20,))
TRAINING = TrainingSettings(epochs=40, batch_size=50, learning_rate=0.2, validation=200)


def test_killing_workers_loses_nothing(mnist, tmp_path):
    data, kills = mnist.first_rows(2000, 300), count(1, 10)
    tasks = repeat_tasks(NETWORK, TRAINING, 12 * kills)
    chance, killed, ended = random.Random(kills), [], threading.Event()

    def kill():
        while len(killed) < kills and not ended.wait(chance.uniform(0.0, 2.0)):
            workers = [child for child in active_children() if child.name == WORKER and child.pid not in killed]
            if workers:
                killed.append(chance.choice(workers).pid)
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    there, here = Ledger(tmp_path / "models.jsonl"), Ledger()
    try:
        lost = [event for event in complete(tasks, data, there, executor="processes:2") if isinstance(event, Lost)]
    finally:
        ended.set()
        killer.join()
    assert len(killed) == kills
    assert 1 <= len(lost) <= kills
    assert all(f"process {pid} ended by SIGKILL" in str(lost) for pid in killed[: len(lost) - 1])
    assert len((tmp_path / "models.jsonl").read_text().splitlines()) == len(tasks)
    list(complete(tasks, data, here))
    for mine, its in zip(here.of(tasks), there.of(tasks), strict=True):
        assert (its["validation"], its["history"]["train_loss"]) == (mine["validation"], mine["history"]["train_loss"])
