"""``hokusai replay``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Literal

import click

from hokusai_core.cli_support.completion import complete_signature
from hokusai_core.cli_support.options import AgeType, ModelType, json_option
from hokusai_core.cli_support.progress import StatusLine
from hokusai_core.cli_support.tables import is_terminal, print_json
from hokusai_evaluate.commands.gate_exit import (
    check_writable,
    end_interrupted,
    end_with,
    junit_option,
    max_regression_option,
    min_option,
    undecided_option,
)

__all__ = ["replay"]


@click.command()
@click.argument("name", required=False, shell_complete=complete_signature)
@click.option("--lm", type=ModelType(), required=True, metavar="NAME", help="The language model to run them on.")
@click.option("--since", type=AgeType(), required=True, help="How far back: 90s, 30m, 12h, 7d, 2w.")
@click.option(
    "--from", "sources", multiple=True, metavar="TRACKER", help="A tracker, or feedback; left out, all that keep them."
)
@click.option("--metric", metavar="NAME", help="How outputs are compared.")
@click.option("--sample", type=click.IntRange(min=1), metavar="ROWS", help="The latest so many of each signature.")
@min_option
@max_regression_option("the kept executions, against corrected outputs,")
@undecided_option
@click.option("--max-cost", type=click.FloatRange(min=0, min_open=True), help="US dollars to spend at most.")
@click.option(
    "--unpriced",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="What --max-cost does with a model whose price is not known.",
)
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="Keep answers here, and go on with them."
)
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True, help="Rows that run at once.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="So many of the worst rows.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report with every row as JSON."
)
@junit_option
@json_option
def replay(
    name: str | None,
    lm: str,
    since: float,
    sources: tuple[str, ...],
    metric: str | None,
    sample: int | None,
    min_score: float | None,
    max_regression: float | None,
    undecided: Literal["pass", "fail"],
    max_cost: float | None,
    unpriced: Literal["refuse", "allow"],
    journal: Path | None,
    workers: int,
    seed: int,
    worst: int,
    output: Path | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Run kept executions on another language model, and compare.

    NAME is a signature; left out, all signatures are replayed. Both sides are scored against outputs that people have
    corrected; for other rows the score is the agreement with what was answered then. Executions that cannot be run
    again, as where an input is sensitive, are counted with the reason. Nothing is recorded.

    Exit codes: 0, every gate is passed; 3, rows could not be asked; 4, a gate is not passed.

    \b
    hokusai replay --since 7d --lm openai/gpt-5-mini --journal replay.journal
    hokusai replay RouteTicket --since 7d --lm openai/gpt-5-mini --min 0.9 --max-regression 0.02 --junit report.xml
    hokusai replay RouteTicket --since 12h --lm local --from mlflow --json
    """
    from hokusai_core import Budget, Executor, Settings
    from hokusai_core.plugin_api import atomic_write
    from hokusai_evaluate.execution_replay import replay as run
    from hokusai_evaluate.junit import replay_junit_xml
    from hokusai_evaluate.kept_executions import kept_sources

    check_writable(output, junit)
    line = StatusLine() if is_terminal(sys.stderr) else None
    options: dict[str, Any] = {}
    if max_cost is not None:
        options["budget"] = Budget(cost=max_cost, unpriced=unpriced)
    settings = Settings.from_environment()
    configured = settings.value("trackers")
    found: dict[str, Any] = {}
    try:
        with Executor(settings.with_options(trackers=[])) as executor:
            wanted = sources or (tuple(configured) + (("feedback",) if configured else ()))
            found = kept_sources(executor, wanted)
            result = run(
                executor,
                lm=lm,
                since=time.time() - since,
                signature=name,
                sources=found,
                metric=metric,
                sample=sample,
                journal=journal,
                max_workers=workers,
                seed=seed,
                progress=None if line is None else lambda what, done, total: line.draw(f"{what}: {done}/{total}"),
                **options,
            )
    except KeyboardInterrupt as interrupt:
        raise end_interrupted(journal=journal is not None) from interrupt
    finally:
        if line is not None:
            line.close()
        for source in found.values():
            source.close()
    if output is not None:
        atomic_write(output, [result.to_json(rows=True).encode("utf-8", "replace"), b"\n"])
    gates = result.check(min_score=min_score, max_regression=max_regression, undecided=undecided)
    if junit is not None:
        junit.write_bytes(replay_junit_xml(result, gates))
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(result.table(worst=worst))
    end_with(gates)
