"""Write the public contract from the code, into contract/: what a change of it shows in a review.

python tools/write_contract.py            # write the files
python tools/write_contract.py --check    # show how the code differs from the files; fail if it does
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from tools.contract_formats import formats  # noqa: E402  # needs the line above
from tools.public_modules import PUBLIC_MODULES  # noqa: E402  # as above

__all__ = ["contract_files", "difference"]

FOLDER = ROOT / "contract"
_NOTE = "# Written by tools/write_contract.py from the code: `make reference`. docs/stability.md says what may change."


def contract_files() -> dict[str, str]:
    """Return file name -> text, as the code has it."""
    parts = {"names.txt": _names(), "hooks.txt": _hooks(), "formats.txt": formats()}
    return {name: "\n".join([_NOTE, "", *lines]).rstrip() + "\n" for name, lines in parts.items()}


def difference() -> str:
    """Return how the code differs from the files, as a unified diff; empty where it does not."""
    lines: list[str] = []
    for name, text in contract_files().items():
        path = FOLDER / name
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            known.splitlines(), text.splitlines(), f"contract/{name}", f"contract/{name} of the code", lineterm="", n=1
        )
    return "\n".join(lines)


def _modules() -> list[str]:
    """Return the public modules: those of the core, and the package of each other distribution."""
    packages = {
        path.parent.name for group in ("plugins", "contrib") for path in ROOT.glob(f"{group}/*/hokusai*/__init__.py")
    }
    return [*PUBLIC_MODULES, *sorted(packages)]


def _names() -> Iterator[str]:
    described: dict[int, str] = {}
    for name in _modules():
        module = importlib.import_module(name)
        yield f"[{name}]"
        for public in sorted(getattr(module, "__all__", ())):
            if public == "__version__":
                continue
            value = getattr(module, public)
            if inspect.ismodule(value):
                continue
            known = described.get(id(value)) if inspect.isclass(value) or inspect.isroutine(value) else None
            if known is not None:
                yield f"{public}: see {known}"
                continue
            described[id(value)] = f"{name}.{public}"
            yield from _entry(public, value)
        yield ""


def _entry(name: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        plain = isinstance(value, bool | int | float | str)
        yield (
            f"{name}{_signature(value)}"
            if inspect.isroutine(value)
            else f"{name}: {type(value).__name__}" + (f" = {value!r}" if plain else "")
        )
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}{_signature(value)}" + (f" is {', '.join(bases)}" if bases else "")
    for attribute, member in sorted(vars(value).items()):
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if attribute.startswith("_"):
            continue
        if inspect.isfunction(function):
            yield f"  {name}.{attribute}{_signature(function)}"
        elif isinstance(function, property):
            yield f"  {name}.{attribute}{_returned(function.fget)}"
    for attribute, annotation in sorted(vars(value).get("__annotations__", {}).items()):
        if getattr(value, "_is_protocol", False):
            yield f"  {name}.{attribute}: {_annotation(annotation)}"


def _signature(value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, BaseException):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [parameter for name, parameter in signature.parameters.items() if name not in ("self", "cls")]
    shown, keywords = [], False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            keywords = True
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            shown.append("*")
            keywords = True
        stars = "*" * {parameter.VAR_POSITIONAL.value: 1, parameter.VAR_KEYWORD.value: 2}.get(parameter.kind.value, 0)
        annotation = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        shown.append(f"{stars}{parameter.name}{annotation}{default}")
    kind = "async " if inspect.iscoroutinefunction(value) else ""
    return f"({', '.join(shown)}){'' if inspect.isclass(value) else _returned(value, kind)}"


def _returned(function: Any, kind: str = "") -> str:
    annotation = getattr(function, "__annotations__", {}).get("return", inspect.Signature.empty)
    return "" if annotation is inspect.Signature.empty else f" -> {kind}{_annotation(annotation)}"


def _default(value: Any) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return "..." if text == "NOTHING" or "object>" in text or text.startswith("<function") else text


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:typing|collections\.abc|hokusai_core(?:\.\w+)*)\.", "", text)


def _hooks() -> Iterator[str]:
    from hokusai_core.plugin_api import COMPONENT_HOOKS, HOOK_API, HokusaiSpecs
    from hokusai_core.protocols import COMPONENT_PROTOCOLS

    yield f"HOOK_API = {HOOK_API}"
    yield ""
    for name, member in vars(HokusaiSpecs).items():
        if hasattr(member, "hokusai_spec"):
            yield f"{name}{_signature(member)}"
    yield ""
    for kind, hook in COMPONENT_HOOKS.items():
        protocol = COMPONENT_PROTOCOLS.get(kind)
        yield f"{kind}: {hook}, {'no protocol' if protocol is None else protocol.__name__}"


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if parser.parse_args().check:
        found = difference()
        print(found)
        return 1 if found else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in contract_files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    sys.exit(main())
