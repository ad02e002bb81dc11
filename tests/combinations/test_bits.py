"""Random combinations of all settings give the same bits on any number of threads, and wherever they are cut."""

import copy

import pytest

import fastmlp
from fastmlp import machine
from fastmlp.engines import tiled
from fastmlp.training import saving
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer
from tests.combinations import cases
from tests.quality.counts import count, recorded

COUNT = count(40, 400)


def bits(net, state):
    """Return what a training comes to, as bytes: the network's numbers, and those that it would go on from."""
    raw = net.parameters if state.weights is None else state.weights
    return net.parameters.tobytes(), net.running_stats.tobytes(), raw.tobytes()


def trainer_of(case, net, resume=None):
    settings = fastmlp.TrainingSettings(**cases.settings_of(case))
    return Trainer(make_plan(net, case.x, case.y, settings, case.validation, resume, case.sample_weight, case.class_weight))


def after_all_epochs(trainer):
    for _ in trainer.run():
        pass
    return bits(trainer.network, trainer.state())


@pytest.mark.parametrize("number", range(COUNT))
def test_shares_and_threads_change_no_bit(number, monkeypatch):
    monkeypatch.setattr(tiled, "TEAM_MULTIPLY_ADDS", 0)
    case, found = cases.first_draw(number), set()
    for threads, cores in ((1, 1), (2, 2), (3, 2), (7, 3)):
        monkeypatch.setattr(machine, "usable_cores", lambda cores=cores: cores)
        net, history = cases.by_fastmlp(case, threads=threads)
        found.add(bits(net, history.state))
    with recorded("N10"):
        assert len(found) == 1


@pytest.mark.parametrize("number", range(COUNT))
def test_a_checkpoint_at_any_step_goes_on_to_the_same_bits(number, tmp_path):
    case = cases.first_draw(number)
    net = cases.network_of(case)
    trainer = trainer_of(case, copy.deepcopy(net))
    for _ in range(number % (trainer.epoch_steps * case.settings["epochs"])):
        trainer.step()
    saved = saving.unpack(tmp_path, saving.pack(trainer.network, trainer.settings, trainer.state(), {}))
    resumed = after_all_epochs(trainer_of(case, saved.network, saved.state))
    with recorded("N10"):
        assert resumed == after_all_epochs(trainer_of(case, net))
