"""What a training will do, checked in full: every refusal comes from here, and nothing of the network or of the data is touched."""

import warnings
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.dataset import is_test_split
from fastmlp.errors import ConfigError, DataError, NotEnoughMemory
from fastmlp.kernels.losses import SMOOTHING, loss_for, loss_names, losses_for, outputs_for
from fastmlp.kernels.regularisation import Regularisation
from fastmlp.kernels.tiled import FORWARD_ROWS
from fastmlp.kernels.updates import UPDATES
from fastmlp.network import Network
from fastmlp.network.arrays import as_numbers, as_rows, as_sample_weight, as_target, frozen, in_classes, is_image, names_classes, weight_in
from fastmlp.preprocessing import InputScaling, TargetScaling, inputs, targets
from fastmlp.settings import TrainingSettings, kind_of, known, known_name, nearest
from fastmlp.training import augmentation, checks, full_batch, holdout, lbfgs, resuming, update_rules
from fastmlp.training.records import HeldOut, Plan
from fastmlp.training.state import TrainingState
from fastmlp.training.weights import ClassWeight, class_weight_of_rows

Validation = int | float | tuple[Any, Any] | holdout.Rows | None


def make_plan(
    network: Network,
    x: Any,
    y: Any,
    settings: TrainingSettings,
    validation: Validation = None,
    resume: TrainingState | None = None,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    *,
    more_to_come: bool = False,
) -> Plan:
    """Return what a Trainer does with these arguments; check all of them, and touch nothing.

    x: rows (n, K) or images, y: targets (n,) or (n, T). validation: None for what the settings say, a number or a part of the rows to hold
    out as they say, the numbers of the rows themselves (holdout.Rows), or (x, y). resume: where the training stood. sample_weight: (n,)
    what each row counts; of rows held out, too. class_weight: as in the settings, or a mapping {class: weight}; of the rows trained on
    only. more_to_come: the rows are those of a first step, and a batch may have more of them.

    Raises DataError, ConfigError, NotEnoughMemory.
    """
    x = as_numbers(x, "x")
    rows = as_rows(x, network.n_inputs, network.dtype, is_of_bytes=network.is_of_bytes)
    of_images = is_image(rows, np.ndim(x))
    loss = _checked_loss(settings.loss, network)
    settings = settings.resolved(kind_of(of_images, network.output), loss, rows.shape[0])
    loss_parameter = _loss_parameter(loss, network.output, settings, network.dtype)
    # L-BFGS is no rule of the kernels, and keeps no m or v: as far as these go it is plain gradient descent
    is_full_batch = settings.optimizer == full_batch.NAME
    update = "sgd" if is_full_batch else update_rules.update_rule(settings, network.dtype)
    kind = _kind_of_targets(network, settings, loss)
    # targets that are standardised stay in float64 until they are
    of_target = np.dtype(np.float64) if kind == "standardize" else network.dtype
    y, labels = network.numbers_to_train(y)  # class numbers from here on
    target = as_target(y, network.output, network.n_outputs, rows.shape[0], of_target)
    settings, pair, chosen = _checked_validation(settings, validation)
    regularisation = _regularisation(settings, network)
    weight = None if sample_weight is None else as_sample_weight(sample_weight, rows.shape[0])
    _check_counts(loss, network.output, target, "y")
    if rows.shape[0] == 0:
        raise DataError("x: expected at least one row to train on, got 0 rows")
    classes, output = in_classes(target, y, network.output, network.n_outputs)
    split = chosen if chosen is not None else holdout.split(settings, classes, output, network.n_outputs)
    train, n_rows = split.train, split.train.size
    input_scaling = _input_scaling(network, settings, x, rows, train, of_images)
    offset = None if rows.dtype == np.uint8 else input_scaling.offset(network.n_inputs, network.dtype)
    if offset is not None:
        rows = as_rows(x, network.n_inputs, network.dtype, offset=offset, is_of_bytes=network.is_of_bytes)
    if rows.dtype != np.uint8:
        _warn_of_rounding("x", x.reshape(rows.shape), network.dtype, is_moved=offset is not None)
    if network.output == "identity" and kind == "none":
        _warn_of_rounding("y", as_numbers(y, "y").reshape(target.shape), network.dtype, is_moved=False)
    how = settings.holdout
    if settings.validation and chosen is None:
        how = holdout.rule(how, output, network.n_outputs)
    if pair is None:
        of_held_out = _held_out(network, rows, target, weight, split.held_out)
    else:
        fitted = network.input_scaling
        is_of_bytes = fitted.scales_bytes if fitted is not None else rows.dtype == np.uint8 and settings.normalize != "none"
        held_y = network.class_numbers(pair[1], "validation y", labels)
        of_held_out = _given_rows(network, pair[0], held_y, of_target, input_scaling.offset(network.n_inputs, network.dtype), is_of_bytes)
        if of_held_out is not None:
            _check_counts(loss, network.output, of_held_out.target, "validation y")
    checks.check_stopping(settings, of_held_out is not None, network.output)
    if chosen is None:
        settings.check_needs()
    if is_full_batch:
        if network.normalization == "batch":
            raise ConfigError(
                "optimizer: lbfgs goes through all rows in blocks, each of which would be normalised by itself; use normalization='layer'"
            )
        checks.check_full_batch(settings, n_rows)
        settings = settings.replace(batch_size=n_rows)
    batch_size = known(settings.batch_size) if more_to_come else min(known(settings.batch_size), n_rows)
    if network.normalization == "batch" and batch_size < 2:
        raise ConfigError("batch_size: expected at least 2 rows for batch normalisation, got 1; use normalization='layer' or more rows")
    start = resuming.checked(TrainingState() if resume is None else resume, network)
    resuming.check_fits(start, n_rows, batch_size, update, known(settings.average), settings.restore_best, network)
    image_shape = checks.image_shape(settings, rows.shape[1], np.shape(x)[1:]) if augmentation.is_wanted(settings) else None
    is_limited = update_rules.limits_gradient(settings)
    block = min(batch_size, FORWARD_ROWS) if is_full_batch else batch_size
    pairs = min(lbfgs.MEMORY, known(settings.epochs)) if is_full_batch else 0
    _check_memory(network, block, UPDATES[update].states + is_limited + (settings.average != "none") * 2 + 2 * pairs)
    of_rows = _weights_of(network, classes, output, train, weight, class_weight or settings.class_weight, labels)
    target_scaling = _target_scaling(network, kind, target, weight, train)
    if of_held_out is not None and holdout.rule(None, output, network.n_outputs) == holdout.STRATIFIED:
        advice = "train on rows of it, too" if pair is not None else _how_to_see_all(how)
        held_classes, _ = in_classes(of_held_out.target, y, network.output, network.n_outputs)
        holdout.warn_of_unseen(classes[train], held_classes, labels, advice, stacklevel=4)
    return Plan(
        network=network,
        settings=settings.replace(
            loss=loss,
            normalize=input_scaling.kind,
            normalize_target=kind if network.output == "identity" else None,
            per_feature=input_scaling.per_feature if input_scaling.kind == "standardize" else None,
            validation=None if pair is not None or chosen is not None else settings.validation or 0,
            holdout=how,
        ),
        rows=rows,
        target=target if (scaling := targets.active(target_scaling)) is None else scaling.standardized(target, network.dtype),
        sample_weight=of_rows,
        trained_on=train,
        validation=of_held_out,
        image_shape=image_shape,
        loss=loss,
        loss_parameter=loss_parameter,
        loss_numbers=targets.loss_numbers(loss, loss_parameter, target_scaling, "objective" if is_full_batch else "training"),
        input_scaling=input_scaling,
        target_scaling=target_scaling,
        target_is_column=np.ndim(y) == 2,
        predicts_classes=names_classes(y, network.output, network.n_outputs),
        classes=labels,
        regularisation=regularisation,
        update=update,
        is_full_batch=is_full_batch,
        is_limited=is_limited,
        batch_size=batch_size,
        block=block,
        start=start,
    )


def _input_scaling(
    network: Network, settings: TrainingSettings, x: Any, rows: np.ndarray, train: np.ndarray, of_images: bool
) -> InputScaling:  # fmt: skip
    """Return the network's normalisation: fitted on the rows trained on, where no training did so before."""
    kind, fitted = settings.normalize, network.input_scaling
    if fitted is None:
        per_feature = not of_images if settings.per_feature is None else settings.per_feature
        if kind == "standardize" and rows.dtype != np.uint8:  # what the parameters' type cannot hold is fitted as it came
            raw, of_raw = holdout.cut(x.reshape(rows.shape), train)
            if (exact := inputs.exact_scaling(raw, network.dtype, per_feature, of_raw)) is not None:
                return exact._replace(trained_on=inputs.NUMBERS)
        cut, numbers = holdout.cut(rows, train)
        return inputs.fit(kind or "scale", cut, per_feature, numbers)._replace(trained_on=inputs.kind_of_rows(rows))
    if kind is not None and kind != fitted.kind:
        raise ConfigError(f"normalize: this network was trained with {fitted.kind!r} and keeps it, got {kind!r}; use a new Network")
    if settings.per_feature not in (None, fitted.per_feature) and fitted.kind == "standardize":
        raise ConfigError("per_feature: this network was trained with the other choice and keeps it; use a new Network")
    return fitted


def _warn_of_rounding(name: str, values: np.ndarray, dtype: np.dtype, is_moved: bool) -> None:
    """Warn where a column of x or y (n, K), as it came, varies by less than rounding leaves; is_moved: rounded after subtracting a mean."""
    came = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    held = came if is_moved or np.finfo(came).eps > np.finfo(dtype).eps else dtype
    found = inputs.steps_too_coarse(values, held)
    if found is None:
        return
    column, mean, std, step = found
    cure = "give it as float64, or subtract a constant from it" if held == came else "use dtype='float64', or subtract a constant from it"
    if name == "x" and held != came:
        cure = f"use normalize='standardize', {cure[4:]}"
    elif name == "y" and held != came:
        cure = f"leave out normalize_target='none', {cure}"
    about = f"varies by {std:.3g} around {mean:.6g}, where {held} has steps of {step:.2g}"
    warnings.warn(f"{name}: column {column} {about}; {cure}", UserWarning, stacklevel=5)


def _kind_of_targets(network: Network, settings: TrainingSettings, loss: str) -> str:
    """Return what is done to targets, "none" or "standardize"; raise ConfigError where that does not go with loss or network."""
    asked_for, fitted, form = settings.normalize_target, network.target_scaling, loss_for(loss, network.output)
    link = form.link
    if asked_for == "standardize" and (network.output != "identity" or link is not None):
        what = f"{network.output} output" if network.output != "identity" else f"the loss {loss}, whose outputs are logarithms"
        raise ConfigError(f"normalize_target: expected none with {what}, got 'standardize'; leave it out")
    if fitted is None:
        return asked_for or ("standardize" if targets.measures_y(form.form) else "none")
    if asked_for not in (None, fitted.kind):
        raise ConfigError(
            f"normalize_target: this network was trained with {fitted.kind!r} and keeps it, got {asked_for!r}; use a new Network"
        )
    if targets.active(fitted) is not None and link is not None:
        raise ConfigError(f"loss: {loss} needs targets as they are, this network was trained on standardised ones; use a new Network")
    return fitted.kind


def _target_scaling(
    network: Network, kind: str, target: np.ndarray, weight: np.ndarray | None, train: np.ndarray
) -> TargetScaling | None:  # fmt: skip
    """Return the network's scaling of targets (n, T): fitted on the rows trained on, where no training did so before."""
    if network.target_scaling is not None or network.output != "identity":
        return network.target_scaling
    return (
        targets.fit(target[train], None if weight is None else weight[train]) if kind == "standardize" else targets.none(network.n_outputs)
    )


def _checked_loss(name: str | None, network: Network) -> str:
    if name is None:
        return network.loss
    name = known_name(name, loss_names())
    outputs = outputs_for(name)
    if not outputs:
        hint = nearest(name, loss_names()) or "; register one of your own with @fastmlp.loss"
        raise ConfigError(f"loss: expected one of {', '.join(loss_names())}, got {name!r}{hint}")
    if network.output not in outputs:
        fitting = ", ".join(losses_for(network.output))
        raise ConfigError(f"loss: {name!r} goes with {' or '.join(outputs)} output, this network has {network.output}; use {fitting}")
    return name


def _loss_parameter(loss: str, output: str, settings: TrainingSettings, dtype: np.dtype) -> float:
    """Return the number that a loss has besides, 0 where it has none; raise ConfigError for a smoothing that it does not take."""
    name = loss_for(loss, output).parameter
    if settings.label_smoothing > 0 and name != SMOOTHING:
        raise ConfigError(
            f"label_smoothing: expected 0 with the loss {loss} of {output} output, got {settings.label_smoothing:g}; only softmax and "
            "sigmoid outputs, with cross-entropy or mse, have labels to smooth"
        )
    parameter = float(getattr(settings, name)) if name is not None else 0.0
    with np.errstate(over="ignore", under="ignore"):
        held = float(dtype.type(parameter))
    if not np.isfinite(held) or (held == 0) != (parameter == 0):
        raise ConfigError(f"{name}: expected a number that {dtype} can hold, got {parameter:g}")
    return held


def _check_counts(loss: str, output: str, target: np.ndarray, name: str) -> None:
    """Raise DataError where a loss of counts would get a negative one."""
    if loss_for(loss, output).link == "log" and (wrong := target < 0).any():
        row, column = np.argwhere(wrong)[0]
        found = target[row, column]
        raise DataError(f"{name}: expected counts or rates, at least 0, with the loss {loss}, got {found:g} in row {row}")


def _regularisation(settings: TrainingSettings, network: Network) -> Regularisation:
    """Return dropout, noise and max-norm for a network; raise ConfigError for numbers that do not fit it."""
    n_hidden = len(network.hidden_activations)
    shares = settings.dropout if isinstance(settings.dropout, tuple) else (settings.dropout,) * n_hidden
    if len(shares) not in (1, n_hidden):
        raise ConfigError(f"dropout: expected one number, or one for each hidden layer ({n_hidden}), got {len(shares)}")
    range_of = np.finfo(network.dtype)
    for name, value in (("input_noise", settings.input_noise), ("max_norm", settings.max_norm)):
        if value and not float(range_of.tiny) <= value <= float(range_of.max):
            raise ConfigError(f"{name}: expected a number that {network.dtype} can hold, got {value:g}")
    each = shares * n_hidden if len(shares) == 1 else shares
    return Regularisation(settings.seed, each, settings.input_dropout, settings.input_noise, settings.max_norm)


def _check_memory(network: Network, batch_size: int, states: int) -> None:
    """Raise NotEnoughMemory where a training needs more than this process may use, before any of it is allocated.

    Counted is what is sure: the parameters, the optimizer state, z and delta of a batch.
    """
    values = network.parameters.size * (1 + states) + 2 * batch_size * sum(network.sizes[1:])
    needed, limit = values * network.dtype.itemsize, machine.memory_limit()
    if limit is not None and needed > limit:
        raise NotEnoughMemory(
            f"the parameters, the optimizer and a batch of {batch_size} rows need {needed >> 20} MiB, this process may use "
            f"{limit >> 20} MiB; choose fewer units or a smaller batch_size"
        )


def _checked_validation(
    settings: TrainingSettings, validation: Validation
) -> tuple[TrainingSettings, tuple[Any, Any] | None, holdout.Rows | None]:
    """Return the settings with how many rows are held out, a pair (x, y) to validate on, or the numbers of rows that were chosen before."""
    if isinstance(validation, holdout.Rows):
        return settings, None, validation
    if isinstance(validation, (tuple, list)):
        if isinstance(validation, list):
            raise ConfigError(f"validation: expected a pair (x, y), got a list of {len(validation)}; write validation=(x, y)")
        if len(validation) != 2:
            raise ConfigError(f"validation: expected a pair (x, y), got {len(validation)} values")
        return settings.replace(validation=None), validation, None
    return settings if validation is None else settings.replace(validation=validation), None, None


def _held_out(network: Network, rows: np.ndarray, target: np.ndarray, weight: np.ndarray | None, numbers: np.ndarray) -> HeldOut | None:
    """Return the rows of these numbers (m,) to validate on, None where there are none. Their targets and weights are copied, rows never."""
    if numbers.size == 0:
        return None
    of_held_out = None if weight is None else weight_in(network.dtype, weight[numbers], "sample_weight of the rows held out")
    view, inside = holdout.cut(rows, numbers)
    return HeldOut(view, frozen(target[numbers]), of_held_out, inside)


def _given_rows(network: Network, x: Any, y: Any, of_target: np.dtype, offset: np.ndarray | None, is_of_bytes: bool) -> HeldOut | None:
    """Return a user's own rows to validate on, None where there are none; warn where they are the test rows of a data set."""
    if is_test_split(x):
        warnings.warn(
            "validation=(x_test, y_test): what is chosen by the test set is not tested by it; hold out training "
            "rows instead: validation=5000",
            UserWarning,
            stacklevel=5,
        )
    rows = as_rows(x, network.n_inputs, network.dtype, "validation x", offset, is_of_bytes)
    target = as_target(y, network.output, network.n_outputs, rows.shape[0], of_target, "validation y")
    return HeldOut(rows, target, None) if rows.shape[0] else None


def _how_to_see_all(how: str | None) -> str:
    """Return the advice for rows held out so that none of a class is left."""
    return "draw them with holdout='stratified'" if how in (holdout.LAST, holdout.SHUFFLED) else "hold out fewer rows"


def _weights_of(
    network: Network, target: np.ndarray, output: str, train: np.ndarray, weight: np.ndarray | None, class_weight: ClassWeight,
    labels: np.ndarray | None,
) -> np.ndarray | None:  # fmt: skip
    """Return what each row counts, (n,), by its own weight times that of its class among the rows trained on; None where all count 1.

    Rows not trained on have 0.
    """
    of_class = class_weight_of_rows(class_weight, target[train], output, network.n_outputs, labels)
    factors = [factor for factor in (None if weight is None else weight[train], of_class) if factor is not None]
    if not factors:
        return None
    of_rows = np.zeros(target.shape[0], network.dtype)
    of_rows[train] = weight_in(network.dtype, np.prod(factors, axis=0))
    return of_rows
