"""Do the examples of a signature, shown as demos, make the answers of the embedded language model better?

Three signatures have answers that can be checked without a reader: ``ExtractInfo`` (does the line of each kind hold the
fact?), ``ResolveQuery`` (does the answer hold the fact?), ``ClassifyText`` (is it the right label?). Each case is asked
with and without demos, at temperature 0; the interval of the difference is over facts.

    python benchmarks/embedded_demos.py [SIGNATURE ...]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from hokusai_core import BaseSignature, Executor
from hokusai_core.errors import ExecutionError
from hokusai_evaluate.statistics import compare_paired
from hokusai_local import LocalProvider

TEXTS = Path(__file__).resolve().parent.parent / "examples" / "texts"

#: File -> kind of information -> what the answer must hold.
FACTS: Mapping[str, Mapping[str, str]] = {
    "report-quarter": {"Revenue": "3.84", "Gross margin": "58", "New finance director": "Tannen"},
    "email-late-delivery": {"Order number": "40-7719", "Amount paid": "429", "Sender": "Whitfield"},
    "minutes-product-meeting": {"New release date": "June 11", "Room of the next meeting": "3", "Absent": "Dana"},
    "notice-water": {"Date": "March 12", "Street": "Alder Lane", "Phone number": "555-0142"},
    "email-price-increase": {
        "Sender": "Brenner",
        "Last day for current prices": "December 12",
        "Meeting": "November 20",
    },
    "email-job-application": {"Applicant": "Wrona", "Position": "shift lead", "Start": "March 1"},
    "report-outage": {"Date": "February 9", "Failed requests": "1,900", "Cause": "certificate"},
    "news-street-closure": {"Street": "Mill Street", "Vote": "7 to 2", "Money": "45,000"},
    "review-hotel": {"Hotel": "Seaview", "Room number": "214", "Price for a night": "210"},
}
#: File -> question -> what the answer must hold.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "report-quarter": ("Who follows Laura Pell as finance director?", "Tannen"),
    "email-late-delivery": ("What is the number of the order?", "40-7719"),
    "minutes-product-meeting": ("When is the next meeting?", "May 28"),
    "notice-water": ("In which street is the valve replaced?", "Alder"),
    "email-price-increase": ("How much more will boxes of size L cost?", "9"),
    "email-job-application": ("When could he start?", "March 1"),
    "report-outage": ("What was the cause?", "certificate"),
    "news-street-closure": ("How much money has the council set aside?", "45,000"),
    "review-hotel": ("What did a night cost?", "210"),
}
LABELS: Mapping[str, str] = {
    "report-quarter": "Business report", "report-outage": "Incident report", "email-late-delivery": "Complaint",
    "email-job-application": "Job application", "news-street-closure": "Local news", "review-hotel": "Complaint",
    "notice-water": "Announcement", "email-price-increase": "Announcement", "policy-returns": "Business report",
}  # fmt: skip

#: Returns 1 for each fact that an answer holds, else 0.
Score = Callable[[Mapping[str, Any]], list[float]]


def text_of(name: str) -> str:
    """Return a text of the examples."""
    return (TEXTS / f"{name}.txt").read_text(encoding="utf-8").strip()


def facts_found(expected: Mapping[str, str]) -> Score:
    """Return what counts the kinds whose line holds the fact."""

    def score(outputs: Mapping[str, Any]) -> list[float]:
        lines = str(outputs.get("extracted_info", "")).splitlines()
        return [
            float(any(line.lower().lstrip("-* ").startswith(kind.lower()) and fact in line for line in lines))
            for kind, fact in expected.items()
        ]

    return score


def holds(field: str, fact: str) -> Score:
    """Return what looks for a fact in an output."""
    return lambda outputs: [float(re.search(rf"\b{re.escape(fact)}\b", str(outputs.get(field, ""))) is not None)]


def cases_of(name: str) -> list[tuple[dict[str, Any], Score]]:
    """Return inputs and score of each case of a signature."""
    if name == "ExtractInfo":
        return [
            ({"document": text_of(file), "info_types": list(kinds)}, facts_found(kinds))
            for file, kinds in FACTS.items()
        ]
    if name == "ResolveQuery":
        found = QUESTIONS.items()
        return [({"query": query, "context": text_of(file)}, holds("answer", fact)) for file, (query, fact) in found]
    categories = sorted(set(LABELS.values()))
    return [
        ({"text": text_of(file), "categories": categories}, holds("classification", label))
        for file, label in list(LABELS.items())[:8]
    ]


def main() -> int:
    """Print a table."""
    names = sys.argv[1:] or ["ExtractInfo", "ResolveQuery", "ClassifyText"]
    provider = LocalProvider()
    model = evolve(provider.load(""), demos=None)
    print("| Signature | Facts | Found without demos | Found with its examples as demos | Difference, 95% interval |")
    print("| --- | --- | --- | --- | --- |")
    with Executor(plugins=["signatures"], lm=model, cache_enabled=False) as executor:
        for name in names:
            spec = executor.signature(name).spec
            demos = [{**spec.binder.bind(one["inputs"]), **one["outputs"]} for one in spec.examples]
            executor.register_signature(
                "Shown", BaseSignature.from_spec(spec.evolve(name="Shown", demos=demos)), replace=True
            )
            before: list[float] = []
            after: list[float] = []
            for inputs, score in cases_of(name):
                for signature, found in ((name, before), ("Shown", after)):
                    try:
                        outputs = dict(executor.execute_signature(signature, inputs, timeout=None))
                    except ExecutionError:
                        outputs = {}
                    found += score(outputs)
                print(f"{name}: {sum(before):.0f} and {sum(after):.0f} of {len(after)}", file=sys.stderr, flush=True)
            paired = compare_paired(before, after, confidence=0.95, seed=0)
            print(
                f"| {name} | {len(before)} | {sum(before):.0f} | {sum(after):.0f} | "
                f"{paired.difference:+.2f} [{paired.low:+.2f}, {paired.high:+.2f}] |",
                flush=True,
            )
    provider.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
