"""`train` and `train_epochs`: from a user's arguments to a plan, a trainer and the event loop."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Unpack

from fastmlp.data.dataset import Dataset
from fastmlp.data.stored import StoredTable
from fastmlp.errors import ConfigError, DataError
from fastmlp.network import Network
from fastmlp.settings import TrainingSettings, having, over_defaults
from fastmlp.training import on_disk, optimizers
from fastmlp.training.callbacks import hooks
from fastmlp.training.callbacks.checkpoint import Checkpoint
from fastmlp.training.callbacks.early_stopping import with_settings_of
from fastmlp.training.callbacks.progress import shown
from fastmlp.training.checks import check_network
from fastmlp.training.fit import fit
from fastmlp.training.history import Epoch, History
from fastmlp.training.keywords import TrainingKeywords, takes_settings
from fastmlp.training.plan import make_plan
from fastmlp.training.records import Plan
from fastmlp.training.state import TrainingState
from fastmlp.training.trainer import Trainer


@takes_settings
def train_epochs(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    resume: TrainingState | None = None,
    **settings: Unpack[TrainingKeywords],
) -> Iterator[Epoch]:
    """Train a network in place and yield an Epoch after each pass; stop asking, and training stops.

    The parameters are those of `train`. With restore_best the network holds the best epoch's weights when the generator is exhausted or
    closed, and the last step's before.
    """
    return _epochs_of(Trainer(planned(network, x, y, sample_weight, resume, settings)))


@takes_settings
def train(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    callbacks: Iterable[hooks.Callback] | None = (),
    verbose: bool | None = None,
    resume: TrainingState | None = None,
    **settings: Unpack[TrainingKeywords],
) -> History:
    """Train a network in place and return the History.

    x: rows (n, K), bytes or numbers, or images (n, height, width). y: for softmax labels of classes (n,), whole numbers, truth
    values or texts (docs/training.md), or one-hot rows (n, C); for sigmoid two labels (n,), labels of as many classes as it has outputs, or
    0 and 1 (n, L); for identity numbers (n,) or (n, T). Instead of both, a Dataset: its training rows, with the settings that it prefers;
    or a table that may be larger than memory: fastmlp.open_table.
    validation: rows to hold out, 5000, or a part of them, 0.2, or rows of your own, (x, y). holdout: which rows those are: "stratified",
    drawn of each class in proportion; "shuffled", drawn of all; "last"; by default the data set's own choice, else stratified for classes
    and shuffled for anything else. They follow from split_seed, never from seed.
    sample_weight: (n,) what each row counts. class_weight: "balanced", or a mapping {class: weight}; both together multiply.
    callbacks: functions f(network, epoch), called after each epoch, and objects with the hooks of fastmlp.training.callbacks; one that
    returns True ends the training. Training goes on from weights that a callback writes or assigns; an average begins anew from them.
    verbose: True for a line that moves and one at the end, False for none; None: in terminals and notebooks, not where standard error
    is redirected, nor for a training of less than half a second. resume: the `state` of an earlier History, to go on where it stood.
    The other parameters are described in fastmlp.settings.TrainingSettings.

    Raises DataError or ConfigError before anything runs, TrainingError where the loss is not finite.
    """
    if not (verbose is None or isinstance(verbose, (bool, int)) and verbose in (0, 1)):
        raise ConfigError(f"verbose: expected True, False or None, got {verbose!r:.60}")
    others, given = with_settings_of(hooks.checked_list(callbacks), settings)
    read_only = not hooks.Callbacks(others).hears(hooks.STEPS_END)  # refuses what is none before anything runs
    plan = planned(network, x, y, sample_weight, resume, given)
    for callback in others:
        if isinstance(callback, Checkpoint):
            callback.check(plan.start)
    history = History()
    with shown(verbose) as progress:
        for _ in fit(Trainer(plan), hooks.Callbacks([*progress, *others]), history, read_only=read_only):
            pass
    return history


def _epochs_of(trainer: Trainer) -> Iterator[Epoch]:
    with contextlib.closing(fit(trainer, read_only=True)) as events:
        yield from (event for event in events if isinstance(event, Epoch))


def planned(network: Network, x: Any, y: Any, sample_weight: Any, resume: TrainingState | None, settings: Mapping[str, Any]) -> Plan:
    """Return the plan of a training with the arguments of `train`."""
    check_network(network)
    given = dict(settings)
    validation = given.pop("validation", None)
    of_data: Mapping[str, Any] = {}
    groups, stored = None, x if isinstance(x, StoredTable) else None
    if isinstance(x, Dataset):
        if y is not None:
            raise ConfigError(f"y: expected none beside the data set {x.name}, which has its own, got one; leave it out")
        if x.columns is not None and network.columns is not None and not network.columns.same_as(x.columns):
            raise ConfigError(f"columns: expected those of the data set {x.name}, the network has others; use network.encoded(frame) and y")
        sample_weight = x.sample_weight if sample_weight is None else sample_weight
        groups = None if isinstance(validation, (tuple, list)) else x.groups
        stored = x.stored
        x, y, of_data = x.x_train, None if stored is not None else x.y_train, x.training_defaults
    elif y is None and stored is None:
        hint = f"load it: fastmlp.load_dataset({x!r})" if isinstance(x, str) else "only a data set brings its own"
        raise DataError(f"y: expected a target for each row, got none; {hint}")
    class_weight = given.pop("class_weight") if isinstance(given.get("class_weight"), Mapping) else None
    # with rows of one's own, the data set's convention of which to hold out does not matter
    given["validation"] = 0 if isinstance(validation, (tuple, list)) else validation
    if isinstance(validation, (tuple, list)):  # but how epochs are judged by them does
        given |= {name: of_data[name] for name in having("judges") if name in of_data and given.get(name) is None}
    checked = TrainingSettings.from_mapping(over_defaults(optimizers.as_settings(given), of_data), "train")
    if stored is not None:
        others = {"y": y, "sample_weight": sample_weight, "class_weight": class_weight}
        return on_disk.plan(network, stored, checked, validation, resume, others)
    return make_plan(network, x, y, checked, validation, resume, sample_weight, class_weight, groups=groups)


def plan_of(network: Network, data: Dataset, settings: TrainingSettings, resume: TrainingState | None = None) -> Plan:
    """Return the plan of a training on the rows of a data set, wherever they are, with settings as they are."""
    if data.stored is not None:
        return on_disk.plan(network, data.stored, settings, None, resume, {})
    return make_plan(network, data.x_train, data.y_train, settings, resume=resume, sample_weight=data.sample_weight, groups=data.groups)
