"""Independent models trained on one data set: in the threads of this process. Never prints."""

from collections.abc import Generator, Sequence

from fastmlp.data.dataset import Dataset
from fastmlp.search.in_process import SharedRows, resolved, train_here
from fastmlp.search.task import BankProgress, Task, Trained


def train_bank(tasks: Sequence[Task], data: Dataset, cores: int | None = None) -> Generator[BankProgress | Trained, None, None]:
    """Train every task on a data set, `cores` at a time (None: all that this process may use); yield each model when it is done.

    A model whose loss is not finite is yielded as DIVERGED, and the others go on; any other error ends the bank. Kernels are compiled
    before the first thread starts. Closing the generator ends all trainings after the steps under way, within about 0.2 s. Models are
    yielded in the order in which they end.
    """
    yield from train_here([resolved(task, data) for task in tasks], data, SharedRows(data), cores)
