"""The import graph of a package, with the imports that hide: in functions, under TYPE_CHECKING, in lazy targets.

A package's ``__init__`` that only hands names on is no stop of its own: an import of such a name counts as an import of
the module that defines it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["climbing_imports", "cycles", "import_graph", "layer_of"]

Graph = dict[str, set[str]]


def import_graph(package: Path) -> Graph:
    """Return which modules of a package each of its modules imports.

    Args:
        package: folder of the package.

    Returns:
        Dotted module name -> dotted names of the modules that it imports, itself left out.
    """
    trees = {
        _dotted(package, path): ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for path in sorted(package.rglob("*.py"))
    }
    packages = {_dotted(package, path) for path in package.rglob("__init__.py")}
    handed_on = {name: _handed_on(trees[name]) for name in packages}
    graph: Graph = {}
    for name, tree in trees.items():
        reexports = handed_on.get(name, {})
        graph[name] = {
            target
            for module, attribute in _imports(name, tree, package.name, is_package=name in packages)
            if attribute not in reexports
            and (target := _defining_module(module, attribute, trees, handed_on)) is not None
            and target != name
        }
    return graph


def cycles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle, the largest first (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            position = stack.index(node)
            group = stack[position:]
            del stack[position:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def layer_of(module: str, layers: list[set[str]]) -> int | None:
    """Return the position of the layer that a module belongs to, 0 for the highest; None if it is in none."""
    for position, names in enumerate(layers):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return position
    return None


def climbing_imports(graph: Graph, layers: list[set[str]]) -> list[tuple[str, str]]:
    """Return the imports that lead from a lower layer to a higher one.

    Args:
        graph: what ``import_graph`` returned.
        layers: dotted names of the modules and packages of each layer, the highest layer first.
    """
    found = []
    for source, targets in graph.items():
        own = layer_of(source, layers)
        for target in sorted(targets):
            other = layer_of(target, layers)
            if own is not None and other is not None and other < own:
                found.append((source, target))
    return found


def _dotted(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, tree: ast.Module, root: str, *, is_package: bool) -> Iterator[tuple[str, str | None]]:
    """Yield each imported module with the name that is taken from it, None for the module as a whole."""
    documentation = {id(text) for text in _docstrings(tree)}
    target = re.compile(rf"({re.escape(root)}(?:\.\w+)*)(?::(\w+))?")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == root:
                    yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = name.split(".") if is_package else name.split(".")[:-1]
                module = ".".join([*base[: len(base) - node.level + 1], *([module] if module else [])])
            if module.split(".")[0] == root:
                for alias in node.names:
                    yield module, alias.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            match = target.fullmatch(node.value)
            if match and match[1] != root:
                yield match[1], match[2]


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def _handed_on(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return the names that a package's ``__init__`` exports and takes from elsewhere: name -> (module, name)."""
    exported = {
        element.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        for element in ast.walk(node.value)
        if isinstance(element, ast.Constant) and isinstance(element.value, str)
    }
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
        if (alias.asname or alias.name) in exported
    }


def _defining_module(
    module: str,
    attribute: str | None,
    trees: Mapping[str, ast.Module],
    handed_on: Mapping[str, Mapping[str, tuple[str, str]]],
) -> str | None:
    if attribute is not None:
        if f"{module}.{attribute}" in trees:
            return f"{module}.{attribute}"
        if attribute in handed_on.get(module, {}):
            return _defining_module(*handed_on[module][attribute], trees, handed_on)
    return module if module in trees else None
