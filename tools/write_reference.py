"""Write the reference of every public name from the docstrings, into docs/reference/.

python tools/write_reference.py            # write the pages
python tools/write_reference.py --check    # fail where a page is not what the docstrings say
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "differences", "pages"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"

#: Page -> its modules, in the order in which a name that stands in several of them is described.
PAGES: dict[str, tuple[str, ...]] = {
    "executor": ("hokusai_core", "hokusai.executor"),
    "errors": ("hokusai_core.errors",),
    "types": ("hokusai_core.types",),
    "plugin-api": ("hokusai_core.plugin_api",),
    "testing": ("hokusai_core.testing",),
}

_NOTE = "<!-- Written by tools/write_reference.py from the docstrings. Change those, then run `make reference`. -->"
_SECTIONS = {"Args", "Arguments", "Attributes", "Returns", "Raises", "Yields", "Example", "Examples", "Errors", "When",
             "Threads", "Order", "Since", "Note"}  # fmt: skip


def pages() -> dict[Path, str]:
    """Return the text of every page of the reference, by its path."""
    described: dict[int, tuple[str, str]] = {}
    written = {}
    for page, modules in PAGES.items():
        parts = [_NOTE, ""]
        for name in modules:
            for module in _with_names(name):
                parts += _module(page, module, described)
        written[FOLDER / f"{page}.md"] = "\n".join(parts).rstrip() + "\n"
    written[FOLDER / "README.md"] = _index(written)
    return written


def differences() -> list[str]:
    """Return the paths of pages that are not what the docstrings say."""
    expected = pages()
    present = set(FOLDER.glob("*.md"))
    stale = [path for path, text in expected.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return [str(path.relative_to(ROOT)) for path in sorted({*stale, *(present - set(expected))})]


def _index(written: dict[Path, str]) -> str:
    lines = [_NOTE, "", "# Reference", "", "Every public name, described by its docstring.", ""]
    for path, text in written.items():
        lines += [f"## [{path.stem}]({path.name})", ""]
        entries = re.findall(r"^### (\w+)\n\n(?!Described )", text, re.MULTILINE)
        lines += [", ".join(f"[`{name}`]({path.name}#{name.lower()})" for name in entries), ""]
    return "\n".join(lines).rstrip() + "\n"


def _with_names(name: str) -> list[str]:
    """Return a module, or the modules of a package that exports no names itself."""
    module = importlib.import_module(name)
    if hasattr(module, "__all__"):
        return [name]
    inside = [f"{name}.{part.name}" for part in pkgutil.iter_modules(module.__path__)]
    return [part for part in inside if hasattr(importlib.import_module(part), "__all__")]


def _module(page: str, name: str, described: dict[int, tuple[str, str]]) -> Iterator[str]:
    module = importlib.import_module(name)
    yield f"# {name}"
    yield ""
    yield markdown(inspect.getdoc(module) or "")
    yield ""
    for public in sorted(module.__all__, key=str.lower):
        if public == "__version__":
            continue
        value = getattr(module, public)
        if inspect.ismodule(value):
            continue
        yield f"### {public}"
        yield ""
        known = described.get(id(value)) if _has_page(value) else None
        if known is not None:
            yield f"Described [on the page {known[0]}]({known[0]}.md#{known[1].lower()})."
        else:
            described[id(value)] = (page, public)
            yield from _entry(public, value)
        yield ""


def _has_page(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def _entry(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(name, value)
    elif inspect.isroutine(value):
        yield from _callable(name, value)
    else:
        yield f"`{name}`: a value of type `{type(value).__name__}`."


def _class(name: str, cls: type) -> Iterator[str]:
    yield from _callable(name, cls)
    for attribute, member in sorted(vars(cls).items()):
        if attribute.startswith("_"):
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(function, property):
            text = inspect.getdoc(function)
            if text:
                yield ""
                yield f"#### `{name}.{attribute}`"
                yield ""
                yield markdown(text)
        elif inspect.isfunction(function) and inspect.getdoc(function):
            yield ""
            yield from _callable(f"{name}.{attribute}", function, heading="####")


def _callable(name: str, value: Any, heading: str = "") -> Iterator[str]:
    if heading:
        yield f"{heading} `{name}`"
        yield ""
    shown = _signature(name, value)
    if shown:
        yield "```text"
        yield shown
        yield "```"
        yield ""
    yield markdown(inspect.getdoc(value) or "")


def _signature(name: str, value: Any) -> str:
    """Return a call as it is declared, one argument per line where it is long."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "cls")]
    inside = [_parameter(parameter) for parameter in parameters]
    keyword_only = [number for number, parameter in enumerate(parameters) if parameter.kind is parameter.KEYWORD_ONLY]
    if keyword_only and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        inside.insert(keyword_only[0], "*")
    returned = _annotation(signature.return_annotation)
    end = f") -> {returned}" if returned and not inspect.isclass(value) else ")"
    line = f"{name}({', '.join(inside)}{end}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in inside) + end


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" * {parameter.VAR_POSITIONAL.value: 1, parameter.VAR_KEYWORD.value: 2}.get(parameter.kind.value, 0)
    annotation = _annotation(parameter.annotation)
    text = f"{stars}{parameter.name}" + (f": {annotation}" if annotation else "")
    if parameter.default is parameter.empty:
        return text
    default = repr(parameter.default)
    if " at 0x" in default or default == "NOTHING":  # a function, or made for each object
        default = "..."
    return f"{text} = {default}" if annotation else f"{text}={default}"


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def markdown(text: str) -> str:
    """Return a docstring as Markdown: sections as lists, examples and literal blocks as code."""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    lines = text.splitlines()
    written: list[str] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        title = re.fullmatch(r"(\w+)::?", line.strip()) if not line.startswith(" ") else None
        if title and title[1] in _SECTIONS:
            block, position = _indented(lines, position + 1)
            written += _section(title[1], block)
        elif line.rstrip().endswith("::"):
            block, position = _indented(lines, position + 1)
            written += [line.rstrip()[:-1], "", *_code(block), ""]
        elif line.startswith("    ") and (not written or not written[-1].strip()):
            block, position = _indented(lines, position)
            written += [*_code(block), ""]
        else:
            written.append(line)
            position += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(written)).strip()


def _indented(lines: list[str], start: int) -> tuple[list[str], int]:
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
        end += 1
    return textwrap.dedent("\n".join(lines[start:end])).strip("\n").splitlines(), end


def _code(block: list[str]) -> list[str]:
    language = "pycon" if block and block[0].startswith(">>>") else "text"
    return [f"```{language}", *block, "```"]


def _section(title: str, block: list[str]) -> list[str]:
    if title.startswith("Example"):
        return ["", f"**{title}**", "", *_code(block), ""]
    if title not in ("Args", "Arguments", "Attributes", "Raises", "Errors"):
        return ["", f"**{title}**: " + " ".join(line.strip() for line in block), ""]
    items: list[str] = []
    for line in block:
        match = re.match(r"([*\w.`, ]+?)(?: \(([^)]*)\))?: (.*)", line)
        if match and not line.startswith(" "):
            items.append(f"- `{match[1].strip('`')}`: {match[3]}")
        elif items:
            items[-1] += " " + line.strip()
        else:
            items.append(f"- {line.strip()}")
    return ["", f"**{title}**", "", *items, ""]


def main() -> int:
    """Write the pages, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if parser.parse_args().check:
        stale = differences()
        for path in stale:
            print(f"{path}: differs from the docstrings; run `make reference`", file=sys.stderr)
        return 1 if stale else 0
    written = pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale_page in set(FOLDER.glob("*.md")) - set(written):
        stale_page.unlink()
    for page, text in written.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
