"""Tables of HTML for notebooks: every text escaped, and short."""

from collections.abc import Iterable, Sequence
from html import escape


def paragraph(text: object) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(str(text))}</p>"


def items(texts: Iterable[str]) -> str:
    """Return a list of plain texts; "" of none."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{lines}</ul>" if lines else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Return a table; the first cell of a row names it."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table>{title}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
