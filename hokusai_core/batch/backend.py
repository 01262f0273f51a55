"""Run a batch through a backend: on a cluster, or through a provider's batch service."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.batch.results import FailedExecution, Outcome
from hokusai_core.batch.rows import iter_rows
from hokusai_core.errors import ConfigurationError, ExecutionError, OutputError
from hokusai_core.results import ExecutionResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from hokusai_core.batch.rows import Row
    from hokusai_core.batch.scheduler import RowExecution
    from hokusai_core.media import MediaPolicy
    from hokusai_core.signatures import SignatureSpec

__all__ = ["make_backend", "run_on_backend"]


def make_backend(plugins: Any, backend: Any) -> Any:
    """Return the backend of that name, or the object itself.

    Raises:
        ComponentNotFoundError: no plugin offers it.
        ConfigurationError: the object is no backend.
    """
    if isinstance(backend, str):
        return plugins.create("backend", backend)
    if not all(callable(getattr(backend, method, None)) for method in ("submit", "results", "close")):
        raise ConfigurationError(
            f"backend={type(backend).__name__}: expected 'local', a component's name, or an object with submit, "
            "results and close"
        )
    return backend


def run_on_backend(
    backend: Any,
    source: Any,
    execution: RowExecution,
    spec: SignatureSpec,
    signature: str,
    media: MediaPolicy,
    options: Mapping[str, Any],
    deliver: Callable[[Row, Outcome], None],
) -> None:
    """Hand every row that is not over yet to ``backend``, and its outcomes on to ``deliver``.

    Args:
        backend: where rows run.
        source: the rows.
        execution: knows what the journal holds, and notes what is over.
        spec: the signature.
        signature: its qualified name.
        media: which pictures, sounds and files are taken.
        options: those of ``execute_signature``.
        deliver: is given each row that is over.
    """
    waiting: dict[int, Row] = {}

    def submitted() -> Iterator[tuple[int, Mapping[str, Any]]]:
        for row in iter_rows(source):
            known = execution.prepare(row)
            if known is not None:
                deliver(row, known)
                continue
            try:
                spec.binder.bind(row.inputs, media)  # what cannot run is not sent, as sending it is paid
            except Exception as error:
                _over(execution, row, row.failed(error, execution.hidden(row)), deliver)
                continue
            waiting[row.index] = row
            yield row.index, row.inputs

    try:
        backend.submit(submitted(), signature, options)
        for index, given in backend.results():
            row = waiting.pop(index, None)
            if row is not None:
                _over(execution, row, _outcome(row, given, spec, signature, media, execution.hidden(row)), deliver)
        for row in waiting.values():
            lost = ExecutionError(f"row {row.index}: the backend ended without an outcome for it; run the batch again")
            _over(execution, row, row.failed(lost, execution.hidden(row)), deliver)
    finally:
        backend.close()


def _over(execution: RowExecution, row: Row, outcome: Outcome, deliver: Callable[[Row, Outcome], None]) -> None:
    execution.over(row, outcome)
    deliver(row, outcome)


def _outcome(
    row: Row, given: Any, spec: SignatureSpec, signature: str, media: MediaPolicy, hidden: frozenset[str]
) -> Outcome:
    """Return what a backend gave for a row as an outcome: a result, its outputs, or what it failed with."""
    if isinstance(given, ExecutionResult):
        return given
    if isinstance(given, FailedExecution):
        return row.failed(given.error, hidden)
    if isinstance(given, Exception):
        return row.failed(given, hidden)
    if not isinstance(given, Mapping):
        wrong = ExecutionError(f"row {row.index}: the backend gave a {type(given).__name__}, which is no outcome")
        return row.failed(wrong, hidden)
    outputs, problems = spec.codec.settle(spec.binder.bind(row.inputs, media), given)
    if problems:
        text = "; ".join(map(str, problems))
        return row.failed(OutputError(f"row {row.index}: the answer does not fit {signature}: {text}"), hidden)
    return ExecutionResult(
        outputs=outputs,
        execution_id=secrets.token_hex(16),
        signature=signature,
        signature_version=spec.version,
        fingerprint=spec.fingerprint,
    )
