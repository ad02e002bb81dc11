"""Callbacks that come with fastmlp: `train(network, x, y, callbacks=[Checkpoint("folder"), StopOnSignal()])`. See docs/training.md."""

from fastmlp.training.callbacks.checkpoint import Checkpoint
from fastmlp.training.callbacks.early_stopping import EarlyStopping
from fastmlp.training.callbacks.progress import Progress
from fastmlp.training.callbacks.signals import StopOnSignal

__all__ = ["Checkpoint", "EarlyStopping", "Progress", "StopOnSignal"]
