"""Columns of a table -> the numbers that a network takes: fitted on the rows trained on, kept by the network and its file.

A number is (v - median) / (q75 - q25), smoothly clipped to -3…3, and 0 where it is missing, which another number tells where that was seen
in training. A category is one number of -1 and 1 where there are two of them, else as many zeros and a 1. A date is several numbers. After
RealMLP (Holzmüller, Grinsztajn and Steinwart 2024, "Better by default", section 3).

Categories besides the MOST_CATEGORIES most frequent ones share inputs: each has a few of them, told by a hash of its text. The weights that
a first layer learns of these, added up, are its embedding (Serrà and Karatzoglou 2017, "Getting deep recommenders fit: Bloom embeddings
for sparse binary input/output networks", section 3).

Where bins are asked for, a number has one more input for each of them: how far v has come through the bin, from 0 at its lower end to 1 at
its upper one (piecewise linear encoding: Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features", section 3.2). A
first layer is then any function of v that is linear within bins, which trees find and a network of two layers only with many epochs.
"""

import functools
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.formats import lines
from fastmlp.data.formats.backend import polars
from fastmlp.data.formats.columns import listed, nearest_of
from fastmlp.errors import ConfigError, DataError
from fastmlp.preprocessing import frames, kinds
from fastmlp.preprocessing.inputs import check_numbers, told
from fastmlp.preprocessing.kinds import CATEGORY, DATE, INPUTS, NUMBER, ORDINAL
from fastmlp.settings import record_refuses_unknown

MOST_CATEGORIES = 100  # of a column that have an input each: the most frequent ones
MOST_OTHERS = 10_000  # further ones that are told apart, by inputs that they share
FEWEST_ROWS = 4  # trained on of one of these; rarer ones are all one, and what an unknown one counts as
CODES, OF_EACH = 256, 4  # inputs that they share, at most, and how many of these are 1 for each of them
FEWEST_CODES = 32  # of a column; where there is room for less, it has none
CLIP = 3.0  # what scaled numbers stay below
FURTHEST = 1e30  # from the median, in widths: clipped to 3 all the same, and its square is a number
LARGEST = 1e300  # of numbers, so that their differences are some, too
MOST_BINS = 1024  # of all columns together, so that a first layer stays about as small as the others
MOST_NUMBERS = 1 << 27  # that bins may add to the inputs of a whole table: half a gigabyte
FEWEST_BINS = 4  # of a column; where there is room for less, it has none
ROWS_OF_A_BIN = 40  # trained on, at least, on the average: of 150 rows there are no bins
EACH_VALUE = 128  # so many different values have an edge each, such as hours, years, or whole sums of money
PARTS = ("days", "year", "month", "day", "weekday", "hour")  # of a date; days: since 1970, with their fraction


@record_refuses_unknown
class Choices(NamedTuple):
    """What is said about the columns of a table, by their names, where it is not told from their cells."""

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()  # no input either, but shown beside predictions
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ordinal: Mapping[str, tuple[str, ...]] = {}  # the categories in their order
    date: tuple[str, ...] = ()
    day_first: bool | None = None  # of dates such as 01/02/2026; None: told by days above 12

    def named(self) -> dict[str, str]:
        """Return the kind that is asked for, by the name of the column."""
        found = dict.fromkeys(self.drop, "drop")
        for kind, names in (
            ("keep", self.keep),
            (CATEGORY, self.categorical),
            (NUMBER, self.numeric),
            (ORDINAL, self.ordinal),
            (DATE, self.date),
        ):
            for name in names:
                if found.get(name, kind) != kind:
                    raise ConfigError(f"column {name!r}: expected one kind, got {found[name]} and {kind}")
                found[name] = kind
        return found


@record_refuses_unknown
class Column(NamedTuple):
    """A column that becomes inputs: how, and from what."""

    name: str
    kind: str
    categories: tuple[str, ...] = ()  # of a category in the order of their inputs, of an ordinal from low to high
    missing: bool = False  # whether values were missing in training: one more input tells where they are
    other: bool = False  # whether there were categories besides: one more input stands for them all
    parts: tuple[str, ...] = ()  # of a date, those that became inputs
    format: str = ""  # of a date that is a text; "": as ISO writes it
    edges: tuple[float, ...] = ()  # of the bins of a number, ascending; (): it has none
    others: tuple[str, ...] = ()  # of a category, those besides that share inputs
    codes: int = 0  # how many inputs these share

    @property
    def scaled(self) -> int:
        """How many of its inputs are scaled numbers."""
        return 0 if self.kind == CATEGORY else len(self.parts) if self.kind == DATE else 1

    @property
    def is_pair(self) -> bool:
        """Whether it is one input, -1 for the first and 1 for the second of two categories, 0 for anything else."""
        return self.kind == CATEGORY and len(self.categories) == 2 and not self.missing and not self.other

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its inputs."""
        if self.is_pair:
            return (f"{self.name}={self.categories[1]}",)
        if self.kind == CATEGORY:
            own = [f"{self.name}={each}" for each in self.categories] + [f"{self.name} is another"] * self.other
            own += [f"{self.name} code {number}" for number in range(1, self.codes + 1)]
        else:
            own = [f"{self.name} {part}" for part in self.parts] if self.kind == DATE else [self.name]
            own += [f"{self.name} {low:.9g}…{high:.9g}" for low, high in itertools.pairwise(self.edges)]
        return (*own, *([f"{self.name} is missing"] * self.missing))


@record_refuses_unknown
class Columns(NamedTuple):
    """How rows of a table become inputs (n, width) of a network.

    center, width: float64 (S,), of the scaled numbers of all columns in their order: a number v is clip((v - center) / width), 0 where the
    width is 0. target: the column that was learned, several of them in their order, None where it came apart. keep: columns that are shown
    beside predictions.
    """

    columns: tuple[Column, ...]
    center: np.ndarray
    scale: np.ndarray
    target: str | tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the inputs (K,)."""
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def n_inputs(self) -> int:
        """How many inputs a row becomes."""
        return sum(len(column.features) for column in self.columns)

    def encode(self, frame: Any, name: str = "x") -> np.ndarray:
        """Return the rows of a table of any library as inputs (n, K) float32; columns are found by their names, others passed over.

        Categories that were not seen in training count as the rest of them, where there was one, else as none. Raises DataError for a
        column that is not there, and with the row for a cell that cannot be what its column is.
        """
        if not frames.is_frame(frame):
            raise DataError(f"{name}: expected a table with named columns, got {told(frame)}")
        there = frames.names_of(frame)
        if absent := [column.name for column in self.columns if column.name not in there]:
            raise DataError(f"{name}: expected a column {absent[0]!r}, as in training, found none{nearest_of(absent[0], there)}")
        rows = np.zeros((len(frame), self.n_inputs), np.float32)
        if not len(frame):
            return rows
        table, numbers = frames.as_polars(frame, {column.name for column in self.columns}), lines.of(frame)
        first = at = 0
        for column in self.columns:
            last = first + len(column.features)
            scaling = slice(at, at + column.scaled)
            _encode(column, table[column.name], rows[:, first:last], self.center[scaling], self.scale[scaling], numbers)
            first, at = last, at + column.scaled
        return rows

    def same_as(self, other: "Columns") -> bool:
        """Return whether rows of a table become the same inputs by other columns."""
        arrays = zip((self.center, self.scale), (other.center, other.scale), strict=True)
        return self is other or (self.columns == other.columns and all(np.array_equal(ours, theirs) for ours, theirs in arrays))

    def described(self) -> dict[str, Any]:
        """Return what JSON holds of them; `center` and `scale` are left out."""
        defaults = Column("", "")._asdict()
        columns = [{name: value for name, value in each._asdict().items() if value != defaults[name]} for each in self.columns]
        target = list(self.target) if isinstance(self.target, tuple) else self.target
        return {"columns": columns, "target": target, "keep": list(self.keep)}


class Fitted(NamedTuple):
    """Columns that were fitted, and the others: name -> why they became no inputs."""

    columns: Columns
    left_out: dict[str, str]


def fit(
    frame: Any,
    choices: Choices = Choices(),  # noqa: B008
    rows: np.ndarray | None = None,
    target: str | Sequence[str] | None = None,
    bins: int = 0,
    n_rows: int | None = None,
) -> Fitted:
    """Return how the columns of a table become inputs, fitted to the rows with the numbers (m,), None: to all. `target` is none of them.

    bins: of each number that has more than EACH_VALUE different values; others have one between each two of them. Fewer where there are so
    many columns or rows that MOST_BINS or MOST_NUMBERS would be passed, or so few rows that a bin had less than ROWS_OF_A_BIN. 0: none.
    n_rows: of the whole table, of which these are a sample; None: they are the table.
    Raises DataError for columns that are not what they are said to be, or of which it cannot be told what they are.
    """
    named, names = choices.named(), frames.names_of(frame)
    check_names([*named], names)
    targets = targets_of(target)
    check_names(targets, names, "target")  # else it would be one of the inputs
    wanted = {name for name in names if name not in targets and named.get(name) not in ("drop", "keep")}
    if not wanted:
        raise DataError(f"expected a column to learn from, found none{f' beside the target, {targets[0]!r:.60}' if targets else ''}")
    table = frames.as_polars(frame, wanted)
    found: list[Column] = []
    of_numbers: dict[int, np.ndarray] = {}  # place among those found -> what bins are made of
    scaling, left_out = [], {}
    numbered = lines.of(frame) if rows is None else lines.of(frame)[rows]
    for series in table if rows is None else table[rows]:
        name = series.name
        asked = named.get(name)
        kind, why, row = kinds.Kind(asked) if asked is not None else kinds.kind_of(series, choices.day_first)
        if kind == kinds.UNCLEAR:
            where = f"column {name!r}" if row is None else frames.place(name, row, numbered)
            raise DataError(f"{where}: {why}; or say what it is: --categorical {name}, --numeric {name} or --drop {name}")
        if kind in INPUTS:
            column, numbers = _fit(series, kind, choices.ordinal.get(name, ()), numbered, choices.day_first)
        else:
            column, numbers = None, []
        if column is None:
            left_out[name] = f"{kind}: {why}" if why else kinds.CONSTANT
        else:
            if kind == NUMBER:
                of_numbers[len(found)] = numbers[0]
            found.append(column)
            scaling += [_scaling(name, each, numbered) for each in numbers]
    if not found:
        raise DataError(f"expected a column to learn from, found none{': ' + shown_left_out(left_out) if left_out else ''}")
    of_columns, of_table = MOST_BINS // max(len(of_numbers), 1), MOST_NUMBERS // max(len(of_numbers) * (n_rows or len(table)), 1)
    room = min(of_columns, of_table, numbered.size // ROWS_OF_A_BIN)
    for place, values in of_numbers.items() if bins and room >= FEWEST_BINS else ():
        found[place] = found[place]._replace(edges=_edges(values, bins, room))
    shared = [place for place, column in enumerate(found) if column.others]
    codes = min(CODES, *(most // max(len(shared), 1) for most in (MOST_BINS, MOST_NUMBERS // max(n_rows or len(table), 1))))
    for place in shared:
        found[place] = found[place]._replace(**({"codes": codes} if codes >= FEWEST_CODES else {"others": ()}))
    center, scale = np.array(scaling, np.float64).reshape(-1, 2).T
    learned = targets if len(targets) > 1 else targets[0] if targets else None
    return Fitted(Columns(tuple(found), center.copy(), scale.copy(), learned, choices.keep), left_out)


def shown_left_out(left_out: Mapping[str, str], most: int = 5) -> str:
    """Return in words which columns became no inputs, and why."""
    parts = [f"{name} ({why})" for name, why in list(left_out.items())[:most]]
    return ", ".join(parts) + (f" and {len(left_out) - most} more" if len(left_out) > most else "")


def name_of(what: str, value: Any) -> str:
    """Return the name of a column as a text: pandas names columns by whole numbers, too. ConfigError, with `what`, for no name."""
    if isinstance(value, (str, int, np.integer)) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{what}: expected the name of one column, got {told(value) if hasattr(value, 'shape') else repr(value)[:60]}")


def targets_of(target: Any) -> tuple[str, ...]:
    """Return the names of the columns to predict: of one, of several, of none. ConfigError for what is no name, or stands there twice."""
    given = [] if target is None else target if isinstance(target, (list, tuple)) else [target]
    names = tuple(name_of("target", each) for each in given)
    if len(set(names)) < len(names):
        raise ConfigError(f"target: expected different columns, got {next(name for name in names if names.count(name) > 1)!r} twice")
    return names


def check_names(names: Iterable[str], there: Sequence[str], what: str = "") -> None:
    """Raise ConfigError, with `what`, for the name of a column that a table does not have, with the nearest one."""
    for name in names:
        if name not in there:
            about = f"{what}: " if what else ""
            raise ConfigError(f"{about}expected the name of a column, got {name!r}{nearest_of(name, there) or listed(there)}")


def checked(columns: Any, n_inputs: int) -> Columns:
    """Return columns that a network of n_inputs inputs can have; ConfigError for any others."""
    if not isinstance(columns, Columns):
        raise ConfigError(f"columns: expected fastmlp.preprocessing.Columns, got {type(columns).__name__}")
    scaled = 0
    names = [column.name for column in columns.columns]
    for column in columns.columns:
        texts = (column.name, column.kind, column.format, *column.categories, *column.parts, *column.others)
        if not all(isinstance(text, str) for text in texts) or column.kind not in INPUTS:
            raise ConfigError(f"columns: expected columns of the kinds {', '.join(INPUTS)}, got {column!r:.80}")
        if isinstance(column.codes, bool) or not isinstance(column.codes, int) or not 0 <= column.codes <= CODES:
            raise ConfigError(f"columns: expected codes to be a number from 0 to {CODES}, got {column.codes!r:.60}")
        if (column.codes > 0) != (len(column.others) > 0) or column.others and column.kind != CATEGORY:
            raise ConfigError(f"columns: expected codes, and others, of a column of categories alone, got {column!r:.80}")
        known = (*column.categories, *column.others)
        if len(set(known)) < len(known) or not set(column.parts) <= set(PARTS):
            raise ConfigError(f"columns: expected different categories, and parts of dates, got {column!r:.80}")
        if not (isinstance(column.missing, bool) and isinstance(column.other, bool)):
            raise ConfigError(f"columns: expected missing and other to be true or false, got {column!r:.80}")
        if column.edges and not (column.kind == NUMBER and _ascend(column.edges)):
            raise ConfigError(f"columns: expected the edges of bins to be numbers that ascend, of a column of numbers, got {column!r:.80}")
        scaled += column.scaled
    if len(set(names)) < len(names):
        raise ConfigError("columns: expected a name for each column, got one twice")
    if columns.n_inputs != n_inputs:
        raise ConfigError(f"columns: expected those of the {n_inputs} inputs of the network, got {columns.n_inputs}")
    for name, values in (("center", columns.center), ("scale", columns.scale)):
        check_numbers("columns", name, values, (scaled,))
    if (columns.scale < 0).any():
        raise ConfigError("columns: expected scales of at least 0, got others")
    targets = columns.target if isinstance(columns.target, tuple) else () if columns.target is None else (columns.target,)
    if not all(isinstance(each, str) for each in (*targets, *columns.keep)):
        raise ConfigError("columns: expected the names of target and kept columns to be texts, got others")
    return columns


def _ascend(edges: Sequence[Any]) -> bool:
    """Return whether these are two finite numbers or more, each larger than the one before."""
    if not all(isinstance(edge, (int, float)) and not isinstance(edge, bool) and abs(edge) <= LARGEST for edge in edges):
        return False
    return len(edges) > 1 and all(low < high for low, high in itertools.pairwise(edges))


def check_texts(column: Column, texts: Any, rows: np.ndarray) -> None:
    """Raise DataError, with the row, for a text that is not what a column of numbers, dates or ordered categories holds.

    texts (n,): a polars Series; rows (n,): see `frames.as_numbers`.
    """
    if column.kind == NUMBER:
        frames.as_numbers(texts.alias(column.name), rows)
    elif column.kind == DATE:
        frames.as_dates(texts.alias(column.name), column.format, rows)
    elif column.kind == ORDINAL:
        _ranks(column, texts.alias(column.name), rows)


def from_described(found: Any, center: np.ndarray, scale: np.ndarray) -> Columns:
    """Return the columns that `Columns.described` wrote, not checked yet; ConfigError where they are not written so."""
    try:
        columns = [Column(**_listed_as_tuples(each)) for each in found["columns"]]
        target = tuple(found["target"]) if isinstance(found["target"], list) else found["target"]
        return Columns(tuple(columns), center, scale, target, tuple(found["keep"]))
    except (TypeError, KeyError, AttributeError):
        raise ConfigError("expected columns as fastmlp writes them in metadata columns, found others") from None


def _listed_as_tuples(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


# --- one column ----------------------------------------------------------------------------------------------------------


def _fit(
    series: Any, kind: str, order: tuple[str, ...], rows: np.ndarray, day_first: bool | None
) -> tuple[Column | None, list[np.ndarray]]:
    """Return a column, and its numbers (n,) that are to be scaled, NaN where they are missing; None where it tells nothing.

    rows (n,): the numbers of its rows, for messages.
    """
    name, missing = series.name, series.null_count() > 0
    if kind == NUMBER:
        numbers = frames.as_numbers(series, rows)
        present = numbers[~np.isnan(numbers)]
        is_constant = present.size == 0 or ((present == present[0]).all() and not missing)
        return (None, []) if is_constant else (Column(name, NUMBER, missing=missing), [numbers])
    if kind == DATE:
        format = frames.date_format(series, day_first)
        found = _parts(frames.as_dates(series, format, rows))
        parts = {part: values for part, values in found.items() if np.unique(values[~np.isnan(values)]).size > 1}
        return (Column(name, DATE, (), missing, False, tuple(parts), format), [*parts.values()]) if parts else (None, [])
    if kind == ORDINAL:
        column = Column(name, ORDINAL, order, missing)
        return column, [_ranks(column, series, rows)]
    texts = frames.as_texts(series).alias("text")
    counts = texts.drop_nulls().value_counts().sort(["count", "text"], descending=[True, False])
    categories, other = counts["text"].to_list(), len(counts) > MOST_CATEGORIES
    if len(categories) + missing < 2:
        return None, []
    others = counts[MOST_CATEGORIES : MOST_CATEGORIES + MOST_OTHERS].filter(polars().col("count") >= FEWEST_ROWS)["text"].to_list()
    return Column(name, CATEGORY, tuple(sorted(categories[:MOST_CATEGORIES])), missing, other, others=tuple(sorted(others))), []


def _encode(column: Column, series: Any, out: np.ndarray, center: np.ndarray, scale: np.ndarray, rows: np.ndarray) -> None:
    """Write the inputs of a column into out (n, F), which is 0. rows (n,): the numbers of its rows, for messages."""
    if column.missing:
        out[:, -1] = series.is_null().to_numpy()
    if column.kind == CATEGORY:
        pl = polars()
        texts = frames.as_texts(series)
        known, n = (*column.categories, *column.others), len(column.categories)
        codes = texts.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        if column.is_pair:
            out[:, 0] = np.where(codes < 0, 0.0, 2.0 * codes - 1.0)
            return
        rows = np.flatnonzero((codes >= 0) & (codes < n))
        out[rows, codes[rows]] = 1.0
        if column.other:
            out[:, n] = (codes < 0) & texts.is_not_null().to_numpy()
        if column.codes:
            rows = np.flatnonzero(codes >= n)
            out[rows[:, None], n + column.other + _codes(column.others, column.codes)[codes[rows] - n]] = 1.0
        return
    if column.kind == NUMBER:
        numbers = [frames.as_numbers(series, rows)]
    elif column.kind == ORDINAL:
        numbers = [_ranks(column, series)]
    else:
        found = _parts(frames.as_dates(series, column.format, rows))
        numbers = [found[part] for part in column.parts]
    for place, values in enumerate(numbers):
        out[:, place] = clipped(values, center[place], scale[place])
    if column.edges:
        out[:, 1 : len(column.edges)] = through_bins(np.where(np.isnan(numbers[0]), center[0], numbers[0]), np.array(column.edges))


@functools.lru_cache(maxsize=64)
def _codes(others: tuple[str, ...], codes: int) -> np.ndarray:
    """Return which of the inputs that categories share are 1 for each of them (n, OF_EACH); some may be the same."""
    digests = b"".join(hashlib.sha256(each.encode()).digest()[: 4 * OF_EACH] for each in others)
    found: np.ndarray = np.frombuffer(digests, "<u4").reshape(-1, OF_EACH).astype(np.int64) % codes
    return found


def through_bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how far each value has come through each bin, float64 (n, bins): 0 below it, 1 above it, in between in a straight line."""
    with np.errstate(over="ignore"):  # of a bin that is hardly wider than a rounding error
        found: np.ndarray = np.clip((values[:, None] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
    return found


def _edges(numbers: np.ndarray, bins: int, room: int) -> tuple[float, ...]:
    """Return the edges of so many bins, which hold as many of the numbers each; () where there is nothing between the ends.

    Few values have an edge each, if there is room for so many bins; else there are `bins`, or as many as there is room for.
    A value that fills a bin alone counts no more than that, so that of a column of zeros, mostly, the other values are told apart, too.
    """
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    bins = min(bins, room)
    if values.size > max(min(EACH_VALUE, room + 1), bins + 1):
        counted = np.minimum(counts, max(1.0, counts.sum() / bins))
        middle = np.cumsum(counted) - counted / 2
        places = np.interp(np.linspace(middle[0], middle[-1], bins + 1), middle, np.arange(values.size))
        values = values[np.unique(np.rint(places).astype(np.int64))]
    return tuple(values.tolist()) if values.size > 2 else ()


def clipped(values: np.ndarray, center: float, scale: float) -> np.ndarray:
    """Return z / sqrt(1 + (z / 3)²) of z = (v - center) / scale, float64 (n,): 0 where v is NaN, everywhere for a scale of 0."""
    if scale == 0:
        return np.zeros_like(values)
    with np.errstate(over="ignore"):
        z = np.clip((values - center) / scale, -FURTHEST, FURTHEST)
    found: np.ndarray = np.where(np.isnan(z), 0.0, z / np.sqrt(1.0 + np.square(z / CLIP)))
    return found


def _scaling(name: str, numbers: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return the median of numbers (n,), and q75 - q25; where that is 0, half of what lies between the ends."""
    present = numbers[~np.isnan(numbers)]
    if np.abs(present).max() > LARGEST:
        row = int(np.nanargmax(np.abs(numbers)))
        raise DataError(f"{frames.place(name, row, rows)}: expected numbers up to {LARGEST:g}, got {numbers[row]:g}")
    low, median, high = (float(each) for each in np.quantile(present, (0.25, 0.5, 0.75)))
    return median, high - low if high > low else float(present.max() - present.min()) / 2


def _ranks(column: Column, series: Any, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the place of each category in its order, float64 (n,), NaN where it is missing, or unknown.

    rows (n,): the numbers of rows in which no category may be unknown; None: all may be.
    """
    pl = polars()
    texts = frames.as_texts(series)
    ranks = texts.cast(pl.Enum(column.categories), strict=False).to_physical().cast(pl.Float64)
    if rows is not None and (wrong := ranks.is_null() & texts.is_not_null()).any():
        frames.refuse(texts, wrong, f"one of {', '.join(column.categories)}", rows)
    found: np.ndarray = ranks.fill_null(float("nan")).to_numpy()
    return found


def _parts(moments: Any) -> dict[str, np.ndarray]:
    """Return the PARTS of moments, each float64 (n,), NaN where there is none."""
    pl = polars()
    date = moments.dt
    found = (
        moments.to_physical() / 1e6 / frames.SECONDS_OF_A_DAY, date.year(), date.month(), date.day(), date.weekday(),
        date.hour() + date.minute() / 60,
    )  # fmt: skip
    return {part: each.cast(pl.Float64).fill_null(float("nan")).to_numpy() for part, each in zip(PARTS, found, strict=True)}
