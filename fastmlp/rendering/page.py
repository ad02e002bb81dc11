"""A page: records -> one HTML file that needs nothing else. No script, nothing fetched, every text escaped; light, dark, phone, paper.

What a page says about a run is decided in reports/; how it looks, in templates/. Needs jinja2, the extra `plots`.
"""

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastmlp.errors import MissingExtra
from fastmlp.rendering.output import printable
from fastmlp.storage.atomic import write_atomically

if TYPE_CHECKING:
    from jinja2 import Template

    from fastmlp.rendering.plots import Plot

MOST_DATA = 100_000  # characters of CSV that a page carries with a figure


class Fact(NamedTuple):
    """A result that is read first: a large value, what it is, and what has to be known about it."""

    value: str
    label: str
    detail: str = ""


class Mark(NamedTuple):
    """A cell of a table that judges: "yes" is good, "no" bad, anything else neither."""

    text: str
    tone: str


Cell = str | Mark


class Table(NamedTuple):
    """A table; the columns in `numbers` end at the right. With `stacked` each row becomes a card on a phone."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: Sequence[int] = ()
    caption: str = ""
    stacked: bool = False
    folded: str = ""  # the line behind which a long table waits, if it does


class Section(NamedTuple):
    """A part of a page: paragraphs, then tables, figures, facts by name, and lines for a shell."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: "Sequence[Plot]" = ()
    claims: Mapping[str, str] = {}  # name of a figure -> what somebody says of it
    facts: Sequence[tuple[str, str]] = ()
    more: str = ""  # the line behind which facts of less weight wait
    more_facts: Sequence[tuple[str, str]] = ()
    commands: Sequence[str] = ()


class Page(NamedTuple):
    """A page: results first, then its sections."""

    kind: str
    title: str
    lede: str
    facts: Sequence[Fact]
    sections: Sequence[Section]
    footer: str


def check_installed() -> None:
    """Raise MissingExtra where a page cannot be made: before data are loaded rather than after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("page: drawing its figures needs matplotlib; run: pip install 'fastmlp[plots]'")
    _template()


def write_page(path: Path, page: Page) -> None:
    """Write a page as one HTML file, atomically. Raises OutputError or WriteError where it cannot be."""
    write_atomically(path, render(page).encode("utf-8", "backslashreplace"))


def render(page: Page) -> str:
    """Return a page as HTML."""
    return _template().render(page=page)


def _shown(value: object) -> object:
    """Return a text without characters that no HTML file may hold, or that turn the direction of what follows; HTML as it is."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _data_link(plot: "Plot") -> str | None:
    """Return the address of a figure's data inside the page itself, None where they are too long for that."""
    if len(plot.csv) > MOST_DATA:
        return None
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(plot.csv.encode("utf-8", "backslashreplace")).decode()


@cache
def _template() -> "Template":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("page: writing one needs jinja2; run: pip install 'fastmlp[plots]'") from error
    loader = PackageLoader("fastmlp.rendering", "templates")
    environment = Environment(
        autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["data_link"] = _data_link
    return environment.get_template("page.html")
