"""Activations: scalar formulas f(z) and their derivatives, each with its source. Adding one means adding it here, and its test.

The derivative is written with z, with a = f(z), or with both, whichever is cheapest; `needs` says which.
Plain Python, so that names can be checked without loading a compiler.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.kernels.elementary import erfc, exp, expm1, log1p, tanh


class Activation(NamedTuple):
    """One activation: its formula, its derivative, what the derivative reads ("z", "a" or "both"), the source.

    initializer: how the weights before it begin where nothing else is asked for, a name of settings.INITIALIZERS. A user's activation has
    a digest of its text: `key` names its machine code, so that another formula under this name never runs it.
    """

    name: str
    formula: Callable[[float], float]
    derivative: Callable[[float, float], float]
    needs: str
    source: str
    initializer: str = "glorot_normal"
    digest: str = ""

    @property
    def key(self) -> str:
        """The name of its machine code."""
        return f"{self.name}_{self.digest}" if self.digest else self.name


def identity(z):
    return z


def identity_derivative(z, a):
    return 1


def sigmoid(z):
    return 1 / (1 + exp(-z))


def sigmoid_derivative(z, a):
    return a * (1 - a)


def hyperbolic_tangent(z):
    return tanh(z)


def tanh_derivative(z, a):
    return 1 - a * a


def relu(z):
    # written so that a NaN stays one: max(0, z) would hide it
    return 0 if z < 0 else z


def relu_derivative(z, a):
    return 1 if a > 0 else 0


def leaky_relu(z):
    return z if z > 0 else 0.01 * z


def leaky_relu_derivative(z, a):
    return 1 if a > 0 else 0.01


def elu(z):
    return z if z > 0 else expm1(z)


def elu_derivative(z, a):
    return 1 if a > 0 else a + 1


def selu(z):
    return 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * expm1(z))


def selu_derivative(z, a):
    return 1.0507009873554805 if a > 0 else a + 1.7580993408473766


def gelu(z):
    # z times the normal distribution function; by erfc, which keeps its digits where that is small
    return 0.5 * z * erfc(-0.7071067811865476 * z)


def gelu_derivative(z, a):
    return 0.5 * erfc(-0.7071067811865476 * z) + z * (0.3989422804014327 * exp(-0.5 * z * z))


def gelu_tanh(z):
    # (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)), with u = sqrt(2 / pi) (z + 0.044715 z^3)
    return z * (1 / (1 + exp(-1.5957691216057308 * (z + 0.044715 * z * z * z))))


def gelu_tanh_derivative(z, a):
    # with the logistic s of 2 u: s + z s' 2 u', and s' = w / (1 + w)^2 for w = exp(-|2 u|), which does not overflow; 0 beyond 10
    w = exp(-abs(1.5957691216057308 * (z + 0.044715 * z * z * z)))
    slope = 1.5957691216057308 * (1 + 0.134145 * z * z)
    s = (w if z < 0 else 1) / (1 + w)
    return s + (0 if abs(z) > 10 else z * slope * w / ((1 + w) * (1 + w)))


def mish(z):
    # tanh(log(1 + e^z)) = (e^2z + 2 e^z) / (e^2z + 2 e^z + 2), both divided by e^2z where that is large; w = exp(-|z|) does not overflow
    w = exp(-abs(z))
    top = w * (w + 2) if z < 0 else 1 + 2 * w
    return z * (top / (top + (2 if z < 0 else 2 * w * w)))


def mish_derivative(z, a):
    # t + z (1 - t^2) s, with t = tanh(log(1 + e^z)) as above and the logistic s of z
    w = exp(-abs(z))
    top = w * (w + 2) if z < 0 else 1 + 2 * w
    bottom = top + (2 if z < 0 else 2 * w * w)
    return top / bottom + z * (4 * w * (1 + w) * (1 if z < 0 else w)) / (bottom * bottom)


def softplus(z):
    return (0 if z < 0 else z) + log1p(exp(-abs(z)))  # log(1 + e^z), where e^z may be infinite


def softplus_derivative(z, a):
    return -expm1(-a)


def hard_sigmoid(z):
    return 0 if z < -3 else (1 if z > 3 else (z + 3) / 6)


def hard_sigmoid_derivative(z, a):
    return 0.16666666666666666 if a > 0 and a < 1 else 0


def silu(z):
    return z * (1 / (1 + exp(-z)))  # not z / (1 + exp(-z)): exp may be infinite, and a float32 z over a float64 number may not fit


def silu_derivative(z, a):
    s = 1 / (1 + exp(-z))
    return s + a * (1 - s)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", identity, identity_derivative, "a", "f(z) = z"),
        Activation("sigmoid", sigmoid, sigmoid_derivative, "a", "Bishop 2006, eq. 4.59 and 4.88"),
        Activation("tanh", hyperbolic_tangent, tanh_derivative, "a", "Bishop 2006, section 5.3.2"),
        Activation("relu", relu, relu_derivative, "a", "Glorot, Bordes, Bengio 2011, section 3; f'(0) = 0", "he_normal"),
        Activation(
            "leaky_relu", leaky_relu, leaky_relu_derivative, "a", "Maas, Hannun, Ng 2013, section 2; slope 0.01 for z <= 0", "he_normal"
        ),
        Activation("elu", elu, elu_derivative, "a", "Clevert, Unterthiner, Hochreiter 2016, section 3; alpha = 1", "he_normal"),
        Activation("selu", selu, selu_derivative, "a", "Klambauer, Unterthiner, Mayr, Hochreiter 2017, eq. 2 and 14", "lecun_normal"),
        Activation("gelu", gelu, gelu_derivative, "z", "Hendrycks and Gimpel 2016, section 2", "he_normal"),
        Activation(
            "gelu_tanh",
            gelu_tanh,
            gelu_tanh_derivative,
            "z",
            "Hendrycks and Gimpel 2016, section 2, the approximation by tanh",
            "he_normal",
        ),
        Activation("silu", silu, silu_derivative, "both", "Elfwing, Uchibe, Doya 2018, eq. 2 and 4", "he_normal"),
        Activation("mish", mish, mish_derivative, "z", "Misra 2020, eq. 1", "he_normal"),
        Activation("softplus", softplus, softplus_derivative, "a", "Dugas, Bengio, Bélisle, Nadeau, Garcia 2001", "he_normal"),
        Activation(
            "hard_sigmoid", hard_sigmoid, hard_sigmoid_derivative, "a", "Howard et al. 2019, section 5.2; as in PyTorch and Keras 3"
        ),
    )
}
