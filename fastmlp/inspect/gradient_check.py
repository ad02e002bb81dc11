"""Gradients against central differences in float64: of networks, of single formulas, of the kernels one by one.

measure   max |analytic - numeric| / max(max |analytic|, max |numeric|, 1e-8), over one array
step      1e-6 max(1, |w|), in both directions
kinks     inputs lie at least 10 steps away from z = 0, where relu has no derivative
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp.engines.program import Program, delta_of_outputs, loss_of_outputs
from fastmlp.engines.wanted import Wanted
from fastmlp.errors import ConfigError, DataError
from fastmlp.kernels import normalisation, textbook
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES, loss_for
from fastmlp.kernels.normalisation import EPSILON
from fastmlp.network import Network
from fastmlp.preprocessing.targets import active, loss_numbers, output_weights
from fastmlp.settings import refuses_unknown, whole_number

STEP = 1e-6
TOLERANCE = 1e-6
FROM_KINK = 10 * STEP
ROUNDING = 10 * float(np.finfo(np.float64).eps)  # of a loss, relative
BEND = 10 * STEP  # a step moves a normalised sum by no more: where sums hardly differ, it would bend, and their difference have few digits
MOST_PARAMETERS = 2000  # of one array; a larger array is checked at this many places, spread evenly

Pair = tuple[Callable[[float], float], Callable[[float, float], float]]


class Check(NamedTuple):
    """One comparison: what was checked, in which file its formula stands, the largest relative error, at how many places."""

    what: str
    where: str
    error: float
    places: int

    @property
    def passed(self) -> bool:
        """Whether the error is below the tolerance; a NaN is not."""
        return bool(self.error < TOLERANCE)


class GradientReport(NamedTuple):
    """The comparisons of one gradient check."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(check.passed for check in self.checks)

    @property
    def worst(self) -> Check:
        """The comparison with the largest error, a NaN before all."""
        return max(self.checks, key=lambda check: np.inf if np.isnan(check.error) else check.error)

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.worst.error


class Combination(NamedTuple):
    """A network with one activation, one normalisation and one loss, and the largest relative error of its gradient."""

    activation: str
    output: str
    loss: str
    error: float
    where: str
    normalization: str = "none"

    @property
    def passed(self) -> bool:
        """Whether the error is below the tolerance; a NaN is not."""
        return bool(self.error < TOLERANCE)


@refuses_unknown
def check_gradient(
    network_or_pair: Network | Pair,
    x: Any = None,
    y: Any = None,
    *,
    gradient: Callable[[Network, Any, Any], Any] | None = None,
    seed: int = 0,
) -> GradientReport:
    """Compare a gradient with central differences in float64.

    A Network: its gradient of the mean loss over rows x and targets y (random ones by default), array by array.
    `gradient(network, x, y)` replaces the gradient to be checked. A pair (f, derivative) of scalar functions f(z) and
    derivative(z, a), with a = f(z): the derivative on -4 to 4.

    >>> from math import exp
    >>> import fastmlp
    >>> fastmlp.check_gradient((lambda z: z / (1 + exp(-z)), lambda z, a: a * (1 - a))).passed
    False
    """
    if isinstance(network_or_pair, tuple):
        if len(network_or_pair) != 2 or not all(callable(function) for function in network_or_pair):
            raise ConfigError("check_gradient: expected a Network, or a pair of functions f(z) and derivative(z, a)")
        if beside := [name for name, value in (("x", x), ("y", y), ("gradient", gradient)) if value is not None]:
            raise ConfigError(f"{beside[0]}: expected none beside a pair of functions, got one; it goes with a Network")
        f, derivative = network_or_pair
        return GradientReport((_check_pair(getattr(derivative, "__name__", "derivative"), f, derivative),))
    if not isinstance(network_or_pair, Network):
        raise ConfigError("check_gradient: expected a Network, or a pair of functions f(z) and derivative(z, a)")
    if gradient is not None and not callable(gradient):
        raise ConfigError(f"gradient: expected a function of network, x and y, got {gradient!r:.60}")
    if (x is None) != (y is None):
        raise ConfigError(f"{'x' if x is None else 'y'}: expected rows x and targets y, or neither for random ones, got one of them alone")
    return _check_network(network_or_pair, x, y, gradient, whole_number("seed", seed))


def check_all(quick: bool = False) -> Iterator[Combination]:
    """Check the gradient of a small network, all parameters: every activation with every loss, and with every normalisation.

    With `quick` every activation, every loss and every normalisation once, each with the first of the others.
    """
    for number, activation in enumerate(ACTIVATIONS):
        for loss in list(LOSSES.values())[: 1 if quick and number else None]:
            network = Network([5, 4, 3, 3], activation, loss.output, dtype="float64", seed=1)
            network.adopt(
                loss=loss.name, loss_parameter=_parameter(loss.form), input_scaling=None, target_is_column=False,
                predicts_classes=network.predicts_classes,
            )  # fmt: skip
            worst = check_gradient(network).worst
            yield Combination(activation, loss.output, loss.name, worst.error, worst.what)
    for normalization in ("batch", "layer"):
        for activation in list(ACTIVATIONS)[: 1 if quick else None]:
            # of three units normalised, hardly anything moves the loss: differences of it would have few digits
            network = Network([5, 8, 6, 3], activation, normalization=normalization, dtype="float64", seed=1)
            worst = check_gradient(network).worst
            yield Combination(activation, network.output, network.loss, worst.error, worst.what, normalization)


def rehearse(model: str | None, layer: bool, quick: bool) -> None:
    """Compile what `fastmlp check` does, where kernels are listed and not run (listing.listed)."""
    if model is not None:
        check_gradient(Network.load(model))
    elif layer:
        list(check_kernels())
    else:
        list(check_all(quick))


def check_kernels() -> Iterator[Check]:
    """Check each derivative and each backward kernel by itself, so that a wrong one is named."""
    for name, activation in ACTIVATIONS.items():
        check = _check_pair(f"derivative of {name}", activation.formula, activation.derivative)
        where = "a formula of yours" if activation.digest else f"fastmlp/kernels/activations.py, {activation.derivative.__name__}"
        yield check._replace(where=where)
    for loss in LOSSES.values():
        yield _check_loss(loss.form)
    yield from _check_dense()
    yield from _check_norms()


def relative_error(analytic: Any, numeric: Any) -> float:
    """Return max |analytic - numeric| / max(max |analytic|, max |numeric|, 1e-8); NaN where either holds one."""
    a, n = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    if a.shape != n.shape:
        raise DataError(f"gradient: expected shape {n.shape}, got {a.shape}")
    return float(np.abs(a - n).max() / max(np.abs(a).max(), np.abs(n).max(), 1e-8))


def _check_network(network: Network, x: Any, y: Any, gradient: Callable[[Network, Any, Any], Any] | None, seed: int) -> GradientReport:
    double = _in_float64(network)
    x, y = _random_rows(double, seed) if x is None else (x, y)
    analytic = np.asarray(gradient(double, x, y) if gradient is not None else double.gradient(x, y), np.float64)
    if analytic.shape != double.parameters.shape:
        raise DataError(f"gradient: expected shape {double.parameters.shape}, got {analytic.shape}")
    unit = _unit_of_loss(double)
    analytic, mean_loss = analytic / unit, _mean_loss(double, x, y)

    def loss() -> float:
        return mean_loss() / unit

    # What a bias adds before the next normalisation takes a mean away: its gradient is 0, and the digits that it has are those of rounding.
    resolved = ROUNDING * max(1.0, abs(loss())) / STEP
    checks, start = [], 0
    for index, layer in enumerate(double.layers):
        counts = {"weights": layer.n_in * layer.n_out, "biases": layer.n_out}
        if layer.kind != "dense":
            counts["gammas"] = layer.n_out
        for name, count in counts.items():
            places = start + np.unique(np.linspace(0, count - 1, min(count, MOST_PARAMETERS)).astype(np.int64))
            numeric = [_central_difference(loss, double.parameters, place) for place in places]
            where = ", ".join([f"layer {index + 1}", layer.activation, *([layer.kind] if layer.kind != "dense" else [])])
            is_lost = max(np.abs(analytic[places]).max(), np.abs(numeric).max()) <= resolved
            error = 0.0 if is_lost else relative_error(analytic[places], numeric)
            checks.append(Check(f"{name}[{index}]", where, error, len(places)))
            start += count
    return GradientReport(tuple(checks))


def _in_float64(network: Network) -> Network:
    double = Network(
        network.sizes, network.hidden_activations or "relu", network.output, normalization=network.normalization, dtype="float64"
    )
    double.parameters[:], double.running_stats[:] = network.parameters, network.running_stats
    double.adopt(
        loss=network.loss, loss_parameter=network.loss_parameter, input_scaling=network.input_scaling,
        target_scaling=network.target_scaling, target_is_column=network.target_is_column,
        predicts_classes=network.predicts_classes, classes=network.known_classes,
    )  # fmt: skip
    return double


def _unit_of_loss(network: Network) -> float:
    """Return what losses are measured in: of y around 1e-12 they are 1e-24, and no gradient would be told from 0."""
    if (scaling := active(network.target_scaling)) is None:
        return 1.0
    return float((1.0 / output_weights(network.loss, network.loss_parameter, scaling)).max())


def _mean_loss(network: Network, x: Any, y: Any) -> Callable[[], float]:
    """Return a function that gives the mean loss at the present parameters, batch normalisation by these rows: as in training."""
    rows = network.rows_for_kernels(x)
    target = network.target_for_kernels(y, rows.shape[0])
    numbers = loss_numbers(network.loss, network.loss_parameter, network.target_scaling, "loss")
    program = Program(Wanted(network.sizes, network.hidden_activations, network.dtype, rows.shape[0], norm=network.normalization))
    form = loss_for(network.loss, network.output).form
    scale, shift = network.scale_and_shift_of_rows(rows.dtype == np.uint8)
    z = np.empty((rows.shape[0], network.n_outputs))

    def loss() -> float:
        program.outputs(network.parameters, rows, 0, rows.shape[0], scale, shift, z, network.running_stats)
        return float(loss_of_outputs(form, numbers, z, target)[0] / rows.shape[0])

    return loss


def _central_difference(loss: Callable[[], float], parameters: np.ndarray, place: int) -> float:
    held = parameters[place]
    step = STEP * max(1.0, abs(held))
    parameters[place] = held + step
    above = loss()
    parameters[place] = held - step
    below = loss()
    parameters[place] = held
    return float((above - below) / (2 * step))


def _random_rows(network: Network, seed: int, n_rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and targets at which no hidden z lies near a kink."""
    generator = np.random.default_rng(seed)
    shape = (50 * n_rows, network.n_inputs)
    x = generator.random(shape) if network.is_of_bytes else generator.standard_normal(shape)  # it refuses what no byte would give
    if network.normalization == "batch":  # a row's z depends on the rows beside it
        groups = x.reshape(-1, n_rows, network.n_inputs)
        x = next((group for group in groups if _far_from_kinks(network, group).all()), groups[0])
    else:
        clear = _far_from_kinks(network, x)
        x = x[clear][:n_rows] if clear.any() else x[:n_rows]
    if network.output == "identity":
        y = generator.standard_normal((len(x), network.n_outputs))
        return x, y if network.target_scaling is None else network.target_scaling.values(y)
    softmax = network.output == "softmax"
    numbers = generator.integers(0, network.n_outputs, len(x)) if softmax else generator.integers(0, 2, (len(x), network.n_outputs))
    return x, network.classes[numbers] if network.classes is not None and (softmax or network.n_outputs == 1) else numbers


def _far_from_kinks(network: Network, x: np.ndarray) -> np.ndarray:
    """Return for each row (n,) whether no hidden z is near 0, and no normalisation near its bend.

    A parameter's step moves a sum by up to |x| steps, and z by as much times the scale of the normalisation.
    """
    scale, shift = network.scale_and_shift_of_rows(False)
    a, clear = x * scale + shift, np.ones(len(x), bool)
    gammas = network.gammas or [np.ones(1)] * len(network.layers)
    for layer, weight, bias, gamma in zip(network.layers[:-1], network.weights, network.biases, gammas, strict=False):
        z, inverse = a @ weight, np.ones(1)
        if layer.kind != "dense":
            axis = 0 if layer.kind == "batch_norm" else 1
            inverse = 1 / np.sqrt(z.var(axis, keepdims=True) + EPSILON)
            z = (z - z.mean(axis, keepdims=True)) * inverse
        z = gamma * z + bias
        reach = np.maximum(1.0, np.abs(a).max(axis=1, keepdims=True))
        clear &= (np.abs(z) > FROM_KINK * reach * np.maximum(1.0, np.abs(gamma * inverse))).all(axis=1)
        clear &= (STEP * reach * inverse < BEND).all(axis=1)
        a = np.vectorize(ACTIVATIONS[layer.activation].formula, otypes=[np.float64])(z)
    return clear


def _check_pair(what: str, f: Callable[[float], float], derivative: Callable[[float, float], float]) -> Check:
    points = [float(z) for z in np.linspace(-4, 4, 80)]  # none at 0
    analytic = [float(derivative(z, f(z))) for z in points]
    numeric = [(f(z + STEP) - f(z - STEP)) / (2 * STEP) for z in points]
    return Check(what, getattr(derivative, "__name__", "derivative"), relative_error(analytic, numeric), len(points))


def _parameter(loss: str) -> float:
    """Return a number for a loss that has one: a share, and a width, that each of them takes."""
    return 0.3 if LOSSES[loss].parameter else 0.0


def _check_loss(name: str) -> Check:
    """Compare the delta that a loss kernel gives with differences of the loss that it returns."""
    generator = np.random.default_rng(0)
    z = generator.standard_normal((4, 3))
    output = LOSSES[name].output
    target = generator.integers(0, 2, (4, 3)).astype(float) if output != "identity" else generator.standard_normal((4, 3))
    if output == "softmax":
        target = generator.integers(0, 3, (4, 1)).astype(float)
    numbers = np.array([_parameter(name)])
    delta = delta_of_outputs(name, numbers, z, target)
    flat = z.reshape(-1)
    numeric = [_central_difference(lambda: loss_of_outputs(name, numbers, z, target)[0], flat, place) for place in range(flat.size)]
    return Check(f"delta of {name}", "fastmlp/kernels/losses.py and textbook.py", relative_error(delta.reshape(-1), numeric), flat.size)


def _check_dense() -> Iterator[Check]:
    """Compare the backward kernels of a dense layer with differences of sum(out * r), whose delta is r."""
    generator = np.random.default_rng(0)
    x, weight, bias, r = (generator.standard_normal(shape) for shape in ((4, 5), (5, 3), 3, (4, 3)))
    out, dx, dweight, dbias = np.empty((4, 3)), np.empty((4, 5)), np.empty((5, 3)), np.empty(3)

    def summed() -> float:
        textbook.dense_forward(x, weight, bias, out)
        return float((out * r).sum())

    textbook.dense_backward_input(r, weight, dx)
    textbook.dense_backward_parameters(x, r, dweight, dbias)
    for kernel, of, values, analytic in (
        ("dense_backward_input", "x", x, dx),
        ("dense_backward_parameters", "weight", weight, dweight),
        ("dense_backward_parameters", "bias", bias, dbias),
    ):
        flat = values.reshape(-1)
        numeric = [_central_difference(summed, flat, place) for place in range(flat.size)]
        error = relative_error(analytic.reshape(-1), numeric)
        yield Check(f"{kernel}, gradient of {of}", f"fastmlp/kernels/textbook.py, {kernel}", error, flat.size)


def _check_norms() -> Iterator[Check]:
    """Compare the backward kernels of both normalisations with differences of sum(out * r), whose delta is r."""
    generator = np.random.default_rng(0)
    z, r = generator.standard_normal((6, 5)), generator.standard_normal((6, 5))
    gamma, beta = generator.uniform(0.5, 2.0, 5), generator.standard_normal(5)
    hat, out = np.empty((6, 5)), np.empty((6, 5))
    mean, variance, inverse, of_rows = np.empty(5), np.empty(5), np.empty(5), np.empty(6)
    dgamma, dbeta, batch_delta, layer_delta, fixed_delta = np.empty(5), np.empty(5), r.copy(), r.copy(), r.copy()

    def over_rows() -> float:
        normalisation.batch_moments(z, mean, variance)
        return with_given_moments()

    def with_given_moments() -> float:
        normalisation.inverse_deviations(variance, inverse)
        normalisation.normalise_units(z, mean, inverse, gamma, beta, hat, out)
        return float((out * r).sum())

    def over_units() -> float:
        normalisation.layer_norm(z, gamma, beta, hat, of_rows, out)
        return float((out * r).sum())

    def check(kernel: str, of: str, summed: Callable[[], float], values: np.ndarray, analytic: np.ndarray) -> Check:
        flat = values.reshape(-1)
        numeric = [_central_difference(summed, flat, place) for place in range(flat.size)]
        error = relative_error(analytic.reshape(-1), numeric)
        return Check(f"{kernel}, gradient of {of}", f"fastmlp/kernels/normalisation.py, {kernel}", error, flat.size)

    over_units()
    normalisation.layer_norm_backward(layer_delta, hat, of_rows, gamma)
    yield check("layer_norm_backward", "z", over_units, z, layer_delta)
    over_rows()
    normalisation.scale_backward(r, hat, dgamma, dbeta)
    normalisation.batch_norm_backward(batch_delta, hat, inverse, gamma, dgamma, dbeta)
    normalisation.fixed_norm_backward(fixed_delta, inverse, gamma)
    yield check("scale_backward", "gamma", over_rows, gamma, dgamma)
    yield check("scale_backward", "beta", over_rows, beta, dbeta)
    yield check("batch_norm_backward", "z", over_rows, z, batch_delta)
    over_rows()
    yield check("fixed_norm_backward", "z", with_given_moments, z, fixed_delta)
