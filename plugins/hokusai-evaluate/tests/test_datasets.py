"""Data sets: check, split, import."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hokusai_core import Executor
from hokusai_core.cli_support.signature_argument import signature_called
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import SignatureSpec
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import check_data, split_data
from hokusai_evaluate.commands.data_command import data


def run(*arguments: Any) -> Any:
    result = CliRunner().invoke(data, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def spec() -> SignatureSpec:
    with Executor(mode="testing", plugins=[]) as executor:
        executor.register_signature("Route", "ticket -> team: Literal['billing', 'product']")
        return executor.signature("Route").spec


def row(ticket: str, team: str = "billing", **more: Any) -> dict[str, Any]:
    return {"ticket": ticket, "team": team, **more}


def test_a_clean_file_has_no_findings(spec: SignatureSpec, tickets: Path) -> None:
    found = check_data(spec, [tickets])
    assert (found.ok, found.findings) == (True, ())
    assert (found.files[0].rows, dict(found.files[0].labels["team"])) == (40, {"billing": 20, "product": 20})


def test_every_kind_of_finding(spec: SignatureSpec, tmp_path: Path) -> None:
    train = write(
        tmp_path / "train.jsonl",
        *(row(f"refund {number}") for number in range(30)),
        row("Refund  1"),  # 31
        row("refund 2", "product"),  # 32
        row("refund 99", "sales"),  # 33
        row("x" * 200),  # 34
    )
    test = write(tmp_path / "test.jsonl", row("REFUND 3"), row("crash 1", "product"))
    found = check_data(spec, [train, test], most_characters=100)
    texts = {(finding.severity, finding.kind): f"{finding.file}: {finding.message}" for finding in found.findings}
    assert not found.ok
    assert "row 33" not in texts["error", "misfit"]  # a line of JSON is called so
    assert texts["error", "misfit"].startswith("train.jsonl: line 33: team")
    assert texts["error", "conflict"].startswith("train.jsonl: rows 3, 32 have the same inputs and different outputs")
    assert texts["error", "leak"].startswith("test.jsonl: the inputs of row 1 are also in train.jsonl")
    assert texts["warning", "repetition"] == "train.jsonl: rows 2, 31 repeat each other but for case, blanks or order"
    assert texts["warning", "long"] == "train.jsonl: more than 100 characters of inputs: row 34"
    labels = [finding.message for finding in found.findings if finding.kind == "labels" and finding.file == train.name]
    assert labels == [
        "team: fewer than 5 rows for product (1)",
        "team: 97% of the rows are billing; look at macro_f1, not at accuracy alone",
    ]


def test_the_check_command_has_an_exit_code(tickets: Path, tmp_path: Path) -> None:
    columns = ("--map", "ticket=text", "--map", "team=classification", "-i", 'categories:=["billing", "product"]')
    result = run("check", "ClassifyText", tickets, *columns)
    assert result.exit_code == 0, result.output
    assert "billing: 20, product: 20" in result.output
    assert "nothing to correct" in result.output
    copy = write(tmp_path / "copy.jsonl", *map(json.loads, tickets.read_text().splitlines()[:10]))
    result = run("check", "ClassifyText", tickets, copy, *columns, "--json")
    assert result.exit_code == 4
    kinds = [finding["kind"] for finding in json.loads(result.output)["findings"] if finding["severity"] == "error"]
    assert kinds == ["leak"]


def test_a_split_is_even_and_the_same_for_the_same_seed(tickets: Path, tmp_path: Path) -> None:
    parts = {"train": 0.6, "dev": 0.2, "test": 0.2}
    written = split_data(tickets, parts, by="team", seed=3)
    assert [(path.name, count) for path, count in written.items()] == [
        ("tickets.train.jsonl", 24),
        ("tickets.dev.jsonl", 8),
        ("tickets.test.jsonl", 8),
    ]
    rows = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in written}
    assert Counter(one["team"] for one in rows["tickets.test.jsonl"]) == {"billing": 4, "product": 4}
    everything = [one["ticket"] for part in rows.values() for one in part]
    assert len(everything) == len(set(everything)) == 40
    before = {path: path.read_bytes() for path in written}
    with pytest.raises(ConfigurationError, match="is there already"):
        split_data(tickets, parts, by="team", seed=3)
    assert split_data(tickets, parts, by="team", seed=3, force=True) == written
    assert {path: path.read_bytes() for path in written} == before
    split_data(tickets, parts, by="team", seed=4, force=True)
    assert {path: path.read_bytes() for path in written} != before


def test_near_repetitions_and_groups_stay_together(tmp_path: Path) -> None:
    source = tmp_path / "data.csv"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "team", "customer"])
        for number in range(20):
            customer = f"c{number % 5}"
            writer.writerow([f"refund {number}", "billing", customer])
            writer.writerow([f"REFUND   {number}", "product", customer])  # the same ticket, labelled otherwise
    written = split_data(source, {"train": 0.5, "test": 0.5}, by="team", seed=1)
    parts = [list(csv.DictReader(path.read_text().splitlines())) for path in written]
    assert sum(map(len, parts)) == 40
    tickets = [{" ".join(one["ticket"].split()).casefold() for one in part} for part in parts]
    assert not tickets[0] & tickets[1]
    written = split_data(source, {"train": 0.6, "test": 0.4}, group="customer", force=True)
    customers = [{one["customer"] for one in csv.DictReader(path.read_text().splitlines())} for path in written]
    assert not customers[0] & customers[1]
    assert set(map(len, customers)) == {3, 2}


@pytest.mark.parametrize("by", ["team", None])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_near_repetitions_are_found_beside_ids_labels_and_written_lists(
    tmp_path: Path, by: str | None, suffix: str
) -> None:
    rows: list[dict[str, str]] = []
    for number in range(40):
        for text, choices in (
            (f"Refund order {number}", "billing, product"),
            (f"refund  ORDER {number}", "product,billing"),
        ):
            team = ("billing", "product")[len(rows) % 2]
            rows.append({"id": f"t-{len(rows)}", "ticket": text, "choices": choices, "team": team})
    source = tmp_path / f"data.{suffix}"
    if suffix == "jsonl":
        write(source, *rows)
    else:
        with source.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    written = split_data(source, {"train": 0.5, "test": 0.5}, by=by, seed=2)
    parts = [path.read_text().lower().split("\n") for path in written]
    numbers = [{int(re.findall(r"order (\d+)", line)[0]) for line in part if "order" in line} for part in parts]
    assert not numbers[0] & numbers[1]
    assert list(written.values()) == [40, 40]


@pytest.mark.parametrize("shares", [{"train": 1.0}, {"train": 0.9, "test": 0.3}, {"train": 0.0, "test": 0.5}])
def test_shares_are_checked(tickets: Path, shares: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="at least two parts"):
        split_data(tickets, shares)


def test_the_split_command(tickets: Path) -> None:
    result = run("split", tickets, "--by", "team", "--part", "train=0.75", "--part", "test=0.25")
    assert result.exit_code == 0
    assert "tickets.test.jsonl: 10 rows" in result.output
    assert run("split", tickets, "--part", "train").exit_code == 2
    with pytest.raises(ConfigurationError, match="not every row has the column"):
        run("split", tickets, "--by", "tema")


def test_import_from_feedback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_FEEDBACK_DIR", str(tmp_path / "feedback"))
    teleprompt = pytest.importorskip("hokusai_teleprompt")
    inputs = {"categories": ["billing", "product"]}
    with (
        Executor(lm=null_lm(answers={"classification": "billing"}), cache_enabled=False) as executor,
        teleprompt.FeedbackCollector() as collector,
    ):
        ids = [
            executor.execute_signature("ClassifyText", {"text": text, **inputs}, collect_feedback=True)["execution_id"]
            for text in ("refund", "crash", "login", "unrated")
        ]
        collector.add_feedback(ids[0], 5, source="ada")
        collector.add_feedback(ids[1], 1, {"classification": "product"}, source="ada")
        collector.add_feedback(ids[2], 2, source="ada")
        module = tmp_path / "kinds.py"
        module.write_text(
            "from hokusai_core import BaseSignature, InputField, OutputField\n"
            "class Kind(BaseSignature):\n    text: str = InputField()\n    classification: str = OutputField()\n"
        )
        own = executor.execute_signature(
            signature_called(executor, f"{module}:Kind"), {"text": "x"}, collect_feedback=True
        )
        collector.add_feedback(own["execution_id"], 5, source="ada")
    assert run("import", f"{module}:Kind", tmp_path / "own.jsonl").exit_code == 0
    out = tmp_path / "rated.jsonl"
    result = run("import", "ClassifyText", out)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["inputs"]["text"], one["outputs"]["classification"], one["corrected"]) for one in rows] == [
        ("refund", "billing", []),
        ("crash", "product", ["classification"]),
    ]
    assert "no random sample" in result.output
    assert run("import", "ClassifyText", out).exit_code == 1  # it is there already
    assert run("check", "ClassifyText", out).exit_code == 0
