"""Build the documentation site from docs/ into build/site. Needs no network.

python tools/build_site.py            # prepare the pages and build the site; fails at a warning
python tools/build_site.py --pages    # prepare the pages only
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["normalized", "page_text", "prepare_pages"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
#: Files beside docs/ that are pages of the site, and what they are called there.
ALSO: dict[str, str | None] = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": None,
    **{
        path.relative_to(ROOT).as_posix(): f"distributions/{path.parent.name}.md"
        for group in ("plugins", "contrib")
        for path in sorted(ROOT.glob(f"{group}/*/README.md"))
    },
}
_SOURCES = {name: source for source, name in ALSO.items() if name}
#: A label may go on in the next line.
_LINK = re.compile(r"\[((?:[^\]\n]|\n(?!\n))*)\]\(([^)\s]+)\)")


def prepare_pages() -> list[Path]:
    """Write the pages of the site, and return them."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    for source, name in ALSO.items():
        if name is not None:
            (PAGES / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, PAGES / name)
    found = sorted(PAGES.rglob("*.md"))
    for path in found:
        page = path.relative_to(PAGES)
        path.write_text(page_text(path.read_text(encoding="utf-8"), page), encoding="utf-8")
    return found


def page_text(text: str, page: Path) -> str:
    """Return the text of a page with links that work on the site.

    A link to a file that is not a page, such as a program of this repository, becomes its name.

    Args:
        text: the page.
        page: its path on the site.
    """
    source = _SOURCES.get(page.as_posix())
    base = Path(source).parent if source else Path("docs") / page.parent

    def linked(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        file, mark, anchor = target.partition("#")
        if not file or "://" in file or file.startswith("mailto:"):
            return match[0]
        place = normalized(base / file)
        if place.parts[:1] == ("docs",):
            inside = Path(*place.parts[1:])
            return f"[{label}]({_relative(inside, page)}{mark}{anchor})"
        name = ALSO.get(place.as_posix())
        return f"[{label}]({_relative(Path(name), page)}{mark}{anchor})" if name else f"{label} (`{place.as_posix()}`)"

    return _LINK.sub(linked, text)


def normalized(path: Path) -> Path:
    """Return a path without steps back."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return Path(*parts)


def _relative(target: Path, page: Path) -> str:
    return "/".join([*[".."] * len(page.parent.parts), *target.parts])


def main(arguments: list[str]) -> int:
    """Prepare the pages and build the site; return the exit code."""
    prepare_pages()
    if "--pages" in arguments:
        return 0
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
