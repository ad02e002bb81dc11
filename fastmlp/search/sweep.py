"""A sweep: settings compared on validation rows, each with the same seeds; all of a grid, a random search, or successive halving."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.dataset import Dataset
from fastmlp.errors import ConfigError
from fastmlp.kernels import random
from fastmlp.search.executors import Executor, Workers, opened
from fastmlp.search.in_process import resolved
from fastmlp.search.ledger import Ledger, Record, complete
from fastmlp.search.repeat import repeat_tasks, summarise_scores, task_key
from fastmlp.search.statistics import Comparison, Summary, compare, summarise
from fastmlp.search.task import DIVERGED, DONE, Event, Task
from fastmlp.settings import FIELDS, METRICS, NetworkSettings, TrainingSettings, items_of, known, refuses_unknown
from fastmlp.training.checks import needs_held_out
from fastmlp.training.holdout import LAST

DIGITS = 3  # of a number drawn from a range: more make no difference
DRAWS_PER_SETTING = 100  # until a draw is new; then the settings are taken to be exhausted

Change = dict[str, Any]  # setting -> value


class Range(NamedTuple):
    """Numbers to draw from: from low to high, evenly on a logarithmic scale where both are above 0."""

    low: float
    high: float
    whole: bool  # whole numbers only

    def at(self, part: float) -> float:
        """Return the number at a part of the range, 0 to 1, with DIGITS digits."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = low * (high / low) ** part if self.low > 0 else low + (high - low) * part
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


class Rung(NamedTuple):
    """A round of a sweep: how long its models train, and how many settings enter it."""

    epochs: int
    settings: int


class Ranked(NamedTuple):
    """One setting of a sweep, over its seeds."""

    changed: Change
    epochs: int  # trained for: fewer than the best where halving dropped it
    runs: int
    diverged: int
    train_accuracy: Summary | None  # of the last epoch, as are the others
    validation_loss: Summary | None
    validation_accuracy: Summary | None
    seconds: Summary | None  # of one model, on one core
    validation_r2: Summary | None = None  # of numbers
    validation_metric: Summary | None = None  # the one in the setting `metric`


class SweepResult(NamedTuple):
    """All settings, best first, and whether the best is better than the second beyond the noise of seeds."""

    ranked: list[Ranked]
    comparison: Comparison | None  # None of a single setting, or where one of the two has not a model on every seed
    score: str  # what decided: "validation_" and the setting `metric`; where that is the loss, and there are classes, accuracy


@refuses_unknown
def grid(axes: Mapping[str, Sequence[Any]]) -> list[Change]:
    """Return every combination of values, the last axis changing fastest. ConfigError for an axis that is no list."""
    lists = [items_of(name, values, "a list of values") for name, values in axes.items()]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*lists)]


@refuses_unknown
def draw(axes: Mapping[str, Sequence[Any] | Range], count: int, seed: int) -> list[Change]:
    """Return up to `count` different combinations, drawn from lists and ranges; fewer where there are no more."""
    drawn: dict[str, Change] = {}
    counter = 0
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        key = random.key_of(seed, random.SETTINGS, 0)
        for _ in range(count * DRAWS_PER_SETTING):
            change = {}
            for name, values in axes.items():
                part = float(random.uniform(key, counter))
                change[name] = values.at(part) if isinstance(values, Range) else values[int(part * len(values))]
                counter += 1
            drawn.setdefault(task_key(change, 0), change)
            if len(drawn) == count:
                break
    return list(drawn.values())


def rungs(epochs: int, settings: int) -> list[Rung]:
    """Return the rounds of successive halving: each trains twice as long as the one before, and half as many settings, two at the end.

    Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016, algorithm 1, in epochs.
    """
    rounds = min(max(math.ceil(math.log2(max(settings, 1))) - 1, 0), int(math.log2(max(epochs, 1))))
    return [Rung(max(1, epochs >> (rounds - number)), -(-settings // 2**number)) for number in range(rounds + 1)]


@refuses_unknown
def sweep_tasks(
    network: NetworkSettings, training: TrainingSettings, changes: Sequence[Change], runs: int, epochs: int | None = None
) -> list[Task]:
    """Return `runs` tasks for each change of settings, with the same seeds for all. ConfigError for one that cannot be."""
    tasks = []
    for change in changes:
        changed_network, changed_training = changed_settings(network, training, change)
        if epochs is None:
            tasks += repeat_tasks(changed_network, changed_training, runs, change)
        else:
            shorter = repeat_tasks(changed_network, changed_training.replace(epochs=epochs), runs, change)
            tasks += [task._replace(key=f"epochs={epochs} {task.key}", changed={**change, "epochs": epochs}) for task in shorter]
    return tasks


def changed_settings(network: NetworkSettings, training: TrainingSettings, change: Change) -> tuple[NetworkSettings, TrainingSettings]:
    """Return settings with some of them changed. ConfigError for draws of held-out rows where none are drawn."""
    of_network = {name: value for name, value in change.items() if name in NetworkSettings.names()}
    of_training = {name: value for name, value in change.items() if name not in of_network}
    changed = training.replace(**of_training)
    if "split_seed" in change and changed.holdout == LAST:
        raise ConfigError(
            "split_seed: expected one value where the last rows are held out, got several; choose holdout shuffled to draw them"
        )
    return network.replace(**of_network), changed


def final_tasks(network: NetworkSettings, training: TrainingSettings, change: Change, runs: int, held_out: int | float = 0) -> list[Task]:
    """Return tasks that train a setting on all training rows and evaluate each model on the test set, once.

    `held_out` rows are kept back where the setting says when to stop by such rows.
    """
    changed_network, changed_training = changed_settings(network, training, change)
    judged = needs_held_out(changed_training)
    final = changed_training.replace(validation=held_out) if judged and held_out else changed_training.without_held_out()
    return repeat_tasks(changed_network, final, runs, change, opens_test=True)


def check_axes(axes: Mapping[str, Sequence[Any] | Range]) -> None:
    """Raise ConfigError for settings that a sweep cannot compare."""
    if not axes:
        raise ConfigError("sweep: expected several values of a setting, got none; for example --learning-rate 0.01,0.1")
    for name in axes:
        why = FIELDS[name].metadata["not_swept"]
        if why is not None:
            raise ConfigError(f"{name}: expected one value in a sweep, got several; {why}")


@refuses_unknown
def run_sweep(
    network: NetworkSettings,
    training: TrainingSettings,
    changes: Sequence[Change],
    runs: int,
    halving: bool,
    data: Dataset,
    ledger: Ledger,
    cores: int | None = None,
    executor: str | Executor | None = None,
) -> Generator[Event, None, SweepResult]:
    """Train all settings with all seeds, yield how far that is, and return the ranking. cores, executor: see bank.train_bank.

    With `halving` in rounds of more and more epochs, each with the better half of the settings of the round before.
    """
    if halving and executor is not None and not isinstance(executor, Workers):
        with opened(executor) as workers:  # once for all rounds
            return (yield from run_sweep(network, training, changes, runs, halving, data, ledger, cores, workers))
    if not halving:
        tasks = [resolved(task, data) for task in sweep_tasks(network, training, changes, runs)]
        yield from complete(tasks, data, ledger, cores, executor)
        return rank(changes, tasks, ledger, runs)
    best_first: list[Ranked] = []
    left = list(changes)
    result = None
    for rung in rungs(known(resolved(Task("", network, training), data).training.epochs), len(changes)):
        left = left[: rung.settings]
        tasks = [resolved(task, data) for task in sweep_tasks(network, training, left, runs, rung.epochs)]
        yield from complete(tasks, data, ledger, cores, executor)
        result = rank(left, tasks, ledger, runs)
        best_first = result.ranked + best_first[len(left) :]
        left = [ranked.changed for ranked in result.ranked]
    if result is None:
        raise ConfigError("sweep: expected at least one setting, got none")
    return result._replace(ranked=best_first)


def rank(changes: Sequence[Change], tasks: Sequence[Task], ledger: Ledger, runs: int) -> SweepResult:
    """Return the settings, best first, by their mean on the validation rows; those of which a model diverged come last."""
    found = [(change, tasks[runs * number : runs * (number + 1)]) for number, change in enumerate(changes)]
    records = {task_key(change, 0): ledger.of(own) for change, own in found}
    ranked = [_ranked(change, own[0].training, ledger.of(own)) for change, own in found]
    score = tasks[0].training.metric
    if score == "loss" and any(each.validation_accuracy is not None for each in ranked):
        score = "accuracy"
    ranked.sort(key=lambda each: _order(each, score))
    comparison = None
    if len(ranked) > 1 and ranked[0].diverged == ranked[1].diverged == 0:
        better, worse = ([_score(record, score) for record in records[task_key(each.changed, 0)]] for each in ranked[:2])
        comparison = compare(better, worse)
    return SweepResult(ranked, comparison, f"validation_{score}")


def _ranked(change: Change, training: TrainingSettings, records: Sequence[Record]) -> Ranked:
    done = [record for record in records if record["outcome"] == DONE]
    scores = summarise_scores(records, "validation")
    return Ranked(
        changed=change,
        epochs=known(training.epochs),
        runs=len(records),
        diverged=sum(record["outcome"] == DIVERGED for record in records),
        train_accuracy=summarise([record["history"]["train_accuracy"][-1] for record in done if record["history"]["train_accuracy"]]),
        validation_loss=scores["loss"],
        validation_accuracy=scores["accuracy"],
        seconds=summarise([record["seconds"] for record in done]),
        validation_r2=scores.get("r2"),
        validation_metric=scores.get(training.metric),
    )


def _order(ranked: Ranked, score: str) -> tuple[int, float, float]:
    """Return what sorts settings, best first: what diverged comes last; ties are broken by the loss."""
    loss = math.inf if ranked.validation_loss is None else ranked.validation_loss.mean
    decides = ranked.validation_accuracy if score == "accuracy" else ranked.validation_loss if score == "loss" else ranked.validation_metric
    return ranked.diverged, math.inf if decides is None else _signed(decides.mean, score), loss


def _score(record: Record, score: str) -> float:
    """Return how good a model is: more is better."""
    return -_signed(record["validation"][score], score)


def _signed(value: float, score: str) -> float:
    """Return a value of a score such that less is better."""
    return -value if METRICS[score].more_is_better else value
