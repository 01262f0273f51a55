"""Take the pictures of the page of `hokusai serve` for docs/images, with the Chromium that is on the PATH.

    python tools/picture_serve_page.py REPORTS

REPORTS is a folder with reports, such as `hokusai evaluate ClassifyText --lm local -o REPORTS/classify.json` writes.
The answers come from a scripted language model.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from hokusai_core import Executor
from hokusai_core.testing.lm import null_lm
from hokusai_serve import ServeLimits, create_app
from hokusai_serve.http_server import listen, make_server
from hokusai_teleprompt import SqliteFeedbackStore

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
EMAIL = """Dear crew,

the Wave sails on Monday at nine. Please be on the pier half an hour before.

- Bring your papers and a warm coat.
- Breakfast is on board.

If you cannot come, write to me until Saturday.

Kind regards
Ada"""
ANSWERS = {
    "email_body": EMAIL,
    "answer": "The pier opens at eight.",
    "confidence": 0.9,
    "extracted_info": '{"date": "2026-05-04", "place": "North pier", "people": ["Ada", "Bob"]}',
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]


def run_email(page: Page) -> None:
    """Run EmailDraft with its example."""
    page.get_by_role("link", name="EmailDraft").click()
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Send the rating").wait_for()
    page.get_by_label("4 good").check()
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")


def take(page: Page, name: str) -> None:
    """Write a picture with few colors, so that it stays small."""
    from PIL import Image

    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    """Take every picture."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        sys.exit("no Chromium on the PATH")
    reports, folder, ready = Path(sys.argv[1]), tempfile.mkdtemp(), threading.Event()
    told: list[str] = []

    def tell(address: str) -> None:
        told.append(address)
        ready.set()

    store = SqliteFeedbackStore(Path(folder) / "feedback")
    options: dict[str, Any] = {
        "environ": {},
        "lm": null_lm(answers=ANSWERS),
        "feedback_store": store,
        "promotions": False,
    }
    with Executor(**options) as executor, sync_playwright() as playwright:
        limits = ServeLimits()
        server = make_server(
            create_app(executor, limits=limits, reports=reports),
            limits,
            tell,
        )
        threading.Thread(target=server.run, kwargs={"sockets": [listen("127.0.0.1", 0)]}, daemon=True).start()
        ready.wait(60)
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        wide = browser.new_page(viewport={"width": 1280, "height": 860})
        wide.goto(told[0])
        run_email(wide)
        take(wide, "serve-run")
        wide.goto(f"{told[0]}/#/reports")
        wide.get_by_role("row").nth(1).get_by_role("link").click()
        wide.get_by_role("img", name="Plot of").wait_for()
        take(wide, "serve-report")
        phone = browser.new_page(viewport={"width": 390, "height": 844})
        phone.goto(f"{told[0]}/#/review")
        phone.get_by_role("button", name="Skip").wait_for()
        take(phone, "serve-review-phone")
        dark = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="dark")
        dark.goto(f"{told[0]}/#/run/ExtractInfo")
        dark.get_by_role("button", name="Fill in the example").click()
        dark.get_by_role("button", name="Run").click()
        dark.get_by_role("button", name="Send the rating").wait_for()
        dark.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        take(dark, "serve-types-dark")
        browser.close()
        server.should_exit = True


if __name__ == "__main__":
    main()
