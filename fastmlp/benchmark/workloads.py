"""The workloads that fastmlp is measured on, and what it has to reach on each. Records only: importing this costs nothing."""

from collections.abc import Sequence
from typing import NamedTuple

# What is timed: one epoch of training, one gradient over all rows, one prediction of one row from Python, one operation of one layer.
TRAIN, GRADIENT, PREDICT, LAYER = "train", "gradient", "predict", "layer"
COURSE = "course"  # a whole training, at rates that change from step to step
# The operations of one layer: outputs from inputs, the delta of the inputs from that of the outputs, the step of weights and biases.
OPERATIONS = ("forward", "backward", "update")
FLOAT32 = 4  # bytes
# A peer of its own: the multiply-adds of a workload, nothing skipped, at the rate that the processor reaches in registers.
PEAK, MULTIPLY_ADDS = "peak", "multiply-adds"
# Data sets of images, most of whose pixels are zero.
IMAGES = ("mnist", "fashion-mnist")


class Choice(NamedTuple):
    """Some configurations of one implementation: the variants named, or all; on one thread, on all threads, or either."""

    peer: str
    variants: tuple[str, ...] = ()
    threads: str = "any"  # "any", "one" or "all"


class Target(NamedTuple):
    """A ratio to reach: the time of the fastest of `theirs` over the time of the fastest of `ours`. None: it is only shown."""

    theirs: Choice
    at_least: float | None
    ours: Choice
    without_avx512: float | None = None  # to reach there instead; None: the same

    def aim(self, has_avx512: bool) -> float | None:
        """Return the ratio to reach with some instructions."""
        return self.at_least if has_avx512 or self.without_avx512 is None else self.without_avx512


class Limit(NamedTuple):
    """The seconds of one timed unit that would be our best."""

    text: str
    seconds: float


class Workload(NamedTuple):
    """A network, its data and its training: everything that two implementations have to agree on."""

    name: str
    title: str
    data: str  # mnist, fashion-mnist, synthetic, random-bytes, random-table or random-classes
    rows: int
    sizes: tuple[int, ...]
    activation: str
    output: str
    loss: str
    optimizer: str
    learning_rate: float
    batch_size: int
    targets: tuple[Target, ...]
    limit: Limit | None = None
    task: str = TRAIN
    cold: bool = False  # whether the caches are emptied before each call

    @property
    def unit(self) -> str:
        """What one time is the time of."""
        return "epoch" if self.task == TRAIN else "call"

    @property
    def peers(self) -> tuple[str, ...]:
        """The implementations that fastmlp is set against, each once."""
        return tuple(dict.fromkeys(target.theirs.peer for target in self.targets if target.theirs.peer not in ("fastmlp", PEAK)))

    @property
    def ours(self) -> tuple[str, ...]:
        """The variants of fastmlp to measure: what a user gets, the same without skipping zeros, and others that a target names."""
        choices = [choice for target in self.targets for choice in (target.ours, target.theirs)]
        named = [variant for choice in choices if choice.peer == "fastmlp" for variant in choice.variants]
        without_skipping = ["off"] if self.task == TRAIN and self.data in IMAGES else []
        return tuple(dict.fromkeys(["auto", *without_skipping, *named]))

    def beside(self, peers: Sequence[str]) -> "Workload":
        """Return the same work with the targets against some peers only, and those of fastmlp against itself."""
        return self._replace(targets=tuple(target for target in self.targets if target.theirs.peer in ("fastmlp", PEAK, *peers)))

    def with_rows(self, rows: int) -> "Workload":
        """Return the same work on no more than so many rows; an epoch's limit shrinks with them."""
        rows = min(rows, self.rows)
        limit = self.limit
        if limit is not None and self.task == TRAIN:
            limit = limit._replace(seconds=limit.seconds * rows / self.rows)
        return self._replace(rows=rows, limit=limit)

    @property
    def flops(self) -> int:
        """Additions and multiplications for one row: an epoch of training, or an operation of a single layer, nothing skipped."""
        products = [2 * k * n for k, n in zip(self.sizes, self.sizes[1:], strict=False)]
        if self.task == LAYER:
            return products[0]
        return 3 * sum(products) - products[0]  # forward, weights, inputs; the delta of the network's own inputs is not asked for

    def traffic(self, rows: int, operation: str = "") -> int:
        """Return the bytes that one step of so many rows moves, or one operation of a single layer, if each array moves once a use."""
        if operation:
            k, n = self.sizes
            return _layer_traffic(k, n, rows, operation)
        moved = rows * self.sizes[0] * (1 if self.data in IMAGES or self.data == "random-bytes" else FLOAT32)
        for index, (k, n) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            moved += sum(_layer_traffic(k, n, rows, name) for name in OPERATIONS if index > 0 or name != "backward")
        return moved


def _layer_traffic(k: int, n: int, rows: int, operation: str) -> int:
    parameters = {"forward": k * n + n, "backward": k * n, "update": 2 * (k * n + n)}[operation]  # an update reads and writes
    return FLOAT32 * (parameters + rows * (k + n))


# What a user gets who sets nothing; the two threads of the targets are all threads of the machine.
DEFAULT = Choice("fastmlp", ("auto",), "all")
TEXTBOOK_ONE, TEXTBOOK_ALL = Choice("fastmlp", ("scalar",), "one"), Choice("fastmlp", ("scalar",), "all")


def against(
    peer: str, at_least: float | None, *variants: str, ours: Choice = DEFAULT, threads: str = "any", without_avx512: float | None = None
) -> Target:  # fmt: skip
    """Return the target of our default, or of another choice, against the fastest configuration of a peer."""
    return Target(Choice(peer, variants, threads), at_least, ours, without_avx512)


def more_threads(at_least: float) -> Target:
    """Return the target of our default on all threads against the same on one."""
    return Target(DEFAULT._replace(threads="one"), at_least, DEFAULT)


def share_of_peak(at_least: float, variant: str) -> Target:
    """Return the target of a variant of fastmlp on one thread against the peak of one core."""
    return Target(Choice(PEAK, threads="one"), at_least, Choice("fastmlp", (variant,), "one"))


# Learning rates are low where rounding would grow into another loss within an epoch: at a rate of 0.05 on C, the same matrix products
# of NumPy on one thread and on two end 0.6 % apart.
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "A", "MNIST 784-300-10 sigmoid, batch 50, SGD", "mnist", 60_000, (784, 300, 10), "sigmoid", "softmax", "cross_entropy",
            "sgd", 0.5, 50,
            targets=(
                against("jax", 5.0, without_avx512=4.5), against("torch", 8.0, "eager"), against("torch", 4.0, "in-place"),
                against("torch", None), against("sklearn", 15.0), against("numpy", 8.0), more_threads(1.5),
                against("jax", 0.9, ours=TEXTBOOK_ONE), against("jax", 1.5, ours=TEXTBOOK_ALL),
                against("c", 0.95, ours=TEXTBOOK_ONE, threads="one"), against("c", 0.95, ours=TEXTBOOK_ALL, threads="all"),
            ),
            limit=Limit("0.10 s per epoch", 0.10),
        ),
        Workload(
            "A'", "as A on dense random bytes: no zeros to skip", "random-bytes", 60_000, (784, 300, 10), "sigmoid", "softmax",
            "cross_entropy", "sgd", 0.05, 50,
            targets=(
                against("jax", 2.2, without_avx512=2.0), against("torch", 7.0, "eager"), against("torch", 2.5, "in-place"),
                against("torch", None), against("numpy", None), share_of_peak(0.82, "auto"),
            ),
            limit=Limit("0.22 s per epoch", 0.22),
        ),
        Workload(
            "B", "as A, batch 512", "mnist", 60_000, (784, 300, 10), "sigmoid", "softmax", "cross_entropy", "sgd", 0.5, 512,
            targets=(
                against("jax", 3.0, without_avx512=2.5), against("torch", 4.0, "eager"), against("torch", 1.0, "in-place"),
                against("torch", None), against("numpy", None),
            ),
        ),
        Workload(
            "C", "Fashion-MNIST 784-300-300-10 ReLU, batch 50, SGD", "fashion-mnist", 60_000, (784, 300, 300, 10), "relu", "softmax",
            "cross_entropy", "sgd", 0.003, 50,
            targets=(
                against("jax", 2.2, without_avx512=2.0), against("torch", 5.5, "eager"), against("torch", 1.0, "in-place"),
                against("torch", None), against("numpy", None),
            ),
            limit=Limit("0.25 s per epoch", 0.25),
        ),
        Workload(
            "D", "MNIST 784-1024-1024-10 ReLU, batch 128, SGD", "mnist", 60_000, (784, 1024, 1024, 10), "relu", "softmax",
            "cross_entropy", "sgd", 0.01, 128,
            targets=(
                against("jax", 1.5), against("torch", 2.2, "eager"), against("torch", 1.6, "in-place"), against("torch", None),
                against("numpy", None), more_threads(1.7), share_of_peak(0.85, "off"),
            ),
        ),
        Workload(
            "E", "table 64-256-256-1 ReLU, MSE, Adam, batch 256", "random-table", 100_000, (64, 256, 256, 1), "relu", "identity", "mse",
            "adam", 2e-4, 256,
            targets=(
                against("jax", 1.5, without_avx512=1.6), against("torch", 4.0, "eager"), against("torch", 1.0, "in-place"),
                against("torch", None), against("numpy", None),
            ),
        ),
        Workload(
            "F", "small table 8-32-32-1 ReLU, MSE, Adam, batch 32", "random-table", 100_000, (8, 32, 32, 1), "relu", "identity", "mse",
            "adam", 1e-3, 32,
            targets=(against("jax", 2.5), against("torch", None, "eager"), against("torch", None), against("numpy", None)),
            limit=Limit("4 µs per step", 4e-6 * 3125),
        ),
        Workload(
            "G", "scalar 2-3-2 sigmoid, one sample a step, SGD", "synthetic", 60_000, (2, 3, 2), "sigmoid", "softmax", "cross_entropy",
            "sgd", 0.01, 1,
            targets=(
                against("jax", 1.0), against("torch", None, "eager"), against("torch", None), against("python", 300.0), against("c", 0.95),
                against("numpy", None),
            ),
            limit=Limit("50 ns per step", 50e-9 * 60_000),
        ),
        Workload(
            "K", "MNIST 784-300-10 sigmoid, one sample a step, SGD", "mnist", 60_000, (784, 300, 10), "sigmoid", "softmax",
            "cross_entropy", "sgd", 0.01, 1,
            targets=(
                against("jax", 3.7, without_avx512=3.5), against("torch", None, "eager"), against("torch", None), against("numpy", None),
            ),
            limit=Limit("0.4 s per epoch", 0.4),
        ),
        Workload(
            "M", "table 10-100-2 ReLU, Adam, batch 200: the size of magic, as MLPClassifier trains it", "random-classes", 15_216,
            (10, 100, 2), "relu", "softmax", "cross_entropy", "adam", 1e-3, 200,
            targets=(against("sklearn", 12.0), against("jax", 2.0), against("torch", None, "eager"), against("torch", None),
                     against("numpy", None)),
            limit=Limit("35 µs per step", 35e-6 * 77),
        ),
        Workload(
            "M'", "as M, 64-100-10: the size of digits", "random-classes", 1_437, (64, 100, 10), "relu", "softmax", "cross_entropy",
            "adam", 1e-3, 200,
            targets=(against("sklearn", 12.0), against("jax", 2.0), against("torch", None, "eager"), against("torch", None),
                     against("numpy", None)),
            limit=Limit("75 µs per step", 75e-6 * 8),
        ),
        Workload(
            "L", "24-8-2 tanh, 200 rows, one gradient", "random-table", 200, (24, 8, 2), "tanh", "identity", "mse", "sgd", 0.1, 200,
            targets=(against("torch", None), against("jax", None), against("numpy", 1.5)),
            limit=Limit("15 µs", 15e-6),
            task=GRADIENT,
        ),
        Workload(
            "I", "784-4096-4096-10 ReLU, batch 256, SGD: far beyond the caches", "mnist", 6_000, (784, 4096, 4096, 10), "relu", "softmax",
            "cross_entropy", "sgd", 0.01, 256,
            targets=(against("jax", 1.05), against("torch", 1.0), against("torch", 1.1, "eager"), against("numpy", None)),
        ),
        Workload(
            "H", "predict one row of 784-300-10 from Python", "mnist", 1_000, (784, 300, 10), "sigmoid", "softmax", "cross_entropy",
            "sgd", 0.5, 1,
            targets=(
                against("torch", 4.0), against("onnxruntime", 4.0), against("numpy", 4.0), against("sklearn", 20.0), against("jax", None),
                Target(Choice("fastmlp", ("njit",)), None, DEFAULT),
            ),
            limit=Limit("5 µs", 5e-6),
            task=PREDICT,
        ),
        Workload(
            "H'", "as H, weights not in the caches", "mnist", 1_000, (784, 300, 10), "sigmoid", "softmax", "cross_entropy", "sgd", 0.5, 1,
            targets=(
                against("torch", 4.0), against("onnxruntime", 4.0), against("numpy", 4.0), against("sklearn", 20.0), against("jax", None),
            ),
            task=PREDICT,
            cold=True,
        ),
    )
}  # fmt: skip
