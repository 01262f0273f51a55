"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells under a heading, columns aligned.

    Example:
        >>> print(table(("name", "score"), [("a", "0.5"), ("long", "1")]))
        name  score
        ----  -----
        a     0.5
        long  1
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    ruler = ["-" * max(len(name), min(width, 40)) for name, width in zip(head, widths, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, ruler, *rows))
