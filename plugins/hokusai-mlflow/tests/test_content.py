from __future__ import annotations

import json
import secrets
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hokusai_core import Executor, Usage
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import StageTiming
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.trackers import make_event, make_failure, make_feedback
from hokusai_core.types import Attempt, ModelExchange
from hokusai_mlflow import RedactionWarning
from hokusai_mlflow.content_policy import REDACTION_FAILED
from hokusai_mlflow.destination import public_uri


def _canary() -> str:
    return f"canary{secrets.token_hex(12)}"


def _files_with(text: str, *folders: Path) -> list[str]:
    wanted = text.encode()
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in paths if wanted in path.read_bytes()]


@pytest.mark.parametrize("content", ["metadata", "inputs", "outputs", "both"])
def test_only_the_chosen_content_is_recorded_anywhere(place: Any, tmp_path: Path, content: str) -> None:
    given, answered, quoted = _canary(), _canary(), _canary()
    tracker = place.tracker(content=content)
    tracker.record(
        event := make_event(
            inputs={"name": given}, outputs={"greeting": answered}, extras={"why": answered}, collect_feedback=True
        )
    )
    tracker.record(make_failure(error=f"cannot parse {quoted}"))
    tracker.record(make_feedback(event.execution_id, corrections={"greeting": answered}, comment=answered))
    spooled = _files_with(given, tmp_path), _files_with(answered, tmp_path), _files_with(quoted, tmp_path)
    assert place.deliver()
    for index, text in enumerate((given, answered, quoted)):
        recorded = content == "both" or content == ("inputs" if text == given else "outputs")
        assert bool(spooled[index]) == recorded
        assert bool(_files_with(text, tmp_path)) == recorded
    assert [row["error_type"] for row in place.rows()] == [None, "LanguageModelError"]


def test_credentials_reach_no_sink(place: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    canary = _canary()
    parameters = {
        "temperature": 0.5,
        "max_tokens": 7,
        "api_key": canary,
        "headers": {"Authorization": f"Bearer {canary}"},
        "extra": {"nested": [{"client_secret": canary, "kept": "this"}]},
        "aws_session_token": canary,
    }
    tracker = place.tracker()
    tracker.record(make_event(model_parameters=parameters))
    assert place.deliver()
    assert _files_with(canary, tmp_path) == []
    assert canary not in "".join(capfd.readouterr())
    (row,) = place.rows()
    assert json.loads(row["model_parameters"]) == {
        "temperature": 0.5,
        "max_tokens": 7,
        "extra": {"nested": [{"kept": "this"}]},
    }


def test_the_redaction_hook_sees_everything_before_it_is_written(place: Any, tmp_path: Path) -> None:
    canary, seen = _canary(), set()

    def hide(kind: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.add(kind)
        shown: dict[str, Any] = json.loads(json.dumps(dict(values)).replace(canary, "***"))
        return shown

    tracker = place.tracker(redact=hide)
    tracker.record(make_event(inputs={"name": canary}, outputs={"greeting": [canary]}, tags={"who": canary}))
    tracker.record(failure := make_failure(error=f"about {canary}"))
    tracker.record(make_feedback(failure.execution_id, comment=canary))
    assert _files_with(canary, tmp_path) == []
    assert place.deliver()
    assert _files_with(canary, tmp_path) == []
    assert seen == {"inputs", "outputs", "tags", "error", "feedback", "parameters"}
    assert place.rows()[0]["inputs"] == '{"name":"***"}'


def test_a_redaction_hook_that_fails_leaves_the_values_out(place: Any, tmp_path: Path) -> None:
    canary = _canary()

    def broken(kind: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ValueError(f"cannot read {values}")

    tracker = place.tracker(redact=broken)
    with pytest.warns(RedactionWarning, match="ValueError") as caught:
        tracker.record(make_event(inputs={"name": canary}, outputs={"greeting": canary}))
    assert len(caught) == 1
    assert canary not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.record(make_event(inputs={"name": canary}))
    assert place.deliver()
    assert _files_with(canary, tmp_path) == []
    assert json.loads(place.rows()[0]["inputs"]) == {"name": REDACTION_FAILED}
    assert tracker.status()["redaction_failures"] >= 3


def test_long_values_are_cut_and_it_is_noted(place: Any) -> None:
    tracker = place.tracker(max_value_size=100)
    tracker.record(make_event(inputs={"name": "n" * 1000, "list": ["x" * 500]}, outputs={"greeting": "short"}))
    assert place.deliver()
    (row,) = place.rows()
    inputs = json.loads(row["inputs"])
    assert inputs["name"] == "n" * 100 + " [cut: 900 of 1000 characters left out]"
    assert "[cut:" in inputs["list"]
    assert json.loads(row["cut"])["inputs.name"] == 1000
    (trace,) = place.traces()
    assert trace.data.spans[0].attributes["cut"]["inputs.name"] == 1000


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("postgresql://ada:s3cret@host/db", "postgresql://ada:***@host/db"),
        ("https://ada:s3cret@example.org:5000", "https://ada:***@example.org:5000"),
        ("postgresql://host/db?password=s3cret&sslmode=on", "postgresql://host/db?password=***&sslmode=on"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_addresses_are_written_without_their_credentials(uri: str, public: str) -> None:
    assert public_uri(uri) == public


def test_a_password_in_the_address_is_on_no_disk(place: Any, tmp_path: Path) -> None:
    canary = _canary()
    tracker = place.tracker(tracking_uri=f"http://ada:{canary}@127.0.0.1:9/")
    tracker.record(make_event())
    assert not place.deliver(timeout=1)
    assert _files_with(canary, tmp_path) == []
    assert canary not in json.dumps(dict(tracker.status()))
    assert "credentials" in tracker.status()["last_error"]["error"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"content": "everything"}, "content"),
        ({"sampling": 1.5}, "sampling"),
        ({"sampling": "often"}, "sampling"),
        ({"colour": "red"}, "colour"),
        ({"redact": "hide"}, "redact"),
    ],
)
def test_a_mistake_in_an_option_is_named(place: Any, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        place.tracker(**options)


def test_options_come_from_the_environment(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_TRACKING_SAMPLING", "0.25")
    monkeypatch.setenv("HOKUSAI_TRACKING_CONTENT", "metadata")
    assert (place.tracker().options.sampling, place.tracker().options.content) == (0.25, "metadata")
    assert place.tracker(sampling=1).options.sampling == 1


MESSAGES = ({"role": "system", "content": "Greet."}, {"role": "user", "content": "[[ ## name ## ]]\nAda"})


def _exchanged(**changes: Any) -> Any:
    """Return an execution whose first answer could not be read."""
    attempts = (
        Attempt(1, "failed", 0.1, "a/one", Usage(10, 3, 1), error="OutputError: greeting: missing"),
        Attempt(2, "ok", 0.2, "a/one", Usage(10, 4, 1)),
    )
    exchanges = (
        ModelExchange(MESSAGES, ("Hm.",), "stop", 0.09, attempt=1),
        ModelExchange(MESSAGES, ("[[ ## greeting ## ]]\nHello",), "stop", 0.18, attempt=2),
    )
    stages = (StageTiming("language_model", 0.01, 0.1), StageTiming("language_model", 0.2, 0.2))
    return make_event(**{"attempts": attempts, "exchanges": exchanges, "stages": stages} | changes)


def test_a_trace_shows_prompt_and_raw_answer_of_each_attempt(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A test worker has no main file.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    tracker = place.tracker()
    assert tracker.wants_exchanges
    tracker.record(_exchanged(tags={"user": "ada", "session": "s-1"}))
    assert place.deliver()
    (trace,) = place.traces()
    _, first, second = trace.data.spans
    assert first.inputs["messages"] == list(MESSAGES)
    assert first.inputs["temperature"] == 0.5
    assert first.outputs["choices"][0]["message"]["content"] == "Hm."
    assert first.attributes["finish_reason"] == "stop"
    assert "greeting: missing" in first.events[0].attributes["exception.message"]
    assert second.outputs["choices"][0]["message"]["content"] == "[[ ## greeting ## ]]\nHello"
    metadata = trace.info.request_metadata
    assert (metadata["mlflow.trace.user"], metadata["mlflow.trace.session"]) == ("ada", "s-1")
    assert metadata["mlflow.source.name"] == __file__
    commit = metadata.get("mlflow.source.git.commit")
    assert commit is None or len(commit) == 40
    (run,) = place.runs()
    assert run.data.tags["mlflow.source.name"] == metadata["mlflow.source.name"]
    assert run.data.tags["mlflow.user"]


def test_several_calls_of_one_attempt_are_spans_of_their_own(place: Any) -> None:
    calls = tuple(ModelExchange(MESSAGES, (text,), "stop", 0.05, attempt=1) for text in ("think", "act"))
    tracker = place.tracker()
    tracker.record(make_event(exchanges=calls))
    assert place.deliver()
    (trace,) = place.traces()
    model = next(span for span in trace.data.spans if span.name == "language_model")
    inner = [span for span in trace.data.spans if span.parent_id == model.span_id]
    assert [span.outputs["choices"][0]["message"]["content"] for span in inner] == ["think", "act"]
    assert trace.info.token_usage["total_tokens"] == 17


def test_a_strategy_has_a_span_for_each_inner_call(place: Any) -> None:
    tracker = place.tracker()
    lm = null_lm(answers={"answer": "Paris", "reasoning": "I know it."})
    with Executor(lm=lm, plugins=["strategies"], trackers={"mlflow": tracker}) as executor:
        executor.register_signature("Ask", "question -> answer")
        strategy = {"name": "majority", "n": 3, "strategy": "chain_of_thought"}
        executor.execute_signature("Ask", {"question": "?"}, strategy=strategy)
        assert place.deliver()
    (trace,) = place.traces()
    root = trace.data.spans[0]
    model = next(span for span in trace.data.spans if span.name == "language_model")
    inner = [span for span in trace.data.spans if span.parent_id == model.span_id]
    assert len(inner) == lm.engine.calls == 2
    assert trace.info.tags["hokusai.strategy"] == "majority"
    assert root.attributes["strategy"]["options"] == {"n": 3, "strategy": "chain_of_thought"}
    assert root.attributes["extras"]["reasoning"] == "I know it."


@pytest.mark.parametrize(
    ("options", "messages", "answers"),
    [
        ({"content": "metadata"}, False, False),
        ({"content": "inputs"}, True, False),
        ({"content": "outputs"}, False, True),
        ({"redact": lambda _kind, values: values}, False, False),
    ],
    ids=["metadata", "inputs", "outputs", "redacted"],
)
def test_prompts_and_answers_follow_the_content_options(
    place: Any, tmp_path: Path, options: dict[str, Any], messages: bool, answers: bool
) -> None:
    asked, answered = _canary(), _canary()
    exchange = ModelExchange(({"role": "user", "content": asked},), (answered,), "stop", 0.1, attempt=1)
    tracker = place.tracker(**options)
    assert tracker.wants_exchanges == (messages or answers)
    tracker.record(make_event(exchanges=(exchange,)))
    assert place.deliver()
    assert bool(_files_with(asked, tmp_path)) == messages
    assert bool(_files_with(answered, tmp_path)) == answers


def test_an_executor_has_its_prompts_recorded(place: Any) -> None:
    with Executor(lm=null_lm(), plugins=[], trackers={"mlflow": place.tracker()}) as executor:
        executor.register_signature("Greet", "name -> greeting")
        executor.execute_signature("Greet", {"name": "Ada"})
    assert place.deliver()
    (trace,) = place.traces()
    (model,) = [span for span in trace.data.spans if span.name == "language_model"]
    assert "Ada" in model.inputs["messages"][-1]["content"]
    assert "greeting" in model.outputs["choices"][0]["message"]["content"]
