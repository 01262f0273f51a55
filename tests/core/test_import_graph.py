"""The core's imports run one way, hidden ones included: no circle, and none from a lower layer to a higher one."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

from dev import ROOT
from tools.import_graph import climbing_imports, cycles, import_graph


def _layers() -> list[set[str]]:
    """Return the layers that the import linter holds the core to, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = [contract for contract in contracts if contract["type"] == "layers"]
    return [
        {f"hokusai_core.{name.strip()}" for name in layer.replace("|", ":").split(":")}
        for contract in layers
        for layer in contract["layers"]
    ]


def test_the_core_has_no_circle_of_imports() -> None:
    assert cycles(import_graph(ROOT / "hokusai_core")) == []


def test_no_import_of_the_core_climbs() -> None:
    graph = import_graph(ROOT / "hokusai_core")
    assert climbing_imports(graph, _layers()) == []


def test_hidden_imports_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "boat"
    package.mkdir()
    files = {
        "__init__": """
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from boat.hull import Hull
            __all__ = ["Hull"]
            """,
        "hull": """
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from boat.mast import Mast
            class Hull: ...
            """,
        "mast": """
            def raise_sail():
                from boat import sail
            """,
        "sail": """
            '''See boat.rope for ropes.'''
            TARGET = "boat.rope:Rope"
            """,
        "rope": """
            from boat import Hull
            """,
        "anchor": """
            import boat.rope
            """,
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    graph = import_graph(package)
    assert graph["boat"] == set()
    assert graph["boat.anchor"] == {"boat.rope"}
    assert cycles(graph) == [["boat.hull", "boat.mast", "boat.rope", "boat.sail"]]
    assert climbing_imports(graph, [{"boat.mast"}, {"boat.hull"}]) == [("boat.hull", "boat.mast")]
