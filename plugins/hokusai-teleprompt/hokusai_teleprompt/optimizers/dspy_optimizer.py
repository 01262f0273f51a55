"""DspyOptimizer: the base class of components that run an optimizer of DSPy.

These optimizers return a candidate only when they are done, and lose everything when they are interrupted. A
ScoreRecorder keeps the score of every candidate on every example, and reports each candidate as soon as it is scored.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dspy
from attrs import define, evolve, field

from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Candidate, OptimizationExample, OptimizationTask
from hokusai_teleprompt.optimizers.example_demos import demo_problems, fitting_predictors
from hokusai_teleprompt.optimizers.output_capture import CAPTURED, capture_output
from hokusai_teleprompt.optimizers.signature_program import FieldNames, ModuleProgram, SignatureProgram
from hokusai_teleprompt.study.candidate_search import candidate_key
from hokusai_teleprompt.study.phase_budget import StudyFailed, StudyStop

__all__ = ["DspyOptimizer", "DspyTask", "ScoreRecorder"]

#: Seconds to wait for running calls when a search is stopped.
_PATIENCE = 10.0


class DspyTask:
    """A task in the form that DSPy's optimizers take.

    Args:
        task: the task.
        label: name of its candidates in reports.
    """

    def __init__(self, task: OptimizationTask, label: str) -> None:
        self.task, self.names = (
            task,
            FieldNames(task.signature, program=task.program is not None and task.signature.strategy is None),
        )
        self._examples: dict[int, OptimizationExample] = {}
        self.train = [self._example(example) for example in task.train]
        self.dev = [self._example(example) for example in task.dev]
        self.recorder = ScoreRecorder(task, self.dev, label)

    def _example(self, example: OptimizationExample) -> Any:
        made = self.names.example(example)
        self._examples[id(made)] = example
        return made

    @property
    def lm(self) -> Any:
        """The language model that is optimized for."""
        return self.task.model.lm

    @property
    def prompt_lm(self) -> Any:
        """The language model that writes instructions."""
        return (self.task.prompt_model or self.task.model).lm

    @property
    def judged(self) -> list[Any]:
        """The examples for an optimizer that learns and chooses by the same ones."""
        return [*self.train, *self.dev]

    def student(self, *, keep_demos: bool = False) -> SignatureProgram | ModuleProgram:
        """Return the program to improve."""
        if self.task.program is not None:
            return _RecordedModule(self.names, self.task.program, keep_demos=keep_demos, ran=self.task.ran)
        safe = {**self.names.inputs, **self.names.outputs}
        demos = self.task.signature.demos if keep_demos else ()
        return _RecordedProgram(self.names, [dspy.Example({safe[name]: demo[name] for name in demo}) for demo in demos])

    def demo_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of an optimizer, without examples as demos where they fit no predictor of the program."""
        if self.task.program is None or fitting_predictors(self.task):
            return dict(options)
        return {**options, "max_labeled_demos": 0}

    def metric(self, example: Any, prediction: Any, trace: Any = None, *_more: Any) -> float:
        """Return the score of a prediction, in the form of a DSPy metric."""
        good, _ = self.judge(example, prediction)
        return good

    def judge(self, example: Any, prediction: Any) -> tuple[float, dict[str, Any]]:
        """Return how good a prediction is, and its outputs.

        Raises:
            StudyFailed: the metric raised.
        """
        source = self._examples[id(example)] if id(example) in self._examples else self._found(example)
        outputs: dict[str, Any] = {}
        problems: Sequence[Any] = ("no prediction",)
        if prediction is not None:
            outputs, problems = self.task.signature.codec.settle(source.inputs, self.names.outputs_of(prediction))
        good = 0.0 if problems else self._score(source, outputs)
        tried = getattr(prediction, "_hokusai_candidate", None)
        if tried is not None:
            self.recorder.note(tried, example, good)
        return good, outputs

    def _score(self, example: OptimizationExample, outputs: dict[str, Any]) -> float:
        try:
            score = float(self.task.metric(example.outputs, outputs, example.inputs))
            if not math.isfinite(score):
                raise OptimizationError(f"the metric returned {score:g}; it must return a finite number")
            return score
        except Exception as error:  # DSPy would take it for a bad answer and go on
            raise StudyFailed(f"the metric raised {type(error).__name__}: {error}", error) from error

    def _found(self, example: Any) -> OptimizationExample:
        """Return the example of an equal copy."""
        for known in (*self.train, *self.dev):
            if known.toDict() == example.toDict():
                return self._examples[id(known)]
        raise OptimizationError("the optimizer scored an example that it was not given")


class _RecordedProgram(SignatureProgram):
    """A program whose predictions carry their candidate."""

    def forward(self, **inputs: Any) -> Any:
        """Predict the outputs."""
        return _recorded(super().forward(**inputs), self)


class _RecordedModule(ModuleProgram):
    """A program of several predictors whose predictions carry their candidate."""

    def forward(self, **inputs: Any) -> Any:
        """Run the program."""
        return _recorded(super().forward(**inputs), self)


def _recorded(prediction: Any, program: SignatureProgram | ModuleProgram) -> Any:
    if isinstance(prediction, dspy.Prediction):
        object.__setattr__(prediction, "_hokusai_candidate", program.candidate())
    return prediction


def _wait_for_threads(task: OptimizationTask, before: Sequence[threading.Thread]) -> None:
    """Wait for threads that DSPy has left running, while they are still captured and may make no call."""
    for model in (task.model, task.prompt_model):
        stop = getattr(getattr(model, "lm", None), "stop", None)
        if stop is not None:
            stop("the search has ended")
    end = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if thread not in before and thread.name.startswith("ThreadPoolExecutor"):
            thread.join(max(0.0, end - time.monotonic()))


class DspyOptimizer(ABC):
    """An optimizer of DSPy as a component.

    It runs in its own DSPy context, with its output captured and its calls metered. Errors that DSPy swallows are
    raised: an error of the metric or of the language model with its first traceback, and a search without a result.
    """

    #: Name of the component.
    name = ""
    #: Fewest examples to learn from, and to choose by.
    least_train, least_dev = 1, 1
    #: Whether it makes demos, which needs an output that is not sensitive.
    makes_demos = False

    def check(self, task: OptimizationTask) -> Sequence[str]:
        """Return the reasons why this optimizer cannot work on ``task``."""
        problems = []
        if len(task.train) < self.least_train:
            problems.append(f"{self.name} needs {self.least_train} examples to learn from; there are {len(task.train)}")
        if len(task.dev) < self.least_dev:
            problems.append(f"{self.name} needs {self.least_dev} examples to choose by; there are {len(task.dev)}")
        return [*problems, *(demo_problems(self.name, task) if self.makes_demos else ())]

    def propose(self, task: OptimizationTask) -> Iterator[Candidate]:
        """Yield the result of the optimizer; ``task.found`` is called with the candidates that it tries.

        Raises:
            OptimizationError: it failed; the cause is the first error.
            StudyStop: no further call may be made.
        """
        dspy_task = DspyTask(task, self.name)
        try:
            program = self._run(dspy_task)
        except (StudyStop, KeyboardInterrupt):
            dspy_task.recorder.report_unfinished()
            raise
        except StudyFailed as failure:
            raise OptimizationError(f"{self.name} on {task.signature.name}: {failure.problem}") from failure.cause
        yield program.candidate(self.name)

    def _run(self, dspy_task: DspyTask) -> Any:
        task = dspy_task.task
        settings: dict[str, Any] = {
            "lm": task.model.lm,
            "adapter": task.model.adapter,
            "callbacks": [],
            "trace": None,
            "disable_history": True,
            "track_usage": False,
            "warn_on_type_mismatch": False,
            "provide_traceback": True,
            # Answers that do not fit are part of a search; the call counter ends it if the language model is dead.
            "max_errors": 1_000_000_000,
            "num_threads": task.workers,
            CAPTURED: True,
        }
        with capture_output() as errors, dspy.context(**settings):
            before = threading.enumerate()
            try:
                program = self._compile(dspy_task)
            except BaseException as error:
                _wait_for_threads(task, before)
                # Progress bars that were not closed draw themselves when they are deleted; that has to be captured.
                traceback.clear_frames(error.__traceback__)
                if not isinstance(error, Exception):
                    raise
                raise OptimizationError(
                    f"{self.name} failed on {task.signature.name}: {type(error).__name__}: {error}"
                ) from (errors.error or error)
        problem = self._problem(program, errors.messages)
        if problem:
            raise OptimizationError(f"{self.name} found nothing for {task.signature.name}: {problem}") from errors.error
        return program

    def _problem(self, program: Any, messages: Sequence[str]) -> str | None:
        """Return why the result is a failure, None if it is not."""
        if getattr(program, "flag_compilation_error_occurred", False):
            return f"a step failed: {'; '.join(messages[:2])}"
        return None

    @abstractmethod
    def _compile(self, dspy_task: DspyTask) -> Any:
        """Run the optimizer and return its program."""


#: Share of the examples on which an interrupted candidate must be scored to count as tried.
_ENOUGH = 0.6


@define
class _Record:
    candidate: Candidate
    scores: dict[int, float] = field(factory=dict)
    reported: bool = False

    @property
    def mean(self) -> float:
        return sum(self.scores.values()) / len(self.scores)


class ScoreRecorder:
    """Collects scores; safe to use from many threads.

    Args:
        task: the task; its ``found`` is called.
        dev: the examples that candidates are chosen by, as DSPy has them.
        label: name of the candidates in reports.
    """

    def __init__(self, task: OptimizationTask, dev: Sequence[Any], label: str) -> None:
        self._task, self._label = task, label
        self._index = {id(example): number for number, example in enumerate(dev)}
        self._dev = dev  # kept alive, because an id may be reused for another example
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def note(self, candidate: Candidate, example: Any, good: float) -> None:
        """Record the score of a candidate on an example."""
        number = self._index.get(id(example))
        if number is None:
            return
        key = candidate_key(candidate)
        with self._lock:
            record = self._records.setdefault(key, _Record(candidate))
            record.scores[number] = good
            if record.reported or len(record.scores) < len(self._index):
                return
            record.reported = True
            number_reported = sum(item.reported for item in self._records.values())
            found = evolve(record.candidate, score=record.mean, label=f"{self._label} {number_reported}")
        self._task.found(found)

    def report_unfinished(self) -> None:
        """Report the candidates that were nearly done when the search was interrupted."""
        with self._lock:
            open_ = [item for item in self._records.values() if not item.reported]
            nearly = [item for item in open_ if len(item.scores) >= _ENOUGH * len(self._index)]
            for record in nearly:
                record.reported = True
        for record in nearly:
            self._task.found(evolve(record.candidate, score=record.mean, label=f"{self._label}, unfinished"))
