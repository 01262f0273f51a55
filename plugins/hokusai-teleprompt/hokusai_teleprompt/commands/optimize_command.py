"""``hokusai optimize``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hokusai_core.cli_support.completion import complete_component
from hokusai_core.cli_support.inputs import gather_inputs
from hokusai_core.cli_support.options import (
    ModelType,
    column_mapping,
    column_option,
    delimiter_option,
    input_option,
    inputs_option,
    signature_argument,
)
from hokusai_core.cli_support.tables import print_json, printable
from hokusai_teleprompt.commands.command_helpers import make_executor, track_option
from hokusai_teleprompt.commands.cost_question import CostQuestion

__all__ = ["optimize"]

_CHAIN_FILES = (".toml", ".yaml", ".yml")


@click.command()
@signature_argument
@click.argument("data", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from-feedback", is_flag=True, help="Learn from feedback on executions instead of DATA.")
@click.option("--min", "min_count", type=click.IntRange(min=1), help="With --from-feedback: feedbacks that are needed.")
@click.option("--since", help="With --from-feedback: only executions since then, such as 2026-05-01.")
@click.option("--store", type=click.Path(path_type=Path), help="With --from-feedback: folder or file of the store.")
@input_option
@inputs_option
@column_option
@delimiter_option
@click.option(
    "--metric",
    shell_complete=complete_component("metric"),
    help="accuracy, f1, classification_accuracy, macro_f1, rouge_l, json_equal, quality_score; with --from-feedback "
    "also the name of an outcome.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File for the result.")
@click.option(
    "--save-candidate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the best candidate, promoted or not.",
)
@click.option(
    "--optimizer",
    default="auto",
    show_default=True,
    shell_complete=complete_component("optimizer"),
    help="An optimizer; auto chooses by data and budget.",
)
@click.option("--set", "options", multiple=True, metavar="OPTION=VALUE", help="An option of the optimizer.")
@click.option(
    "--strategy",
    shell_complete=complete_component("strategy"),
    help="Strategy that the result declares; hokusai plugins lists them.",
)
@click.option("--lm", type=ModelType(), help="Language model to optimize for: local, or one such as openai/gpt-5-mini.")
@click.option("--prompt-lm", type=ModelType(), help="Language model that writes instructions.")
@click.option("--judge", type=ModelType(), help="Language model that grades, with --metric quality_score.")
@click.option("--valset", type=click.Path(exists=True, dir_okay=False), help="Examples to choose candidates by.")
@click.option("--testset", type=click.Path(exists=True, dir_okay=False), help="Examples to compare on.")
@click.option("--calls", type=click.IntRange(min=1), help="Language-model calls at most, the comparison included.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens at most.")
@click.option("--cost", type=click.FloatRange(min=0, min_open=True), help="US dollars at most.")
@click.option("--budget-file", metavar="FILE", help="File of what was spent, which processes share, with --cost.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds at most.")
@click.option(
    "--ask-above",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="US dollars; before a larger estimate it asks. So it does before 2,000 calls whose price is not known.",
)
@click.option("-y", "--yes", is_flag=True, help="Begin without a question, whatever the estimate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--min-improvement", type=float, default=0.0, show_default=True, help="Least improvement.")
@click.option("--workers", type=click.IntRange(min=1), help="Calls at once.")
@click.option("--workdir", type=click.Path(file_okay=False, path_type=Path), help="Folder for the checkpoint.")
@track_option
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Save a plot of score against calls.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--require-better", is_flag=True, help="Exit with 1 if nothing better was found.")
def optimize(
    name: str,
    data: Path | None,
    from_feedback: bool,
    min_count: int | None,
    since: str | None,
    store: Path | None,
    inputs: tuple[str, ...],
    source: str | None,
    pairs: tuple[str, ...],
    delimiter: str | None,
    metric: str | None,
    output: Path | None,
    save_candidate: Path | None,
    optimizer: str,
    options: tuple[str, ...],
    strategy: str | None,
    lm: str | None,
    prompt_lm: str | None,
    judge: str | None,
    valset: str | None,
    testset: str | None,
    calls: int | None,
    tokens: int | None,
    cost: float | None,
    budget_file: str | None,
    seconds: float | None,
    ask_above: float,
    yes: bool,
    seed: int,
    min_improvement: float,
    workers: int | None,
    workdir: Path | None,
    track: bool,
    svg: Path | None,
    as_json: bool,
    require_better: bool,
) -> None:
    """Improve signature NAME on the examples in DATA, and measure on held-out ones whether it is better.

    DATA is a JSONL, JSON or CSV file. The result is saved to --output: the better signature, or the signature as it
    was if none was found. --save-candidate saves the best candidate also if it was not promoted. Before the first call
    you see an estimate of calls, tokens, cost and time. Ctrl-C ends the search and compares the best candidate so far;
    a second Ctrl-C ends the comparison. Run the same command again to continue.

    Leave DATA out with --from-feedback: corrections and high ratings are learned from, and candidates are compared on
    a sample of all kept executions.

    \b
    hokusai optimize ClassifyText reviews.jsonl --metric accuracy --calls 1500 -o better.json
    hokusai optimize ClassifyText mail.csv --map body=text -i categories="Praise, Complaint" -o better.json
    hokusai run better.json -i text="..." -i categories="Praise, Complaint"
    hokusai optimize EmailDraft --from-feedback --min 100 --metric reply_rate -o better.json
    """
    from hokusai_core import Budget
    from hokusai_core.cli_support.notes import note_once
    from hokusai_core.cli_support.signature_argument import signature_called
    from hokusai_core.plugin_api import read_artifact
    from hokusai_teleprompt.feedback.collector import FeedbackCollector
    from hokusai_teleprompt.finetuner import TelepromptFineTuner
    from hokusai_teleprompt.progress import ProgressLines
    from hokusai_teleprompt.target_signature import find_target

    _check_source(
        from_feedback,
        {"--min": min_count, "--since": since, "--store": store},
        {
            "DATA": data,
            "--strategy": strategy,
            "--valset": valset,
            "-i": inputs,
            "--inputs": source,
            "--map": pairs,
            "--delimiter": delimiter,
        },
    )
    for target in (output, save_candidate, svg):
        _check_writable(target)
    ceilings = {"calls": calls, "tokens": tokens, "cost": cost, "seconds": seconds}
    if budget_file is not None and not any(ceilings.values()):
        raise click.UsageError("--budget-file says what was spent; give --cost, --calls or --tokens too")
    with (
        make_executor(track=track) as executor,
        TelepromptFineTuner(
            optimizer,
            lm,
            Budget(**ceilings, file=budget_file) if any(ceilings.values()) else None,  # type: ignore[arg-type]  # each has its own type
            seed,
            prompt_lm=prompt_lm,
            min_improvement=min_improvement,
            workers=workers,
            progress=True if sys.stderr.isatty() else ProgressLines(),
            workdir=workdir,
            executor=executor,
            optimizer_options=dict(map(_option, options)),
            confirm=CostQuestion(ask_above, yes=yes, ceilings=ceilings),
        ) as finetuner,
    ):
        metric_options = {"judge": judge} if judge else None
        note_once(executor)
        if data is not None:
            signature = name if name.endswith(_CHAIN_FILES) else signature_called(executor, name)
            media = find_target(executor, signature).spec.media_inputs if inputs or source else {}
            optimized = finetuner.compile(
                signature,
                data,
                metric,
                valset,
                testset=testset,
                metric_options=metric_options,
                strategy=strategy,
                inputs=gather_inputs(inputs, source, media),
                mapping=column_mapping(pairs),
                delimiter=delimiter,
            )
        else:
            with FeedbackCollector(store) if store else contextlib.nullcontext() as collector:
                optimized = finetuner.compile_from_feedback(
                    name,
                    collector,
                    metric=metric,
                    metric_options=metric_options,
                    testset=testset,
                    since=since,
                    min_count=min_count or 1,
                )
        if output is not None:
            optimized.save(output)
        found = optimized.promoted or any(trial.chosen for trial in optimized.report.trials)
        if save_candidate is not None and found:
            (optimized.candidate or optimized).save(save_candidate)
        if svg is not None:
            optimized.report.save_svg(svg)
    if as_json:
        print_json(optimized.report.to_dict())
    else:
        click.echo(printable(optimized.report.table()))
    if output is not None and not as_json:
        click.echo(f"\nsaved to {output}: {_saved(optimized, found=found)}, digest {read_artifact(output).digest}")
    if save_candidate is not None and not found:
        click.echo(f"\nthere is no candidate, so {save_candidate} was not written", err=as_json)
    elif save_candidate is not None and not as_json:
        kept = read_artifact(save_candidate)
        state = "promoted" if kept.promoted else "not promoted"
        click.echo(f"\nsaved to {save_candidate}: the best candidate, {state}, digest {kept.digest}")
    if require_better and not optimized.promoted:
        raise click.exceptions.Exit(1)


def _check_source(from_feedback: bool, of_feedback: Mapping[str, Any], of_data: Mapping[str, Any]) -> None:
    """Refuse options that do not go together.

    Args:
        from_feedback: whether feedback is learned from.
        of_feedback: options that go with it.
        of_data: ``DATA``, and options that go with that.

    Raises:
        click.UsageError: there is no data, or an option is for the other kind of data.
    """
    given = [option for option, value in of_data.items() if value]
    if from_feedback and given:
        raise click.UsageError(f"{', '.join(given)} and --from-feedback do not go together")
    if not from_feedback and "DATA" not in given:
        raise click.UsageError("give DATA, a JSONL or CSV file with examples, or --from-feedback")
    wrong = [option for option, value in of_feedback.items() if value is not None]
    if not from_feedback and wrong:
        raise click.UsageError(f"{', '.join(wrong)} goes with --from-feedback")


def _check_writable(target: Path | None) -> None:
    """Refuse a file that cannot be written before an optimization is paid for.

    Raises:
        click.BadParameter: the folder is missing or may not be written to.
    """
    if target is not None and not os.access(target.absolute().parent, os.W_OK | os.X_OK):
        missing = not target.absolute().parent.is_dir()
        raise click.BadParameter(f"{target}: its folder {'does not exist' if missing else 'may not be written to'}")


def _saved(optimized: Any, *, found: bool) -> str:
    if optimized.promoted:
        return "the better signature"
    if found and optimized.candidate is None:
        return "the best candidate, which was not compared with the signature as it was"
    return "the signature as it was"


def _option(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip().isidentifier():
        raise click.BadParameter(f"{text!r}: write OPTION=VALUE", param_hint="--set")
    for kind in (int, float):
        try:
            return name.strip(), kind(value)
        except ValueError:
            continue
    return name.strip(), {"none": None, "true": True, "false": False}.get(value.strip().lower(), value)
