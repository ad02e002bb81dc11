"""Tables as text: CSV, TSV and the like, with any delimiter. Nothing that is not a table of so many columns is read as one.

polars splits rows and reads numbers; what it would let through without a word is found here first: rows of another length, quotes in the
wrong place, bytes that are no text, numbers that are written otherwise.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp.data.formats import columns, lines
from fastmlp.data.formats.backend import polars
from fastmlp.errors import DataError, warn

SAMPLE_BYTES = 1 << 16
SAMPLE_ROWS = 1000
HEADER_ROWS = 200  # lines that tell whether the first of them holds names
PIECE = 1 << 23  # bytes that are scanned at a time
# In this order: commas stand inside of cells more often (decimals, lists) than the others do. The last: any run of spaces and tabs.
DELIMITERS = "\t;|,^~\x01\x1f"
SPACE = " "
NAMES = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "space"}
QUOTE, NEWLINE, RETURN = b'"\n\r'
ENCODINGS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
             codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
ZERO_IN_FRONT = r"^0[0-9]+$"
# A number to people that is none to a computer: 0x1F, 1_000, 1,5, 1.234,5, 5 %, $5, 1e5f, 1+2j.
OTHERWISE = (
    r"^(?:[+−-]?0[xX][0-9a-fA-F]+|[+−-]?[$€£¥]?\s?[0-9][0-9_.,' ]*(?:[eEdD][+-]?[0-9]+)?\s?[$€£¥%fFdD]?"
    r"|\(?[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?(?:[+-][0-9.]+(?:[eE][+-]?[0-9]+)?)?[ij]\)?)$"
)
NOT_OTHERWISE = r"\..*\..*\.|^[0-9]+\.[0-9]+\.[0-9]+$"  # versions, addresses, dates with points
FEW = 10  # so many different numbers may be the codes of categories
POINT, COMMA = ".", ","
WITH_POINT = r"^[+-]?[0-9]+\.[0-9]+$"
DECIMALS = (POINT, COMMA)
# A number with the other mark between thousands: what it is with the mark that stands before its decimals.
WITH_MARK = {
    POINT: r"^[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$",
    COMMA: r"^[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]*)?(?:[eE][+-]?[0-9]+)?$",
}
# What tells the decimal comma for certain, and what may be thousands with a comma as well.
SURE_COMMA, EITHER = r"^[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+),(?:[0-9]{1,2}|[0-9]{4,})$|\..*,|^[+-]?(?:0|[0-9]{4,}),", r",[0-9]{3}$"
Notify = Callable[[str], None]
Unread = Callable[[str], bool]  # whether the cells of a column of this name are not looked at


def none(name: str) -> bool:
    """Return that all columns are read."""
    return False


class Layout(NamedTuple):
    """How a text is cut into cells."""

    delimiter: str
    quoted: bool  # some cell begins with a quote
    n_columns: int
    n_rows: int  # with the header and blank lines
    second: int  # byte at which the second row begins
    lines: np.ndarray  # (n_rows,) numbers of the lines at which rows begin, as an editor counts them
    blank: np.ndarray  # (n, 3) number of a blank line, from 0, and its bytes; none where there is one column: a missing value there


class Names(NamedTuple):
    """The names of the columns, whether the first line holds them, and how sure that is."""

    names: list[str]
    in_file: bool
    sure: bool = True


def may_be_text(head: bytes) -> bool:
    """Return whether the first bytes of a file may be those of a text."""
    return head.startswith(tuple(ENCODINGS)) or not any(byte < 32 and byte not in b"\t\n\r\f\x01\x1f" for byte in head)


def read(
    content: bytes, shown: str, *, header: bool | None = None, delimiter: str | None = None, chosen: tuple[str, ...] = (),
    notify: Notify | None = None, decimal: str | None = None, unread: Unread = none,
) -> Any:  # fmt: skip
    """Return the table in a text as table.read_table says; `chosen` columns are texts."""
    return next(
        read_parts(iter([content]), shown, header=header, delimiter=delimiter, chosen=chosen, notify=notify, decimal=decimal, unread=unread)
    )


def read_parts(
    contents: Iterator[bytes], shown: str, *, header: bool | None = None, delimiter: str | None = None, chosen: tuple[str, ...] = (),
    notify: Notify | None = None, decimal: str | None = None, unread: Unread = none,
) -> Iterator[Any]:  # fmt: skip
    """Yield the tables in the parts of a text, whole rows each; the first tells how all are cut, and the names of the columns."""
    content, first_row, stated = as_utf8(next(contents, b""), shown, 1)
    delimiter = delimiter or stated or sniffed(content)
    content = _single_spaces(content) if delimiter == SPACE else content
    layout = scan(content, delimiter, shown, first_row)
    names = names_of(content, layout, header)
    columns.check_names(names.names, shown)
    columns.check_chosen(chosen, names.names, shown)
    chosen = (*chosen, *(name for name in names.names if unread(name)))
    if not names.sure:
        taken = (
            "as names of columns; if they are data, say header=False" if names.in_file else "as data; if they are names, say header=True"
        )
        warn(f"{shown}: the first line is taken {taken}")
    n_rows = layout.n_rows - names.in_file - len(layout.blank)
    if n_rows == 0:
        raise DataError(f"{shown}: expected rows below the names of {layout.n_columns:,} columns in the first line, found none")
    if notify is not None:
        of_names = "header row" if names.in_file else f"no header row: columns are x1 to x{layout.n_columns}"
        between = f", {NAMES.get(delimiter, repr(delimiter))}-separated" if layout.n_columns > 1 else ""
        notify(f"{shown}: {layout.n_columns:,} column{'s'[: layout.n_columns > 1]}{between}; {of_names}")
    if decimal is None:
        decimal = told_decimal(content, layout, names, delimiter, chosen, shown, notify)
    frame = _table(content, layout, names.names, int(names.in_file), chosen, shown, decimal)
    schema = dict(frame.schema)
    texts = tuple(each.name for each in frame.get_columns() if each.dtype == polars().String and each.null_count() < each.len())
    yield frame
    next_row = first_row + content.count(b"\n") + 1
    for part in contents:
        content, first_row, _ = as_utf8(part, shown, next_row)
        content = _single_spaces(content) if delimiter == SPACE else content
        layout = scan(content, delimiter, shown, first_row, layout.n_columns)
        yield _table(content, layout, names.names, 0, (*chosen, *texts), shown, decimal, schema)
        next_row += part.count(b"\n")


def whole_rows(read: Callable[[int], bytes | bytearray], size: int) -> Iterator[bytes]:
    """Yield what read(count) gives, some `size` bytes at a time, in whole rows: more at a time where a row is longer."""
    rest = b""
    while True:
        piece = bytes(read(size))
        content, rest = rest + piece, b""
        if len(piece) == size:
            end = content.rfind(b"\n") + 1
            while end and content.count(b'"', 0, end) % 2:  # within a quoted cell
                end = content.rfind(b"\n", 0, end - 1) + 1
            content, rest = content[:end], content[end:]
        if content.strip():
            yield content
        if len(piece) < size:
            return


def _single_spaces(content: bytes) -> bytes:
    return re.sub(rb"(?m)^[ \t]+|[ \t]+\r?$", b"", re.sub(rb"[ \t]+", b" ", content))


def _table(
    content: bytes, layout: Layout, names: list[str], header: int, chosen: tuple[str, ...], shown: str, decimal: str | None,
    schema: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """Return the table in a text that was scanned; header: rows that are none of it; decimal: see `pointed`; schema: see `_fast`."""
    n_rows = layout.n_rows - header - len(layout.blank)
    numbers = np.delete(layout.lines, layout.blank[:, 0])[header:]
    content = _without_blank(content, layout, layout.second if header else 0)
    is_plain = decimal is None
    frame = _fast(content, layout, names, chosen, schema) if is_plain and (n_rows > SAMPLE_ROWS or schema is not None) else None
    if frame is None:
        frame = _cells(content, layout, names)
    if frame.height != n_rows:  # never seen: polars and the scan cut rows alike
        raise DataError(f"{shown}: expected {n_rows:,} rows, found {frame.height:,}; mend its quotes")
    cells = columns.without_missing(frame).get_columns()
    if decimal is not None:
        cells = [column if column.name in chosen else pointed(column, decimal) for column in cells]
    found = [typed(column, shown, place, numbers, column.name in chosen) for place, column in enumerate(cells)]
    return lines.note(polars().DataFrame(found), numbers)


def as_utf8(content: bytes, shown: str, first_row: int) -> tuple[bytes, int, str | None]:
    """Return a text as UTF-8 without mark, blank first and last lines; the number of its first row; the delimiter that it states.

    Excel writes `sep=;` as the first line. Raises DataError for bytes that are no text.
    """
    mark = next((mark for mark in ENCODINGS if content.startswith(mark)), None)
    if mark == codecs.BOM_UTF8:
        content = content[len(mark) :]
    elif mark is not None:
        try:
            content = content.decode(ENCODINGS[mark]).encode()
        except UnicodeDecodeError as error:
            raise DataError(f"{shown}: expected {ENCODINGS[mark].upper()} as its first bytes say, found: {error.reason}") from None
    if (at := content.find(b"\0")) >= 0:
        raise DataError(f"{place_of(content, at, shown, first_row)}: expected text, found a NUL byte; save the table as UTF-8")
    if not content.isascii():
        try:
            codecs.utf_8_decode(content, "strict", True)
        except UnicodeDecodeError as error:
            byte = content[error.start : error.start + 1]
            raise DataError(
                f"{place_of(content, error.start, shown, first_row)}: expected UTF-8, found byte {byte.hex()}, which is "
                f"{byte.decode('latin-1')!r} in Latin-1; convert it: iconv -f LATIN1 -t UTF-8"
            ) from None
    if b"\r" in content and b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    content, first_row = _without_blank_begin(content.rstrip(b"\r\n"), first_row)
    stated = re.match(rb"(?i)sep=(.)\r?\n", content)
    if stated:
        content, first_row = _without_blank_begin(content[stated.end() :], first_row + 1)
    if not content.strip():
        raise DataError(f"{shown}: expected a table, found blank lines only")
    return content, first_row, stated[1].decode() if stated else None


def _without_blank_begin(content: bytes, first_row: int) -> tuple[bytes, int]:
    """Return a text from its first line that is not blank, and the number of that, where its first has the number first_row."""
    begin = re.match(rb"(?:[ \t]*\r?\n)*", content)
    end = begin.end() if begin else 0
    return content[end:], first_row + content.count(b"\n", 0, end)


def place_of(content: bytes, at: int, shown: str, first_row: int) -> str:
    """Return how a message begins that is about the byte `at`."""
    row, line = content.count(b"\n", 0, at) + first_row, content[content.rfind(b"\n", 0, at) + 1 : at]
    delimiter = sniffed(content[: max(at, SAMPLE_BYTES)].replace(b"\0", b"")).encode()
    return f"{shown}: row {row:,}, column {line.count(delimiter) + 1}"


def sniffed(content: bytes) -> str:
    """Return the delimiter that cuts most of the first lines into equally many cells, at least two; a comma where none does."""
    sample = content[:SAMPLE_BYTES]
    if len(content) > SAMPLE_BYTES and (end := content.find(b"\n", SAMPLE_BYTES)) >= 0:
        sample = content[: content.find(b"\n", end + 1) if sample.count(b"\n") < 2 else end]
    first_lines = [line for line in re.sub(rb'"[^"]*"', b'""', sample).splitlines() if line.strip()][:SAMPLE_ROWS]
    best, most = ",", 0.5
    for delimiter in DELIMITERS:
        counts = [line.count(delimiter.encode()) for line in first_lines]
        common = max(set(counts), key=counts.count, default=0)
        share = counts.count(common) / len(counts) if common else 0.0
        if share > most:
            best, most = delimiter, share
    if most < 1.0:
        cells = [line.split() for line in first_lines]
        numbers = sum(_is_number(cell) for row in cells for cell in row)
        if len({len(row) for row in cells}) == 1 and len(cells[0]) > 1 and 2 * numbers >= sum(map(len, cells)):
            return SPACE
    return best


def scan(content: bytes, delimiter: str, shown: str, first_row: int = 1, n_columns: int | None = None) -> Layout:
    """Return how a text is cut into cells; n_columns: in a row, where that is known.

    Raises DataError for a row of another length, and for quotes in the wrong place.
    """
    between = delimiter.encode()
    quoted = content.startswith(b'"') or b'\n"' in content or between + b'"' in content
    view = np.frombuffer(content, np.uint8)
    counts, ends, inside, carried = [], [], False, 0
    for begin in range(0, view.size, PIECE):
        piece = view[begin : begin + PIECE]
        is_end, is_delimiter = piece == NEWLINE, piece == ord(delimiter)
        if quoted:
            quotes = np.flatnonzero(piece == QUOTE)
            if quotes.size or inside:
                _check_quotes(view, quotes + begin, inside, ord(delimiter), content, delimiter, shown, first_row)
                opened = np.zeros(piece.size, np.uint8)
                opened[quotes] = 1
                within = (np.cumsum(opened, dtype=np.uint8) + inside) & 1
                is_end &= within == 0
                is_delimiter &= within == 0
                inside = bool(within[-1])
        breaks = np.flatnonzero(is_end)
        of_rows = np.add.reduceat(is_delimiter.view(np.uint8), np.concatenate([[0], breaks]), dtype=np.int64)
        of_rows[0] += carried
        carried = int(of_rows[-1])
        counts.append(of_rows[:-1])
        ends.append(breaks + begin)
    if inside:
        at = content.rfind(b'"')
        row = first_row + content.count(b"\n", 0, at)
        raise DataError(f"{shown}: row {row:,}: expected the end of the quoted cell, found the end of the file; close the quote")
    fields = np.concatenate([*counts, [carried]]) + 1
    end = np.concatenate([*ends, [view.size]])
    begins = np.concatenate([[0], end[:-1] + 1])
    numbers = np.arange(first_row, first_row + fields.size)
    if quoted and content.count(b"\n") >= fields.size:  # some lines end within a cell
        numbers = first_row + np.searchsorted(np.flatnonzero(view == NEWLINE), begins)
    short = np.flatnonzero(fields == 1) if max(int(fields.max()), n_columns or 1) > 1 else ()
    empty = [(row, begins[row], end[row] + 1) for row in short if not content[begins[row] : end[row]].strip()]
    blank = np.array(empty, np.int64).reshape(-1, 3)
    often = np.bincount(np.delete(fields, blank[:, 0])[:SAMPLE_ROWS])
    expected = n_columns or int(fields[0] if often[fields[0]] == often.max() else often.argmax())
    wrong = fields != expected
    wrong[blank[:, 0]] = False
    if wrong.any():
        row = int(wrong.argmax())
        line = int(numbers[row])
        others = "as in most rows" if row == 0 else "as in row 1" if first_row == 1 and fields[0] == expected else "as in the rows before"
        raise DataError(
            f"{shown}: row {line:,}, column {min(expected, int(fields[row])) + 1}: expected {expected:,} cells {others}, "
            f"found {fields[row]:,}; cells are cut at {delimiter!r}: a cell that holds one must be quoted"
        )
    return Layout(delimiter, quoted, expected, fields.size, int(end[0]) + 1, numbers, blank)


def _check_quotes(
    view: np.ndarray, quotes: np.ndarray, inside: bool, between: int, content: bytes, delimiter: str, shown: str, first_row: int
) -> None:  # fmt: skip
    """Raise DataError where a quote is neither the first nor the last byte of a cell, nor one of two that stand for one."""
    opens = (np.arange(quotes.size) + inside) % 2 == 0
    before = view[np.maximum(quotes - 1, 0)]
    after = view[np.minimum(quotes + 1, view.size - 1)]
    good = (opens & ((quotes == 0) | np.isin(before, (between, NEWLINE, QUOTE)))) | (
        ~opens & ((quotes == view.size - 1) | np.isin(after, (between, NEWLINE, RETURN, QUOTE)))
    )
    if good.all():
        return
    at = int(quotes[int((~good).argmax())])
    row, line = content.count(b"\n", 0, at) + first_row, content[content.rfind(b"\n", 0, at) + 1 : at]
    raise DataError(
        f"{shown}: row {row:,}, column {line.count(delimiter.encode()) + 1}: expected quotes at both ends of a cell, found one "
        "inside; quote the whole cell and write each quote in it twice, or mend the one before"
    )


def names_of(content: bytes, layout: Layout, header: bool | None) -> Names:
    """Return the names of the columns: those of the first line, if that is a header, else x1, x2 and so on."""
    numbered = [f"x{place + 1}" for place in range(layout.n_columns)]
    rows = _cells(content, layout, numbered, n_rows=HEADER_ROWS)
    first = [None if cell is None else cell.strip() for cell in rows.row(0)]
    if header is None:
        below = rows.slice(1)
        if layout.delimiter != COMMA:
            below = polars().DataFrame([pointed(column, COMMA) for column in below.get_columns()])
        header, sure = is_header(first, below)
    else:
        sure = True
    if not header:
        return Names(numbered, False, sure)
    return Names([cell or number for cell, number in zip(first, numbered, strict=True)], True, sure)


def is_header(first: list[str | None], below: Any) -> tuple[bool, bool]:
    """Return whether the first line holds names, and whether that is sure. below: a frame of texts, the lines after it.

    A name over numbers speaks for it, a number over numbers against it. Where all is text: names are different, and none is found below.
    """
    numbers = [cell is not None and _is_number(cell.encode()) for cell in first]
    counted = [cell for cell in first if cell is not None and _is_number(cell.encode())]
    if len(first) > 2 and counted in ([str(place) for place in range(len(counted))], [str(place + 1) for place in range(len(counted))]):
        if len(counted) == len(first) or (len(counted) == len(first) - 1 and not first[0]):
            return True, True  # as pandas names the columns of an array
    if len(counted) > 1 and all(re.fullmatch("[12][0-9]{3}", year) and int(year) == int(counted[0]) + n for n, year in enumerate(counted)):
        return True, False  # years, which may be data, too
    if below.height == 0:
        return not any(numbers), True
    names_over, numbers_over, recurring = 0, 0, False
    for cell, is_number, column in zip(first, numbers, columns.without_missing(below).get_columns(), strict=True):
        filled = column if column.null_count() == 0 else column.drop_nulls()
        if 2 * filled.cast(polars().Float64, strict=False).null_count() < filled.len():
            names_over += not is_number and cell not in (None, *columns.MISSING)
            numbers_over += is_number
        elif cell is not None and filled.len() and (filled == cell).any():
            numbers_over += 1  # a value of the column: no name
        recurring |= filled.n_unique() < filled.len()
    if names_over and numbers_over:
        return len(set(first)) == len(first) and not any("." in str(number) for number in counted), False
    if names_over or numbers_over:
        return names_over > 0, True
    if any(numbers):
        return False, True
    return len(set(first)) == len(first), recurring


def typed(column: Any, shown: str, place: int, numbers_of_rows: np.ndarray, is_text: bool = False) -> Any:
    """Return a column of texts as Int64, Float64 or String, the first that holds all of it; one of numbers is checked only.

    Of its texts, null stands for missing ones.

    Raises DataError for a cell that spoils a column of numbers. Warns where a column of numbers and texts is read as texts.
    """
    pl = polars()
    if column.dtype == pl.Int64:
        return column
    if column.dtype == pl.Float64:
        return columns.check_finite(column, shown, place, numbers_of_rows)
    cells = column
    if is_text or cells.null_count() == cells.len():
        return cells
    numbers = cells.cast(pl.Float64, strict=False)
    is_other = numbers.is_null() & cells.is_not_null()
    if not is_other.any():
        whole = cells.cast(pl.Int64, strict=False)
        fits = whole.null_count() == cells.null_count()
        may_be_codes = fits or np.nanmax(np.abs(numbers.to_numpy())) >= 2.0**63
        if may_be_codes and cells.str.contains(ZERO_IN_FRONT).any() and cells.drop_nulls().str.contains(r"^[+-]?[0-9]+$").all():
            return cells
        return whole if fits else columns.check_finite(numbers, shown, place, numbers_of_rows)
    n_numbers, others = cells.len() - numbers.null_count(), cells.filter(is_other)
    if n_numbers <= others.len() and others.str.contains(OTHERWISE).not_().any():
        return cells
    row = int(is_other.arg_max())
    at, found = columns.where(shown, int(numbers_of_rows[row]), place, column.name), f"{cells[row]!r:.60}"
    of_numbers = numbers.n_unique() > FEW and n_numbers >= 0.9 * (n_numbers + others.len())
    otherwise = (others.str.contains(OTHERWISE) & ~others.str.contains(NOT_OTHERWISE)).all()
    if of_numbers or otherwise:
        marks = [mark for mark in DECIMALS if COMMA in cells[row] and re.match(WITH_MARK[mark], cells[row])]
        or_say = f" or say {' or '.join(f'--decimal {mark!r}' for mark in marks)}" if marks else ""
        wanted = "a number" if otherwise else f"a number as in {n_numbers:,} other rows"
        raise DataError(
            f"{at}: expected {wanted}, found {found}; write it like 1234.5{or_say}, leave it empty for a missing value, or train with "
            f"--categorical {column.name!r:.60} or --drop {column.name!r:.60} (in Python text_columns of read_table)"
        )
    if n_numbers > others.len():
        warn(
            f"{at}: found {found} among {n_numbers:,} numbers; the column is read as text (say so with --categorical, in Python "
            "text_columns, or mend it)",
        )
    return cells


def pointed(column: Any, decimal: str) -> Any:
    """Return a column of texts with numbers as a computer writes them, 1234.5, where all of it is written with this decimal mark.

    With a comma 1.234,5 is 1234.5; with a point 1,234.5 is. Other columns as they are.
    """
    present = column.drop_nulls()
    if not len(present) or not present.str.contains(WITH_MARK[decimal]).all():
        return column
    thousands = POINT if decimal == COMMA else COMMA
    return column.str.replace_all(thousands, "", literal=True).str.replace(decimal, POINT, literal=True)


def told_decimal(
    content: bytes, layout: Layout, names: Names, delimiter: str, chosen: tuple[str, ...], shown: str, notify: Notify | None
) -> str | None:
    """Return a comma where some column of a text, which is not cut at commas, has it as the decimal mark in the first rows; else None.

    Raises DataError where a column may be either, or columns differ. Tells notify of a comma.
    """
    if delimiter == COMMA or COMMA.encode() not in content:
        return None
    sample = columns.without_missing(_cells(content, layout, names.names, n_rows=SAMPLE_ROWS).slice(int(names.in_file))).get_columns()
    filled = [cells.drop_nulls() for cells in sample if cells.name not in chosen and cells.null_count() < cells.len()]
    commas = [cells for cells in filled if cells.str.contains(COMMA, literal=True).any() and cells.str.contains(WITH_MARK[COMMA]).all()]
    sure = [cells for cells in commas if cells.str.contains(SURE_COMMA).any()]
    if sure:
        first = sure[0].filter(sure[0].str.contains(COMMA, literal=True))[0]
        points = [cells for cells in filled if cells.str.contains(WITH_POINT).all() and not cells.str.contains(WITH_MARK[COMMA]).all()]
        if points:
            raise DataError(
                f"{shown}: expected one decimal mark, found {first!r:.40} in column {sure[0].name!r:.60} and {points[0][0]!r:.40} in "
                f"column {points[0].name!r:.60}; mend one of them, or say which it is: --decimal , or --decimal ."
            )
        if notify is not None:
            notify(f"{shown}: numbers have a decimal comma, such as {first!r:.40} in column {sure[0].name!r:.60}; else say --decimal .")
        return COMMA
    either = [cells for cells in commas if cells.str.contains(EITHER).any()]
    if either:
        first = either[0].filter(either[0].str.contains(EITHER))[0]
        raise DataError(
            f"{shown}: column {either[0].name!r:.60}: expected a decimal mark that can be told, found {first!r:.40}, which may be a "
            "thousand times larger; say which it is: --decimal , or --decimal . (in Python decimal=)"
        )
    return None


def _cells(content: bytes, layout: Layout, names: list[str], n_rows: int | None = None) -> Any:
    """Return every cell as text, None where it is empty."""
    if len(names) == 1 and not layout.quoted:  # of which polars passes over blank lines
        return polars().DataFrame(
            {names[0]: [cell or None for cell in content.decode().split("\n", -1 if n_rows is None else n_rows)[:n_rows]]}
        )
    return _cut(content, layout, dict.fromkeys(names, polars().String), n_rows=n_rows)


def _fast(
    content: bytes, layout: Layout, names: list[str], chosen: tuple[str, ...], schema: dict[str, Any] | None
) -> Any | None:  # fmt: skip
    """Return the table with numbers read as such at once, where the first rows show which columns hold them; None where others do not.

    schema: the types that an earlier part of the table has. What comes out is what comes of reading cells as text: a test compares.
    """
    pl = polars()
    sample = columns.without_missing(_cells(content, layout, names, n_rows=SAMPLE_ROWS)).get_columns() if schema is None else ()
    schema = dict(schema or {})
    for cells in sample:
        kinds = () if cells.name in chosen or cells.null_count() == cells.len() else (pl.Int64, pl.Float64)
        schema[cells.name] = next((kind for kind in kinds if cells.cast(kind, strict=False).null_count() == cells.null_count()), pl.String)
    if pl.Int64 in schema.values() and _may_hold_codes(content, ord(layout.delimiter)):
        return None
    try:
        return _cut(content, layout, schema, missing=[each for each in columns.MISSING if each])
    except pl.exceptions.PolarsError:
        return None


def _may_hold_codes(content: bytes, between: int) -> bool:
    """Return whether some cell may begin with a zero and another digit."""
    view = np.frombuffer(content, np.uint8)
    for begin in range(0, view.size, PIECE):
        piece = view[max(0, begin - 1) : begin + PIECE + 1]
        zeros = np.flatnonzero(piece[:-1] == ord("0"))
        zeros = zeros[(piece[zeros + 1] >= ord("0")) & (piece[zeros + 1] <= ord("9"))]
        if (zeros == 0).any() and begin == 0 or np.isin(piece[zeros - 1], (between, NEWLINE, QUOTE, ord(" "))).any():
            return True
    return False


def _without_blank(content: bytes, layout: Layout, begin: int) -> bytes:
    """Return a text from a byte on, without its blank lines."""
    pieces = []
    for _, first, end in layout.blank.tolist():
        pieces.append(content[begin:first])
        begin = end
    return b"".join([*pieces, content[begin:]])


def _cut(content: bytes, layout: Layout, schema: dict[str, Any], *, missing: list[str] | None = None, n_rows: int | None = None) -> Any:
    """Return the cells of a text without a header, columns of these names and types."""
    numbered = {f"column_{place + 1}": kind for place, kind in enumerate(schema.values())}  # as polars names them
    frame = polars().read_csv(
        content, has_header=False, separator=layout.delimiter, quote_char='"' if layout.quoted else None, schema=numbered,
        null_values=missing, n_rows=n_rows,
    )  # fmt: skip
    frame.columns = list(schema)
    return frame


def _is_number(cell: bytes) -> bool:
    try:
        return b"_" not in cell and float(cell) == float(cell)
    except ValueError:
        return False
