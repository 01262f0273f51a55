"""``hokusai evaluate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import click

from hokusai_core.cli_support.completion import complete_component
from hokusai_core.cli_support.failures import CommandMisuse
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import (
    ModelType,
    column_mapping,
    column_option,
    delimiter_option,
    input_option,
    inputs_option,
    json_option,
    signature_argument,
)
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

__all__ = ["evaluate"]

#: Seconds for an execution, unless a flag or HOKUSAI_TIMEOUT says otherwise.
_TIMEOUT: Final = 300.0

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@signature_argument
@click.argument("data", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--card", is_flag=True, help="Keep the scores as a scorecard, which hokusai show prints.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_component("metric"),
    help="A metric; of several the first one leads.",
)
@click.option(
    "--judge",
    type=ModelType(),
    metavar="LM",
    help="Language model that grades, with --metric quality_score or mlflow_scorer.",
)
@click.option(
    "--metric-option", "metric_settings", multiple=True, metavar="NAME=VALUE", help="An option of the metric."
)
@click.option(
    "--lm", "lms", type=ModelType(), multiple=True, metavar="NAME", help="Language model; of several each is measured."
)
@click.option(
    "--against",
    multiple=True,
    metavar="OTHER",
    help="Compare with another signature, a file, an earlier report (-o), lm=NAME or strategy=NAME.",
)
@click.option("--strategy", metavar="NAME", help="How the language model is asked.")
@min_option
@max_regression_option("--against")
@undecided_option
@click.option(
    "--stop",
    type=click.Choice(["early"]),
    help="End as soon as --max-regression (0 if not given) is decided.",
)
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Parameter of every language model."
)
@click.option("--max-cost", type=click.FloatRange(min=0, min_open=True), help="US dollars to spend at most.")
@click.option(
    "--unpriced",
    type=click.Choice(["refuse", "allow"]),
    help="What --max-cost does with a model whose price is not known.  [default: refuse]",
)
@click.option("--budget-file", metavar="FILE", help="File of what was spent, which processes share.")
@click.option("--sample", type=click.IntRange(min=1), metavar="ROWS", help="Only so many rows, chosen at random.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Ask each row so often.")
@click.option("--by", metavar="COLUMN", help="A score for each value of this column.")
@input_option
@inputs_option
@column_option
@delimiter_option
@click.option("--journal", type=_FILE, help="Keep answers here; the same command goes on with them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True, help="Rows that run at once.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Bound of each row.")
@click.option(
    "--cache", type=click.Choice(["use", "refresh", "off"]), default="off", show_default=True, help="Of answers."
)
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="So many of the worst rows.")
@click.option("-o", "--output", type=_FILE, help="Write the report with every row as JSON.")
@junit_option
@click.option("--track", is_flag=True, help="Record the executions and the evaluation in MLflow.")
@json_option
def evaluate(
    name: str,
    data: str | None,
    card: bool,
    metrics: tuple[str, ...],
    judge: str | None,
    metric_settings: tuple[str, ...],
    lms: tuple[str, ...],
    against: tuple[str, ...],
    strategy: str | None,
    min_score: float | None,
    max_regression: float | None,
    undecided: Literal["pass", "fail"],
    stop: Literal["early"] | None,
    parameters: tuple[str, ...],
    max_cost: float | None,
    unpriced: Literal["refuse", "allow"] | None,
    budget_file: str | None,
    sample: int | None,
    repeat: int,
    by: str | None,
    inputs: tuple[str, ...],
    source: str | None,
    pairs: tuple[str, ...],
    delimiter: str | None,
    journal: Path | None,
    seed: int,
    workers: int,
    timeout: float | None,
    cache: str,
    worst: int,
    output: Path | None,
    junit: Path | None,
    track: bool,
    as_json: bool,
) -> None:
    """Measure how good NAME is on the rows of DATA.

    NAME is a signature, or a file with a signature or a chain. DATA is a JSONL or CSV file with inputs and expected
    outputs; left out, it is the set that comes with the signature. An answer that does not fit the signature counts as
    the worst score. A row that could not be asked is in no score.

    Exit codes: 0, every gate is passed; 3, rows could not be asked; 4, a gate is not passed.

    \b
    hokusai evaluate ClassifyText --lm local --card
    hokusai evaluate ClassifyText tickets.jsonl --metric accuracy --min 0.9
    hokusai evaluate ClassifyText tickets.jsonl --against better.json --max-regression 0.02 --junit report.xml
    hokusai evaluate ClassifyText tickets.jsonl --lm openai/gpt-5-mini --against lm=openai/gpt-5 --stop early
    """
    from hokusai_core.cli_support.notes import note_once
    from hokusai_evaluate.commands.target_argument import target_called
    from hokusai_evaluate.evaluation import evaluate as run
    from hokusai_evaluate.junit import junit_xml
    from hokusai_evaluate.scorecard_making import CardKeeper
    from hokusai_evaluate.systems import spec_of

    if card and (against or sample or stop):
        raise CommandMisuse("--card is for the scores on all rows, without --against, --sample and --stop")
    if (max_regression is not None or stop) and not against and len(lms) < 2:
        raise CommandMisuse(
            f"{'--stop' if stop else '--max-regression'} needs something to compare with: give --against"
        )
    check_writable(output, junit)
    line = StatusLine() if is_terminal(sys.stderr) else None
    options: dict[str, Any] = {"cache": cache, **({"strategy": strategy} if strategy else {})}
    try:
        money = {"max_cost": max_cost, "unpriced": unpriced, "budget_file": budget_file}
        settings = {**money, "parameters": ",".join(parameters) or None}
        with _make_executor(timeout, settings, track=track) as executor:
            note_once(executor)
            target = target_called(executor, name)
            others = [target_called(executor, other) for other in against]
            given = gather_inputs(inputs, source, media=spec_of(executor, target).media_inputs)
            keeper = CardKeeper(executor, target, data) if card else None
            evaluation = run(
                executor,
                target,
                data,
                metric=list(metrics),
                metric_options=_metric_options(judge, metric_settings),
                lm=list(lms),
                against=others,
                repeat=repeat,
                sample=sample,
                by=by,
                inputs=given,
                mapping=column_mapping(pairs),
                delimiter=delimiter,
                journal=journal,
                stop=stop,
                max_regression=max_regression,
                max_workers=workers,
                seed=seed,
                progress=None if line is None else lambda done, total: line.draw(f"{name}: {done}/{total} answers"),
                **options,
            )
            kept = None if keeper is None else keeper.keep(evaluation, lms, options)
    except KeyboardInterrupt as interrupt:
        raise end_interrupted(journal=journal is not None) from interrupt
    finally:
        if line is not None:
            line.close()
    gates = evaluation.check(min_score=min_score, undecided=undecided)
    if output is not None:
        evaluation.save(output)
    if junit is not None:
        junit.write_bytes(junit_xml(evaluation, gates))
    if as_json:
        print_json(evaluation.to_dict())
    else:
        click.echo(evaluation.table(worst=worst))
    if kept is not None:
        click.echo(f"hokusai: scorecard written to {kept}", err=True)
    end_with(gates)


def _metric_options(judge: str | None, settings: Sequence[str]) -> dict[str, Any] | None:
    """Return the options of the metric; a value that is JSON is read as such.

    Raises:
        CommandMisuse: one has no name or no value.
    """
    found: dict[str, Any] = {"judge": judge} if judge else {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not name or not separator:
            raise CommandMisuse(f"--metric-option {setting}: expected NAME=VALUE, such as scorer=Correctness")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found or None


def _make_executor(timeout: float | None, given: dict[str, Any], *, track: bool) -> Any:
    """Return an executor that records nothing, unless that is asked for here or by a variable."""
    from hokusai_core import Executor, Settings

    settings = Settings.from_environment(**{name: value for name, value in given.items() if value is not None})
    if timeout is not None or settings["timeout"].source == "default":
        settings = settings.with_options(timeout=timeout or _TIMEOUT)
    if track:
        settings = settings.with_options(trackers=[*{*settings.value("trackers"), "mlflow"}])
    return Executor(settings)
