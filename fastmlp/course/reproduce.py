"""The experiments of the course report that this project grew out of, run again on the real data, with many seeds.

The report trains 784-300-10 sigmoid networks by plain gradient descent. It prints learning rates, but not that its gradients are summed
over a batch and its inputs standardised, without which those rates reach none of its numbers: that reading is `AS_READ`, others stand
beside it. Where it names no setting, or names one that cannot reach its claim, some are scanned on validation rows. The test set is
evaluated once per final model, and chooses nothing.
"""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp import quantities
from fastmlp.course.claims import NO, YES, Findings, Row, curve, diverged, last, on_test, same_number
from fastmlp.data.dataset import Dataset
from fastmlp.inspect.gradient_check import TOLERANCE, check_gradient
from fastmlp.network import Network
from fastmlp.quantities import percent
from fastmlp.search.bank import train_bank
from fastmlp.search.executors import Executor
from fastmlp.search.ledger import Ledger, Record, complete
from fastmlp.search.repeat import repeat_tasks
from fastmlp.search.statistics import Comparison, Summary, compare, summarise
from fastmlp.search.sweep import Change, changed_settings
from fastmlp.search.task import Event, Task, Trained
from fastmlp.settings import CLAIM, NetworkSettings, TrainingSettings, shown_in

NETWORK = NetworkSettings(hidden=(300,), activation="sigmoid")
AS_READ = TrainingSettings(
    optimizer="sgd", epochs=5, batch_size=50, learning_rate=0.01, reduction="sum", normalize="standardize", validation=5000, holdout="last"
)
SYNTHETIC: Change = {"hidden": (3,), "batch_size": 1, "learning_rate": 1e-5, "normalize": "scale"}  # one row at a time, as it comes
READING = {"sum": "summed over a batch", "mean": "averaged over a batch"}

ALL_ROWS = 60_000  # of the data sets that AS_READ.validation is meant for
FLAT = 0.003  # a curve that gains less than this has ended
HARDLY = 0.005  # a standard deviation below half a point of accuracy is small beside what settings change
CHANCE = 0.1  # the accuracy of a network of ten classes that has diverged
GRID = np.linspace(-3.0, 3.0, 61)  # where the decision is drawn
DRAWN_POINTS = 1000


class Stage(NamedTuple):
    """An experiment begins."""

    id: str
    title: str
    models: int


Events = Generator[Stage | Event, None, Findings]
Training = Generator[Stage | Event, None, Ledger]


class Laboratory(NamedTuple):
    """What all experiments share: the data, how many runs, how many at a time, and the folder for their models (None: nowhere)."""

    mnist: Dataset
    fashion_mnist: Dataset
    synthetic: Dataset
    seeds: int = 5
    repeats: int = 30
    cores: int | None = None
    executor: Executor | None = None
    folder: Path | None = None

    def train(self, id: str, title: str, data: Dataset, groups: Iterable[Sequence[Task]]) -> Training:
        """Train the models of one experiment; return the ledger that holds them."""
        path = None
        if self.folder is not None:
            path = self.folder / "experiments" / id / "models.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
        tasks = [task for group in groups for task in group]
        ledger = Ledger(path)
        yield Stage(id, title, len(tasks))
        yield from complete(tasks, data, ledger, self.cores, self.executor)
        return ledger

    def group(self, data: Dataset, change: Change, runs: int | None = None) -> list[Task]:
        """Return tasks of one setting, AS_READ but for `change`; a smaller data set holds out fewer rows."""
        network, training = changed_settings(NETWORK, AS_READ, change)
        held_out = (training.validation or 0) * len(data.x_train) // ALL_ROWS
        training = training.replace(validation=held_out) if held_out else training.without_held_out()
        return repeat_tasks(network, training, runs or self.seeds, change)

    def finals(self, data: Dataset, change: Change) -> list[Task]:
        """Return tasks of one setting that train on all rows and evaluate on the test set."""
        return [task._replace(opens_test=True) for task in self.group(data, {**change, "validation": 0})]


def reproduce(laboratory: Laboratory) -> Events:
    """Run every experiment; yield what goes on, and return all rows and figures."""
    rows: list[Row] = []
    figures: dict[str, dict[str, Any]] = {}
    for experiment in EXPERIMENTS:
        found = yield from experiment(laboratory)
        rows += found.rows
        figures |= found.figures
    return Findings(rows, figures)


def printed_sigmoid(laboratory: Laboratory) -> Events:
    """The formula that the report prints for the sigmoid, with the derivative that it prints."""
    yield Stage("0", "the printed sigmoid, by central differences", 0)
    report = check_gradient((lambda z: z / (1.0 + math.exp(-z)), lambda z, a: a * (1.0 - a)))
    row = Row(
        id="0",
        experiment="slip: the sigmoid is printed as i / (1 + exp(−i))",
        report_says="its derivative is a (1 − a)",
        quantity="relative error of the derivative",
        measured=summarise([report.error]),
        settings={},
        same=YES if report.passed else NO,
        note=f"allowed {TOLERANCE:g}; the printed formula is SiLU, the derivative is that of 1 / (1 + exp(−i))",
    )
    return Findings([row], {})


def synthetic(laboratory: Laboratory) -> Events:
    """Experiments 1a and 1b: the points of the plane, the loss while a 2-3-2 network learns them, and what it has learnt."""
    data = laboratory.synthetic
    rates = (1e-5, 1e-4, 1e-3, 1e-2)
    groups = {rate: laboratory.group(data, {**SYNTHETIC, "learning_rate": rate}) for rate in rates}
    ledger = yield from laboratory.train("1", "synthetic points: learning rates on validation rows", data, groups.values())
    records = {rate: ledger.of(group) for rate, group in groups.items()}
    of_report = records[rates[0]]
    best = max(rates, key=lambda rate: _mean(last(records[rate], "validation_accuracy")))
    finals = {rate: laboratory.finals(data, {**SYNTHETIC, "learning_rate": rate}) for rate in {rates[0], best}}
    final_ledger = yield from laboratory.train("1-final", "synthetic points: final runs", data, finals.values())
    accuracy = {rate: on_test(final_ledger.of(group)) for rate, group in finals.items()}

    first, end = last(of_report, "train_loss", 0), last(of_report, "train_loss")
    falls = first is not None and end is not None and end.mean < first.mean
    counts = np.bincount(data.y_train, minlength=2)
    share = float(counts[1] / counts.sum())
    rows = [
        Row(
            id="1a",
            experiment="synthetic points: class distribution",
            report_says="two classes (figure)",
            quantity="share of class 1",
            measured=summarise([share]),
            settings={},
            same=YES if counts.min() > 0 else NO,
            note=f"{percent(share, 1)} of {counts.sum():,} points lie outside of the ellipse",
        ),
        Row(
            id="1b",
            experiment="synthetic points: loss over 5 epochs",
            report_says="falls (figure, no number)",
            quantity="training loss",
            measured=end,
            settings=_settings_of(groups[rates[0]]),
            same=YES if falls else NO,
            note=f"from {_mean(first):.4f} to {_mean(end):.4f}, but guessing gives {math.log(2):.4f}: the rate is too small to learn "
            f"anything; of the test points {_percent(accuracy[rates[0]])} are classified correctly",
        ),
        Row(
            id="1c",
            experiment="synthetic points: decision boundary",
            report_says="learnt at rate 0.00001",
            quantity="test accuracy",
            measured=accuracy[best],
            settings=_settings_of(finals[best]),
            same=YES if best == rates[0] else NO,
            note=f"the best of the rates {', '.join(f'{rate:g}' for rate in rates)} by validation",
        ),
    ]
    points = [[float(a), float(b), int(c)] for (a, b), c in zip(data.x_train[:DRAWN_POINTS], data.y_train[:DRAWN_POINTS], strict=True)]
    plane = np.stack(np.meshgrid(GRID, GRID), axis=-1).reshape(-1, 2)
    network = _train_again(finals[best][0], data)
    figures: dict[str, dict[str, Any]] = {
        "1a": {
            "kind": "class_distribution",
            "title": "Classes of the synthetic points",
            "claim": "two classes",
            "class_names": data.class_names,
            "counts": counts,
        },
        "1b": {
            "kind": "curves",
            "title": "Loss on the synthetic points",
            "claim": "the loss falls over 5 epochs",
            "scores": ("train_loss",),
            "series": [curve(f"learning rate {rate:g}", records[rate]) for rate in rates],
        },
        "1c": {
            "kind": "decision_boundary",
            "title": f"What a 2-3-2 network has learnt at rate {best:g}",
            "claim": "",
            "x1": GRID,
            "x2": GRID,
            "probability": network.predict_proba(plane)[:, 1].reshape(len(GRID), len(GRID)),  # of class 1; rows: x2, columns: x1
            "points": points,
        },
    }
    return Findings(rows, figures)


def overfitting(laboratory: Laboratory) -> Events:
    """Experiment 2: 20 epochs. The report names its learning rate, but no batch size; others show what reaches its claim."""
    data = laboratory.mnist
    tried = ((0.001, 50), (0.001, 20), (0.001, 200), (0.003, 50), (0.01, 50))  # rate, rows of a batch
    changes: list[Change] = [{"learning_rate": rate, "batch_size": rows, "epochs": 20} for rate, rows in tried]
    groups = [laboratory.group(data, change) for change in changes]
    ledger = yield from laboratory.train("2", "MNIST: 20 epochs, learning rates and batch sizes", data, groups)
    records = [ledger.of(group) for group in groups]

    def distance(number: int) -> float:
        found = _mean(last(records[number], "validation_accuracy")), _mean(last(records[number], "train_accuracy"))
        return abs(found[0] - 0.98) + abs(found[1] - 0.998)

    nearest = min(range(len(tried)), key=distance)
    rows = []
    for prefix, number, which in (("2a", 0, "the report's rate"), ("2b", nearest, "the settings nearest to the claims")):
        rows += _rows_of_20_epochs(prefix, which, groups[number], records[number])
    for number in (1, 2):
        accuracy = last(records[number], "validation_accuracy")
        rows.append(
            Row(
                id=f"2c.{number}",
                experiment=f"slip: no batch size is named; {tried[number][1]} rows",
                report_says="98 % validation",
                quantity="validation accuracy",
                measured=accuracy,
                settings=_settings_of(groups[number]),
                same=same_number(accuracy, 0.98, 2),
                note=f"training accuracy {_percent(last(records[number], 'train_accuracy'))}; where gradients are summed, rows count alike "
                "in batches of any size",
            )
        )
    figure = {
        "kind": "curves",
        "title": "20 epochs on MNIST",
        "claim": "98 % validation, 99.8 % training; validation flat after epoch 5",
        "scores": ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
        "series": [curve(f"rate {rate:g}, {size} rows", found) for (rate, size), found in zip(tried, records, strict=True)],
    }
    return Findings(rows, {"2": figure})


def _rows_of_20_epochs(prefix: str, which: str, group: Sequence[Task], records: Sequence[Record]) -> list[Row]:
    validation, train = last(records, "validation_accuracy"), last(records, "train_accuracy")
    gain = summarise([_gain_after_epoch_5(record) for record in records])
    settings = _settings_of(group)
    return [
        Row(
            id=f"{prefix}.1",
            experiment=f"20 epochs, {which}: validation",
            report_says="98 %",
            quantity="validation accuracy",
            measured=validation,
            settings=settings,
            same=same_number(validation, 0.98, 2),
            note=diverged(records),
        ),
        Row(
            id=f"{prefix}.2",
            experiment=f"20 epochs, {which}: training",
            report_says="99.8 %",
            quantity="training accuracy",
            measured=train,
            settings=settings,
            same=same_number(train, 0.998, 3),
            note="the mean over the last epoch, each batch before its update",
        ),
        Row(
            id=f"{prefix}.3",
            experiment=f"20 epochs, {which}: after epoch 5",
            report_says="validation is flat",
            quantity="gain in validation accuracy",
            measured=gain,
            settings=settings,
            same=YES if gain is not None and abs(gain.mean) < FLAT else NO,
            note=f"called flat below {quantities.distance(FLAT, quantities.POINTS)}",
        ),
    ]


def initialisation(laboratory: Laboratory) -> Events:
    """Experiment 3: many runs that differ in nothing but the seed; and the report's initial weights, none of which is negative."""
    data = laboratory.mnist
    change: Change = {"learning_rate": 0.001}
    runs = laboratory.group(data, change, laboratory.repeats)
    like_report = [
        task._replace(key=f"non-negative {task.key}", start=non_negative_weights)
        for task in laboratory.group(data, change, min(laboratory.seeds, laboratory.repeats))
    ]
    ledger = yield from laboratory.train("3", f"MNIST: {laboratory.repeats} initialisations", data, (runs, like_report))
    records, of_report = ledger.of(runs), ledger.of(like_report)
    accuracy, its_loss = last(records, "validation_accuracy"), last(records, "validation_loss")
    small = accuracy is not None and accuracy.std is not None and accuracy.std < HARDLY
    behind = compare(_scores(of_report), _scores(records[: len(of_report)]))
    network = Network([data.x_train[0].size, *NETWORK.hidden, 10], NETWORK.activation)
    ours = _likeness(network)
    non_negative_weights(network)
    rows = [
        Row(
            id="3a",
            experiment=f"{laboratory.repeats} random initialisations",
            report_says="accuracy hardly moves (no number)",
            quantity="validation accuracy",
            measured=accuracy,
            settings=_settings_of(runs),
            same=YES if small else NO,
            note=f"from {percent(accuracy and accuracy.lowest)} to {percent(accuracy and accuracy.highest)}; that random weights "
            "of one kind differ so little is no evidence that their kind does not matter, see 3c",
        ),
        Row(
            id="3b",
            experiment=f"{laboratory.repeats} random initialisations",
            report_says="loss hardly moves (no number)",
            quantity="validation loss",
            measured=its_loss,
            settings=_settings_of(runs),
            same=YES if small else NO,
        ),
        Row(
            id="3c",
            experiment="slip: initial weights 0.01 × (0 to 8), none negative",
            report_says="as good as any",
            quantity="validation accuracy",
            measured=last(of_report, "validation_accuracy"),
            settings={**_settings_of(like_report), "weights": "0.01 × (0 to 8)"},
            same=NO if behind.beyond_noise else YES,
            note=f"{_against(behind, 'ours on the same seeds')}; its hidden units begin alike (mean cosine of their weights "
            f"{_likeness(network):.2f}, of ours {abs(ours):.2f})",
        ),
    ]
    figure = {
        "kind": "band",
        "title": f"{laboratory.repeats} initialisations",
        "claim": "mean and deviation hardly move",
        "scores": ("validation_loss", "validation_accuracy"),
        "series": [curve("our weights", records), curve("non-negative weights", of_report)],
    }
    return Findings(rows, {"3": figure})


def learning_rates(laboratory: Laboratory) -> Events:
    """Experiment 4: learning rates, and what they mean where gradients are averaged."""
    data = laboratory.mnist
    rates = (0.0001, 0.001, 0.01, 0.05)
    groups = {
        (reading, rate): laboratory.group(data, {"learning_rate": rate, "reduction": reading}) for reading in READING for rate in rates
    }
    ledger = yield from laboratory.train("4", "MNIST: learning rates", data, groups.values())
    records = {key: ledger.of(group) for key, group in groups.items()}
    claim = "0.01 and 0.05 are best, 0.01 slightly better"
    rows = []
    for letter, reading in zip("ab", READING, strict=True):
        accuracy = {rate: last(records[reading, rate], "validation_accuracy") for rate in rates}
        order = sorted(rates, key=lambda rate: -_mean(accuracy[rate]))  # noqa: B023  used within this turn of the loop
        ahead = compare(_scores(records[reading, 0.01]), _scores(records[reading, 0.05]))
        rows.append(
            Row(
                id=f"4{letter}",
                experiment=f"learning rates, gradients {READING[reading]}",
                report_says=claim,
                quantity="validation accuracy",
                measured=accuracy[order[0]],
                settings=_settings_of(groups[reading, order[0]]),
                same=YES if set(order[:2]) == {0.01, 0.05} and ahead.difference >= 0 else NO,
                note=", ".join(f"{rate:g}: {_percent(accuracy[rate])}" for rate in rates) + f"; 0.01 is {_against(ahead, '0.05')}",
            )
        )
    figure = {
        "kind": "sweep",
        "title": "Learning rates on MNIST, 5 epochs",
        "claim": claim,
        "scores": ("train_accuracy", "validation_accuracy"),
        "setting": "learning_rate",
        "values": rates,
        "series": [
            {
                "name": f"gradients {READING[reading]}",
                "validation_accuracy": [last(records[reading, rate], "validation_accuracy") for rate in rates],
                "train_accuracy": [last(records[reading, rate], "train_accuracy") for rate in rates],
            }
            for reading in READING
        ],
    }
    return Findings(rows, {"4": figure})


def final_test(laboratory: Laboratory) -> Events:
    """The final run on the canonical test rows, read in three ways; and whether 5,000 more training rows matter."""
    data = laboratory.mnist
    readings: dict[str, tuple[str, Change]] = {
        "final.1": ("final run, gradients summed, inputs standardised", {}),
        "final.2": ("slip: the same with averaged gradients", {"reduction": "mean"}),
        "final.3": ("slip: the same with inputs in [0, 1]", {"normalize": "scale"}),
    }
    groups = {id: laboratory.finals(data, change) for id, (_, change) in readings.items()}
    n = len(data.x_train)
    held_out = np.arange(n - n // 12, n)
    more, fewer = (_with_rows(laboratory.group(data, {}), rows, held_out) for rows in (n - n // 12, n - n // 6))
    ledger = yield from laboratory.train("final", "MNIST: final runs and test rows", data, (*groups.values(), more, fewer))
    rows = []
    for id, group in groups.items():
        accuracy = on_test(ledger.of(group))
        rows.append(
            Row(
                id=id,
                experiment=readings[id][0],
                report_says="97.5 %",
                quantity="test accuracy",
                measured=accuracy,
                settings=_settings_of(group),
                same=same_number(accuracy, 0.975, 3),
                note=diverged(ledger.of(group)),
            )
        )
    ahead = compare(_scores(ledger.of(more)), _scores(ledger.of(fewer)))
    rows.append(
        Row(
            id="final.4",
            experiment=f"slip: {n - n // 6:,} and {n - n // 12:,} training rows are both named",
            report_says="as if it made no difference",
            quantity="validation accuracy",
            measured=last(ledger.of(more), "validation_accuracy"),
            settings={**_settings_of(more), "rows": n - n // 12},
            same=NO if ahead.beyond_noise else YES,
            note=f"with fewer {_percent(last(ledger.of(fewer), 'validation_accuracy'))}: more rows are {_against(ahead, 'fewer')}",
        )
    )
    return Findings(rows, {})


def fashion(laboratory: Laboratory) -> Events:
    """Experiment 5: three networks on Fashion-MNIST, with the report's settings and with the best of a scan on validation rows."""
    data = laboratory.fashion_mnist
    two: Change = {"hidden": (300, 300)}
    networks: dict[str, tuple[str, Change, float, list[Change]]] = {
        "5a": ("300 sigmoid", {}, 0.865, _each_rate(0.003, 0.01, 0.02)),
        "5b": ("300-300 sigmoid", two, 0.870, _each_rate(0.003, 0.01, 0.02)),
        "5c": ("300-300 ReLU", {**two, "activation": "relu"}, 0.879, _each_rate(0.0005, 0.001, 0.002, epochs=10)),
    }
    scans = {id: [laboratory.group(data, {**change, **each}) for each in tried] for id, (_, change, _, tried) in networks.items()}
    groups = [group for scan in scans.values() for group in scan]
    ledger = yield from laboratory.train("5-scan", "Fashion-MNIST: settings on validation rows", data, groups)
    best = {id: max(scan, key=lambda group: _mean(last(ledger.of(group), "validation_accuracy"))) for id, scan in scans.items()}
    finals = {}
    for id, (_, change, _, _) in networks.items():
        finals[id] = {"the report's settings": laboratory.finals(data, change)}
        of_best = laboratory.finals(data, {**best[id][0].changed})
        if of_best[0].training != finals[id]["the report's settings"][0].training:
            finals[id]["the best by validation"] = of_best
    groups = [group for of_network in finals.values() for group in of_network.values()]
    final_ledger = yield from laboratory.train("5", "Fashion-MNIST: final runs and test rows", data, groups)
    rows = []
    for id, (name, _, claim, _) in networks.items():
        for number, (which, group) in enumerate(finals[id].items(), start=1):
            accuracy = on_test(final_ledger.of(group))
            rows.append(
                Row(
                    id=f"{id}.{number}",
                    experiment=f"Fashion-MNIST, {name}, {which}",
                    report_says=percent(claim, 1),
                    quantity="test accuracy",
                    measured=accuracy,
                    settings=_settings_of(group),
                    same=same_number(accuracy, claim, 3),
                    note=diverged(final_ledger.of(group)),
                )
            )
    relu = ledger.of(best["5c"])
    turning = summarise([_epoch_of_lowest_loss(record) for record in relu])
    rows.append(
        Row(
            id="5c.3",
            experiment="Fashion-MNIST, 300-300 ReLU, overfitting",
            report_says="overfits after 2 epochs",
            quantity="epoch of the lowest validation loss",
            measured=turning,
            settings=_settings_of(best["5c"]),
            same=YES if turning is not None and turning.mean < 3.5 else NO,
            note="called the same where that is epoch 2 or 3 on average",
        )
    )
    figure = {
        "kind": "curves",
        "title": "Fashion-MNIST",
        "claim": "86.5 %, 87.0 % and 87.9 %; ReLU overfits after 2 epochs",
        "scores": ("validation_accuracy",),
        "series": [
            curve(f"{name}, rate {best[id][0].training.learning_rate:g}", ledger.of(best[id])) for id, (name, _, _, _) in networks.items()
        ],
    }
    return Findings(rows, {"5": figure})


EXPERIMENTS: tuple[Callable[[Laboratory], Events], ...] = (
    printed_sigmoid,
    synthetic,
    overfitting,
    initialisation,
    learning_rates,
    final_test,
    fashion,
)


def common_settings() -> dict[str, Any]:
    """Return the settings that a row has unless it says otherwise."""
    return _shown(NETWORK, AS_READ)


def non_negative_weights(network: Network) -> None:
    """Give a network the report's initial weights: 0.01 × a whole number from 0 to 8; they follow from the weights that it has."""
    for weight in network.weights:
        ranks = np.argsort(np.argsort(weight, axis=None, kind="stable"), kind="stable")  # as random as the weights, and evenly spread
        weight[:] = 0.01 * (ranks * 9 // weight.size).reshape(weight.shape)


def _likeness(network: Network) -> float:
    """Return the mean cosine between the incoming weights of two hidden units, over all pairs."""
    unit = network.weights[0] / np.linalg.norm(network.weights[0], axis=0)
    n = int(unit.shape[1])
    all_pairs = float((unit.sum(axis=1) ** 2).sum())  # the sum over i and j of uᵢ·uⱼ is |Σ uᵢ|²
    return (all_pairs - n) / (n * (n - 1))


def _train_again(task: Task, data: Dataset) -> Network:
    """Return the network of a task that was trained before: the same bits, without evaluating the test set."""
    [network] = [event.network for event in train_bank([task._replace(opens_test=False)], data) if isinstance(event, Trained)]
    return network


def _with_rows(group: Sequence[Task], rows: int, held_out: np.ndarray) -> list[Task]:
    """Return tasks that train on the first rows only, and validate on the same rows whatever their number."""
    return [
        task._replace(
            key=f"rows={rows} {task.key}",
            changed={"rows": rows},
            training=task.training.replace(validation=None),
            train_rows=np.arange(rows),
            validation_rows=held_out,
        )
        for task in group
    ]


def _each_rate(*rates: float, epochs: int | None = AS_READ.epochs) -> list[Change]:
    return [{"learning_rate": rate, "epochs": epochs} for rate in rates]


def _settings_of(group: Sequence[Task]) -> dict[str, Any]:
    """Return the settings that a reader needs to train a group again."""
    return _shown(group[0].network, group[0].training)


def _shown(network: NetworkSettings, training: TrainingSettings) -> dict[str, Any]:
    every = {**network.to_dict(), **training.to_dict()}
    return {name: every[name] for name in shown_in(CLAIM) if every[name] is not None}


def _scores(records: Sequence[Record]) -> list[float]:
    """Return the last validation accuracies; a model that diverged has the accuracy of guessing."""
    return [CHANCE if record["validation"]["accuracy"] is None else record["validation"]["accuracy"] for record in records]


def _gain_after_epoch_5(record: Record) -> float | None:
    accuracy = record["history"]["validation_accuracy"]
    return accuracy[-1] - accuracy[4] if len(accuracy) > 4 else None


def _epoch_of_lowest_loss(record: Record) -> float | None:
    losses = record["history"]["validation_loss"]
    return float(np.argmin(losses) + 1) if losses else None


def _mean(summary: Summary | None) -> float:
    return 0.0 if summary is None else summary.mean


def _percent(summary: Summary | None) -> str:
    return percent(None if summary is None else summary.mean)


def _against(comparison: Comparison, other: str) -> str:
    """Return how much better or worse a setting's accuracy is than that of another, and whether that is beyond the noise of seeds."""
    return f"{quantities.ahead(comparison.difference, quantities.POINTS)} than {other}, {quantities.noise(comparison.beyond_noise)}"
