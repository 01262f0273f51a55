"""The result of a batch: one outcome per row, in input order, also for rows that failed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, Self, overload

import orjson
from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.result_view import html_table, plain_values, redacted, values_line
from hokusai_core.results import Attempt, ExecutionResult, Usage, known_cost
from hokusai_core.storage import atomic_write

__all__ = ["BatchResult", "BatchRow", "FailedExecution", "Outcome", "json_text", "outcome_record"]

_SHOWN = 60
#: Version of the record of a row; it grows when a name is removed or means something else.
_SCHEMA_VERSION = 1
#: Rows that are shown of a batch.
_SHOWN_ROWS = 10
#: Columns of a frame, beside those of inputs and outputs.
_FIGURES = frozenset(
    {"index", "error", "attempts", "execution_id", "signature", "model", "cached", "cost", "latency"}
    | {"input_tokens", "output_tokens"}
)


@frozen(eq=False, repr=False)
class FailedExecution:
    """The outcome of a row that failed. Reading an output from it raises the row's error.

    Args:
        index: number of the row, from 0.
        inputs: the row as it was given.
        error: what it failed with.
        attempts: every call of the language model that was made.
        hidden: names of fields whose values must not be shown.
    """

    index: int
    inputs: Any
    error: Exception
    attempts: tuple[Attempt, ...] = ()
    hidden: frozenset[str] = field(default=frozenset())

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts."""
        return sum((attempt.usage for attempt in self.attempts), Usage())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars of all attempts, None where no price is known."""
        return known_cost(attempt.cost for attempt in self.attempts)

    def _ask(self, *_: object) -> NoReturn:
        raise self.error.with_traceback(None)  # else it would grow with every time that it is raised

    # All the ways in which a result is asked for its outputs.
    __getitem__ = __iter__ = get = keys = values = items = _ask
    outputs = property(_ask)

    def __bool__(self) -> bool:
        return False

    def to_dict(self, *, sensitive: bool = False) -> dict[str, Any]:
        """Return the row and its error as a JSON-able dict.

        Args:
            sensitive: whether values of sensitive fields are in it too.
        """
        return outcome_record(self.index, self.inputs, self, frozenset() if sensitive else self.hidden)

    def _repr_html_(self) -> str:
        message = f"{type(self.error).__name__}: {self.error}"
        rows = [("error", message), ("inputs", values_line(redacted(self.inputs, self.hidden)))]
        return html_table((f"row {self.index}", "failed"), rows)

    def __repr__(self) -> str:
        shown = {name: _shortened(value) for name, value in redacted(self.inputs, self.hidden).items()}
        inputs = ", ".join(f"{name}={value}" for name, value in shown.items())
        message = " ".join(str(self.error).split())[:200]
        return f"<FailedExecution row {self.index}: {type(self.error).__name__}: {message} ({inputs})>"


Outcome = ExecutionResult | FailedExecution


class BatchRow(tuple[Any, Any]):  # Any, so that subscripting with a name type-checks
    """A finished row of a batch: the pair of its number and its outcome.

    Subscripting it with a name asks the outcome, so a loop that does not care about numbers need not unpack.

    Attributes:
        inputs: the row as it was given.
        hidden: names of its fields whose values must not be shown.

    Example:
        >>> row = BatchRow(3, ExecutionResult({"answer": "42"}, execution_id="e1", signature="local/Ask"))
        >>> index, outcome = row
        >>> index, row.index, row["answer"], row.ok
        (3, 3, '42', True)
    """

    inputs: Any
    hidden: frozenset[str]

    def __new__(cls, index: int, outcome: Outcome, inputs: Any = None, hidden: frozenset[str] = frozenset()) -> Self:
        """Make the pair."""
        row = super().__new__(cls, (index, outcome))
        row.inputs, row.hidden = inputs, hidden
        return row

    @property
    def index(self) -> int:  # type: ignore[override]  # looking a value up in a pair makes no sense
        """Number of the row, from 0."""
        index: int = tuple.__getitem__(self, 0)
        return index

    @property
    def outcome(self) -> Outcome:
        """The result of the row, or its failure."""
        outcome: Outcome = tuple.__getitem__(self, 1)
        return outcome

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return isinstance(self.outcome, ExecutionResult)

    @property
    def error(self) -> Exception | None:
        """The error of a row that failed, or None."""
        outcome = self.outcome
        return outcome.error if isinstance(outcome, FailedExecution) else None

    def to_dict(self, *, sensitive: bool = False) -> dict[str, Any]:
        """Return the row as ``BatchResult.to_jsonl`` writes it.

        Args:
            sensitive: whether values of sensitive fields are in it too.
        """
        return outcome_record(self.index, self.inputs, self.outcome, frozenset() if sensitive else self.hidden)

    def to_json(self, *, sensitive: bool = False) -> bytes:
        """Return the row as a line of ``BatchResult.to_jsonl``, without the line feed; see ``to_dict``."""
        return json_text(self.to_dict(sensitive=sensitive))

    def __getitem__(self, key: Any) -> Any:
        return self.outcome[key] if isinstance(key, str) else tuple.__getitem__(self, key)

    def __repr__(self) -> str:
        return f"BatchRow({self.index}, {self.outcome!r})"


class BatchResult(Sequence[Outcome]):
    """The outcomes of a batch, one per row, in the order of the rows.

    Args:
        outcomes: result or failure of every row.
        inputs: the rows.
        hidden: for every row, the names of its fields whose values must not be shown.

    Example:
        >>> from hokusai_core import Executor
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Ask", "question -> answer")
        ...     results = executor.execute_batch("Ask", [{"question": "Why?"}, {"query": "Who?"}])
        >>> results[0]["answer"], len(results.succeeded), results.failed[0].index
        ('Sample answer', 1, 1)
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        inputs: Sequence[Any] = (),
        hidden: Sequence[frozenset[str]] = (),
    ) -> None:
        self._outcomes, self._inputs, self._hidden = outcomes, inputs, hidden

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> list[Outcome]: ...
    def __getitem__(self, index: int | slice) -> Outcome | list[Outcome]:
        return list(self._outcomes[index]) if isinstance(index, slice) else self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def succeeded(self) -> list[ExecutionResult]:
        """The results of the rows that succeeded."""
        return [outcome for outcome in self._outcomes if not isinstance(outcome, FailedExecution)]

    @property
    def failed(self) -> list[FailedExecution]:
        """The rows that failed, each with its index, inputs and error."""
        return [outcome for outcome in self._outcomes if isinstance(outcome, FailedExecution)]

    @property
    def usage(self) -> Usage:
        """Tokens of all rows in this run. Rows from a cache or the journal count as zero."""
        return sum((outcome.usage for outcome in self._outcomes), Usage())

    @property
    def cost(self) -> float | None:
        """Estimated US dollars of all rows in this run, None where no price is known."""
        return known_cost(outcome.cost for outcome in self._outcomes)

    def to_jsonl(self, path: str | os.PathLike[str], *, sensitive: bool = False) -> None:
        """Write one JSON object per row to ``path``, in input order. The file is written completely or not at all.

        Each has ``index``, ``inputs``, and either ``outputs`` with ``execution_id`` and figures, or ``error``; where a
        strategy answered, also ``strategy`` and ``extras``, which are empty if a field is sensitive.

        Args:
            path: file to write; replaced where it is there. What is no regular file, such as ``/dev/stdout``, takes
                the lines as they come.
            sensitive: whether values of sensitive fields, and extras that may quote them, are written too.
        """
        atomic_write(path, (json_text(record) + b"\n" for record in self._records(sensitive)))

    def to_pandas(self, *, sensitive: bool = False) -> Any:
        """Return a ``pandas.DataFrame`` with one line per row of the batch: inputs, outputs, error, figures.

        Columns of inputs are called ``input.NAME``; those of outputs ``NAME``, or ``output.NAME`` where that is the
        name of a figure.

        Args:
            sensitive: whether values of sensitive fields are in it too.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigurationError("to_pandas() needs pandas: pip install pandas") from error
        rows = []
        for record in self._records(sensitive):
            del record["schema_version"]
            inputs, outputs = record.pop("inputs"), record.pop("outputs", {})
            failure = record.pop("error", None)
            given = {f"input.{name}": value for name, value in inputs.items()}
            taken = _FIGURES | record.keys()
            found = {f"output.{name}" if name in taken else name: value for name, value in outputs.items()}
            rows.append({**given, **found, "error": failure and f"{failure['type']}: {failure['message']}", **record})
        frame = pandas.DataFrame(rows)
        return frame.set_index("index") if rows else frame

    def _records(self, sensitive: bool) -> Iterator[dict[str, Any]]:
        for index, outcome in enumerate(self._outcomes):
            inputs = self._inputs[index] if index < len(self._inputs) else {}
            hidden = self._hidden[index] if index < len(self._hidden) else frozenset()
            yield outcome_record(index, inputs, outcome, frozenset() if sensitive else hidden)

    @property
    def inputs(self) -> Sequence[Any]:
        """The rows as they were given."""
        return tuple(self._inputs)

    def to_dict(self, *, sensitive: bool = False) -> dict[str, Any]:
        """Return all rows and the totals as a JSON-able dict.

        Args:
            sensitive: whether values of sensitive fields are in it too.
        """
        return {
            "succeeded": len(self.succeeded),
            "failed": len(self.failed),
            "usage": self.usage.to_dict(),
            "cost": self.cost,
            "rows": list(self._records(sensitive)),
        }

    def __str__(self) -> str:
        lines = [f"{index}: {text}" for index, text in self._shown()]
        left = len(self) - len(lines)
        lines += [f"... and {left:,} more rows"] if left else []
        failed = len(self.failed)
        return "\n".join([f"{len(self) - failed:,} rows succeeded, {failed:,} failed", *lines])

    def _repr_html_(self) -> str:
        failed = len(self.failed)
        caption = f"{len(self) - failed:,} rows succeeded, {failed:,} failed"
        return html_table(("row", "outcome"), ((str(index), text) for index, text in self._shown()), caption)

    def _shown(self) -> list[tuple[int, str]]:
        """Return the first rows for people, each in a line."""
        found = []
        for index, outcome in enumerate(self._outcomes[:_SHOWN_ROWS]):
            hidden = self._hidden[index] if index < len(self._hidden) else frozenset()
            if isinstance(outcome, FailedExecution):
                message = " ".join(str(outcome.error).split())[:200]
                found.append((index, f"failed: {type(outcome.error).__name__}: {message}"))
            else:
                found.append((index, values_line(outcome, hidden | outcome.sensitive)))
        return found

    def __repr__(self) -> str:
        failed = len(self.failed)
        return f"<BatchResult {len(self) - failed} succeeded, {failed} failed>"


def outcome_record(index: int, inputs: Any, outcome: Outcome, hidden: frozenset[str]) -> dict[str, Any]:
    """Return a row and its outcome as a JSON-able dict, without the values of ``hidden`` fields."""
    record: dict[str, Any] = {"schema_version": _SCHEMA_VERSION, "index": index, "inputs": plain_values(inputs, hidden)}
    if isinstance(outcome, FailedExecution):
        error = outcome.error
        return record | {
            "error": {"type": type(error).__name__, "message": str(error)},
            "attempts": len(outcome.attempts),
        }
    record |= {
        "outputs": plain_values(outcome.outputs, hidden),
        "execution_id": outcome.execution_id,
        "signature": outcome.signature,
        "model": outcome.model,
        "cached": outcome.cached,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost": outcome.cost,
        "latency": outcome.latency,
    }
    if getattr(outcome, "strategy", ""):  # a chain has none
        record["strategy"] = outcome.strategy
        record["extras"] = {} if hidden else plain_values(outcome.extras)  # they may quote any sensitive value
    return record


def json_text(record: Mapping[str, Any]) -> bytes:
    """Return a record of JSON-able values as JSON, where names and messages may hold what is no valid Unicode."""
    try:
        return orjson.dumps(record)
    except TypeError:
        return orjson.dumps(_valid(record))


def _valid(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_valid(name): _valid(item) for name, item in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # of a class of the caller's, or nested too deeply
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
