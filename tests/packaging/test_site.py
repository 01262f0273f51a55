"""The documentation site: every page is in its menu, and every link of a page leads to one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from dev import ROOT
from tools import build_site


def pages_in(menu: Any) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    parts = menu.values() if isinstance(menu, dict) else menu
    return [page for part in parts for page in pages_in(part)]


def test_every_page_is_in_the_menu() -> None:
    menu = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages_in(menu)) == sorted(written | {name for name in build_site.ALSO.values() if name})


def test_every_link_leads_to_a_page_or_file_of_the_site() -> None:
    sources = {Path(path.relative_to(ROOT / "docs")): path for path in (ROOT / "docs").rglob("*.md")}
    sources |= {Path(name): ROOT / source for source, name in build_site.ALSO.items() if name}
    files = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*") if path.is_file()}
    files |= {page.as_posix() for page in sources}
    for page, path in sources.items():
        text = build_site.page_text(path.read_text(encoding="utf-8"), page)
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not target.startswith("mailto:"):
                place = build_site.normalized(page.parent / target).as_posix()
                assert place in files, f"{page}: {target}"
