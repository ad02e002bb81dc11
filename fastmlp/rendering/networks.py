"""A network as text and as HTML: its layers in a table, and below it what else there is to know."""

import html
from collections.abc import Sequence

from fastmlp.network.summary import Summary
from fastmlp.rendering.tables import table

HEADINGS = ("layer", "inputs", "units", "activation", "parameters")


class Text(str):
    """A text of several lines that shows itself as it is, where Python or a notebook shows what a line gives."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def as_text(summary: Summary) -> Text:
    """Return a network as lines of text."""
    width = max(len(heading) for heading, _ in summary.facts)
    facts = "\n".join(f"{heading.ljust(width)}  {text}" for heading, text in summary.facts)
    return Text(f"{_title(summary)}\n\n{table(HEADINGS, _rows(summary), left=(0, 3))}\n\n{facts}")


def as_html(summary: Summary) -> str:
    """Return a network as a table of HTML, without a style of its own."""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(summary))
    facts = "<br>".join(f"{heading}: {html.escape(text)}" for heading, text in summary.facts)
    title = html.escape(_title(summary))
    return f"<div><p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{facts}</p></div>"


def _title(summary: Summary) -> str:
    tracked = f" and {summary.running_stats:,} running statistics" if summary.running_stats else ""
    return f"Network {summary.name}: {summary.parameters:,} parameters{tracked}, {summary.dtype}"


def _rows(summary: Summary) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for number, layer in enumerate(summary.layers, 1):
        activation = f"{layer.normalisation}, {layer.activation}" if layer.normalisation else layer.activation
        rows.append((str(number), f"{layer.n_in:,}", f"{layer.n_out:,}", activation, f"{layer.parameters:,}"))
    return rows
