"""The page for people, in a real browser without a window. Skipped where there is none: apt-get install chromium."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hokusai_core import BaseSignature, Executor, InputField, OutputField
from hokusai_core.testing.lm import null_lm

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH (apt-get install chromium)")
#: Milliseconds that a busy machine is given; every wait ends with the event that it waits for.
PATIENCE = 120_000
expect.set_options(timeout=PATIENCE)
#: A browser that opens no connection of its own.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)


class Look(BaseSignature):
    """Say what is in a picture."""

    picture: dspy.Image = InputField("The picture")
    seen: str = OutputField("What is in it")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(
    browser: Browser, make_served: Callable[..., Executor], running: Callable[..., Any]
) -> Iterator[Callable[..., Page]]:
    """Return a function that starts a server and opens its page; what the browser complains of fails the test."""
    complaints: list[str] = []
    held: list[Any] = []

    def open_(lm: Any = None, *, view: dict[str, Any] | None = None, **options: Any) -> Page:
        executor = make_served(
            plugins=["teleprompt"], lm=lm or null_lm(answers={"answer": "The sky scatters blue light."})
        )
        executor.register_signature("Look", Look)
        server = running(executor, **options)
        address, _ = server.__enter__()
        context = browser.new_context(**(view or {}))
        held.extend((context, server))
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.goto(address)
        return page

    yield open_
    held[0].close()
    held[1].__exit__(None, None, None)
    # The browser reports a status of 400 and above, also where the page handles it.
    assert [one for one in complaints if "Failed to load resource" not in one] == []


@pytest.mark.slow
def test_a_signature_runs_from_its_form_by_keyboard_and_is_rated(open_page: Callable[..., Page]) -> None:
    page = open_page(null_lm(answers={"answer": "The sky scatters blue light."}, pieces=list))
    page.get_by_label("question").fill("Why is the sky blue?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The sky scatters blue light.").first).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="The answer is complete")).to_have_count(1)
    page.get_by_label("4 good").check()
    page.get_by_text("Correct the answer").click()
    page.get_by_role("textbox", name="answer").fill("Because of Rayleigh scattering.")
    page.get_by_role("button", name="Send the rating").click()
    expect(page.get_by_text("Thank you. The rating is stored.")).to_be_visible()


def test_every_type_has_its_control_and_errors_are_at_their_fields(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("link", name="Everything").click()
    expect(page.get_by_role("heading", name="Everything")).to_be_visible()
    page.get_by_label("text", exact=True).fill("Ships")
    page.get_by_label("count").fill("3")
    page.get_by_label("loud").check()
    page.get_by_label("mood").select_option(label="calm")
    page.get_by_label("size").select_option(label="large")
    page.get_by_label("day").fill("2026-05-01")
    page.get_by_label("names, item 1", exact=True).fill("Ada")
    names = page.get_by_role("group", name="names")
    names.get_by_role("button", name="Add an item").click()
    page.keyboard.type("Bob")  # the new item has the focus
    page.get_by_label("street").fill("Main")
    page.get_by_label("number", exact=True).fill("7")
    page.get_by_role("group", name="figures").get_by_role("button", name="Add a pair").click()
    page.get_by_label("figures, name 1").fill("a")
    page.get_by_label("figures, value 1").fill("1")
    page.get_by_label("Kind of either").select_option(label="Whole number")
    page.get_by_role("spinbutton", name="either").fill("12")
    with page.expect_request("**/v1/stream/Everything") as sent:
        page.get_by_role("button", name="Run").click()
    asked: Any = sent.value.post_data_json
    assert asked["inputs"] == {
        "text": "Ships",
        "count": 3,
        "ratio": 0.5,
        "loud": True,
        "mood": "calm",
        "size": "large",
        "day": "2026-05-01",
        "names": ["Ada", "Bob"],
        "address": {"street": "Main", "number": 7},
        "figures": {"a": 1},
        "either": 12,
    }
    expect(page.get_by_role("heading", name="score")).to_be_visible()
    page.get_by_label("text", exact=True).fill("   ")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("text", exact=True)).to_be_focused()
    expect(page.get_by_label("text", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("must not be empty", exact=True)).to_be_visible()


def test_a_picture_is_uploaded_and_a_run_can_be_stopped(open_page: Callable[..., Page]) -> None:
    page = open_page(null_lm(delay=20.0))
    page.get_by_role("link", name="Look").click()
    page.get_by_label("picture").set_input_files({"name": "dot.png", "mimeType": "image/png", "buffer": DOT})
    expect(page.get_by_alt_text("The chosen picture dot.png")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. The call was cancelled.")).to_be_visible()


def test_the_token_is_asked_for(open_page: Callable[..., Page], token: str) -> None:
    page = open_page(token=token)
    dialog = page.get_by_role("dialog", name="Token")
    dialog.get_by_label("Token").fill("wrong-wrong-wrong-wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("The server does not take this token.")).to_be_visible()
    dialog.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ask")).to_be_visible()


def test_the_review_queue_shows_one_execution_after_the_other(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for number in range(2):
        page.get_by_label("question").fill(f"Question {number}?")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("tokens")).to_be_visible()
        page.reload()
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_text("2 executions wait")).to_be_visible()
    page.get_by_label("5 right").check()
    page.get_by_role("button", name="Save, and show the next").click()
    expect(page.get_by_text("1 execution waits")).to_be_visible()
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_text("1 execution waits")).to_be_visible()  # drawn again
    page.get_by_label("1 bad").check()
    page.get_by_role("button", name="Save, and show the next").click()
    expect(page.get_by_text("Nothing waits for a review.").first).to_be_visible()


def test_reports_are_shown_with_their_plots(
    open_page: Callable[..., Page], tmp_path: Path, write_reports: Callable[[Path], None]
) -> None:
    write_reports(tmp_path)
    page = open_page(reports=tmp_path)
    page.get_by_role("link", name="Reports").click()
    for kind in ("evaluation", "optimization"):
        page.get_by_role("row", name=kind).get_by_role("link").click()
        picture = page.get_by_role("img", name="Plot of")
        expect(picture).to_be_visible()
        assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 0
        page.get_by_role("link", name="All reports").click()


@pytest.mark.slow
@pytest.mark.parametrize(
    "view",
    [{"viewport": {"width": 375, "height": 740}}, {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}}],
    ids=["phone", "dark"],
)
def test_it_fits_a_phone_and_the_dark_and_every_control_has_a_name(
    open_page: Callable[..., Page], view: dict[str, Any]
) -> None:
    page = open_page(view=view)
    page.goto(page.url.partition("#")[0] + "#/run/Everything")
    expect(page.get_by_role("heading", name="Everything")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea, button')]"
        ".filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).map(one => one.outerHTML)"
    )
    assert unnamed == []
    paper, ink = page.evaluate(
        "[getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.documentElement).color]"
    )
    assert contrast(paper, ink) >= 7
    page.reload()
    expect(page.get_by_role("heading", name="Everything")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors as WCAG defines it."""

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in color[4:-1].split(", ")]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
