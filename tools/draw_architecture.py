"""Draw the layers of the core and the plugins on top of it, from the code's own imports, into docs/architecture.svg.

    python tools/draw_architecture.py            # write the picture
    python tools/draw_architecture.py --check    # fail where the picture is not what the code is

A box is a module or a package of the core. A line runs from a box down to a box that it imports; it is left out where
others lead there already. The rows are the layers that the import linter holds the code to.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
# Last on the path: this file is run as a program, and finds its neighbour through the repository.
sys.path.append(str(ROOT))

from tools.import_graph import import_graph, layer_of  # noqa: E402  # needs the line above
from tools.measure_structure import packages  # noqa: E402

__all__ = ["PICTURE", "layers", "picture"]

PICTURE = ROOT / "docs" / "architecture.svg"

_WIDTH, _BOX_HEIGHT, _GAP, _ROW, _LEFT, _TOP = 1180, 50, 14, 112, 20, 20


class Box(NamedTuple):
    """One box of the picture."""

    name: str
    note: str
    x: float
    y: float
    width: float


def layers(root: Path = ROOT) -> list[list[str]]:
    """Return the layers of the core as the import linter's contract names them, the highest first."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return [
        [name.strip() for name in layer.replace("|", ":").split(":")]
        for contract in contracts
        if contract["type"] == "layers" and "hokusai_core" in contract.get("containers", ["hokusai_core"])
        for layer in contract["layers"]
    ]


def _note(root: Path, name: str) -> str:
    place = root / "hokusai_core" / name
    return f"{len(list(place.rglob('*.py')))} modules" if place.is_dir() else "module"


def _row(names: list[tuple[str, str]], y: float) -> list[Box]:
    width = min(210.0, (_WIDTH - 2 * _LEFT - _GAP * (len(names) - 1)) / len(names))
    start = (_WIDTH - width * len(names) - _GAP * (len(names) - 1)) / 2
    return [Box(name, note, start + number * (width + _GAP), y, width) for number, (name, note) in enumerate(names)]


def picture(root: Path = ROOT) -> str:
    """Return the picture as SVG."""
    rows = [[(path.name, "plugin") for path in packages(root)[1:] if path.name != "hokusai"]]
    rows.insert(0, [("hokusai", "command, documented import paths")])
    names = layers(root)
    placed: list[Box] = []
    y = float(_TOP)
    for row in rows:
        placed += _row(row, y)
        y += _ROW
    core_top = y - 34
    boxes: dict[str, Box] = {}
    for layer in names:
        # At most six boxes in a line, so that names stay readable.
        for start in range(0, len(layer), 6):
            for box in _row([(name, _note(root, name)) for name in layer[start : start + 6]], y):
                boxes[box.name] = box
            y += _ROW if start + 6 >= len(layer) else _BOX_HEIGHT + _GAP
    height = y - 30
    edges = _edges(root, names)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
        f'<rect x="6" y="{core_top:.0f}" width="{_WIDTH - 12}" height="{height - core_top - 6:.0f}" rx="10" '
        'fill="#f5f7fa" stroke="#b8c4d2"/>',
        f'<text x="18" y="{core_top + 20:.0f}" font-size="14" fill="#45566b">hokusai_core</text>',
    ]
    lines += [_line(boxes[source], boxes[target]) for source, target in edges]
    lines += [_line_to_core(box, core_top) for box in placed[1:]]
    lines += [_line(placed[0], box) for box in placed[1:]]
    lines += [_box(box, "#e8f0e4") for box in placed]
    lines += [_box(box, "#dfe9f5") for box in boxes.values()]
    return "\n".join([*lines, "</svg>", ""])


def _edges(root: Path, names: list[list[str]]) -> list[tuple[str, str]]:
    flat = [name for layer in names for name in layer]
    single = [{f"hokusai_core.{name}"} for name in flat]
    found: set[tuple[str, str]] = set()
    for source, targets in import_graph(root / "hokusai_core").items():
        for target in targets:
            start, end = layer_of(source, single), layer_of(target, single)
            if start is not None and end is not None and start != end:
                found.add((flat[start], flat[end]))
    return sorted(pair for pair in found if not _leads_elsewhere(pair, found))


def _leads_elsewhere(pair: tuple[str, str], edges: set[tuple[str, str]]) -> bool:
    """Return whether the end of a line is also reached by way of other boxes, so that drawing it shows nothing new."""
    source, target = pair
    seen: set[str] = set()
    open_ends = [end for start, end in edges if start == source and end != target]
    while open_ends:
        name = open_ends.pop()
        if name == target:
            return True
        if name not in seen and name != source:
            seen.add(name)
            open_ends += [end for start, end in edges if start == name]
    return False


def _line(source: Box, target: Box) -> str:
    x1, y1 = source.x + source.width / 2, source.y + _BOX_HEIGHT
    x2, y2 = target.x + target.width / 2, target.y
    if source.y == target.y:
        y1 = y2 = source.y + _BOX_HEIGHT
        bend = y1 + 30
        path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{bend:.0f} {x2:.0f},{bend:.0f} {x2:.0f},{y2:.0f}"
    else:
        middle = (y1 + y2) / 2
        path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#7d93ad" stroke-opacity="0.55" stroke-width="1.2"/>'


def _line_to_core(box: Box, core_top: float) -> str:
    x = box.x + box.width / 2
    return f'<path d="M{x:.0f},{box.y + _BOX_HEIGHT:.0f} V{core_top:.0f}" stroke="#7d93ad" stroke-width="1.2"/>'


def _box(box: Box, fill: str) -> str:
    middle = box.x + box.width / 2
    return (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{_BOX_HEIGHT}" rx="6" fill="{fill}" '
        'stroke="#5f7590"/>'
        f'<text x="{middle:.0f}" y="{box.y + 21:.0f}" font-size="15" text-anchor="middle" fill="#1c2733">'
        f"{escape(box.name)}</text>"
        f'<text x="{middle:.0f}" y="{box.y + 39:.0f}" font-size="11" text-anchor="middle" fill="#45566b">'
        f"{escape(box.note)}</text>"
    )


def main() -> int:
    """Write the picture, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if parser.parse_args().check:
        same = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == picture()
        if not same:
            print("docs/architecture.svg differs from the code; run `make reference`", file=sys.stderr)
        return 0 if same else 1
    PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
