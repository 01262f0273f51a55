"""Did-you-mean: the one place that guesses what a misspelt name meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "enumerate_names"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name that is closest to ``name``, or an empty string.

    Example:
        >>> did_you_mean("EmialDraft", ["EmailDraft", "DraftText"])
        "; did you mean 'EmailDraft'?"
    """
    import difflib  # 9 ms that only an error has to pay

    # A name from outside may be megabytes long, and the comparison is quadratic.
    folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name[:100].casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def enumerate_names(names: Iterable[str], limit: int = 12) -> str:
    """Return names as ``'a', 'b' and 3 more`` for an error message."""
    shown = [repr(name) if len(name) <= 60 else repr(name[:57] + "...") for name in names]
    if len(shown) > limit:
        return f"{', '.join(shown[:limit])} and {len(shown) - limit} more"
    return ", ".join(shown) or "none"
