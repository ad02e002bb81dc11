"""What a training will do, checked in full: every refusal comes from here, and nothing of the network or of the data is touched."""

from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.network import Network
from fastmlp.network.arrays import (
    as_groups,
    as_numbers,
    as_rows,
    as_sample_weight,
    as_target,
    in_classes,
    is_image,
    names_classes,
    warn_of_bytes,
)
from fastmlp.preprocessing import targets
from fastmlp.settings import TrainingSettings, kind_of, refuses_unknown, whole_number
from fastmlp.training import checks, full_batch, holdout, objective, resuming, scaling, update_rules, validation_rows
from fastmlp.training.records import Plan
from fastmlp.training.state import TrainingState
from fastmlp.training.validation_rows import Validation
from fastmlp.training.weights import ClassWeight, warn_of_size, weights_of_rows


@refuses_unknown
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
    n_rows: int | None = None,
    groups: np.ndarray | None = None,
) -> Plan:
    """Return what a Trainer does with these arguments; check all of them, and touch nothing.

    x: rows (n, K) or images, y: targets (n,) or (n, T). validation: None for what the settings say, a number or a part of the rows to hold
    out as they say, the numbers of the rows themselves (holdout.Rows), or (x, y). resume: where the training stood. sample_weight: (n,)
    what each row counts; of rows held out, too. class_weight: as in the settings, or a mapping {class: weight}; of the rows trained on
    only. more_to_come: the rows are those of a first step, and a batch may have more of them. n_rows: of an epoch, of which x is a sample.
    groups: (n,) whole numbers, of which rows with equal ones are held out together.

    Raises DataError, ConfigError, NotEnoughMemory.
    """
    checks.check_network(network)
    if not isinstance(settings, TrainingSettings):
        raise ConfigError(
            f"settings: expected fastmlp.TrainingSettings, got {type(settings).__name__}; as keywords fastmlp.train takes them"
        )
    if not isinstance(more_to_come, bool):
        raise ConfigError(f"more_to_come: expected True or False, got {more_to_come!r:.60}")
    n_rows = None if n_rows is None else whole_number("n_rows", n_rows, at_least=1)
    x = as_numbers(network.encoded(x), "x")
    groups = None if groups is None else as_groups(groups, x.shape[0])
    rows = as_rows(x, network.n_inputs, network.dtype, is_of_bytes=network.is_of_bytes)
    if network.is_of_fractions:
        warn_of_bytes(rows, "x")
    of_images = is_image(rows, np.ndim(x))
    loss = objective.checked_loss(settings.loss, network)
    rate_is_given = settings.learning_rate is not None
    settings = settings.resolved(kind_of(of_images, network.output), loss, n_rows or rows.shape[0], network.sizes[1:-1])
    loss_parameter = objective.loss_parameter(loss, network.output, settings, network.dtype)
    # L-BFGS is no rule of the kernels, and keeps no m or v: as far as these go it is plain gradient descent
    is_full_batch = settings.optimizer == full_batch.NAME
    update = "sgd" if is_full_batch else update_rules.update_rule(settings, network.dtype)
    regularisation = checks.regularisation(settings, network)

    kind = scaling.kind_of_targets(network, settings, loss)
    of_target = np.dtype(np.float64) if kind == "standardize" else network.dtype  # before they are standardised
    y, labels = network.numbers_to_train(y)  # class numbers from here on
    target = as_target(y, network.output, network.n_outputs, rows.shape[0], of_target)
    settings, pair, chosen = validation_rows.as_settings(settings, validation)
    weight = None if sample_weight is None else as_sample_weight(sample_weight, rows.shape[0])
    objective.check_counts(loss, network.output, target, "y")
    if rows.shape[0] == 0:
        raise DataError("x: expected at least one row to train on, got 0 rows")

    classes, output = in_classes(target, y, network.output, network.n_outputs)
    split = chosen if chosen is not None else holdout.split(settings, classes, output, network.n_outputs, groups=groups)
    if not more_to_come:
        scaling.warn_of_scale(network, settings, rows, split.train)
        objective.warn_of_counts(loss, network, target[split.train])
    input_scaling = scaling.input_scaling(network, settings, x, rows, split.train, of_images)
    rows = scaling.moved(network, x, rows, input_scaling)
    scaling.warn_of_rounding(network, y, kind)
    if pair is None:
        held_out = validation_rows.held_out(network, rows, target, weight, split.held_out)
    else:
        held_out = validation_rows.given(network, *pair, labels, input_scaling, loss, rows, target)
    checks.check_stopping(settings, held_out is not None, network)
    if chosen is None:
        settings.check_needs()
        holdout.warn_of_unused_seed(settings)

    settings, batch_size, block = checks.batches(settings, network, n_rows or split.train.size, more_to_come=more_to_come)
    start = resuming.start(resume, network, settings, n_rows or split.train.size, batch_size, update)
    image_shape = checks.image_shape(settings, rows.shape[1], np.shape(x)[1:])
    checks.check_memory(network, settings, block, update)
    of_rows = weights_of_rows(
        network, classes, output, split.train, weight, settings.class_weight if class_weight is None else class_weight, labels
    )
    if of_rows is not None and not rate_is_given:
        warn_of_size(of_rows[split.train], update)
    target_scaling = scaling.target_scaling(network, kind, target, weight, split.train)
    scale, shift = input_scaling.scale_and_shift(network.n_inputs, network.dtype, rows.dtype == np.uint8)
    if settings.validation:
        settings = settings.replace(holdout=holdout.rule(settings.holdout, output, network.n_outputs, groups is not None))
    validation_rows.warn_of_unseen(network, held_out, y, classes[split.train], labels, settings.holdout, is_given=pair is not None)
    return Plan(
        network=network, settings=scaling.in_effect(settings, loss, input_scaling, target_scaling), rows=rows,
        target=target if (active := targets.active(target_scaling)) is None else active.standardized(target, network.dtype),
        sample_weight=of_rows, trained_on=split.train, validation=held_out, image_shape=image_shape,
        loss=loss, loss_parameter=loss_parameter,
        loss_numbers=targets.loss_numbers(loss, loss_parameter, target_scaling, "objective" if is_full_batch else "training"),
        input_scaling=input_scaling, scale=scale, shift=shift, target_scaling=target_scaling, target_is_column=np.ndim(y) == 2,
        predicts_classes=names_classes(y, network.output, network.n_outputs), classes=labels, regularisation=regularisation,
        update=update, is_full_batch=is_full_batch, is_limited=update_rules.limits_gradient(settings), batch_size=batch_size, block=block,
        start=start,
    )  # fmt: skip
