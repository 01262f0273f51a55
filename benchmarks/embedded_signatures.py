"""What the embedded language model makes of the 16 pre-built signatures, five realistic inputs each.

Every answer is checked: each output is there, has its type, is not empty, and echoes no template placeholder. The
table goes to docs/embedded-model.md. Exits with 1 where an answer fails in another way than by repeating itself or by
being cut off: such a text is an error, and is not well formed.

    python benchmarks/embedded_signatures.py [SIGNATURE ...] [--lm local] [--page docs/embedded-model.md] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import asdict, define, field
from embedded_cases import CASES, LABELS

from hokusai_core import Executor, SignatureSpec
from hokusai_core.errors import ExecutionError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "embedded-model.md"

#: Words in brackets or braces that the reader would have to fill in. In code they are part of the language.
FILL_IN = re.compile(r"\[[^\[\]\n]*[A-Za-z][^\[\]\n]*\](?!\()|\{[^{}\n]*\w[^{}\n]*\}|\$\{|<[A-Za-z_/][\w _/]{0,30}>")
SAMPLE_LENGTH = 260
#: How the errors begin with which the plugin refuses a text of the model.
REFUSED = ("OutputError", "AnswerCutOff")

TITLE = "# The embedded model on the pre-built signatures"
BEFORE = (
    """{good} of {all} executions are well formed: every output is present, of its type, not empty, without a template
    placeholder such as a word in brackets, and without a sentence of the prompt.""",
    """Well formed is not good. Read one by one, {accepted} of 48 answers, the first three to each signature, could be
    used as they are. `{model}` has 135 million parameters: it is for choosing labels and for trying out pipelines. It
    invents names, dates and numbers in free texts, and got {right} of the {labels} labels of ClassifyText right.
    Results with free texts carry a note that says so (`result.notes`), printed once in a process, and a `confidence` is
    a text that it wrote. For texts that matter, name a larger model: with `lm=`, `--lm` or `HOKUSAI_LM`, or
    [larger weights](larger-weights.md) by their path.""",
    """A text that repeats itself in each of three attempts is an `OutputError`: one that ends in a loop, or of which
    more than a quarter of the phrases of four words were there before. What people write has up to 3%, and the answers
    to these cases that were kept have up to 11%. A text that ends at its token limit (`max_tokens`, 512) is an
    `AnswerCutOff`, which is an `OutputError`. Only where an input gives a number of words, as `max_length`, is it cut
    back to a whole sentence. Executions with such an error are not well formed.""",
)
HEAD = (
    "| Signature | Well formed, of 5 | A reader would accept, of 3 | Seconds | Tokens | Sample |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)
#: How many of the first three answers could be used as they are, read one by one; none of the signatures left out.
ACCEPTED = {"ClassifyText": 2, "ClarifyIntent": 1, "ExpandText": 1, "RefineText": 1, "SummarizeText": 1}
AFTER = """Made by `python benchmarks/embedded_signatures.py` on {machine}, with hokusai-local {plugin} and xllamacpp
    {runtime}, at temperature 0. Loading the model, with a first short answer, took {loading} s; after that {rate}
    tokens per second were written, the reading of the prompts included. The inputs are in
    `benchmarks/embedded_cases.py`, their texts in `examples/texts`. Seconds and tokens (prompt + answer) are medians of
    five executions. The sample is the answer to the first one, cut; of ClassifyText, all five."""
#: From ``embedded_demos.py``, on the same machine.
DEMOS = """## Examples as demos

Signatures have examples. Shown as demos they make `ExtractInfo` better on the embedded model: 5 of 27 facts of nine
texts were then on the line of their kind, and 0 without (5 better, none worse; exact McNemar test, p = 0.06). So
this signature shows it its examples, and no other does: whether they help free texts, only reading could tell.
`python benchmarks/embedded_demos.py` repeats it."""


@define
class Run:
    """One execution.

    Args:
        inputs: what was given.
        outputs: what came back; empty where the execution failed.
        problems: what is wrong with it; empty where nothing is.
        seconds: how long it took.
        input_tokens: tokens of the prompts.
        output_tokens: tokens of the answers.
        model: the model that answered.
    """

    inputs: dict[str, Any]
    outputs: dict[str, Any] = field(factory=dict)
    problems: list[str] = field(factory=list)
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in an output."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


def find_problems(spec: SignatureSpec, inputs: dict[str, Any], outputs: dict[str, Any]) -> list[str]:
    """Return what is wrong with the outputs of an execution with these bound inputs."""
    problems = [str(problem) for problem in spec.codec.check(inputs, outputs)]
    given = "\n".join(texts_of(inputs))
    names = "|".join((*spec.inputs, *spec.outputs))
    own_marks = re.compile(rf"[\[{{<$]+({names})[\]}}>]+")
    for name, value in outputs.items():
        for text in texts_of(value):
            marks = [own_marks.search(text)]
            marks += [] if name == "code" else FILL_IN.finditer(text)
            problems += [f"{name}: placeholder {mark[0]!r}" for mark in marks if mark and mark[0] not in given]
            if not re.search(r"\w", text):
                problems.append(f"{name}: nothing but punctuation")
            if any(line in text for line in said_in_prompt(spec)) or form_of(spec, text):
                problems.append(f"{name}: repeats the prompt")
    return problems


def said_in_prompt(spec: SignatureSpec) -> list[str]:
    """Return the sentences of the prompt that no answer has a reason to repeat."""
    sentences = re.split(r"(?<=\.)\s+", " ".join(spec.instructions.split()))
    return [*sentences, *(item.description for item in spec.outputs.values())]


def form_of(spec: SignatureSpec, text: str) -> bool:
    """Return whether a text looks like the inputs of a prompt: it has two of their names, each before a colon."""
    names = [name.replace("_", " ") for name in spec.inputs]
    return sum(bool(re.search(rf"^\W*{name}:", text, re.I | re.M)) for name in names) > 1


def run_case(executor: Executor, name: str, inputs: dict[str, Any], lm: str) -> Run:
    """Run one signature once, without any cache."""
    spec = executor.signatures.resolve(name).spec
    run = Run(inputs)
    started = time.perf_counter()
    try:
        result = executor.execute_signature(name, inputs, lm=lm, cache="off", timeout=None)
    except ExecutionError as error:
        run.problems = [f"{type(error).__name__}: {error}"]
    else:
        run.outputs, run.model = dict(result), result.model
        run.input_tokens, run.output_tokens = result.usage.input_tokens, result.usage.output_tokens
        run.problems = find_problems(spec, spec.binder.bind(inputs), run.outputs)
    run.seconds = time.perf_counter() - started
    return run


def run_all(names: Sequence[str], lm: str) -> tuple[dict[str, list[Run]], float]:
    """Run every case of the named signatures; return the runs and the seconds that the first call took to load."""
    with Executor(plugins=["signatures", "local"], cache_enabled=False) as executor:
        started = time.perf_counter()
        executor.execute_signature("ClassifyText", {"text": "Fine", "categories": "Good, Bad"}, lm=lm, timeout=None)
        loading = time.perf_counter() - started
        runs: dict[str, list[Run]] = {}
        for name in names:
            runs[name] = [run_case(executor, name, inputs, lm) for inputs in CASES[name]]
            good = sum(not run.problems for run in runs[name])
            print(f"{name:17} {good} of {len(runs[name])}  {median_seconds(runs[name]):5.1f} s", flush=True)
            for run in runs[name]:
                for problem in run.problems:
                    print(f"    {problem}", flush=True)
    return runs, loading


def median_seconds(runs: Sequence[Run]) -> float:
    """Return the median duration."""
    return statistics.median(run.seconds for run in runs)


def shortened(value: Any, length: int = SAMPLE_LENGTH) -> str:
    """Return a value as one line of a table, cut at a word."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    text = text if len(text) <= length else text[:length].rpartition(" ")[0] + " …"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def sample(runs: Sequence[Run]) -> str:
    """Return the outputs of the first run, as one cell of a table; all of them where they are labels."""
    if "classification" in runs[0].outputs:
        return ", ".join(str(run.outputs.get("classification", "failed")) for run in runs)
    outputs = runs[0].outputs
    length = SAMPLE_LENGTH // max(1, len(outputs))
    if len(outputs) == 1:
        return shortened(next(iter(outputs.values())))
    return "; ".join(f"*{name}*: {shortened(value, length)}" for name, value in outputs.items())


def row(name: str, runs: Sequence[Run]) -> str:
    """Return the row of one signature."""
    good = sum(not run.problems for run in runs)
    tokens_in = round(statistics.median(run.input_tokens for run in runs))
    tokens_out = round(statistics.median(run.output_tokens for run in runs))
    accepted = ACCEPTED.get(name, 0)
    return (
        f"| {name} | {good} | {accepted} | {median_seconds(runs):.1f} | {tokens_in} + {tokens_out} | {sample(runs)} |"
    )


def machine() -> str:
    """Return what the measurements were taken on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} on {platform.machine()}, {cores} cores, Python {platform.python_version()}"


def page(runs: dict[str, list[Run]], loading: float, lm: str) -> str:
    """Return the page for the documentation."""
    every = [run for of_signature in runs.values() for run in of_signature]
    guessed = [run.outputs.get("classification") for run in runs.get("ClassifyText", ())]
    facts = {
        "good": sum(not run.problems for run in every),
        "all": len(every),
        "accepted": sum(ACCEPTED.values()),
        "model": next((run.model for run in every if run.model), lm),
        "right": sum(guess == label for guess, label in zip(guessed, LABELS, strict=False)),
        "labels": len(guessed),
        "machine": machine(),
        "plugin": version("hokusai-local"),
        "runtime": version("xllamacpp"),
        "loading": round(loading, 1),
        "rate": round(sum(run.output_tokens for run in every) / sum(run.seconds for run in every)),
    }
    rows = "\n".join(row(name, of_signature) for name, of_signature in runs.items())
    before = [wrapped(text.format(**facts)) for text in BEFORE]
    return "\n\n".join([TITLE, *before, HEAD + rows, wrapped(AFTER.format(**facts)), DEMOS]) + "\n"


def wrapped(text: str) -> str:
    """Return a paragraph in lines."""
    return textwrap.fill(" ".join(text.split()), 118, break_on_hyphens=False, break_long_words=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signatures", nargs="*", metavar="SIGNATURE", help="only these; no page is written then")
    parser.add_argument("--lm", default="local", help="language model (default: the embedded one)")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the page")
    parser.add_argument("--json", type=Path, help="where to write every input and output")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.signatures) - set(CASES))
    if unknown:
        parser.error(f"no cases for {', '.join(unknown)}; there are {', '.join(CASES)}")
    runs, loading = run_all(arguments.signatures or list(CASES), arguments.lm)
    if arguments.json:
        records = {name: [asdict(run) for run in of_signature] for name, of_signature in runs.items()}
        arguments.json.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not arguments.signatures:
        arguments.page.write_text(page(runs, loading, arguments.lm), encoding="utf-8")
    problems = [text for of_signature in runs.values() for run in of_signature for text in run.problems]
    return int(any(not text.startswith(REFUSED) for text in problems))


if __name__ == "__main__":
    sys.exit(main())
