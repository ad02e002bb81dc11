"""Trainings by tiles beside the same ones by the oracle: in this process, and one step per tile in processes of other CPUs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.engines.layout import Layout
from fastmlp.engines.program import Program
from fastmlp.engines.tiled import TiledProgram
from fastmlp.engines.wanted import Steps, Wanted, count_parameters
from fastmlp.kernels import tiles
from fastmlp.kernels.textbook_step import TOTALS
from fastmlp.kernels.updates import UPDATES, Rates
from fastmlp.kernels.vectors import vector_bytes
from tests.kernels.comparison import Array, integers, normals
from tests.kernels.test_textbook_step import Job, read_only
from tests.oracle import mlp, updates
from tests.oracle.updates import Rule

Numbers = Callable[..., Array]


class Trained(NamedTuple):
    parameters: Array
    m: Array
    v: Array
    total: Array  # loss sum, correct, weight, rows
    reached: int
    average: Array


def small(*shape: int, seed: int = 0) -> Array:
    """Return normal random numbers, a quarter of them zero, so small that wide and deep networks neither saturate nor grow."""
    return normals(*shape, seed=seed) / 8


def signs(*shape: int, seed: int = 0) -> Array:
    """Return -1, 0 and 1, half of them 0: sums over a few layers of their products are exact in float32."""
    kept = np.random.default_rng([seed, 1, *shape]).random(shape) < 0.56
    return np.where(kept, np.sign(integers(*shape, seed=seed)), 0.0)


def tile_widths(dtype: Any) -> list[int]:
    """Return how many units a panel of each tile holds."""
    return [each.NV * vector_bytes() // np.dtype(dtype).itemsize for each in tiles.instruction_set().panels]


# Numbers of units at which a tile is left empty, almost full, full, and begun once more.
PLACES: dict[str, Callable[[int], int]] = {
    "1": lambda width: 1,
    "tile - 1": lambda width: width - 1,
    "tile": lambda width: width,
    "tile + 1": lambda width: width + 1,
    "2 tiles + 3": lambda width: 2 * width + 3,
}
TILES = range(len(tiles.instruction_set().panels))


def units_at(place: str, tile: int, dtype: Any) -> int:
    """Return the number of units at a place beside the width of a tile."""
    return PLACES[place](tile_widths(dtype)[tile])


def units_per_tile(dtype: Any) -> list[int]:
    """Return for each tile the smallest number of units that take more than one of its panels."""
    found: dict[tiles.PanelTiles, int] = {}
    for units in range(1, 4 * max(tile_widths(dtype))):
        layer = Layout([1, units, 1], ["relu"], np.dtype(dtype), 1, True).hidden[0]
        if layer.panels > 1:
            found.setdefault(layer.tiles, units)
    return list(found.values())


def sgd(job: Job) -> Rule:
    """Return plain gradient descent at the rate of a job."""
    return Rule("sgd", job.learning_rate)


def tiled_program(
    job: Job, dtype: Any, listed: bool = True, shares: int = 2, update: str = "sgd", shifted: bool = False, **form: Any
) -> TiledProgram:
    return TiledProgram(wanted(job, dtype, threads=shares, update=update, shifted=shifted, **form), listed)


def textbook_program(job: Job, dtype: Any, kernels: str = "scalar", **form: Any) -> Program:
    return Program(wanted(job, dtype, kernels=kernels, **form))


def wanted(job: Job, dtype: Any, **form: Any) -> Wanted:
    return Wanted(job.sizes, job.activations, dtype, job.batch_size, loss=job.loss, **form)


class Limits(NamedTuple):
    """What is done to a gradient before the rule gets it, and to the weights afterwards; names are those of updates.Rates."""

    clip_value: float = np.inf
    clip_norm: float = np.inf
    l1: float = 0.0
    average_decay: float = 0.0

    def of(self, gradient: Array, parameters: Array) -> Array:
        """Return a gradient limited number by number, then as a whole, then pulled by l1."""
        clipped = np.clip(gradient, -self.clip_value, self.clip_value)
        length = np.sqrt(np.square(clipped).sum())
        return clipped * (self.clip_norm / length if length > self.clip_norm else 1.0) + self.l1 * np.sign(parameters)

    def average(self, trajectory: Sequence[Array]) -> Array:
        """Return the average of the weights after the last step, from those at the start and after each step."""
        found = trajectory[0]
        for weights in trajectory[1:]:
            found = self.average_decay * found + (1.0 - self.average_decay) * weights
        return found


NO_LIMITS = Limits()


def rates(
    rule: Rule, steps: int, dtype: Any, changed: Callable[[int, Rule], Rule] = lambda number, rule: rule, limits: Limits = NO_LIMITS
) -> Array:
    """Return the numbers (steps, RATES) of updates.Rates."""
    table = []
    for number in range(steps):
        now, t = changed(number, rule), number + 1
        corrections = (1 / (1 - now.beta1**t), 1 / (1 - now.beta2**t), 0.0)
        if now.name == "nadam":
            momenta = now.beta1 * (1 - 0.5 * 0.96 ** (0.004 * np.arange(1, t + 2)))
            corrections = (momenta[t] / (1 - np.prod(momenta)), corrections[1], (1 - momenta[t - 1]) / (1 - np.prod(momenta[:t])))
        of_rule = (now.learning_rate, now.weight_decay, now.beta1, now.beta2, now.epsilon)
        table.append(Rates(*of_rule, *corrections, *limits))
    return np.array(table, dtype)


def steps_of(job: Job, dtype: Any, numbers: Numbers = small, rule: Rule | None = None, limits: Limits = NO_LIMITS, **changes: Any) -> Steps:
    """Return the run of all steps of a job, its parameters and states fresh; `changes` replace fields."""
    rule = rule or sgd(job)
    P, states = count_parameters(job.sizes), UPDATES[rule.name].states
    weights = None if job.weights() is None else np.array(job.weights(), dtype)
    whole = Steps(
        parameters=np.array(job.parameters(numbers), dtype),
        m_state=np.zeros(P if states > 0 else 0, dtype),
        v_state=np.zeros(P if states > 1 else 0, dtype),
        total=np.zeros(TOTALS),
        x=read_only(job.x(numbers), dtype),
        target=read_only(job.target(numbers), dtype),
        sample_weight=weights,
        order=job.order(),
        first=0,
        last=job.rows,
        batch_size=job.batch_size,
        scale=np.ones(job.sizes[0], dtype),
        shift=np.zeros(job.sizes[0], dtype),
        rates=rates(rule, -(-job.rows // job.batch_size), dtype, limits=limits),
        mean=job.mean,
        loss_numbers=np.array([job.loss_parameter]),
        average=np.array(job.parameters(numbers), dtype),
    )
    return whole._replace(**changes)


def run(program: TiledProgram | Program, steps: Steps) -> Trained:
    reached = program.train(steps)
    average = steps.parameters if steps.average is None else steps.average
    return Trained(steps.parameters, steps.m_state, steps.v_state, steps.total, reached, average)


def by_the_oracle(job: Job, numbers: Numbers = small) -> mlp.Run:
    return mlp.train(
        mlp.layers_of(job.parameters(numbers), job.sizes), job.activations, job.loss, job.x(numbers), job.target(numbers),
        order=job.order(), batch_size=job.batch_size, learning_rate=job.learning_rate, mean=job.mean, sample_weight=job.weights(),
        parameter=job.loss_parameter,
    )  # fmt: skip


def by_the_oracle_with(rule: Rule, job: Job, numbers: Numbers = small, x: Array | None = None, **changes: Any) -> updates.Run:
    arguments = {
        "order": job.order(), "batch_size": job.batch_size, "mean": job.mean, "sample_weight": job.weights(), **changes
    }  # fmt: skip
    return updates.train(
        rule,
        job.parameters(numbers),
        job.sizes,
        job.activations,
        job.loss,
        job.x(numbers) if x is None else x,
        job.target(numbers),
        **arguments,
    )


def error(found: Array, expected: Array) -> float:
    """Return the largest difference, relative to the largest number where that is above 1."""
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


STEPS = {
    "sgd": Rule("sgd", 0.5),
    "adam": Rule("adam", 0.01, weight_decay=0.01, epsilon=1e-3),
}  # a larger epsilon: the sign of a gradient of 0 is rounding


def errors_of_one_step_per_tile(dtype: str, kinds: Sequence[str] = tuple(STEPS)) -> dict[str, float]:
    """Return {"update units": error of the parameters after one step} of networks whose hidden layers have several panels of one tile."""
    found = {}
    for kind in kinds:
        for units in units_per_tile(dtype):
            job = Job([70, units, units, 3], ["relu", "tanh"], "cross_entropy", rows=7, batch_size=7, learning_rate=0.5)
            expected = by_the_oracle_with(STEPS[kind], job).parameters
            trained = run(tiled_program(job, dtype, update=kind), steps_of(job, dtype, rule=STEPS[kind]))
            found[f"{kind} {units}"] = error(trained.parameters, expected)
    return found
