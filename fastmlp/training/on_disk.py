"""Training on a table that is larger than memory: its plan, made from a sample, and its rows, a chunk of them in memory at a time.

An epoch goes through the rows trained on chunk by chunk. A chunk is made of pieces, a few hundred rows that follow one another, one drawn
at random of each stretch of the table that has as many pieces as there are chunks; its rows are shuffled. So a table may be sorted. What is
drawn follows from the seed, the batch size and the memory that the table was opened with, and a batch never spans two chunks: the same
steps, wherever a training is interrupted.
"""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.stored import RESERVE, StoredTable
from fastmlp.errors import ConfigError, NotEnoughMemory
from fastmlp.kernels import random
from fastmlp.network import Network
from fastmlp.network.arrays import as_rows, as_target
from fastmlp.preprocessing import targets
from fastmlp.settings import TrainingSettings
from fastmlp.training import augmentation, full_batch, holdout, validation_rows
from fastmlp.training.plan import make_plan
from fastmlp.training.records import OnDisk, Plan
from fastmlp.training.state import TrainingState
from fastmlp.training.validation_rows import Validation

SAMPLE_ROWS = 1 << 16  # that scalings are fitted to
PIECE_ROWS, PIECES = 256, 256  # rows that are read together, at most; and how many times as many are in a chunk, at least, if it can be
HELD_OUT_PART = 4  # of the memory for rows, held-out rows take at most one in so many
SAMPLE_PART = 16  # and the sample
SUBSTREAMS = 1 << 24  # more than chunks in an epoch
VALIDATED, SAMPLED, TESTED = 0, 1, 2  # what rows are drawn for


def plan(
    network: Network,
    table: StoredTable,
    settings: TrainingSettings,
    validation: Validation,
    resume: TrainingState | None,
    others: dict[str, Any],
) -> Plan:
    """Return the plan of a training on a table, as make_plan does on arrays. others: arguments that do not go with one, unless None."""
    for name, value in others.items():
        if value is not None:
            raise ConfigError(
                f"{name}: expected none with a table on the disk, got {type(value).__name__}; leave it out, or read the table whole"
            )
    if network.columns is not None and (table.columns is None or not network.columns.same_as(table.columns)):
        raise ConfigError(f"columns: expected those of the table {table.name}, the network has others; set network.columns = table.columns")
    _check(settings)
    _, pair, chosen = validation_rows.as_settings(settings, validation)
    if chosen is not None:
        raise ConfigError("validation: expected a number or a part of the rows of a table on the disk, or (x, y), got numbers of rows")
    held_out = held_out_rows(table, settings)
    n_held_out = held_out.size
    if pair is None and n_held_out:
        pair = _read(table, held_out)
    left_out = np.union1d(table.test_rows, held_out)
    n_rows = table.n_rows - left_out.size
    x, y = _read(table, sample(table, left_out, settings.split_seed, with_classes=network.output != "identity"))
    made = make_plan(
        network, x, y, settings.replace(validation=None, holdout=None), pair, resume, n_rows=n_rows,
    )  # fmt: skip
    if n_held_out:
        made = made._replace(settings=made.settings.replace(validation=n_held_out, holdout=settings.holdout or holdout.SHUFFLED))
    return made._replace(on_disk=OnDisk(table, left_out, n_rows))


def _check(settings: TrainingSettings) -> None:
    """Raise ConfigError for settings that need all rows in memory."""
    if settings.optimizer == full_batch.NAME:
        raise ConfigError(
            f"optimizer: expected one that takes batches with a table on the disk, got {full_batch.NAME!r}, which needs all rows at once"
        )
    if settings.class_weight is not None:
        raise ConfigError("class_weight: expected none with a table on the disk, got one; leave it out, or read the table whole")
    if settings.holdout == holdout.STRATIFIED:
        raise ConfigError("holdout: expected shuffled or last with a table on the disk, got 'stratified'")
    if augmentation.is_wanted(settings):
        name = next(name for name in augmentation.SETTINGS if getattr(settings, name))
        raise ConfigError(f"{name}: expected none with a table on the disk, got one; leave augmentation out")


def held_out_rows(table: StoredTable, settings: TrainingSettings) -> np.ndarray:
    """Return the numbers of the rows to validate on, ascending: the last ones, or some drawn evenly from all that are not for testing."""
    n_rows = table.n_rows - table.test_rows.size
    count = holdout.count(settings.validation, n_rows)
    if settings.holdout == holdout.LAST:
        check_fits(table, count, "validation")
        return _rows_beside(table.test_rows, np.arange(n_rows - count, n_rows))
    return drawn(table, count, settings.split_seed, VALIDATED, "validation")


def drawn(table: StoredTable, count: int, seed: int, what_for: int, named: str) -> np.ndarray:
    """Return the numbers of so many rows, ascending, drawn evenly from all that are not for testing; those that show its classes stay.

    Raises NotEnoughMemory, with the name of the setting, where they would not fit into their part of the memory.
    """
    check_fits(table, count, named)
    n_rows, beside = table.n_rows - table.test_rows.size, table.test_rows
    found = _rows_beside(beside, _spread(n_rows, count, seed, what_for))
    if table.examples is not None:
        ends = np.arange(count + 1) * n_rows // max(count, 1)
        for place in np.flatnonzero(np.isin(found, table.examples)):
            others = np.setdiff1d(_rows_beside(beside, np.arange(ends[place], ends[place + 1])), table.examples)
            found[place] = others[0] if others.size else found[place]
    return found


def most_held_out(table: StoredTable) -> int:
    """Return how many rows may be held out to validate on, or to test on: they stay in memory."""
    return (table.memory - RESERVE) // HELD_OUT_PART // table.bytes_of_row


def check_fits(table: StoredTable, count: int, named: str) -> None:
    """Raise NotEnoughMemory, with the name of the setting, where so many rows are too many to hold out."""
    if count > (most := most_held_out(table)):
        raise NotEnoughMemory(
            f"{named}: {count:,} held-out rows are kept in memory, expected at most {most:,} with memory of {table.memory >> 20}MiB"
        )


def sample(table: StoredTable, left_out: np.ndarray, seed: int, with_classes: bool) -> np.ndarray:
    """Return the numbers of some rows that are not left out, ascending: what is fitted to the rows trained on is fitted to these.

    left_out: ascending. with_classes: a row of each value of the target, while these are few, is among them.
    """
    n_rows = table.n_rows - left_out.size
    most = max((table.memory - RESERVE) // SAMPLE_PART // table.bytes_of_row, 1)
    rows = _rows_beside(left_out, _spread(n_rows, min(n_rows, SAMPLE_ROWS, most), seed, SAMPLED))
    if table.examples is not None and with_classes:  # every class is known from the beginning
        rows = np.union1d(rows, np.setdiff1d(table.examples, left_out))
    return rows


def _rows_beside(left_out: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the numbers in the table of rows that are counted without those left out, ascending."""
    return _training_rows(_before(left_out), numbers)


def _spread(n: int, count: int, seed: int, substream: int) -> np.ndarray:
    """Return `count` different numbers below n, ascending: one at random of each of as many parts of the same length."""
    ends = np.arange(count + 1) * n // max(count, 1)
    drawn = np.empty(count)
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.fill_uniform(random.key_of(seed, random.HOLDOUT, substream), 0.5, drawn)
    return ends[:-1] + np.floor((drawn + 0.5) * np.diff(ends)).astype(np.int64)


def _before(held_out: np.ndarray) -> np.ndarray:
    """Return how many rows to train on come before each of those held out."""
    return held_out - np.arange(held_out.size)


def _training_rows(before: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the numbers in the table of rows that are counted without those held out; before: see _before."""
    return numbers + np.searchsorted(before, numbers, side="right")


def _read(table: StoredTable, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of rows, y as a user would give it."""
    x, y = table.rows(numbers)
    return x, table.labels[y.astype(np.int64)] if table.labels is not None else table.target_of(y)


class Chunk(NamedTuple):
    """Rows of an epoch that are in memory."""

    first: int  # place in the epoch
    x: np.ndarray  # (m, K)
    target: np.ndarray  # (m, T)
    order: np.ndarray  # (m,)

    @property
    def last(self) -> int:
        """Return the place in the epoch behind its last row."""
        return self.first + self.order.size


class Reader:
    """Gives the rows of the epochs of a training, a chunk at a time."""

    def __init__(self, plan: Plan, on_disk: OnDisk) -> None:
        self._plan, self._on_disk, table = plan, on_disk, on_disk.table
        batch = plan.batch_size
        # rows in memory, beside those held out, and the sample that things were fitted to, which a data set has as well
        most = (table.memory - RESERVE) // table.bytes_of_row - on_disk.left_out.size - 2 * len(plan.rows)
        self._piece = batch * max(1, min(PIECE_ROWS, most // PIECES) // batch)
        n_pieces = on_disk.n_rows // self._piece  # whole ones; the rows behind them belong to the last chunk
        if most < 2 * self._piece:
            raise NotEnoughMemory(
                f"batch_size: {batch:,} rows of {table.n_features} features need more than memory={table.memory >> 20}MiB; choose fewer"
            )
        self._n_chunks = -(-(n_pieces + 1) // (most // self._piece))
        self._n_pieces = n_pieces
        self._firsts = np.array([len(self._pieces_of(number, np.arange(n_pieces))) for number in range(self._n_chunks)]) * self._piece
        self._firsts = np.concatenate([[0], np.cumsum(self._firsts[:-1])])
        self._before = _before(on_disk.left_out)
        self._room = table.room(0)
        self._epoch, self._pieces = -1, np.arange(0)
        self._chunk: Chunk | None = None
        network = plan.network
        self._offset = plan.input_scaling.offset(network.n_inputs, network.dtype)
        self._active = targets.active(plan.target_scaling)
        self._codes = None if table.labels is None else np.asarray(network.class_numbers(table.labels, "y", plan.classes))

    def chunk(self, row: int, epoch: int) -> Chunk:
        """Return the chunk with this row of an epoch; good until the next call."""
        if self._chunk is None or self._epoch != epoch or not self._chunk.first <= row < self._chunk.last:
            self._chunk = None
            if self._epoch != epoch:
                self._pieces, self._epoch = self._shuffled(epoch), epoch
            self._chunk = self._read(int(np.searchsorted(self._firsts, row, side="right")) - 1, epoch)
        return self._chunk

    def _shuffled(self, epoch: int) -> np.ndarray:
        """Return the pieces in the order of an epoch: in each stretch of n_chunks of them any order, so that chunk c takes the c-th."""
        pieces = np.arange(self._n_pieces)
        _shuffle(pieces, self._plan.settings.seed, epoch)
        return pieces[np.argsort(pieces // self._n_chunks, kind="stable")]

    def _pieces_of(self, number: int, pieces: np.ndarray) -> np.ndarray:
        """Return those of the pieces in an order that make a chunk."""
        return pieces[number :: self._n_chunks]

    def _read(self, number: int, epoch: int) -> Chunk:
        table, plan, network = self._on_disk.table, self._plan, self._plan.network
        pieces = np.sort(self._pieces_of(number, self._pieces))
        if number == self._n_chunks - 1 and self._n_pieces * self._piece < plan.n_rows:
            pieces = np.append(pieces, self._n_pieces)
        firsts = pieces * self._piece
        lasts = np.minimum(firsts + self._piece, plan.n_rows)
        count = int((lasts - firsts).sum())
        if len(self._room[0]) < count:
            self._room = table.room(count)
        features, y, at = self._room[0][:count], self._room[1][:count], 0
        for first, last in zip(firsts, lasts, strict=True):
            part = slice(at, at + int(last - first))
            numbers = _training_rows(self._before, np.array([first, last - 1]))
            if numbers[1] - numbers[0] == last - 1 - first:  # none of them held out
                table.read_into(int(numbers[0]), features[part], y[part])
            else:
                features[part], y[part, :-1], y[part, -1] = table.stored(_training_rows(self._before, np.arange(first, last)))
            at = part.stop
        order = np.arange(count)
        _shuffle(order, plan.settings.seed, (epoch + 1) * SUBSTREAMS + number)
        rows = as_rows(table.inputs(features), network.n_inputs, network.dtype, offset=self._offset, is_of_bytes=network.is_of_bytes)
        return Chunk(int(self._firsts[number]), rows, self._target(y[:, :-1] if len(table.target_names) > 1 else y[:, 0]), order)

    def _target(self, y: np.ndarray) -> np.ndarray:
        """Return y, (m,) or (m, T), as kernels take it (m, T)."""
        network, active = self._plan.network, self._active
        if self._codes is None:
            numbers = network.class_numbers(self._on_disk.table.target_of(y), "y", self._plan.classes)
        else:
            numbers = self._codes[y.astype(np.int64)]
        dtype = np.dtype(np.float64) if active is not None else network.dtype
        target = as_target(numbers, network.output, network.n_outputs, len(y), dtype)
        return target if active is None else active.standardized(target, network.dtype)


def _shuffle(values: np.ndarray, seed: int, substream: int) -> None:
    with np.errstate(over="ignore"):  # interpreted, the generator's uint64 arithmetic wraps with a warning
        random.shuffle(values, random.key_of(seed, random.SHUFFLE, substream))
