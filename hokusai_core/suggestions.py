"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "did_you_mean", "enumerate_names"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name that is closest to ``name``, or an empty string.

    Example:
        >>> did_you_mean("EmialDraft", ["EmailDraft", "DraftText"])
        "; did you mean 'EmailDraft'?"
    """
    close = closest(name, known, cutoff=0.6)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.75) -> str | None:
    """Return the known name that is closest to ``name``, or None where none is close.

    Args:
        name: the name.
        known: what it may have been meant as.
        cutoff: share of the letters that have to be the same, from 0 to 1.
    """
    try:
        import difflib  # 9 ms that only an error has to pay
    except OSError:  # no file descriptor is left: the error matters more than a guess
        return None

    # A name from outside may be megabytes long, and the comparison is quadratic.
    folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name[:100].casefold(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def enumerate_names(names: Iterable[str], limit: int = 12) -> str:
    """Return names as ``'a', 'b' and 3 more`` for an error message."""
    shown = [repr(name) if len(name) <= 60 else repr(name[:57] + "...") for name in names]
    if len(shown) > limit:
        return f"{', '.join(shown[:limit])} and {len(shown) - limit} more"
    return ", ".join(shown) or "none"
