"""Measure what settings cost: an epoch of MNIST with each of them, as a multiple of one without, in turns.

    python bench/costs.py [--turns N] [FILE]

The file is bench/results/costs.json by default; bench/make_tables.py makes the table of docs/benchmark.md from it. Networks 784-300-10 in
batches of 50, on all cores; the first epoch of each is thrown away, the least time of the others counts.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastmlp import __version__, activation, load_dataset, machine
from fastmlp.kernels.elementary import exp
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings
from fastmlp.storage.atomic import write_atomically
from fastmlp.training.history import Epoch
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

RESULTS = Path(__file__).with_name("results") / "costs.json"
TURNS = 15
ENDLESS = 10**9  # epochs
SGD: dict[str, Any] = {"batch_size": 50, "learning_rate": 0.05, "validation": 0, "epochs": ENDLESS}


@activation
def users_swish(z):
    """The formula of silu, as a user would write it."""
    return z / (1 + exp(-z))


# What stands in the table, setting by setting, and what it is a multiple of; activation and normalization are those of the network.
PLAIN, SKIPPING_OFF, SILU = "nothing", "zeros not skipped", "activation silu"
COSTS: dict[str, tuple[dict[str, Any], str]] = {
    PLAIN: ({}, PLAIN),
    "momentum 0.9": ({"momentum": 0.9}, PLAIN),
    "weight_decay 0.0001": ({"weight_decay": 0.0001}, PLAIN),
    "optimizer adam": ({"optimizer": "adam", "learning_rate": 0.001}, PLAIN),
    "optimizer lion": ({"optimizer": "lion", "learning_rate": 0.0001}, PLAIN),
    "label_smoothing 0.1": ({"label_smoothing": 0.1}, PLAIN),
    "l1 0.00001": ({"l1": 0.00001}, PLAIN),
    "clip_value 1": ({"clip_value": 1.0}, PLAIN),
    "clip_norm 1": ({"clip_norm": 1.0}, PLAIN),
    "average ema": ({"average": "ema"}, PLAIN),
    "max_norm 3": ({"max_norm": 3.0}, PLAIN),
    "dropout 0.5": ({"dropout": 0.5}, PLAIN),
    "input_dropout 0.2": ({"input_dropout": 0.2}, PLAIN),
    "normalization batch": ({"normalization": "batch"}, PLAIN),
    "normalization layer": ({"normalization": "layer"}, PLAIN),
    SILU: ({"activation": "silu"}, PLAIN),
    "the same formula, yours": ({"activation": "users_swish"}, SILU),
    "augment_shift 1": ({"augment_shift": 1.0}, PLAIN),
    "augment_elastic 1": ({"augment_elastic": 1.0}, PLAIN),
    SKIPPING_OFF: ({"zero_skipping": "off"}, PLAIN),
    "input_noise 0.3": ({"input_noise": 0.3}, SKIPPING_OFF),
}


def main(arguments: Sequence[str]) -> int:
    """Measure all of them and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = load_dataset("mnist")
    epochs = {name: epoch_of(settings, data) for name, (settings, _) in COSTS.items()}
    least = {name: float("inf") for name in COSTS}
    for turn in range(options.turns):
        for name, epoch in epochs.items():
            least[name] = min(least[name], epoch())
        print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
    rows = [{"what": name, "seconds": least[name], "beside": beside} for name, (_, beside) in COSTS.items()]
    record = {"version": __version__, "machine": machine.describe()._asdict(), "turns": options.turns, "costs": rows}
    write_atomically(options.file, (json.dumps(record, indent=1) + "\n").encode())
    return 0


def epoch_of(settings: dict[str, Any], data: Any) -> Callable[[], float]:
    """Return what takes one more epoch with some settings and says how long it took, the first one done."""
    mine = dict(settings)
    network = Network([784, 300, 10], mine.pop("activation", "relu"), seed=0, normalization=mine.pop("normalization", "none"))
    events = Trainer(make_plan(network, data.x_train, data.y_train, TrainingSettings(**{**SGD, **mine}))).run()

    def epoch() -> float:
        return next(event.seconds for event in events if isinstance(event, Epoch))

    epoch()
    return epoch


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
