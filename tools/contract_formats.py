"""The shapes of what Hokusai writes: files and JSON. A sample of each is made, and its values become their types."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner

from hokusai.cli import cli
from hokusai_core import Budget, Executor
from hokusai_core.plugin_api import Artifact, BatchJob, jsonable, read_log
from hokusai_core.testing import trackers as events
from hokusai_core.testing.caches import make_entry
from hokusai_core.testing.lm import null_lm
from hokusai_evaluate import evaluate
from hokusai_mlflow.content_policy import ContentPolicy
from hokusai_mlflow.options import make_options
from hokusai_mlflow.record_encoder import RecordEncoder
from hokusai_teleprompt.feedback.sqlite_store import SqliteFeedbackStore
from hokusai_teleprompt.promotion_history import PromotionHistory

__all__ = ["formats", "shape"]

#: Variables that would change what commands print.
_CLEAR = {"HOKUSAI_LM": None, "HOKUSAI_CONFIG": None, "HOKUSAI_TRACKERS": "", "HOKUSAI_CACHE_ENABLED": "false"}
_EVENTS = ("event", "feedback", "outcome", "operation", "optimization", "evaluation")


class _Verbatim(str):
    """A text that is shown as it is."""


def formats() -> Iterator[str]:
    """Yield the lines of the shapes."""
    with tempfile.TemporaryDirectory() as name:
        for title, samples in _samples(Path(name)):
            yield f"[{title}]"
            told: list[str] = []
            for sample in samples:
                lines = list(shape(sample)) if not isinstance(sample, _Verbatim) else sample.splitlines()
                if lines != told:
                    yield from lines
                    yield ""
                told = lines


def shape(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the shape of a JSON value, a line for each key."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{indent}{key}: {_type(item)}"
            yield from _inside(item, indent + "  ")
    else:
        yield f"{indent}{_type(value)}"
        yield from _inside(value, indent + "  ")


def _inside(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from shape(value, indent)
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        yield from shape(value[0], indent)


def _type(value: Any) -> str:
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list):
        return "list" if not value else f"list of {_type(value[0])}"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else "text"


def _samples(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"plugins": [], "environ": {}, "cassette": folder / "cassette.json"}
        executor = stack.enter_context(Executor(lm=null_lm(answers={"loud": "HELLO"}), **options))
        executor.register_signature("Shout", "text -> loud")
        spec = executor.signature("Shout").spec
        rows = [{"text": "hello"}, {}]
        batch = executor.execute_batch("Shout", rows, journal=folder / "journal")
        batch.to_jsonl(folder / "results.jsonl")
        yield "signature: BaseSignature.to_dict", [spec.to_dict()]
        yield "batch results: BatchResult.to_jsonl", _lines((folder / "results.jsonl").read_bytes().splitlines())
        yield "batch journal: the payload of each line", _logged(folder / "journal")
        artifact = Artifact(spec, base=spec, base_name="local/Shout")
        artifact.write(folder / "artifact.json")
        yield "artifact: Artifact.write", [json.loads((folder / "artifact.json").read_bytes())]
    yield "cassette", [json.loads((folder / "cassette.json").read_bytes())]
    budget = Budget(cost=1, file=folder / "team.budget")
    with Executor(lm=null_lm(), plugins=[], environ={}) as executor:
        executor.register_signature("Shout", "text -> loud")
        executor.execute_signature("Shout", rows[0], budget=budget)
    with Executor(lm=null_lm(answers={"loud": "HELLO"}), plugins=["evaluate"], environ={}) as executor:
        executor.register_signature("Shout", "text -> loud")
        report = evaluate(executor, "Shout", [{"text": "hello", "loud": "HELLO"}, {"text": "ho", "loud": "HO"}])
    yield "evaluation report: Evaluation.to_dict", [jsonable(report.to_dict(rows=True))]
    job = BatchJob(job_id="1", name="local/Shout", signature=spec.to_dict(), fingerprint=spec.fingerprint)
    yield "batch job: BatchJob.to_dict", [job.to_dict()]
    first_line = (folder / "team.budget").read_bytes().partition(b"\n")[0]
    yield "budget file: the first line", [_Verbatim(first_line.decode())]
    first, second, third = make_entry().to_bytes(b"16 random bytes!").split(b"\n")
    yield "cache entry: CacheEntry.to_bytes, three lines", _lines([first, second, third])
    for kind in _EVENTS:
        event = _event(kind)
        yield f"event: {type(event).__name__}", [jsonable(attrs.asdict(event))]
    encoder = RecordEncoder(ContentPolicy(make_options({})))
    for kind in _EVENTS:
        yield f"record of the MLflow outbox: {type(_event(kind)).__name__}", [json.loads(encoder.encode(_event(kind)))]
    history = PromotionHistory("default", folder / "promotions")
    history.promote("local/Shout", artifact, "")
    yield (
        "promotion: a line of history.jsonl",
        [
            part
            for path in (folder / "promotions").rglob("history.jsonl")
            for part in _lines(path.read_bytes().splitlines())
        ],
    )
    store = SqliteFeedbackStore(folder / "feedback")
    list(store.read())
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        tables = [
            " ".join(row[0].split()) for row in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")
        ]
        yield "feedback store: tables", [_Verbatim("\n".join(tables))]
    store.close()
    inputs = ["-i", "recipient=Ann", "-i", "subject=Hello", "-i", "key_points=one"]
    commands = {
        "list --json": ["list", "--json"],
        "show NAME --json": ["show", "EmailDraft", "--json"],
        "run NAME --json": ["run", "EmailDraft", *inputs, "--json"],
        "plugins --json": ["plugins", "--json"],
    }
    for title, words in commands.items():
        done = CliRunner().invoke(cli, words, env={**_CLEAR, "HOKUSAI_MODE": "testing"})
        yield f"hokusai {title}", [json.loads(done.stdout)]


def _event(kind: str) -> Any:
    needs = () if kind in ("event", "optimization", "evaluation") else ("0" * 32,)
    return getattr(events, f"make_{kind}")(*needs)


def _logged(path: Path) -> list[Any]:
    return [part for line in read_log(path) for part in _lines((line.payload or b"").split(b"\t"))]


def _lines(lines: list[bytes]) -> list[Any]:
    """Return what is JSON of some lines; checksums before it are left out."""
    found = []
    for line in lines:
        text = line[line.find(b"{") :] if line[:1] not in (b"{", b"[", b'"') and b"{" in line else line
        with contextlib.suppress(ValueError):
            found.append(json.loads(text))
    return found
