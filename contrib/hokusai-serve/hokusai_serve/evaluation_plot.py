"""A plot of the scores of an evaluation as SVG: one line a system, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

__all__ = ["evaluation_svg"]

_WIDTH: Final = 640
_LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 190, 70, 48, 34, 34
_GRID, _INK, _POINT, _AGAINST = "#d8d8d8", "#333333", "#2b7a3f", "#4c72b0"
_LONGEST: Final = 26


def evaluation_svg(report: Mapping[str, Any]) -> str:
    """Return an SVG image of the leading score of each system of a saved evaluation.

    Args:
        report: the report as ``Evaluation.save`` has written it.
    """
    metric = str(report["metrics"][0])
    scored = [(system, system["scores"].get(metric) or {}) for system in report["systems"]]
    rows = [(system, score) for system, score in scored if score.get("value") is not None]
    height = _TOP + _ROW * max(1, len(rows)) + _BOTTOM
    title = escape(f"{report['target']}: {metric}", quote=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}" role="img" aria-label="{title}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="14">{title}</text>',
    ]
    if not rows:
        return "\n".join([*parts, f'<text x="16" y="{_TOP + 20}">nothing was scored</text>', "</svg>"])
    ends = [float(value) for _, score in rows for value in _ends(score)]
    low, high = min(0.0, *ends), max(1.0, *ends)
    parts += _axis(low, high, height)
    for number, (system, score) in enumerate(rows):
        parts += _line(system, score, _TOP + _ROW * number + _ROW / 2, low, high)
    return "\n".join([*parts, "</svg>"])


def _ends(score: Mapping[str, Any]) -> Sequence[float]:
    value = score["value"]
    return [value if score.get(name) is None else score[name] for name in ("low", "value", "high")]


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _axis(low: float, high: float, height: int) -> Iterator[str]:
    for number in range(5):
        value = low + (high - low) * number / 4
        x = _x(value, low, high)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}" stroke="{_GRID}"/>'
        yield f'<text x="{x:.1f}" y="{height - _BOTTOM + 18}" text-anchor="middle">{value:.3g}</text>'


def _line(system: Mapping[str, Any], score: Mapping[str, Any], y: float, low: float, high: float) -> Iterator[str]:
    first, value, last = (_x(end, low, high) for end in _ends(score))
    color = _AGAINST if system.get("against") else _POINT
    label = str(system["label"])
    shown = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 3]}..."
    told = f"{score['value']:.3f}"
    yield f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(shown)}</text>'
    yield f'<line x1="{first:.1f}" x2="{last:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" stroke-width="3"/>'
    yield f'<circle cx="{value:.1f}" cy="{y:.1f}" r="6" fill="{color}"><title>{escape(label)}: {told}</title></circle>'
    yield f'<text x="{_WIDTH - _RIGHT + 14}" y="{y + 4:.1f}">{told}</text>'
