"""Take the pictures of MLflow for docs/images, with the Chromium that is on the PATH.

    python tools/picture_mlflow.py

One program is run twice with a scripted language model: tracked by Hokusai, and traced by `mlflow.dspy.autolog`. The
user interface is started as `hokusai tracking ui` starts it.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import mlflow
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, TimeoutError, sync_playwright

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.lm import null_lm
from hokusai_mlflow import MlflowTracker
from hokusai_mlflow.ui_command import ui_command

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tools.picture_serve_page import FLAGS  # needs the line above

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
OURS, THEIRS = "Hokusai", "mlflow.dspy.autolog"
MAILS = [
    "The lamp arrived broken. I want my money back.",
    "Where is my parcel? It was to come on Monday.",
    "Thank you for the quick help last week!",
]
#: Seconds until the user interface answers.
PATIENCE = 600
_WIDTH, _HEIGHT = 1280, 800


class SortMail(BaseSignature):
    """Say what a mail wants, and why you think so."""

    mail: str = InputField(description="the text of the mail")
    kind: Literal["complaint", "question", "praise"] = OutputField(description="what it wants")
    reason: str = OutputField(description="the words that say so")


def kind_of(message: str) -> str:
    """Return what the scripted language model answers."""
    return "complaint" if "broken" in message else "question" if "Where" in message else "praise"


def reason_of(message: str) -> str:
    """Return the first sentence of the mail."""
    mail = message.split("## mail ## ]]")[-1].strip()
    return next(sentence for sentence in MAILS if mail.startswith(sentence)).partition(".")[0].partition("?")[0]


def program(trackers: dict[str, Any]) -> None:
    """Sort a mail while the provider has trouble, three as a batch, and one with other instructions."""
    lm = null_lm(answers={"kind": kind_of, "reason": reason_of}, model="openai/gpt-5-mini", fail_first=1, delay=0.3)
    with Executor(lm=lm, plugins=[], trackers=trackers) as executor:
        executor.register_signature("SortMail", SortMail)
        executor.execute_signature("SortMail", {"mail": MAILS[0]}, retry_on_failure=True, tags={"user": "ada"})
        executor.execute_batch("SortMail", [{"mail": mail} for mail in MAILS])
        warm = SortMail.spec.evolve(instructions="Say what a mail wants. Quote the words that say so.")
        executor.register_signature("SortMail", BaseSignature.from_spec(warm), replace=True)
        executor.execute_signature("SortMail", {"mail": MAILS[1]})


def record(uri: str) -> dict[str, str]:
    """Run the program both ways; return name -> id of the experiments."""
    mlflow.set_tracking_uri(uri)
    tracker = MlflowTracker(tracking_uri=uri, experiment=OURS, run="day", writer="process", exit_timeout=PATIENCE)
    program({"mlflow": tracker})
    ids = {THEIRS: mlflow.set_experiment(THEIRS).experiment_id}
    mlflow.dspy.autolog()
    program({})
    mlflow.flush_trace_async_logging()
    mlflow.dspy.autolog(disable=True)
    return ids | {OURS: mlflow.get_experiment_by_name(OURS).experiment_id}


@contextmanager
def user_interface(uri: str) -> Iterator[str]:
    """Start MLflow's user interface on a free port; yields its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = ui_command(uri, f"{sys.prefix}/bin/mlflow")
    process = subprocess.Popen(  # noqa: S602  # the line that people type
        f"{command} --port {port}",
        shell=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
    )
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310  # our own
                break
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


class Gallery:
    """Takes pictures of one user interface.

    Args:
        page: a page of the browser.
        address: of the user interface.
    """

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address
        page.set_default_timeout(PATIENCE * 1000)
        self._tidied = False

    def show(self, path: str, text: str) -> None:
        """Open a page and wait until it shows ``text``."""
        page = self._page
        page.goto("about:blank")  # else only the part behind the # changes, and the page keeps what it shows
        page.goto(f"{self._address}/#/{path}")
        page.get_by_text(text).first.wait_for()
        if not self._tidied:
            self._tidy()
        page.mouse.move(5, 5)
        page.wait_for_timeout(1500)  # animations

    def _tidy(self) -> None:
        """Close the hint, the assistant and the side bar, whose buttons have no names."""
        page, self._tidied = self._page, True
        with suppress(TimeoutError):
            page.get_by_text("Got it", exact=True).click(timeout=120_000)
        page.mouse.click(_WIDTH - 36, 35)
        page.wait_for_timeout(1500)
        page.mouse.click(173, 24)

    def picture(self, height: int | None = None) -> Image.Image:
        """Return what the page shows, its first ``height`` lines."""
        with Image.open(io.BytesIO(self._page.screenshot())) as shot:
            whole = shot.convert("RGB")
        return whole if height is None else whole.crop((0, 0, whole.width, height))


def beside(left: list[Image.Image], right: list[Image.Image]) -> Image.Image:
    """Return two columns of pictures, each below its title."""
    gap, head = 24, 56
    column = max(image.width for image in (*left, *right))
    tall = max(sum(image.height + gap for image in images) for images in (left, right))
    whole = Image.new("RGB", (2 * column + 3 * gap, head + tall), "#f6f7f9")
    font = ImageFont.load_default(28)
    for images, title, x in ((left, OURS, gap), (right, THEIRS, column + 2 * gap)):
        ImageDraw.Draw(whole).text((x, 12), title, "#1f2937", font)
        y = head
        for image in images:
            whole.paste(image, (x, y))
            y += image.height + gap
    return whole


def save(image: Image.Image, name: str) -> None:
    """Write a picture with few colors, so that it stays small."""
    image.quantize(128).save(IMAGES / f"{name}.png", optimize=True)


def take_all(page: Page, address: str, ids: dict[str, str]) -> None:
    """Take every picture."""
    client, gallery = mlflow.MlflowClient(), Gallery(page, address)
    columns = {}
    for name in (OURS, THEIRS):
        where = f"experiments/{ids[name]}"
        first = min(client.search_traces(locations=[ids[name]]), key=lambda trace: trace.info.request_time).info
        gallery.show(f"{where}/traces", MAILS[2])
        listed = gallery.picture(470)
        gallery.show(f"{where}/traces?selectedEvaluationId={first.trace_id}", "Inputs / Outputs")
        page.get_by_text("Inputs / Outputs").first.click()  # of a failed one it is not the first that is shown
        page.wait_for_timeout(1500)
        columns[name] = [listed, gallery.picture(620)]
        if name == OURS:
            save(listed, "mlflow-traces")
            save(gallery.picture(560), "mlflow-trace")
            gallery.show(f"{where}/prompts/local.SortMail", "Version 2")
            save(gallery.picture(), "mlflow-prompt")
    save(beside(columns[OURS], columns[THEIRS]), "mlflow-beside-autolog")


def main() -> None:
    """Run the program both ways and take the pictures."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        sys.exit("no Chromium on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOKUSAI_DATA_DIR"] = folder
        uri = f"sqlite:///{folder}/mlflow.db"
        ids = record(uri)
        with user_interface(uri) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
            take_all(browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}), address, ids)
            browser.close()


if __name__ == "__main__":
    main()
