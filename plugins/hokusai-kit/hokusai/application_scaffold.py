"""The files of a new application: a signature, a program that uses it, rows, settings and tests."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Final

__all__ = ["EXAMPLES", "FIRST_STEPS", "example_files"]

_SIGNATURES: Final = '''\
"""The signatures of this application."""

from hokusai import BaseSignature, InputField, OutputField


class RouteTicket(BaseSignature):
    """Decide which team answers the ticket."""

    ticket: str = InputField("What the customer wrote")
    teams: list[str] = InputField("The teams that there are", default=["Billing", "Delivery", "Technical"])
    team: str = OutputField("The team that answers", choices_from="teams")
'''

_APP: Final = '''\
"""Decide for each ticket in a file which team answers it: python app.py tickets.csv"""

import csv
import sys

from hokusai import DSPyPipelineExecutor
from signatures import RouteTicket


def main(path: str) -> None:
    with open(path, encoding="utf-8", newline="") as file:
        tickets = [{"ticket": row["ticket"]} for row in csv.DictReader(file)]
    with DSPyPipelineExecutor() as executor:
        # Rows that are over are kept in the journal: after an interruption, the same command goes on with the rest.
        results = executor.execute_batch(RouteTicket, tickets, journal=f"{path}.journal")
    for ticket, result in zip(tickets, results):
        print(result["team"] if result else f"failed ({result.error})", ticket["ticket"], sep=" | ")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tickets.csv")
'''

_TICKETS: Final = """\
ticket
I was charged twice this month
The parcel has not arrived
The app crashes when I log in
Please send me the invoice again
The box was empty when it came
I cannot reset my password
"""

# Enough for an optimization to hold some out and compare on them.
_LABELLED: Final = """\
ticket,team
My card was charged although I cancelled,Billing
The courier left the parcel with a stranger,Delivery
The page stays white after the update,Technical
Where do I find my receipt?,Billing
The chair came with a broken leg,Delivery
The sound is gone since yesterday,Technical
Why is the amount higher than last month?,Billing
Tracking has not moved for six days,Delivery
The app closes itself when I open a photo,Technical
I need an invoice with our company name on it,Billing
The driver says that he rang but he did not,Delivery
My login code never arrives,Technical
You took the yearly fee twice,Billing
The box was soaked when it was handed over,Delivery
Search shows no results at all,Technical
Can I pay by bank transfer instead of card?,Billing
It was sent to my old address,Delivery
The printer is not found any more,Technical
The discount code was not taken off,Billing
Half of the order is missing from the package,Delivery
The export button does nothing,Technical
My refund is not on my account yet,Billing
When will the sofa be brought?,Delivery
The battery is empty after an hour,Technical
I was billed after the trial had ended,Billing
The van came a day before the date that we agreed on,Delivery
Videos stop after ten seconds,Technical
The VAT on the bill is wrong,Billing
My neighbour got my package by mistake,Delivery
The screen flickers in the evening,Technical
How do I change the card that you charge?,Billing
The lamp arrived in pieces,Delivery
I get error 500 when I save,Technical
There is a payment that I do not know,Billing
The pickup point was closed all day,Delivery
The app does not start on my new phone,Technical
Please split the sum into three payments,Billing
The parcel went back to you without a note,Delivery
Bluetooth loses the connection all the time,Technical
Your reminder says that I owe money but I have paid,Billing
I ordered two chairs and one was in the van,Delivery
The password link leads to an empty page,Technical
The price on the invoice differs from the shop,Billing
The courier threw the box over the fence,Delivery
Notifications come hours late,Technical
I want my deposit back,Billing
The shipment is stuck at customs,Delivery
The update hangs at 80 percent,Technical
Cancel the subscription and pay back the rest,Billing
The delivery window was missed twice,Delivery
The microphone is not recognized,Technical
My bank says that you rejected the direct debit,Billing
The carrier asks for a number that I never got,Delivery
The map does not load without wifi,Technical
I was charged in dollars and not in euros,Billing
The wrong colour was in the package,Delivery
The two devices no longer sync,Technical
Can you send me all invoices of last year?,Billing
Can the package be left at the door?,Delivery
The camera shows a black picture,Technical
"""

_SETTINGS: Final = """\
# Settings of programs and commands in this folder. `hokusai config` shows all of them and where each is from.
# Environment variables such as HOKUSAI_TIMEOUT go before this file.

# The language model. The key is read from the variable of its provider, here OPENAI_API_KEY. Without lm the embedded
# model answers, which is enough to try things out. `hokusai models` lists names.
# lm = "openai/gpt-5-mini"

# Seconds for one execution, and executions at once.
timeout = 120
max_workers = 4

# Where executions are recorded. `hokusai logs` shows them.
# trackers = ["mlflow"]
"""

_TESTS: Final = '''\
"""Tests of the application; no language model is called."""

import sys
from pathlib import Path

import pytest
from hokusai_core import Executor
from hokusai_core.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1]))
from signatures import RouteTicket  # noqa: E402  # the line above lets Python find it


@pytest.fixture
def executor():
    with Executor(mode="testing", plugins=[]) as executor:
        yield executor


def test_the_team_is_one_of_those_that_there_are(executor):
    result = executor.execute_signature(RouteTicket, {"ticket": "Late!", "teams": ["Delivery", "Billing"]})
    assert result["team"] in ("Delivery", "Billing")


def test_a_ticket_is_needed(executor):
    with pytest.raises(InputError, match="is required"):
        executor.execute_signature(RouteTicket, {})
'''

_README: Final = """\
# Tickets

    pip install pytest                        # into the environment that has Hokusai

    python app.py tickets.csv                 # a team for each ticket
    python -m pytest                          # without a language model

The same on the command line:

    hokusai run signatures.py -i ticket="I was charged twice"
    hokusai batch signatures.py tickets.csv -o teams.jsonl
    hokusai evaluate signatures.py labelled.csv
    hokusai optimize signatures.py labelled.csv -o better.json

`signatures.py` says what goes in and comes out. `hokusai.toml` has the settings, such as the language model.
"""

#: Path -> text.
_TICKET_FILES: Final = {
    "signatures.py": _SIGNATURES,
    "app.py": _APP,
    "tickets.csv": _TICKETS,
    "labelled.csv": _LABELLED,
    "hokusai.toml": _SETTINGS,
    "tests/test_app.py": _TESTS,
    "README.md": _README,
    ".gitignore": "*.journal\n__pycache__/\n.venv/\n",
}
#: Files of an optimization, which are in ``templates/letters``.
_LETTER_FILES: Final = ("letters.py", "letters.csv", "held-out.csv")

#: Name of an example -> the commands to begin with.
FIRST_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "tickets": ("python app.py", "hokusai show signatures.py", "python -m pytest"),
    "letters": (
        "hokusai import letters.py",
        "hokusai evaluate SortLetter held-out.csv --metric accuracy",
        "hokusai optimize SortLetter letters.csv --testset held-out.csv \\\n"
        "      --metric accuracy --optimizer knn_fewshot --set k=8 --calls 150 -o better.json",
        "hokusai promote better.json",
    ),
}
#: What a new application may start from.
EXAMPLES: Final = tuple(FIRST_STEPS)


def example_files(example: str) -> dict[str, str]:
    """Return path -> text of the files of an example.

    Args:
        example: one of ``EXAMPLES``.
    """
    if example == "tickets":
        return dict(_TICKET_FILES)
    folder = resources.files("hokusai").joinpath("templates", example)
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _LETTER_FILES}
