"""A plot of scores as SVG. One kind of picture does not justify a plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from attrs import frozen

__all__ = ["HeldOutPoints", "TriedPoint", "draw"]

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 60, 48
_GRID, _INK, _BEST, _POINT = "#d8d8d8", "#333333", "#2b7a3f", "#4c72b0"


@frozen
class TriedPoint:
    """A candidate, or the baseline, on the examples to choose by.

    Args:
        calls: when it was found.
        score: its score.
        label: its name.
        interval: the interval of the score; None where the scores of single examples are not known.
    """

    calls: float
    score: float
    label: str
    interval: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """What it says under the mouse."""
        shown = "" if self.interval is None else f", interval {self.interval[0]:.4g} to {self.interval[1]:.4g}"
        return f"{self.label}: {self.score:.4g} after {self.calls:g} calls{shown}"


@frozen
class HeldOutPoints:
    """The scores of a comparison on held-out examples.

    Args:
        calls: when it was finished.
        baseline: score of the baseline.
        candidate: score of the candidate.
        low: lower end of the interval of the candidate, at the score of the baseline as it was measured.
        high: upper end.
        confidence: of the interval.
    """

    calls: float
    baseline: float
    candidate: float
    low: float
    high: float
    confidence: float


def draw(
    points: Sequence[TriedPoint],
    *,
    title: str,
    y_label: str,
    marked: str | None = None,
    more_is_better: bool = True,
    held_out: HeldOutPoints | None = None,
) -> str:
    """Return an SVG image of points and a line for the best score so far.

    Args:
        points: first the baseline, then each candidate in the order of the trials.
        title: text above the plot.
        y_label: text beside the plot.
        marked: label of the point that is drawn as chosen.
        more_is_better: whether a higher score is better.
        held_out: the comparison on held-out examples; None where nothing was compared.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}" role="img" aria-label="{escape(title, quote=True)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    if not points:
        parts.append(f'<text x="{_LEFT}" y="{_HEIGHT // 2}">no candidate was scored</text>')
        return "\n".join([*parts, "</svg>"])
    heights = [height for point in points for height in (point.score, *(point.interval or ()))]
    last = max(point.calls for point in points)
    if held_out is not None:
        heights += [held_out.baseline, held_out.candidate, held_out.low, held_out.high]
        last = max(last, held_out.calls)
    x_ticks, y_ticks = _ticks(0.0, last), _ticks(min(heights), max(heights))
    frame = _Frame(x_ticks, y_ticks)
    parts += frame.axes("language-model calls", y_label)
    best = -math.inf if more_is_better else math.inf
    corners: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: point.calls):
        calls, score = point.calls, point.score
        if score > best if more_is_better else score < best:
            corners += [(calls, best), (calls, score)] if corners else [(calls, score)]
            best = score
    corners.append((x_ticks[-1], best))
    line = " ".join(f"{frame.x(calls):.1f},{frame.y(score):.1f}" for calls, score in corners)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_BEST}" stroke-width="2"/>')
    for number, point in enumerate(points):
        kind = "chosen" if point.label == marked else "candidate" if number else "baseline"
        x = frame.x(point.calls)
        if point.interval is not None:
            parts.append(_interval(frame, x, point.interval, _BEST if kind == "chosen" else _POINT, 'opacity="0.5"'))
        parts.append(_dot(x, frame.y(point.score), kind, f"<title>{escape(point.title)}</title>"))
    if held_out is not None:
        parts += _held_out(frame, held_out)
    parts += _legend(held_out is not None)
    return "\n".join([*parts, "</svg>"])


def _dot(x: float, y: float, kind: str, inside: str = "") -> str:
    fill, edge, radius = {
        "baseline": ("white", _POINT, 4),
        "candidate": (_POINT, _POINT, 4),
        "chosen": (_BEST, _BEST, 6),
    }[kind]
    style = f'fill="{fill}" stroke="{edge}" stroke-width="2"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {style}>{inside}</circle>'


def _interval(frame: _Frame, x: float, ends: tuple[float, float], colour: str, style: str, inside: str = "") -> str:
    low, high = (frame.y(end) for end in ends)
    place = f'x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"'
    return f'<line {place} stroke="{colour}" {style}>{inside}</line>'


def _held_out(frame: _Frame, found: HeldOutPoints) -> Iterator[str]:
    """Draw the held-out scores as squares, with the interval as a line through that of the candidate."""
    x, interval = frame.x(found.calls), f"{found.confidence:.0%} interval {found.low:.4g} to {found.high:.4g}"
    yield _interval(frame, x, (found.low, found.high), _BEST, 'stroke-width="2"', f"<title>{interval}</title>")
    yield _square(x, frame.y(found.baseline), "white", f"<title>baseline, held out: {found.baseline:.4g}</title>")
    title = f"<title>chosen, held out: {found.candidate:.4g}, {interval}</title>"
    yield _square(x, frame.y(found.candidate), _BEST, title)


def _square(x: float, y: float, fill: str, inside: str = "") -> str:
    place = f'x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"'
    return f'<rect {place} fill="{fill}" stroke="{_BEST}" stroke-width="2">{inside}</rect>'


def _legend(held_out: bool) -> Iterator[str]:
    if held_out:
        x = _LEFT + 6 + 84 * 3
        yield _square(x, 40, _BEST)
        yield f'<text x="{x + 11}" y="44">held out, with interval (white: baseline)</text>'
    for number, kind in enumerate(("baseline", "candidate", "chosen")):
        x = _LEFT + 6 + 84 * number
        yield _dot(x, 40, kind)
        yield f'<text x="{x + 11}" y="44">{kind}</text>'


class _Frame:
    """The places of numbers in the picture."""

    def __init__(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        self._x, self._y = x_ticks, y_ticks

    def x(self, value: float) -> float:
        low, high = self._x[0], self._x[-1]
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y[0], self._y[-1]
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str, y_label: str) -> Iterator[str]:
        for tick in self._y:
            y = self.y(tick)
            yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_GRID}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in self._x:
            yield f'<text x="{self.x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        across, down = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
        yield f'<text x="{across}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
        yield f'<text transform="translate(16 {down}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that enclose both ends."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(size * magnitude for size in (1, 2, 2.5, 5, 10) if size * magnitude >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
