"""``hokusai diff``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from hokusai_core.cli_support.options import json_option
from hokusai_core.cli_support.tables import print_json, printable
from hokusai_core.plugin_api import Artifact, read_artifact

__all__ = ["diff"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if they differ.")
@json_option
def diff(old: Path, new: Path, exit_code: bool, as_json: bool) -> None:
    """Show how two files with optimized signatures differ: fields, instructions, demos and scores."""
    lines = list(_lines(read_artifact(old), read_artifact(new)))
    if as_json:
        print_json({"differ": bool(lines), "differences": lines})
    else:
        click.echo("\n".join(map(printable, lines)) if lines else "no difference")
    if exit_code and lines:
        raise click.exceptions.Exit(1)


def _lines(old: Artifact, new: Artifact) -> Iterator[str]:
    for label, was, is_ in (
        ("name", old.spec.name, new.spec.name),
        ("version", old.spec.version, new.spec.version),
        ("made from", _base(old), _base(new)),
        ("dataset", old.dataset_hash[:8], new.dataset_hash[:8]),
        ("promoted", old.promoted, new.promoted),
        ("score", _score(old), _score(new)),
    ):
        if was != is_:
            yield f"{label}: {was} -> {is_}"
    if old.spec.fingerprint == new.spec.fingerprint:
        return
    yield from old.differences(new.spec)
    before, after = _demos(old), _demos(new)
    yield from (f"- demo {demo}" for demo in before if demo not in after)
    yield from (f"+ demo {demo}" for demo in after if demo not in before)


def _demos(artifact: Artifact) -> list[str]:
    """Return the demos as JSON, those of predictors with their names before them."""
    data = artifact.spec.to_dict()
    found = [("", demo) for demo in data.get("demos", [])]
    found += [(f"{name}: ", demo) for name, state in data.get("predictors", {}).items() for demo in state["demos"]]
    return [f"{label}{json.dumps(demo, ensure_ascii=False)}" for label, demo in found]


def _base(artifact: Artifact) -> str:
    return f"{artifact.base_name} {artifact.base.version} ({artifact.base.fingerprint[:8]})"


def _score(artifact: Artifact) -> str:
    """Return the held-out score of what the file holds: the best candidate, or the signature as it was."""
    report = artifact.report
    chosen = {trial.get("fingerprint") for trial in report.get("trials", []) if trial.get("chosen")}
    is_candidate = artifact.promoted or artifact.spec.fingerprint in chosen
    score = report.get("candidate_score" if is_candidate else "baseline_score")
    metric = report.get("metric", {}).get("name", "?")
    return "not measured" if score is None else f"{metric} {score:.4f}"
