"""Network: the layers, one flat vector of parameters, and what inference needs. Training is elsewhere."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastmlp import machine
from fastmlp.data.gzipped import display_name
from fastmlp.engines.program import loss_of_outputs
from fastmlp.engines.wanted import count_parameters, count_running_stats
from fastmlp.errors import ConfigError, DataError, NotEnoughMemory
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import DEFAULT_LOSS, OUTPUTS, SMOOTHING, loss_for, losses_for
from fastmlp.network import codec, folding, initializers, labels, outputs
from fastmlp.network.arrays import (
    BYTES_AS_FLOATS,
    as_array,
    as_numbers,
    as_rows,
    as_sample_weight,
    as_target,
    frozen,
    is_single,
    names_classes,
    warn_of_bytes,
    weight_in,
)
from fastmlp.network.attributes import Views, assign, checked, first_not_finite, fixed
from fastmlp.network.layers import (
    KINDS,
    Layer,
    checked_class_names,
    checked_loss_parameter,
    checked_sizes,
    dtype_name,
    one_per_layer,
    parameters_of,
    short,
)
from fastmlp.network.metrics import of_classes, pinball
from fastmlp.network.programs import Programs
from fastmlp.network.summary import summary_of
from fastmlp.preprocessing import columns as of_columns
from fastmlp.preprocessing import frames, targets
from fastmlp.preprocessing.columns import Columns
from fastmlp.preprocessing.inputs import BLOCK_ROWS, FRACTIONS, InputScaling, checked_scaling
from fastmlp.preprocessing.targets import TargetScaling
from fastmlp.settings import (
    FIELDS,
    INITIALIZER_DEFAULTS,
    PLAIN,
    NetworkSettings,
    TrainingSettings,
    as_path,
    check_value,
    items_of,
    known_name,
    metrics_of,
    nearest,
    record_refuses_unknown,
    refuses_unknown,
    warn_renamed,
)
from fastmlp.storage import model_file

if TYPE_CHECKING:
    from fastmlp.embedding import Functions
    from fastmlp.kernels.embedded import State


# Attributes and a keyword of version 0.1.0 -> their names now; accepted with a warning for one version.
RENAMED = {"norm_layers": "normalization", "statistics": "running_stats", "normalisation": "input_scaling"}
# What networks of other libraries have as methods -> what does it here.
ELSEWHERE = {"fit": "fastmlp.train(network, x, y)", "probabilities": "predict_proba", "forward": "logits", "score": "evaluate"}


@record_refuses_unknown
class Network:
    """A multi-layer perceptron.

    sizes: numbers of units, inputs first, outputs last. activation: of the hidden layers, one name or one per layer.
    output: "softmax" for one class of several; "sigmoid" for yes or no per output, or, trained on class numbers, for one class of several,
    that of the largest output; "identity" for numbers; by default softmax, or identity where there is one output. normalization: "batch" or
    "layer" normalises the sums of the hidden layers. The initial weights follow from `seed` and `initializer` (initializers.py has the
    rules; by default each layer gets what fits its activation, but networks of relu's kind that predict numbers begin with glorot_uniform,
    as those that the command line makes for tables); biases begin at 0, scales of normalised sums at 1.

    `parameters`, `weights`, `biases`, `gammas`, `running_stats`, `running_means` and `running_variances` are views of what the network
    computes with: they may be written to in place, and assigned to, which checks size, type and finiteness and copies the values, or
    raises DataError and changes nothing. A training under way goes on from what a callback wrote. `class_names`, `columns`, `input_scaling`
    and `target_scaling` may be assigned, too; what a network is made of, and what it was trained for, may not.

    >>> import fastmlp
    >>> net = fastmlp.Network([2, 3, 2], activation="sigmoid")
    >>> net.weights[0].shape, net.parameters.shape
    ((2, 3), (17,))
    """

    sizes: tuple[int, ...] = fixed("make a new Network")
    layers: tuple["Layer", ...] = fixed("make a new Network")
    output: str = fixed("make a new Network")
    dtype: np.dtype = fixed("make a new Network")
    normalization: str = fixed("make a new Network")
    loss: str = fixed("name the loss where the network is trained")
    loss_parameter: float = fixed("set huber_delta or quantile where the network is trained")
    target_is_column: bool = fixed("train with y of that shape")
    predicts_classes: bool = fixed("train with y that names one class per row")

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = NetworkSettings.activation,
        output: str | None = NetworkSettings.output,
        *,
        normalization: str = NetworkSettings.normalization,
        initializer: str | None = NetworkSettings.initializer,
        initial_value: float | None = NetworkSettings.initial_value,
        dtype: str = NetworkSettings.dtype,
        seed: int = TrainingSettings.seed,
        class_names: Sequence[str] | None = None,
        norm_layers: str | None = None,
    ) -> None:
        if norm_layers is not None:
            warn_renamed("norm_layers", RENAMED["norm_layers"])
            normalization = norm_layers
        sizes = checked_sizes(sizes)
        names = (
            activation
            if activation is None or isinstance(activation, str)
            else items_of("activation", activation, "a name, or one per layer")
        )
        # the record checks types and ranges; a network without hidden layers has an activation all the same
        given = NetworkSettings(
            hidden=sizes[1:-1], activation=names, output=output, normalization=normalization, initializer=initializer,
            initial_value=initial_value, dtype=dtype_name(dtype),
        )  # fmt: skip
        if given.initializer is None:
            given.check_choice("initializer", "of the activation")
        value = INITIALIZER_DEFAULTS["constant"]["initial_value"] if given.initial_value is None else given.initial_value
        hidden = one_per_layer(given.activation, len(sizes) - 2)
        output = known_name(("softmax" if sizes[-1] > 1 else "identity") if given.output is None else given.output, OUTPUTS)
        if output not in OUTPUTS:
            raise ConfigError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r:.60}{nearest(output, OUTPUTS)}")
        if given.normalization == "layer" and 1 in sizes[1:-1]:
            raise ConfigError(
                "normalization: expected hidden layers of at least 2 units to normalise each over its units, got 1; use batch"
            )
        if output == "softmax" and sizes[-1] < 2:
            raise ConfigError("output: softmax needs at least 2 outputs; use sigmoid for one yes-or-no output")
        seed = TrainingSettings(seed=seed).seed
        texts = checked_class_names(class_names, sizes[-1])
        normalization = given.normalization if hidden else "none"  # of hidden layers: without any there is nothing to normalise
        kinds = [KINDS[normalization]] * len(hidden) + ["dense"]
        vars(self).update(
            sizes=sizes,
            output=output,
            dtype=np.dtype(given.dtype),
            normalization=normalization,
            layers=tuple(Layer(*layer) for layer in zip(kinds, sizes, sizes[1:], (*hidden, output), strict=False)),
            loss=DEFAULT_LOSS[output],
            loss_parameter=0.0,  # huber_delta or quantile of that loss, as trained; 0 for the others
            target_is_column=False,  # whether y was (n, 1): predictions take its shape
            predicts_classes=output == "softmax",  # one per row: of sigmoid outputs where the y trained on was class numbers
        )
        self._class_names = texts
        self._know(None)  # the labels of classes are found by the first training
        self._columns: Columns | None = None  # of the tables that it takes
        self._input_scaling: InputScaling | None = None  # fitted by the first training
        self._target_scaling: TargetScaling | None = None  # of a regression: decided by the first training
        self._parameters = self._allocate()
        # what batch normalisation has tracked while training: mean and variance of each hidden unit, layer by layer
        self._running_stats = np.zeros(count_running_stats(sizes, normalization), self.dtype)
        for scale in (*self.gammas, *self.running_variances):
            scale[:] = 1
        self._programs = Programs()
        initializer = given.initializer or (initializers.of_kind("regression", hidden) if output == "identity" else None)
        for index, (layer, weight) in enumerate(zip(self.layers, self.weights, strict=True)):
            is_hidden = index + 1 < len(self.layers)
            default = ACTIVATIONS[layer.activation].initializer if is_hidden else "glorot_normal"
            initializers.fill(weight, initializer or default, default == "he_normal", seed, index, value)

    @classmethod
    @refuses_unknown
    def from_weights(
        cls,
        weights: Sequence[Any],
        biases: Sequence[Any],
        activation: str | Sequence[str] = NetworkSettings.activation,
        output: str | None = NetworkSettings.output,
        *,
        dtype: str = NetworkSettings.dtype,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Return a network with weights (n_in, n_out) and biases (n_out,) from elsewhere, one of each per layer.

        scikit-learn's coefs_ and intercepts_ have these shapes; a weight of PyTorch's Linear is the transpose. Raises DataError for
        layers that do not fit together and numbers that are not finite. Numbers that it predicts are those of these weights for ever: its
        targets are not standardised.
        """
        matrices, vectors = (
            [as_numbers(array, f"{name}[{index}]") for index, array in enumerate(items_of(name, each, "arrays, one per layer", DataError))]
            for name, each in (("weights", weights), ("biases", biases))
        )
        if not matrices or len(matrices) != len(vectors):
            raise DataError(f"weights, biases: expected one of each per layer, got {len(matrices)} and {len(vectors)}")
        for index, (matrix, vector) in enumerate(zip(matrices, vectors, strict=True)):
            n_in = matrices[index - 1].shape[1] if index > 0 else "n_in"
            if matrix.ndim != 2 or index > 0 and matrix.shape[0] != n_in:
                hint = "; transpose it" if matrix.ndim == 2 and matrix.shape[1] == n_in else ""
                raise DataError(f"weights[{index}]: expected ({n_in}, n_out), got shape {matrix.shape}{hint}")
            if vector.shape != matrix.shape[1:]:
                raise DataError(f"biases[{index}]: expected ({matrix.shape[1]},), one per unit, got shape {vector.shape}")
        sizes = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
        network = cls(sizes, activation, output, initializer="zeros", dtype=dtype, class_names=class_names)
        network.target_scaling = targets.none(network.n_outputs) if network.output == "identity" else None
        for name, given, views in (("weights", matrices, network.weights), ("biases", vectors, network.biases)):
            for index, (array, view) in enumerate(zip(given, views, strict=True)):
                with np.errstate(over="ignore"):
                    view[:] = array
                if not np.isfinite(view).all():
                    raise DataError(f"{name}[{index}]: expected finite numbers in {network.dtype}, got NaN or inf")
        return network

    def _allocate(self) -> np.ndarray:
        count = count_parameters(self.sizes, self.normalization)
        needed = count * self.dtype.itemsize
        limit = machine.memory_limit()
        if limit is not None and needed > limit:
            raise NotEnoughMemory(
                f"the parameters of {'-'.join(map(str, self.sizes))} need {needed >> 20} MiB, this process may use "
                f"{limit >> 20} MiB; choose fewer units"
            )
        try:
            return np.zeros(count, self.dtype)
        except MemoryError:
            raise NotEnoughMemory(f"the parameters need {needed / 2**30:.1f} GiB, which are not free; choose fewer units") from None

    @property
    def parameters(self) -> np.ndarray:
        """All weights and biases (P,), a view; layer by layer weight, bias and, where sums are normalised, gamma."""
        return self._parameters.view()  # its shape, type and flags may be changed, those of the network's own array not

    @parameters.setter
    def parameters(self, values: Any) -> None:
        self._parameters[:] = checked("parameters", values, self._parameters)

    @property
    def running_stats(self) -> np.ndarray:
        """What batch normalisation tracks (S,), a view: mean and variance of each hidden unit, layer by layer."""
        return self._running_stats.view()

    @running_stats.setter
    def running_stats(self, values: Any) -> None:
        self._running_stats[:] = self.checked_running_stats("running_stats", values)

    def checked_running_stats(self, name: str, values: Any) -> np.ndarray:
        """Return running statistics (S,) that this network can have; DataError for any others."""
        found = checked(name, values, self._running_stats)
        for variance in self._running_stats_of_layers(found)[1::2]:
            checked(f"{name}: variances", variance, variance, at_least=0.0)
        return found

    @property
    def weights(self) -> list[np.ndarray]:
        """Views (n_in, n_out) of the parameters, one per layer."""
        return Views("weights", (self._parameters[first : first + k * n].reshape(k, n) for first, k, n in self._offsets()))

    @weights.setter
    def weights(self, values: Any) -> None:
        assign("weights", self.weights, values)

    @property
    def biases(self) -> list[np.ndarray]:
        """Views (n_out,) of the parameters, one per layer."""
        return Views("biases", (self._parameters[first + k * n : first + k * n + n] for first, k, n in self._offsets()))

    @biases.setter
    def biases(self, values: Any) -> None:
        assign("biases", self.biases, values)

    @property
    def gammas(self) -> list[np.ndarray]:
        """Views (n_out,) of the parameters, one per hidden layer whose sums are normalised: what the normalised sums are multiplied by."""
        ends = ((first + k * n + n, n) for first, k, n in self._offsets()[:-1])
        return Views("gammas", [self._parameters[end : end + n] for end, n in ends] if self.normalization != "none" else [])

    @gammas.setter
    def gammas(self, values: Any) -> None:
        assign("gammas", self.gammas, values)

    @property
    def running_means(self) -> list[np.ndarray]:
        """Views (n_out,) of the statistics, one per hidden layer of batch normalisation: the means that inference subtracts."""
        return Views("running_means", self._running_stats_of_layers(self._running_stats)[::2])

    @running_means.setter
    def running_means(self, values: Any) -> None:
        assign("running_means", self.running_means, values)

    @property
    def running_variances(self) -> list[np.ndarray]:
        """Views (n_out,) of the statistics, one per hidden layer of batch normalisation: the variances that inference divides by."""
        return Views("running_variances", self._running_stats_of_layers(self._running_stats)[1::2], at_least=0.0)

    @running_variances.setter
    def running_variances(self, values: Any) -> None:
        assign("running_variances", self.running_variances, values, at_least=0.0)

    def _running_stats_of_layers(self, running_stats: np.ndarray) -> list[np.ndarray]:
        counts = [n for n in self.sizes[1:-1] for _ in range(2)]  # a mean and a variance for each unit
        return np.split(running_stats, np.cumsum(counts)[:-1]) if running_stats.size else []

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the outputs stand for, one text for each: those that were given, else the labels of classes; None where nobody said."""
        if self._class_names is None and self.n_outputs > 1 and (classes := self.classes) is not None:
            return tuple(map(str, classes.tolist()))
        return self._class_names

    @class_names.setter
    def class_names(self, names: Any) -> None:
        self._class_names = checked_class_names(names, self.n_outputs)

    @property
    def columns(self) -> Columns | None:
        """How the columns of a table become inputs, for all that takes x; None where rows come as numbers only."""
        return self._columns

    @columns.setter
    def columns(self, columns: Any) -> None:
        self._columns = None if columns is None else of_columns.checked(columns, self.n_inputs)

    def encoded(self, x: Any, name: str = "x") -> Any:
        """Return the rows of a table as inputs (n, K), where this network knows its columns; anything else as it is."""
        return self._columns.encode(x, name) if self._columns is not None and frames.is_frame(x) else x

    @property
    def input_scaling(self) -> InputScaling | None:
        """What happens to inputs before the first layer: fitted by the first training, None before."""
        return self._input_scaling

    @input_scaling.setter
    def input_scaling(self, scaling: Any) -> None:
        self._input_scaling = None if scaling is None else checked_scaling(scaling, self.n_inputs, self.dtype)

    @property
    def target_scaling(self) -> TargetScaling | None:
        """What the outputs of a regression mean in the units of y: decided by the first training, None before, and for classes."""
        return self._target_scaling

    @target_scaling.setter
    def target_scaling(self, scaling: Any) -> None:
        self._target_scaling = None if scaling is None else targets.checked_scaling(scaling, self.output, self.n_outputs, self.loss)

    @property
    def classes(self) -> np.ndarray | None:
        """The labels (C,) of the classes that the network tells apart, int64, bool or str: that of output k, or class number k, at place k.

        Found by the first training, or assigned: then `predict` answers in them, and all that takes y knows them. None where class numbers
        0…C-1 are the labels, before the first training, and for numbers to predict.
        """
        return self._answers

    @classes.setter
    def classes(self, values: Any) -> None:
        self._know(None if values is None else labels.checked_classes(values, self.output, self.n_outputs))

    @property
    def known_classes(self) -> np.ndarray | None:
        """The `classes`, and arange(C) where labels are class numbers; None before the first training."""
        return self._classes

    def _know(self, classes: np.ndarray | None) -> None:
        self._classes = classes
        self._answers = None if classes is None or labels.is_plain(classes) else classes  # what `predict` looks classes up in

    def numbers_to_train(self, y: Any) -> tuple[Any, np.ndarray | None]:
        """Return y as `class_numbers` does, and the `known_classes` of this network once it is trained on y: found in y the first time."""
        return labels.of_training(y, self._classes, self.output, self.n_outputs, self._class_names)

    def class_numbers(self, y: Any, name: str = "y", classes: np.ndarray | None = None) -> Any:
        """Return y with class numbers in place of labels, of `classes` or those that this network knows; y as it is where it names none."""
        return labels.in_numbers(y, self._answers if classes is None else classes, self.output, self.n_outputs, name)

    def adopt(
        self,
        *,
        loss: str,
        loss_parameter: float,
        input_scaling: InputScaling | None,
        target_scaling: TargetScaling | None = None,
        target_is_column: bool,
        predicts_classes: bool,
        classes: Any = None,
    ) -> None:
        """Take over what a training has fixed: loss, scaling of inputs and targets, the shape of targets, the labels of classes.

        Raises ConfigError, and changes nothing, where they do not fit the network.
        """
        if loss not in losses_for(self.output):
            raise ConfigError(f"loss: expected one that fits {self.output} output, got {short(loss)}")
        is_smoothed = loss_for(loss, self.output).parameter == SMOOTHING
        parameter = (
            check_value(FIELDS["label_smoothing"], loss_parameter)
            if is_smoothed
            else checked_loss_parameter(loss, self.output, loss_parameter)
        )
        scaling = None if input_scaling is None else checked_scaling(input_scaling, self.n_inputs, self.dtype)
        of_target = None if target_scaling is None else targets.checked_scaling(target_scaling, self.output, self.n_outputs, loss)
        if not isinstance(target_is_column, bool):
            raise ConfigError(f"target_is_column: expected true or false, got {short(target_is_column)}")
        may_differ = self.output == "sigmoid" and self.n_outputs > 1
        if not isinstance(predicts_classes, bool) or (predicts_classes != (self.output == "softmax") and not may_differ):
            expected = "true or false" if may_differ else str(self.output == "softmax").lower()
            raise ConfigError(f"predicts_classes: expected {expected} with {self.output} output, got {short(predicts_classes)}")
        of_classes = None if classes is None else labels.checked_classes(classes, self.output, self.n_outputs)
        vars(self).update(
            loss=loss,
            loss_parameter=parameter,
            target_is_column=target_is_column,
            predicts_classes=predicts_classes,
            _input_scaling=scaling,
            _target_scaling=of_target,
        )
        self._know(of_classes)

    def _offsets(self) -> list[tuple[int, int, int]]:
        offsets, first = [], 0
        for layer in self.layers:
            offsets.append((first, layer.n_in, layer.n_out))
            first += parameters_of(layer)
        return offsets

    @property
    def n_inputs(self) -> int:
        """Number of features of a row."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of units of the output layer."""
        return self.sizes[-1]

    @property
    def hidden_activations(self) -> tuple[str, ...]:
        """Names of the activations of the hidden layers."""
        return tuple(layer.activation for layer in self.layers[:-1])

    def __getattr__(self, name: str) -> Any:
        """Answer to the attributes of version 0.1.0 by their names now."""
        if name not in RENAMED:
            hint = f"; did you mean {ELSEWHERE[name]}?" if name in ELSEWHERE else nearest(name, dir(self))
            raise AttributeError(f"'Network' has no attribute {name!r}{hint}", name=name, obj=self)
        warn_renamed(f"Network.{name}", f"Network.{RENAMED[name]}")
        return getattr(self, RENAMED[name])

    if not TYPE_CHECKING:  # which would let every name be assigned

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                pass
            elif name in RENAMED:
                warn_renamed(f"Network.{name}", f"Network.{RENAMED[name]}")
                name = RENAMED[name]
            elif not hasattr(type(self), name) and (near := get_close_matches(name, dir(type(self)), 1, 0.85)):
                raise ConfigError(
                    f"{name}: expected an attribute that a Network has to be assigned, got {name!r:.60}; did you mean {near[0]!r}?"
                )
            object.__setattr__(self, name, value)

    def summary(self) -> str:
        """Return the layers, shapes and parameters in a table, and what is done to inputs and targets, as text of several lines.

        It shows itself as it is: `net.summary()` in a notebook or at the prompt, `print(net.summary())` in a program.
        """
        from fastmlp.rendering import networks

        return networks.as_text(summary_of(self))

    def _repr_html_(self) -> str:
        from fastmlp.rendering import networks

        return networks.as_html(summary_of(self))

    def __repr__(self) -> str:
        hidden = ", ".join(self.hidden_activations)
        norm = f", {self.normalization} normalisation" if self.normalization != "none" else ""
        classes = "" if self.classes is None else f", {labels.shown(self.classes)}"
        return f"Network({'-'.join(map(str, self.sizes))}, {hidden + ' → ' if hidden else ''}{self.output}{norm}, {self.dtype}{classes})"

    def copy(self) -> "Network":
        """Return an independent copy."""
        return copy.deepcopy(self)

    def scale_and_shift(self, is_bytes: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the normalisation of inputs v as they are given, as (K,) arrays: v * scale + shift."""
        scale, shift = self.scale_and_shift_of_rows(is_bytes)
        offset = None if is_bytes or self.input_scaling is None else self.input_scaling.offset(self.n_inputs, self.dtype)
        return scale, shift if offset is None else (shift - offset * scale.astype(np.float64)).astype(self.dtype)

    def scale_and_shift_of_rows(self, is_bytes: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for rows as `rows_for_kernels` gives them, which are moved already where they are far from 0."""
        scaling = self.input_scaling or InputScaling("scale", np.zeros(()), np.ones(()))
        return scaling.scale_and_shift(self.n_inputs, self.dtype, is_bytes)

    @property
    def is_of_bytes(self) -> bool:
        """Whether the network was trained on bytes and scales them: other numbers are then held against that scale."""
        return self._input_scaling is not None and self._input_scaling.scales_bytes

    @property
    def is_of_fractions(self) -> bool:
        """Whether the network was trained on floats from 0 to 1."""
        return self._input_scaling is not None and self._input_scaling.trained_on == FRACTIONS

    @property
    def input_limits(self) -> tuple[float, float]:
        """The smallest and the largest float that an input may be."""
        return BYTES_AS_FLOATS if self.is_of_bytes else (-math.inf, math.inf)

    # --- inference -------------------------------------------------------------------------------------------------------

    @refuses_unknown
    def logits(self, x: Any, kernels: str = TrainingSettings.kernels, threads: int | None = None) -> np.ndarray:
        """Return z of the output layer, before its activation, for rows x (n, K): (n, N); of standardised targets in standard deviations.

        How many rows are asked for at once changes no bit, nor does the number of threads (None: all cores). Raises ConfigError for
        kernels and threads that no training takes.
        """
        kernels, threads = check_value(FIELDS["kernels"], kernels), check_value(FIELDS["threads"], threads)
        return self._programs.outputs(self, self.rows_for_kernels(x), kernels, threads)

    def rows_for_kernels(self, x: Any, name: str = "x") -> np.ndarray:
        """Return x as kernels take it: checked rows (n, K), bytes or the parameters' type, moved where that type cannot hold them."""
        offset = None if self.input_scaling is None else self.input_scaling.offset(self.n_inputs, self.dtype)
        rows = as_rows(self.encoded(x, name), self.n_inputs, self.dtype, name, offset, self.is_of_bytes)
        if self.is_of_fractions:
            warn_of_bytes(rows, name)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        return codec.to_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        codec.from_state(self, Network.__init__, state)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities (n, N), float32, in the order of `classes`; (N,) for a single row. One sigmoid output: of the second."""
        if self.output == "identity":
            raise ConfigError("predict_proba: expected a network with softmax or sigmoid output, this one predicts numbers; use predict")
        x = x if self._columns is None else self.encoded(x)
        row = self._programs.row_outputs(self, x)
        single = row is not None or is_single(x, self.n_inputs)
        z = (self.logits(as_array(x, "x").reshape(1, -1) if single else x) if row is None else row[None]).astype(np.float64)
        with np.errstate(invalid="ignore"):  # NaN where sums overflow
            result = outputs.probabilities(self.output, z).astype(np.float32)
        found: np.ndarray = result[0] if single else result
        return found

    def predict(self, x: Any) -> Any:
        """Return classes (softmax), zeros and ones (sigmoid) or values (identity) of rows x.

        Classes come by the labels that the network was trained with, `classes`, or by number. Sigmoid outputs that were trained on one
        label per row give labels, too: that of the largest output; a single output gives the second of two where it is above a half.
        After training with the loss poisson the values are rates: e^z of the outputs z that `logits` gives. Values of a network whose
        targets were standardised are float64, as float32 cannot hold 1.7e9 and its last digits. Of one row (K,), or one image, the result
        comes without the first axis. x may be a table, too, where the network knows its `columns`.
        """
        x = x if self._columns is None else self.encoded(x)
        row = self._programs.row_outputs(self, x)
        if row is not None and self.predicts_classes:
            best = row.argmax()
            if math.isfinite(row[best]):  # of NaN the first is the largest
                return best if self._answers is None else self._answers[best]
            row = None  # the long way says what is wrong
        single = row is not None or is_single(x, self.n_inputs)
        z = self.logits(as_array(x, "x").reshape(1, -1) if single else x) if row is None else row[None]
        if self.output != "identity":
            self._check_outputs(z)
        if self.predicts_classes:
            result = z.argmax(axis=1)
        else:
            result = (z > 0).astype(np.int64) if self.output == "sigmoid" else self._values(z)
            if self.n_outputs == 1 and not self.target_is_column:
                result = result[:, 0]
        if self._answers is not None and (self.predicts_classes or self.n_outputs == 1):
            result = self._answers[result]
        return result[0] if single else result

    def _check_outputs(self, z: np.ndarray) -> None:
        """Raise DataError where outputs z (n, N) name no class: NaN, or of a softmax several that are infinite."""
        undecided = ~np.isfinite(z.max(axis=1)) if self.predicts_classes else np.isnan(z).any(axis=1)
        if undecided.any():
            row = int(undecided.argmax())
            self._check_numbers("to predict with", "train a new Network, or load one")
            raise DataError(
                f"x: expected rows whose outputs are numbers, got {z[row].max():g} from row {row}: sums of the network overflow in "
                f"{self.dtype}; scale the inputs, or train a new Network"
            )

    def _check_numbers(self, use: str, advice: str) -> None:
        """Raise DataError for parameters and running statistics that cannot be: what is written into a view is not checked there."""
        for name, numbers in (("parameters", self._parameters), ("running_stats", self._running_stats)):
            if first_not_finite(numbers) is not None:
                raise DataError(f"{name}: expected finite numbers {use}, got NaN or inf; {advice}")
        for index, variance in enumerate(self.running_variances):
            if (lowest := variance.min()) < 0.0:
                raise DataError(f"running_variances[{index}]: expected numbers of at least 0 {use}, got {lowest:g}; {advice}")

    def _values(self, z: np.ndarray) -> np.ndarray:
        """Return what outputs z (n, N) of a regression mean, in the units of y."""
        if (scaling := targets.active(self.target_scaling)) is not None:
            return scaling.values(z)
        return outputs.rates(z) if loss_for(self.loss, self.output).link == "log" else z

    @refuses_unknown
    def evaluate(self, x: Any, y: Any, sample_weight: Any = None, *, metrics: Iterable[str] | str = ()) -> dict[str, float | None]:
        """Return the mean loss over rows x and targets y, by the loss trained with, and the accuracy; for numbers rmse, mae and r2.

        All in the units of y. rmse, mae and r2 are means over the outputs, as scikit-learn has them: r2 of one row is None, of constant y
        0, or 1 where every prediction is right. sample_weight (n,): as how many rows each counts, in all of them; None: as one.
        metrics: names of others, or "all": of classes balanced_accuracy, auc, f1 and log_loss; of numbers pinball, at the quantile of the
        loss trained with, else at 0.5. Raises ConfigError for those that do not go with the outputs.
        """
        if isinstance(metrics, str):
            metrics = metrics_of(self.output) if metrics == "all" else [metrics]
        else:
            metrics = items_of("metrics", metrics, "names of metrics, or 'all'", in_order=False)
        names = [self.checked_metric(name, "metrics") for name in metrics]
        rows = self.rows_for_kernels(x)
        if rows.shape[0] == 0:
            raise DataError("x: expected at least one row to evaluate, got none")
        target = self.checked_target(y, rows.shape[0])
        weight = None if sample_weight is None else weight_in(self.dtype, as_sample_weight(sample_weight, rows.shape[0]))
        return self.evaluate_checked(rows, target, weight, one_hot=names_classes(y, self.output, self.n_outputs), metrics=names)

    def checked_metric(self, name: Any, what: str) -> str:
        """Return the name of a metric, in any case; raise ConfigError, with `what`, for what is none of networks with these outputs."""
        known = metrics_of(self.output)
        found = known_name(name, known) if isinstance(name, str) else ""
        if found not in known:
            kind, hint = "numbers" if self.output == "identity" else "classes", nearest(found, known)
            raise ConfigError(f"{what}: expected one of {', '.join(known)} for a network that predicts {kind}, got {name!r:.60}{hint}")
        return found

    def evaluate_checked(
        self,
        rows: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None = None,
        kernels: str = TrainingSettings.kernels,
        threads: int | None = None,
        numbers: np.ndarray | None = None,
        one_hot: bool | None = None,
        metrics: Sequence[str] = (),
    ) -> dict[str, float | None]:
        """Evaluate rows, targets and weights that have passed the checks of arrays.py; of the rows, only those with the numbers (m,).

        Targets that are standardised come as they are, in float64. one_hot: whether targets of sigmoid outputs are one-hot rows, of
        classes; None: as in training. metrics: names of more than loss and accuracy, or rmse, mae and r2.
        """
        one_hot = self.predicts_classes if one_hot is None else one_hot
        if numbers is None:
            z = self._programs.outputs(self, rows, kernels, threads)
        else:  # a few at a time: no copy of all of them is made
            parts = (numbers[first : first + BLOCK_ROWS] for first in range(0, numbers.size, BLOCK_ROWS))
            z = np.concatenate([self._programs.outputs(self, frozen(rows[part]), kernels, threads) for part in parts])
        n = target.shape[0] if sample_weight is None else float(sample_weight.sum(dtype=np.float64))
        of_loss = targets.loss_numbers(self.loss, self.loss_parameter, self.target_scaling, "loss")
        if (scaling := targets.active(self.target_scaling)) is not None:
            weight = None if sample_weight is None else sample_weight.astype(np.float64)
            exact = scaling.standardized(target, np.float64)
            loss, correct = loss_of_outputs(self._loss_form, of_loss, z.astype(np.float64), exact, weight, kernels, one_hot)
        else:
            loss, correct = loss_of_outputs(self._loss_form, of_loss, z, target, sample_weight, kernels, one_hot)
        if self.output != "identity":
            found: dict[str, float | None] = {"loss": loss / n, "accuracy": correct / n if math.isfinite(loss) else math.nan}
            if not np.isfinite(z).all():
                return found | {name: math.nan for name in metrics if name not in found}
            more = [name for name in metrics if name not in found]
            return found | (of_classes(more, self.output, z, target, sample_weight, one_hot) if more else {})
        values = self._values(z)
        found = {"loss": loss / n, **targets.scores(values, target, sample_weight)}
        if "pinball" in metrics:
            found["pinball"] = pinball(values, target, sample_weight, self.loss_parameter if self.loss == "quantile" else 0.5)
        return found

    def checked_target(self, y: Any, n_rows: int, name: str = "y") -> np.ndarray:
        """Return y as checked targets (n_rows, T), of the parameters' type; those that are standardised stay in float64 until they are."""
        return self._target(self.class_numbers(y, name), n_rows, name)

    def target_for_kernels(self, y: Any, n_rows: int) -> np.ndarray:
        """Return y as kernels take it: checked, (n_rows, T), in the parameters' type, standardised where this network's targets are."""
        return self.target_of_numbers(self.class_numbers(y), n_rows)

    def target_of_numbers(self, y: Any, n_rows: int) -> np.ndarray:
        """Return y, in which class numbers stand for labels, as `target_for_kernels` does."""
        target, scaling = self._target(y, n_rows, "y"), targets.active(self.target_scaling)
        return target if scaling is None else scaling.standardized(target, self.dtype)

    def _target(self, y: Any, n_rows: int, name: str) -> np.ndarray:
        dtype = self.dtype if targets.active(self.target_scaling) is None else np.float64
        return as_target(y, self.output, self.n_outputs, n_rows, dtype, name)

    def confusion_matrix(self, x: Any, y: Any) -> np.ndarray:
        """Return counts (C, C), int64: row = true class, column = predicted class, both in the order of the outputs."""
        if not self.predicts_classes:
            raise ConfigError(f"confusion_matrix: expected a network that predicts one class per row, this one has {self.output} output")
        rows = self.rows_for_kernels(x)
        true = as_target(self.class_numbers(y), "softmax", self.n_outputs, rows.shape[0], self.dtype)[:, 0].astype(np.int64)
        pairs = true * self.n_outputs + self._programs.outputs(self, rows).argmax(axis=1)
        return np.bincount(pairs, minlength=self.n_outputs**2).reshape(self.n_outputs, self.n_outputs)

    def gradient(self, x: Any, y: Any) -> np.ndarray:
        """Return the gradient of the mean loss over rows x and targets y, (P,), laid out like `parameters`.

        The loss is that of `evaluate`; where targets are standardised a step of training follows this gradient with each output weighted:
        docs/training.md. Batch normalisation takes mean and variance of these rows, as in a step of training; of a single row, the running
        ones.
        """
        rows = self.rows_for_kernels(x)
        if rows.shape[0] == 0:
            raise DataError("x: expected at least one row to take the gradient of, got none")
        target = self.target_for_kernels(y, rows.shape[0])
        return self._programs.gradient(self, rows, target)

    @property
    def _loss_form(self) -> str:
        """The key of the loss in kernels.losses.LOSSES."""
        return loss_for(self.loss, self.output).form

    @refuses_unknown
    def compiled(self, optimizer: Any = PLAIN) -> tuple["State", "Functions"]:
        """Return (state, functions): this network as arrays, and what compiled code of your own can do with them.

        `optimizer` is the one of functions.train_step: a name, or a record such as fastmlp.SGD(momentum=0.9). The state's parameters are
        this network's own; its normalisation and loss are those of now, so call this again after a training, and in each process.
        Where targets were standardised the state is that of a copy whose last layer gives the units of y: targets, outputs, losses and
        gradients are in them, the parameters are the copy's, and a step leaves this network as it is.
        Raises ConfigError for batch normalisation, whose statistics are no parameters: fold it first.
        """
        from fastmlp.embedding import FUNCTIONS, compiled_state

        if self.normalization == "batch":
            raise ConfigError("compiled: expected a network without batch normalisation, got one with it; use folded().compiled()")
        if targets.active(self.target_scaling) is not None:
            copy_in_y = self.copy()
            folding.fold_target_scaling(copy_in_y, "compiled")
            return copy_in_y.compiled(optimizer)
        inputs = np.stack([*self.scale_and_shift_of_rows(False), *self.scale_and_shift_of_rows(True)])
        moved = None if self.input_scaling is None else self.input_scaling.offset(self.n_inputs, self.dtype)
        offsets = np.zeros(self.n_inputs) if moved is None else np.array(moved)
        layers = (self.parameters, self.sizes, self.hidden_activations, self._loss_form, self.loss_parameter)
        limits = (self.input_limits, self.is_of_bytes)
        return compiled_state(*layers, inputs, offsets, optimizer, self.normalization, *limits), FUNCTIONS

    def folded(self) -> "Network":
        """Return a copy without batch normalisation, its scales and running statistics folded into weights and biases.

        So is the scaling of standardised targets: outputs and weights of the copy are in the units of y.

        The outputs are the same but for rounding: z = (x @ weight - mean) s + bias with s = gamma / sqrt(variance + epsilon) is
        x @ (weight s) + (bias - mean s). It trains, is saved and compiled like any other network. Raises ConfigError for layer
        normalisation, whose statistics are those of each row, DataError for numbers that are not finite, or variances below 0.
        """
        if self.normalization == "layer":
            raise ConfigError("folded: expected a network with batch normalisation, got one with layer normalisation; keep it as it is")
        self._check_numbers("to fold", "train a new Network, or load one")
        names = self.hidden_activations or NetworkSettings.activation
        plain = Network(self.sizes, names, self.output, dtype=self.dtype.name, class_names=self._class_names)
        plain.adopt(
            loss=self.loss, loss_parameter=self.loss_parameter, input_scaling=self.input_scaling, target_scaling=self.target_scaling,
            target_is_column=self.target_is_column, predicts_classes=self.predicts_classes, classes=self._classes,
        )  # fmt: skip
        plain.columns = self._columns
        for ours, theirs in zip((*self.weights, *self.biases), (*plain.weights, *plain.biases), strict=True):
            theirs[:] = ours
        folding.fold_normalisation(self, plain)
        folding.fold_target_scaling(plain, "folded")
        return plain

    # --- files -----------------------------------------------------------------------------------------------------------

    @refuses_unknown
    def save(self, path: str | Path, settings: TrainingSettings | None = None) -> None:
        """Write the network to a safetensors file, atomically. `settings` of its training are kept as a record."""
        self._check_numbers("to save", "train again, with a smaller learning_rate")
        model_file.write_tensors(as_path("path", path), *self.to_tensors(settings))

    def to_tensors(self, settings: TrainingSettings | None = None) -> model_file.TensorFile:
        """Return what a file of the network holds: tensors (views of the parameters) and metadata."""
        if not (settings is None or isinstance(settings, TrainingSettings)):
            raise ConfigError(f"settings: expected fastmlp.TrainingSettings, got {type(settings).__name__}")
        return codec.to_tensors(self, settings)

    @classmethod
    def from_tensors(cls, path: str | Path, file: codec.Tensors, others: Mapping[str, np.ndarray] | None = None) -> Self:
        """Return the network in a file at `path`, whose tensors are read into the network's own memory.

        others: arrays for other tensors of the file, filled on the way. Raises ModelFileError where the file does not describe a network.
        """
        network: Self = codec.from_tensors(cls, str(path), file, others or {})
        return network

    @classmethod
    @refuses_unknown
    def load(cls, path: str | Path) -> Self:
        """Read a network from a file. Raises ModelFileError where the file is damaged or does not describe a network."""
        with model_file.open_tensors(as_path("path", path)) as file:
            network: Self = codec.from_tensors(cls, display_name(path), file, {})
        return network
