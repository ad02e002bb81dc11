"""Losses: scalar formulas of the loss and of its derivative with respect to the output layer's z, each with its source.

A loss is fused with the output activation: p - t is exact where the two derivatives apart would overflow. So LOSSES has an entry for each
pair that goes together; the mean squared error goes with all three outputs.
The loss of a sample is the mean over its outputs, the cross-entropy of its one class for softmax.
Plain Python, so that names can be checked without loading a compiler.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.kernels.elementary import exp, log1p, tanh


class Loss(NamedTuple):
    """One loss on one output activation: loss l(z, t, p) and derivative dl/dz(z, t, p) of one output, the source.

    p is the number that the loss has besides, `parameter` the setting that gives it; without one it is 0 and not read. Without a
    formula the outputs of a row depend on each other, and the loss is a kernel of its own in textbook.py. `link` is "log" where z is the
    logarithm of what the network predicts. A user's loss has a digest of its text: `key` names its machine code. `form` is its key in
    LOSSES: its name, but where that is the key of the same loss on another output (`is_second`).
    """

    name: str
    output: str
    formula: Callable[[float, float, float], float] | None
    derivative: Callable[[float, float, float], float] | None
    source: str
    parameter: str | None = None
    link: str | None = None
    digest: str = ""
    is_second: bool = False

    @property
    def form(self) -> str:
        """Its key in LOSSES."""
        return f"{self.name}_of_{self.output}" if self.is_second else self.name

    @property
    def key(self) -> str:
        """The name of its machine code."""
        return f"{self.form}_{self.digest}" if self.digest else self.form


SMOOTHING = "label_smoothing"


def squared_error(z, t, p):
    return (z - t) * (z - t)


def squared_error_derivative(z, t, p):
    return 2 * (z - t)


def squared_error_of_sigmoid(z, t, p):
    # (s(z) - t')^2 for t' = t (1 - p) + p / 2
    e = 1 / (1 + exp(-z)) - (t * (1 - p) + p / 2)
    return e * e


def squared_error_of_sigmoid_derivative(z, t, p):
    s = 1 / (1 + exp(-z))
    return 2 * (s - (t * (1 - p) + p / 2)) * s * (1 - s)


def binary_cross_entropy(z, t, p):
    # -t' log s(z) - (1 - t') log(1 - s(z)) for t' = t (1 - p) + p / 2, written so that neither exp overflows nor log sees a 0
    return (0 if z < 0 else z) - z * (t * (1 - p) + p / 2) + log1p(exp(-abs(z)))


def binary_cross_entropy_derivative(z, t, p):
    return 1 / (1 + exp(-z)) - (t * (1 - p) + p / 2)


def absolute_error(z, t, p):
    return abs(z - t)


def absolute_error_derivative(z, t, p):
    return 1 if z > t else (-1 if z < t else 0)


def huber(z, t, p):
    e = abs(z - t)
    return 0.5 * e * e if e <= p else p * (e - 0.5 * p)


def huber_derivative(z, t, p):
    e = z - t
    return p if e > p else (-p if e < -p else e)


def log_cosh(z, t, p):
    # near 0 by log cosh e = -log(1 - tanh(e)^2) / 2, which keeps its digits; beyond, where cosh may overflow, by the larger exponential
    e = abs(z - t)
    s = tanh(e)
    return -0.5 * log1p(-s * s) if e < 1 else e + log1p(exp(-2 * e)) - 0.6931471805599453


def log_cosh_derivative(z, t, p):
    return tanh(z - t)


def quantile(z, t, p):
    return p * (t - z) if z < t else (1 - p) * (z - t)


def quantile_derivative(z, t, p):
    return 1 - p if z > t else (-p if z < t else 0)


def poisson(z, t, p):
    # z is the logarithm of the rate; what depends on t alone is left out
    return exp(z) - t * z


def poisson_derivative(z, t, p):
    return exp(z) - t


LOSSES = {
    loss.form: loss
    for loss in (
        Loss("cross_entropy", "softmax", None, None, "Bishop 2006, eq. 4.108 and 4.109; Szegedy et al. 2016, section 7", SMOOTHING),
        Loss(
            "binary_cross_entropy",
            "sigmoid",
            binary_cross_entropy,
            binary_cross_entropy_derivative,
            "Bishop 2006, eq. 4.90 and 4.91; Szegedy et al. 2016, section 7, for two classes",
            SMOOTHING,
        ),
        Loss("mse", "identity", squared_error, squared_error_derivative, "Bishop 2006, eq. 5.11, without the one half"),
        Loss(
            "mse",
            "sigmoid",
            squared_error_of_sigmoid,
            squared_error_of_sigmoid_derivative,
            "Rumelhart, Hinton, Williams 1986, eq. 4 to 6; Nielsen 2015, eq. 6, as a mean over outputs without the one half",
            SMOOTHING,
            is_second=True,
        ),
        Loss("mse", "softmax", None, None, "Brier 1950, over the number of classes; textbook.py", SMOOTHING, is_second=True),
        Loss("mae", "identity", absolute_error, absolute_error_derivative, "Bishop 2006, section 1.5.5, q = 1; derivative 0 at z = t"),
        Loss(
            "huber", "identity", huber, huber_derivative, "Huber 1964; half of Hastie, Tibshirani, Friedman 2009, eq. 10.23", "huber_delta"
        ),
        Loss("log_cosh", "identity", log_cosh, log_cosh_derivative, "Green 1990"),
        Loss("quantile", "identity", quantile, quantile_derivative, "Koenker and Bassett 1978; derivative 0 at z = t", "quantile"),
        Loss("poisson", "identity", poisson, poisson_derivative, "McCullagh and Nelder 1989, chapter 6; log link", link="log"),
    )
}
# The loss of an output activation where none is named.
DEFAULT_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "identity": "mse"}
OUTPUTS = tuple(DEFAULT_LOSS)


def loss_names() -> tuple[str, ...]:
    """Return the names of the losses, each once."""
    return tuple(dict.fromkeys(loss.name for loss in LOSSES.values()))


def losses_for(output: str) -> tuple[str, ...]:
    """Return the names of the losses that go with an output activation."""
    return tuple(loss.name for loss in LOSSES.values() if loss.output == output)


def outputs_for(name: str) -> tuple[str, ...]:
    """Return the output activations that a loss goes with, () for a name that is not known."""
    return tuple(loss.output for loss in LOSSES.values() if loss.name == name)


def loss_for(name: str, output: str) -> Loss:
    """Return a loss by its name and the output activation that it is taken on; KeyError where the two do not go together."""
    found = next((loss for loss in LOSSES.values() if (loss.name, loss.output) == (name, output)), None)
    if found is None:
        raise KeyError(name, output)
    return found
