"""The conformance suite for batch backends: subclass ``BackendConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyBackend(BackendConformance):
        signature = "acme/Shout"

        @pytest.fixture
        def make_backend(self, cluster):
            return lambda: MyBackend(cluster)

        def inputs(self, number):
            return {"text": f"word {number}"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.batch import FailedExecution
from hokusai_core.protocols import Backend
from hokusai_core.results import ExecutionResult

__all__ = ["BackendConformance"]


class BackendConformance:
    """Tests that every backend passes. The fixture ``make_backend`` returns a function that makes one.

    Attributes:
        signature: qualified name of a signature that the backend can run.
        options: options of ``execute_signature`` that are handed to it.
        failing_inputs: inputs of a row that fails there; None if there is no such row.
    """

    signature: ClassVar[str] = "local/Ask"
    options: ClassVar[Mapping[str, Any]] = {}
    failing_inputs: ClassVar[Mapping[str, Any] | None] = None

    @pytest.fixture
    def make_backend(self) -> Callable[[], Backend]:
        """Return what makes a backend."""
        raise NotImplementedError("define the fixture make_backend")

    @pytest.fixture
    def backend(self, make_backend: Callable[[], Backend]) -> Iterator[Backend]:
        """Yield one backend and close it."""
        made = make_backend()
        yield made
        made.close()

    def inputs(self, number: int) -> dict[str, Any]:
        """Return inputs for a row; override it for another signature."""
        return {"question": f"question {number}"}

    def _results(self, backend: Backend, rows: Any) -> list[tuple[int, Any]]:
        backend.submit(iter(rows), self.signature, self.options)
        return list(backend.results())

    def test_satisfies_the_protocol(self, backend: Backend) -> None:
        """It has every method."""
        assert isinstance(backend, Backend)

    def test_every_row_has_one_outcome(self, backend: Backend) -> None:
        """Indices need not begin at 0 or be dense, because rows that a journal knows are not submitted."""
        indices = [3, 4, 7, *range(20, 40)]
        results = self._results(backend, [(index, self.inputs(index)) for index in indices])
        assert Counter(index for index, _ in results) == Counter(indices)
        for index, outcome in results:
            assert isinstance(outcome, (Mapping, ExecutionResult)), f"row {index} has {outcome!r}"

    def test_rows_are_taken_from_an_iterator(self, backend: Backend) -> None:
        """Rows may come from a file that is larger than the memory, so each is read once."""
        taken: list[int] = []

        def rows() -> Iterator[tuple[int, Mapping[str, Any]]]:
            for index in range(5):
                taken.append(index)
                yield index, self.inputs(index)

        assert len(self._results(backend, rows())) == 5
        assert taken == [0, 1, 2, 3, 4]

    def test_no_rows_give_no_results(self, backend: Backend) -> None:
        """The backend does not wait for any."""
        assert self._results(backend, []) == []

    def test_a_row_that_fails_leaves_the_others_alone(self, backend: Backend) -> None:
        """Its outcome is an error."""
        if self.failing_inputs is None:
            pytest.skip("no row of this signature fails")
        rows = [(0, self.inputs(0)), (1, self.failing_inputs), (2, self.inputs(2))]
        outcomes = dict(self._results(backend, rows))
        assert isinstance(outcomes[1], (Exception, FailedExecution))
        assert isinstance(outcomes[0], (Mapping, ExecutionResult))
        assert isinstance(outcomes[2], (Mapping, ExecutionResult))

    def test_closing_twice_is_harmless(self, make_backend: Callable[[], Backend]) -> None:
        """Also while rows are not finished, and before any was submitted."""
        unused, used = make_backend(), make_backend()
        used.submit(iter([(0, self.inputs(0))]), self.signature, self.options)
        for backend in (unused, used):
            backend.close()
            backend.close()
