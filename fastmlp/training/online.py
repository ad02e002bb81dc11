"""OnlineTrainer: training step by step, on rows that arrive bit by bit and may never be there all at once."""

import functools
from typing import Any, Unpack

import numpy as np

from fastmlp.errors import ConfigError, DataError
from fastmlp.network import Network
from fastmlp.network.arrays import as_array, as_sample_weight, in_classes, is_image, is_single
from fastmlp.settings import kind_of, known
from fastmlp.training import checks
from fastmlp.training.keywords import TrainingKeywords, takes_settings
from fastmlp.training.plan import make_plan
from fastmlp.training.resuming import checked
from fastmlp.training.state import TrainingState
from fastmlp.training.trainer import Trainer
from fastmlp.training.update_rules import check_range
from fastmlp.training.weights import class_weight_of_rows, product


class OnlineTrainer:
    """Trains a network on rows as they come: each call is one step of the optimizer, whose state is kept in between.

    The settings are those of `train` that need no epochs; batch_size is the largest number of rows of one step. The first call compiles
    and fits nothing to the data but whether zeros are skipped. `learning_rate` may be changed between steps. resume: the `state()` of
    another OnlineTrainer, or that of a History. Raises ConfigError for a setting that makes no sense here.

    >>> import fastmlp
    >>> network = fastmlp.Network([2, 8, 2], seed=1)
    >>> online = fastmlp.OnlineTrainer(network, batch_size=4, optimizer="adam", learning_rate=0.01)
    >>> losses = [online.step([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]) for _ in range(200)]
    >>> losses[-1] < 0.2 < losses[0]
    True
    """

    @functools.partial(takes_settings, without=checks.OF_EPOCHS)
    def __init__(self, network: Network, *, resume: TrainingState | None = None, **settings: Unpack[TrainingKeywords]) -> None:
        self._settings, class_weight = checks.for_single_steps(network, settings)
        self._network = network
        self._class_weight = class_weight
        self._trainer: Trainer | None = None  # made by the first step, which shows what kind of rows there are
        start = checked(TrainingState() if resume is None else resume, network)
        # what matters is the optimizer's state; where a training stood in its epochs does not
        self._start = TrainingState(
            steps=start.steps,
            m=start.m,
            v=start.v,
            weights=start.weights,
            average=start.average,
            running_stats=start.running_stats,
            optimizer=start.optimizer,
        )

    @property
    def network(self) -> Network:
        """The network that is trained: that of the beginning, for good."""
        return self._network

    @property
    def steps(self) -> int:
        """How many steps have been taken in all."""
        return self._trainer.steps if self._trainer is not None else self._start.steps

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the next step; may be set. None until the first step, where it is the default that the rows decide."""
        return self._settings.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if value is None:
            raise ConfigError("learning_rate: expected a number above 0, got None; the default is known at the first step")
        settings = self._settings.replace(learning_rate=value)
        check_range(settings, self.network.dtype)
        self._settings = settings
        if self._trainer is not None:
            self._trainer.settings = self._trainer.settings.replace(learning_rate=value)

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Take one step on rows x (n, K) with targets y, n at most batch_size; return their mean loss before it.

        One row (K,), or one image, with its target is taken as a batch of one. sample_weight (n,): what each row counts. Raises DataError,
        TrainingError where the loss is not finite: the network then is as before the step.
        """
        network = self.network
        if is_single(x, network.n_inputs):
            x, y = as_array(x, "x")[None], as_array([y], "y")
        rows = network.rows_for_kernels(x)
        numbers, labels = network.numbers_to_train(y)
        target = network.target_of_numbers(numbers, rows.shape[0])
        settings = self._settings
        if self._trainer is None:
            kind = kind_of(is_image(rows, np.ndim(x)), network.output)
            settings = settings.resolved(kind, hidden=network.sizes[1:-1])
        most = known(settings.batch_size)
        if not 1 <= rows.shape[0] <= most:
            raise DataError(
                f"x: expected 1 to {most} rows, as batch_size says, got {rows.shape[0]}; choose a larger batch_size or take parts"
            )
        weight = None if sample_weight is None else as_sample_weight(sample_weight, rows.shape[0])
        classes, output = in_classes(target, numbers, network.output, network.n_outputs)
        of_class = class_weight_of_rows(self._class_weight, classes, output, network.n_outputs, labels)
        weights = product(network.dtype, weight, of_class)
        if self._trainer is None:
            self._trainer = Trainer(make_plan(network, x, y, settings, resume=self._start, more_to_come=True))
            self._settings = settings  # what rows that were refused would have decided is forgotten
        if rows.dtype != self._trainer.rows.dtype:
            raise DataError(f"x: expected {self._trainer.rows.dtype} rows as in the first step, got {rows.dtype}")
        return self._trainer.step_on(rows, target, weights)

    def state(self) -> TrainingState:
        """Return where the optimizer stands: with it and the network, another OnlineTrainer goes on bit for bit."""
        return self._trainer.state() if self._trainer is not None else self._start
