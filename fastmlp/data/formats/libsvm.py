"""The text format of LIBSVM: `target index:value index:value …` a row, what is not named is 0.

Source of the format: C.-C. Chang, C.-J. Lin, LIBSVM, README, section "`svm-train' Usage".
"""

from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError, NotEnoughMemory


def read(content: bytes, shown: str) -> Any:
    """Return the table in a LIBSVM file, every value written out: the target y, then x1, x2, … (x0 first where an index is 0)."""
    pl = polars()
    targets: list[float] = []
    rows: list[int] = []
    indices: list[int] = []
    values: list[float] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        targets.append(_number(words[0], shown, number, "target"))
        last = -1
        for place, word in enumerate(words[1:], 2):
            index, colon, value = word.partition(b":")
            if not (colon and index.isdigit() and int(index) > last):
                expected = f"INDEX:VALUE with an index above {last}" if last >= 0 else "INDEX:VALUE"
                raise DataError(f"{shown}: row {number:,}, column {place}: expected {expected}, found {_shown(word)}")
            last = int(index)
            rows.append(len(targets) - 1)
            indices.append(last)
            values.append(_number(value, shown, number, f"column {place}"))
    if not indices:
        raise DataError(f"{shown}: expected rows of TARGET INDEX:VALUE …, found no value")
    first, width = min(1, min(indices)), max(indices) + 1
    left = machine.memory_left()
    if left is not None and 8 * len(targets) * width > left // 2:
        raise NotEnoughMemory(
            f"{shown}: {len(targets):,} rows of {width:,} columns need {8 * len(targets) * width >> 20} MiB, "
            "more than half of the memory there is"
        )
    table = np.zeros((width, len(targets)))
    table[indices, rows] = values
    y = np.array(targets)
    whole = bool((y == np.rint(y)).all() and (np.abs(y) < 2**53).all())
    columns = {"y": y.astype(np.int64) if whole else y}
    return pl.DataFrame(columns | {f"x{index}": table[index] for index in range(first, width)})


def _number(word: bytes, shown: str, row: int, place: str) -> float:
    try:
        if b"_" not in word:
            number = float(word)
            if np.isfinite(number):
                return number
    except ValueError:
        pass
    raise DataError(f"{shown}: row {row:,}, {place}: expected a finite number, found {_shown(word)}")


def _shown(word: bytes) -> str:
    return repr(word[:40].decode("utf-8", "backslashreplace"))
