"""What a checked training is: the records that plan.py makes and trainer.py takes."""

from typing import NamedTuple

import numpy as np

from fastmlp.data.stored import StoredTable
from fastmlp.kernels.regularisation import Regularisation
from fastmlp.network import Network
from fastmlp.preprocessing import InputScaling, TargetScaling
from fastmlp.settings import TrainingSettings
from fastmlp.training.state import TrainingState


class HeldOut(NamedTuple):
    """Rows to validate on, as kernels take them."""

    rows: np.ndarray  # (n, K)
    target: np.ndarray  # (m, T)
    weight: np.ndarray | None  # (m,)
    numbers: np.ndarray | None = None  # (m,) which of the rows; None: all of them


class OnDisk(NamedTuple):
    """A table of which a training reads its rows bit by bit."""

    table: StoredTable
    left_out: np.ndarray  # (m,) numbers of the rows that it does not train on, ascending: for validation, and for testing
    n_rows: int  # rows it trains on


class Plan(NamedTuple):
    """A training that may begin: its settings in effect, its rows as kernels take them, and what the network will know of it."""

    network: Network
    settings: TrainingSettings
    rows: np.ndarray  # (n, K), those held out included
    target: np.ndarray  # (n, T)
    sample_weight: np.ndarray | None  # (n,), None: each row counts 1
    trained_on: np.ndarray  # numbers of the rows to train on, ascending
    validation: HeldOut | None
    image_shape: tuple[int, int] | None  # of rows that are augmented
    loss: str
    loss_parameter: float  # the number that the loss has besides, in training: smoothing included
    loss_numbers: np.ndarray  # the loss as kernels take it: kernels/textbook.py
    input_scaling: InputScaling
    scale: np.ndarray  # (K,) the same as kernels take it: v * scale + shift
    shift: np.ndarray  # (K,)
    target_scaling: TargetScaling | None  # of a regression
    target_is_column: bool
    predicts_classes: bool  # one per row: softmax, or one-hot rows for sigmoid outputs
    classes: np.ndarray | None  # (C,) their labels
    regularisation: Regularisation
    update: str  # the rule of the kernels
    is_full_batch: bool  # L-BFGS
    is_limited: bool  # gradients are clipped, or weights pulled by l1
    batch_size: int
    block: int  # rows in the kernels at a time
    start: TrainingState
    on_disk: OnDisk | None = None  # where the rows trained on are; those above are a sample then

    @property
    def n_rows(self) -> int:
        """Number of rows trained on in an epoch."""
        return int(self.trained_on.size) if self.on_disk is None else self.on_disk.n_rows
