"""Look at the built site in the Chromium that is on the PATH: report what is wrong, take pictures for docs/images.

    python tools/build_site.py && python tools/picture_site.py [FOLDER [PAGE...]]

With FOLDER every page, or those that are named, is pictured there, at two widths, light and dark.
"""

from __future__ import annotations

import functools
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "site"
IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
WIDTHS = (1280, 375)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def take(page: Page, path: Path) -> None:
    """Write a picture with few colors, so that it stays small."""
    from PIL import Image

    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(64).save(path, optimize=True)


def problems(browser: Browser, address: str, names: list[str], folder: Path | None) -> list[str]:
    """Return what is wrong with the pages: errors of scripts, files that are missing, pages wider than the screen."""
    found: list[str] = []
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": 860}, color_scheme=scheme)
            page.on("pageerror", lambda error: found.append(f"error: {error}"))
            page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
            page.on(
                "response", lambda reply: found.append(f"{reply.status}: {reply.url}") if reply.status >= 400 else None
            )
            page.set_default_timeout(0)  # a loaded machine takes its time
            for name in names:
                page.goto(f"{address}/{name}")
                wide = page.evaluate("document.documentElement.scrollWidth") - width
                if wide > 0:
                    found.append(f"{name} at {width}: {wide} pixels too wide")
                if folder is not None:
                    take(page, folder / f"{name.strip('/').replace('/', '-') or 'index'}-{width}-{scheme}.png")
            page.close()
    return found


def pictures(browser: Browser, address: str) -> None:
    """Take the pictures of the documentation."""
    wide = browser.new_page(viewport={"width": 1280, "height": 800})
    wide.set_default_timeout(0)
    wide.goto(f"{address}/getting-started/")
    take(wide, IMAGES / "site-page.png")
    phone = browser.new_page(viewport={"width": 375, "height": 740}, color_scheme="dark")
    phone.set_default_timeout(0)
    phone.goto(f"{address}/getting-started/")
    take(phone, IMAGES / "site-phone-dark.png")


def main() -> int:
    """Look at every page; return 1 where something is wrong."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        sys.exit("no Chromium on the PATH")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    built = sorted(f"{path.parent.relative_to(SITE)}/".removeprefix("./") for path in SITE.rglob("index.html"))
    names = [f"{name}/" for name in sys.argv[2:]] or built
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        found = problems(browser, address, names, folder)
        pictures(browser, address)
        browser.close()
    server.shutdown()
    print("\n".join(dict.fromkeys(found)) or f"{len(names)} pages, nothing is wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
