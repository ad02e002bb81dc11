"""A state that cannot be that of a training is refused, names its field, and changes nothing: no field of it is believed."""

import ast
import inspect
import pickle
import traceback

import numpy as np
import pytest

from fastmlp import ConfigError, DataError, Network, OnlineTrainer, TrainingSettings, TrainingState
from fastmlp.training import resuming
from fastmlp.training.plan import make_plan
from fastmlp.training.state import Plateau

GENERATOR = np.random.default_rng(0)
ROWS, BATCH = 40, 10
X = GENERATOR.random((ROWS, 4)).astype(np.float32)
Y = np.arange(ROWS) % 3
SIZE, STATS = 48, 10  # parameters and running statistics of the network below


def network():
    return Network([4, 5, 3], normalization="batch", seed=1)


def sound(**changes):
    """Return a state after two epochs and two batches of Adam with all that a state may hold."""
    vector, stats = np.full(SIZE, 0.5, np.float32), np.full(STATS, 1.0, np.float32)
    pairs = np.ones((2, 3, SIZE))
    state = TrainingState(
        epoch=2, row=20, steps=10, total=(12.0, 7.0, 20.0, 20.0), seconds=0.5, earlier_seconds=1.5, m=vector, v=vector, best_epoch=1,
        best_value=0.7, validation_accuracy=0.5, weights=vector, best_weights=vector, average=vector.astype(np.float64), averaged=1,
        plateau=Plateau(0.1, 0.6, 2), pairs=pairs, converged=False, running_stats=stats, best_running_stats=stats,
        optimizer="adam",
    )  # fmt: skip
    return state._replace(**changes)


def plan(net, state, **settings):
    given = {"optimizer": "adam", "batch_size": BATCH, "average": "swa", "restore_best": True, **settings}
    return make_plan(net, X, Y, TrainingSettings(**given), validation=(X, Y), resume=state)


NUMBERS = (-1, float("nan"), float("inf"), None, "a", True, 2**60, [1], np.zeros(2), 1 + 2j)
ARRAYS = [
    np.zeros(3, np.float32),
    np.zeros((1, SIZE), np.float32),
    np.zeros(SIZE, int),
    np.full(SIZE, np.nan, np.float32),
    "a",
    [0.5] * SIZE,
    3,
]
STATISTICS = [np.zeros(3, np.float32), np.full(STATS, -1.0, np.float32), np.zeros(STATS), np.full(STATS, np.inf, np.float32), "a"]
HOSTILE = {
    "epoch": [*NUMBERS, 0.5, 3],
    "row": [*NUMBERS, 0.5, 5, ROWS + BATCH],
    "steps": [*NUMBERS, 0.5, 9, 0],
    "total": [(), None, (1.0,) * 3, (float("nan"), 7.0, 20.0, 20.0), (12.0, 7.0, 20.0, 10.0),
              (12.0, -1.0, 20.0, 20.0), (12.0, 21.0, 20.0, 20.0), "abcd"],
    "seconds": NUMBERS[:6],
    "earlier_seconds": NUMBERS[:6],
    "m": [*ARRAYS, np.full(SIZE, 0.5), None],
    "v": [*ARRAYS, np.full(SIZE, -0.5, np.float32), None],
    "best_epoch": [*NUMBERS, 3, 0],
    "best_value": [float("nan"), float("inf"), "a", None, True],
    "validation_accuracy": [-0.1, 1.1, float("nan"), "a", True],
    "weights": ARRAYS,
    "best_weights": [*ARRAYS, None],
    "average": [*ARRAYS[:2], *ARRAYS[3:], None],
    "averaged": [*NUMBERS, 3, 0],
    "plateau": [None, (1.0, None, 0), Plateau(-1.0), Plateau(float("nan")), Plateau(1.0, float("inf")),
                Plateau(1.0, None, -1), Plateau(1.0, None, 0.5)],
    "pairs": [np.ones((2, 3, 4)), np.ones((2, 0, SIZE)), np.ones((2, 11, SIZE)), np.ones((2, 3, SIZE), np.float32),
              np.full((2, 3, SIZE), np.nan), "a", np.zeros((2, 3, SIZE))],
    "converged": [None, 1, "yes"],
    "optimizer": ["adamm", 3, "sgd", "lbfgs", ["adam"], np.zeros(3)],  # the training is one of adam
    "running_stats": STATISTICS,
    "best_running_stats": [*STATISTICS, None],
}  # fmt: skip


def test_a_sound_state_is_taken_and_every_field_has_hostile_values():
    assert plan(network(), sound()).start.epoch == 2
    assert set(HOSTILE) == set(TrainingState._fields)


@pytest.mark.parametrize("field", HOSTILE)
def test_a_hostile_field_is_refused(field):
    for value in HOSTILE[field]:
        net = network()
        before = pickle.dumps(net)
        with pytest.raises((ConfigError, DataError), match="^resume: ") as raised:
            plan(net, sound(**{field: value}))
        assert "\n" not in str(raised.value)
        assert pickle.dumps(net) == before


def test_what_is_no_state_is_refused():
    for wrong in (3, "state", (0, 0, 0), network()):
        with pytest.raises(ConfigError, match="resume: expected a state"):
            plan(network(), wrong)
        with pytest.raises(ConfigError, match="resume: expected a state"):
            OnlineTrainer(network(), resume=wrong)
    with pytest.raises(ConfigError, match="resume: expected epoch"):
        OnlineTrainer(network(), resume=sound(epoch=-1))


def test_rows_of_other_batches_or_data_are_refused():
    for row in (5, ROWS + BATCH):
        with pytest.raises(ConfigError, match=f"resume: expected a state of training on these 40 rows in batches of 10, got .* {row}"):
            plan(network(), sound(row=row, total=(1.0, 1.0, float(row), float(row))))


def test_every_refusal_of_states_is_tried_above():
    """Each line of resuming.py that raises is reached by one of the hostile values."""
    tree = ast.parse(inspect.getsource(resuming))
    sites = {line for node in ast.walk(tree) if isinstance(node, ast.Raise) for line in range(node.lineno, node.end_lineno + 1)}
    starts = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    seen = set()
    tried = [(field, value) for field, values in HOSTILE.items() for value in values]
    of_other_batches = [sound(row=row, total=(1.0, 1.0, float(row), float(row))) for row in (5, ROWS + BATCH)]
    for state in [3, *of_other_batches, *(sound(**{field: value}) for field, value in tried)]:
        try:
            plan(network(), state)
        except (ConfigError, DataError) as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == resuming.__file__]
            seen |= {max(start for start in starts if start <= line) for line in lines if line in sites}
    assert starts - seen == set()
