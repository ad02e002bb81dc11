"""How a training scales inputs and targets: as its network does already, else as fitted to the rows trained on."""

from typing import Any

import numpy as np

from fastmlp.errors import ConfigError, warn
from fastmlp.kernels.losses import loss_for
from fastmlp.network import Network
from fastmlp.network.arrays import as_numbers, as_rows
from fastmlp.preprocessing import InputScaling, TargetScaling, inputs, targets
from fastmlp.settings import TrainingSettings
from fastmlp.training import holdout

FAR, NEAR = 50.0, 1e-3  # roots of mean squares
MOST_SEEN = 200  # rows


def input_scaling(
    network: Network, settings: TrainingSettings, x: Any, rows: np.ndarray, train: np.ndarray, of_images: bool
) -> InputScaling:  # fmt: skip
    """Return the network's normalisation: fitted on the rows trained on, where no training did so before."""
    kind, fitted = settings.normalize, network.input_scaling
    check_per_feature(network, settings)
    if fitted is None:
        per_feature = not of_images if settings.per_feature is None else settings.per_feature
        if kind == "standardize" and rows.dtype != np.uint8:  # what the parameters' type cannot hold is fitted as it came
            raw, of_raw = holdout.cut(x.reshape(rows.shape), train)
            if (exact := inputs.exact_scaling(raw, network.dtype, per_feature, of_raw)) is not None:
                _warn_of_few("x", x.reshape(rows.shape), train, exact.mean, exact.std)
                return exact._replace(trained_on=inputs.NUMBERS)
        cut, numbers = holdout.cut(rows, train)
        fit = inputs.fit(kind or "scale", cut, per_feature, numbers)._replace(trained_on=inputs.kind_of_rows(rows))
        _warn_of_few("x", rows, train, fit.mean, fit.std)
        return fit
    if kind is not None and kind != fitted.kind:
        raise ConfigError(f"normalize: this network was trained with {fitted.kind!r} and keeps it, got {kind!r}; use a new Network")
    if settings.per_feature not in (None, fitted.per_feature) and fitted.kind == "standardize":
        raise ConfigError("per_feature: this network was trained with the other choice and keeps it; use a new Network")
    return fitted


def check_per_feature(network: Network, settings: TrainingSettings) -> None:
    """Raise ConfigError where inputs are not standardised, and something is said of how."""
    fitted = network.input_scaling
    settings.check_choice("normalize", fitted.kind if fitted is not None else settings.normalize or "scale")


def _warn_of_few(name: str, values: np.ndarray, train: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """Warn where a few of the rows trained on make the standard deviation of a column of values (n, K): the others hardly differ then.

    mean, std: (K,) those of the columns; () for one of all of them, where nothing is said.
    """
    if mean.ndim == 1 and (found := inputs.squeezed(values, train, mean, std)) is not None:
        warn(
            f"{name}: column {found.column} varies by {found.std:.3g} because of few rows, row {found.row} with {found.value:.6g} above "
            f"all, and the others by {found.of_others:.2g}: standardized, they hardly differ; correct or leave out these rows, clip the "
            "column, or take its logarithm"
        )


def warn_of_scale(network: Network, settings: TrainingSettings, rows: np.ndarray, train: np.ndarray) -> None:
    """Warn where numbers (n, K) that nobody said how to scale are so large, or all so small, that a network learns little from them.

    Told from some of the rows trained on, with the numbers (m,).
    """
    if network.input_scaling is not None or settings.normalize is not None or rows.dtype == np.uint8:
        return
    seen = rows[train[inputs.spread(train.size, MOST_SEEN)]].astype(np.float64)
    with np.errstate(over="ignore"):
        sizes = np.sqrt(np.square(seen).mean(axis=0))
    column = int(sizes.argmax())
    if sizes[column] > FAR or 0 < sizes[column] < NEAR:
        which = f"column {column} has" if sizes[column] > FAR else "columns have"
        warn(
            f"x: {which} a root mean square of {sizes[column]:.2g}{'' if sizes[column] > FAR else ' and less'}, and floats are taken as "
            "they are: a network learns little from such inputs; give normalize='standardize', or 'scale' if this is meant",
        )


def moved(network: Network, x: np.ndarray, rows: np.ndarray, scaling: InputScaling) -> np.ndarray:
    """Return rows (n, K) of x less the means that the type of the parameters has no room for; warn where it has none for the rest."""
    if rows.dtype == np.uint8:
        return rows
    offset = scaling.offset(network.n_inputs, network.dtype)
    if offset is not None:
        rows = as_rows(x, network.n_inputs, network.dtype, offset=offset, is_of_bytes=network.is_of_bytes)
    _warn_of_rounding("x", x.reshape(rows.shape), network.dtype, is_moved=offset is not None)
    return rows


def warn_of_rounding(network: Network, y: Any, kind: str) -> None:
    """Warn where the type of the parameters has no room for numbers y that are not standardised."""
    if network.output == "identity" and kind == "none":
        numbers = as_numbers(y, "y")
        _warn_of_rounding("y", numbers.reshape(numbers.shape[0], -1), network.dtype, is_moved=False)


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
    warn(f"{name}: column {column} {about}; {cure}")


def kind_of_targets(network: Network, settings: TrainingSettings, loss: str) -> str:
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


def target_scaling(
    network: Network, kind: str, target: np.ndarray, weight: np.ndarray | None, train: np.ndarray
) -> TargetScaling | None:  # fmt: skip
    """Return the network's scaling of targets (n, T): fitted on the rows trained on, where no training did so before."""
    if network.target_scaling is not None or network.output != "identity":
        return network.target_scaling
    if kind != "standardize":
        return targets.none(network.n_outputs)
    scaling = targets.fit(target[train], None if weight is None else weight[train])
    _warn_of_few("y", target, train, scaling.mean, scaling.std)
    return scaling


def in_effect(settings: TrainingSettings, loss: str, of_inputs: InputScaling, of_targets: TargetScaling | None) -> TrainingSettings:
    """Return the settings as they are recorded: with the loss, and with the scalings that the network has, or will have."""
    return settings.filled_in(
        loss=loss,
        normalize=of_inputs.kind,
        normalize_target=None if of_targets is None else of_targets.kind,
        per_feature=of_inputs.per_feature if of_inputs.kind == "standardize" else None,
    )
