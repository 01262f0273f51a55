"""``hokusai evaluate --card`` and what ``hokusai show`` says of the scorecards later."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from click.testing import CliRunner

from hokusai.cli import cli
from hokusai_core import Settings
from hokusai_core.testing.lm import null_lm

PLUGIN = """
from typing import Literal
from hokusai_core import BaseSignature, InputField, OutputField, hookimpl

class RouteTicket(BaseSignature):
    '''Choose the team that answers the ticket.'''
    ticket: str = InputField()
    team: Literal["billing", "product"] = OutputField()

@hookimpl
def provide_signatures():
    return [RouteTicket]
"""
TEAMS = {"refund": "billing", "invoice": "billing", "crash": "product", "login": "product"}
ROWS = [{"ticket": f"{word} {number}", "team": team} for number in range(5) for word, team in TEAMS.items()]


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack that is installed for development, with an evaluation set and a data card."""
    for name in Settings():
        monkeypatch.delenv(f"HOKUSAI_{name.upper()}", raising=False)
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path / "user"))
    site = tmp_path / "site"
    package, info = site / "acme_routing", site / "acme_routing-1.0.dist-info"
    (package / "evaluation").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(PLUGIN)
    (package / "evaluation/RouteTicket.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (package / "evaluation/RouteTicket.md").write_text("# Evaluation set of RouteTicket\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-routing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hokusai]\nacme-routing = acme_routing.plugin\n")
    (info / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {"editable": true}}')
    monkeypatch.syspath_prepend(str(site))
    return package


@pytest.fixture(autouse=True)
def forget_the_pack() -> Any:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_routing"]:
        del sys.modules[name]


def run(*arguments: object, lm: Any = None) -> Any:
    """Run the command with the language model that the host has set for DSPy."""
    importlib.invalidate_caches()
    with dspy.context(lm=lm or make_lm()):
        result = CliRunner().invoke(cli, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def make_lm(wrong: str = "login", name: str = "null/router") -> Any:
    def team(user: str) -> str:
        ticket = user.rsplit("[[ ## ticket ## ]]", 1)[1].split()[0]
        return "billing" if ticket == wrong else TEAMS[ticket]

    return null_lm(answers={"team": team}, model=name)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_routing"]:
        del sys.modules[name]


def cards_of(name: str = "RouteTicket") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("show", name, "--json").stdout)["scorecards"]
    return found


def test_a_score_on_the_set_of_the_pack_is_kept_with_the_pack(pack: Path) -> None:
    shown = run("show", "RouteTicket").stdout
    assert "set: RouteTicket.jsonl, 20 rows" in shown
    assert "no score yet: hokusai evaluate RouteTicket --card" in shown
    result = run("evaluate", "RouteTicket", "--card")
    assert (result.exit_code, "RouteTicket.cards.json" in result.stderr) == (0, True)
    assert (pack / "evaluation/RouteTicket.cards.json").is_file()
    (card,) = cards_of()
    assert card["applies"]
    assert card["changes"] == []
    assert card["signature"] == "acme-routing/RouteTicket"
    assert (card["model"], card["rows"], card["data"]) == ("null/router", 20, "RouteTicket.jsonl")
    score = card["scores"][card["metric"]]
    assert (card["metric"], score["value"], score["rows"]) == ("classification_accuracy", 0.75, 20)
    assert score["low"] < 0.75 < score["high"]
    assert {"hokusai-core", "hokusai-evaluate", "dspy"} <= card["versions"].keys()
    shown = run("show", "RouteTicket").stdout
    assert "0.750 [0.5" in shown
    assert "no longer applies" not in shown


def test_a_word_of_an_instruction_ends_a_score(pack: Path) -> None:
    run("evaluate", "RouteTicket", "--card")
    change(pack / "plugin.py", "Choose the team", "Pick the team")
    shown = run("show", "RouteTicket").stdout
    assert "null/router: the score no longer applies: the signature has changed since (fingerprint " in shown
    (card,) = cards_of()
    assert not card["applies"]
    assert [change["kind"] for change in card["changes"]] == ["signature"]
    run("evaluate", "RouteTicket", "--card")  # in place of the old one
    assert [card["applies"] for card in cards_of()] == [True]


def test_other_rows_end_a_score(pack: Path) -> None:
    run("evaluate", "RouteTicket", "--card")
    change(pack / "evaluation/RouteTicket.jsonl", '"invoice 3"', '"invoice 33"')
    assert "the score no longer applies: the data has changed since (digest " in run("show", "RouteTicket").stdout


def test_rows_that_do_not_fit_are_named(pack: Path) -> None:
    run("evaluate", "RouteTicket", "--card")
    change(pack / "plugin.py", '["billing", "product"]', '["accounts", "product"]')
    result = run("show", "RouteTicket")
    assert result.exit_code == 0
    assert "RouteTicket.jsonl: does not fit the signature any more: line 1: team" in result.stderr
    assert "no longer applies: the signature has changed" in result.stdout


def test_other_versions_of_libraries_are_said_and_end_nothing(pack: Path) -> None:
    run("evaluate", "RouteTicket", "--card")
    change(pack / "evaluation/RouteTicket.cards.json", f'"dspy": "{dspy.__version__}"', '"dspy": "3.0.1"')
    shown = run("show", "RouteTicket").stdout
    assert f"null/router: measured with dspy 3.0.1, here {dspy.__version__}" in shown
    assert "no longer applies" not in shown


def test_each_model_and_metric_has_a_card(pack: Path) -> None:
    run("evaluate", "RouteTicket", "--card")
    run("evaluate", "RouteTicket", "--card", lm=make_lm("crash", "null/other"))
    run("evaluate", "RouteTicket", "--card", "--metric", "macro_f1")
    run("evaluate", "RouteTicket", "--card", "--repeat", "2")
    assert sorted((card["model"], card["metric"], card["rounds"]) for card in cards_of()) == [
        ("null/other", "classification_accuracy", 1),
        ("null/router", "classification_accuracy", 2),
        ("null/router", "macro_f1", 1),
    ]


def test_a_pack_that_was_installed_is_not_written_to(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "site/acme_routing-1.0.dist-info/direct_url.json").unlink()
    run("evaluate", "RouteTicket", "--card")
    assert not (pack / "evaluation/RouteTicket.cards.json").exists()
    assert (tmp_path / "user/scorecards/acme-routing/RouteTicket.cards.json").is_file()
    assert len(cards_of()) == 1


def test_rows_of_your_own_have_a_card(pack: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:8]))
    run("evaluate", "RouteTicket", own, "--card")
    (card,) = cards_of()
    assert (card["data"], card["rows"], card["applies"]) == ("own.jsonl", 8, True)


def test_no_card_says_less_than_it_seems_to(pack: Path) -> None:
    def fail(user: str) -> str:
        if "crash 4" in user:
            raise ConnectionError("the network is down")
        return "billing"

    result = run("evaluate", "RouteTicket", "--card", lm=null_lm(answers={"team": fail}))
    assert result.exit_code == 3
    assert cards_of() == []
    assert run("evaluate", "RouteTicket", "--card", "--sample", "5").exit_code == 2
    assert run("evaluate", "RouteTicket", "--card", "--against", "lm=null/a").exit_code == 2


def test_a_damaged_file_is_named_and_nothing_is_paid_for(pack: Path) -> None:
    cards = pack / "evaluation/RouteTicket.cards.json"
    for content, reason in (
        ("{", "is not JSON"),
        ("[]", "is not a file of scorecards"),
        ('{"hokusai_scorecards": 9, "cards": []}', "is of format 9"),
        ('{"hokusai_scorecards": 1, "cards": [{"rows": "many"}]}', "has a scorecard that cannot be used"),
    ):
        cards.write_text(content)
        assert f"warning: {cards} {reason}" in run("show", "RouteTicket").stderr
        lm = make_lm()
        result = run("evaluate", "RouteTicket", "--card", lm=lm)
        assert (result.exit_code, lm.engine.calls) == (1, 0)
        assert reason in result.stderr


def test_a_signature_without_a_set_needs_a_file(pack: Path) -> None:
    result = run("evaluate", "EmailDraft")
    assert result.exit_code == 1
    assert "EmailDraft comes with no evaluation set" in result.stderr


@pytest.mark.parametrize(("name", "metric"), [("ClassifyText", "classification_accuracy"), ("ExtractInfo", "f1")])
def test_the_standard_signatures_have_a_set_a_data_card_and_a_score_that_applies(
    name: str, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOKUSAI_DATA_DIR", str(tmp_path))
    record = json.loads(run("show", name, "--json").stdout)
    assert record["evaluation_set"]["rows"] == 40
    text = Path(record["evaluation_set"]["data_card"]).read_text()
    assert "| Licence | Apache-2.0" in text
    cards = [card for card in record["scorecards"] if card["model"] == "local/smollm2-135m-instruct"]
    assert [(card["metric"], card["rows"], card["data"]) for card in cards] == [(metric, 40, f"{name}.jsonl")]
    assert not [change for change in cards[0]["changes"] if change["kind"] != "versions"], "make the scorecard again"
