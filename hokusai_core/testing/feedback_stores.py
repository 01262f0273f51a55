"""The conformance suite for feedback stores: subclass ``FeedbackStoreConformance`` in the tests of your plugin.

Example::

    class TestMyStore(FeedbackStoreConformance):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "feedback")
"""

from __future__ import annotations

import copy
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from hokusai_core.errors import ExecutionNotFoundError, HokusaiError
from hokusai_core.feedback import KeptExecution
from hokusai_core.protocols import FeedbackStore
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, error_in_fork
from hokusai_core.testing.example_events import make_event, make_feedback, make_outcome
from hokusai_core.testing.leftovers import leftovers

__all__ = ["FeedbackStoreConformance"]

_SPEC = SignatureSpec("Greet", "Greet.", (FieldSpec("name", "input"), FieldSpec("greeting", "output")))


def _keep(store: FeedbackStore, **changes: Any) -> str:
    event = make_event(**changes)
    store.keep(event, _SPEC)
    return event.execution_id


def _ids(executions: Iterator[KeptExecution]) -> list[str]:
    return [kept.execution_id for kept in executions]


class FeedbackStoreConformance(Conformance):
    """Tests that every feedback store passes. The fixture ``make_store`` returns a function that makes one.

    Each call of that function in one test opens the same store, which is empty at first. The fixture ``outage`` lets
    it be out of reach; without it, the test of that is skipped.
    """

    @pytest.fixture
    def make_store(self) -> Callable[[], FeedbackStore]:
        """Return what makes a store."""
        raise NotImplementedError("define the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], FeedbackStore]) -> Iterator[FeedbackStore]:
        """Yield one store and close it."""
        made = make_store()
        yield made
        made.close()

    def test_satisfies_the_protocol(self, store: FeedbackStore) -> None:
        """It has every method."""
        assert isinstance(store, FeedbackStore)

    def test_reads_what_was_kept(self, store: FeedbackStore) -> None:
        """An execution comes back with all that feedback needs."""
        event = make_event()
        store.keep(event, _SPEC)
        (kept,) = store.read()
        for name in ("execution_id", "signature", "signature_version", "fingerprint", "model", "started_at"):
            assert getattr(kept, name) == getattr(event, name)
        assert (dict(kept.inputs), dict(kept.outputs)) == (dict(event.inputs), dict(event.outputs))
        assert kept.feedback == ()
        assert SignatureSpec.from_dict(kept.spec) == _SPEC

    def test_keeping_changes_nothing(self, store: FeedbackStore) -> None:
        """Neither the event nor the feedback, and what is changed after that stays as it was kept."""
        names = ["Ada"]
        event = make_event(inputs={"name": names})
        feedback = make_feedback(event.execution_id)
        before = copy.deepcopy((event, feedback))
        store.keep(event, _SPEC)
        store.add(feedback)
        assert (event, feedback) == before
        names.append("Bob")
        (kept,) = store.read()
        assert kept.inputs == {"name": ["Ada"]}

    def test_keeps_feedback_in_order(self, store: FeedbackStore) -> None:
        """The latest feedback of each source counts, and earlier feedback stays in the history."""
        execution_id = _keep(store)
        first, second = make_feedback(execution_id, rating=1), make_feedback(execution_id, rating=4, comment=None)
        third = make_feedback(execution_id, rating=5, source="other", corrections={})
        for given in (first, second, third):
            store.add(given)
        (kept,) = store.read()
        assert kept.feedback == (first, second, third)
        assert kept.current == (second, third)

    def test_keeping_again_leaves_feedback_alone(self, store: FeedbackStore) -> None:
        """The outputs are replaced."""
        execution_id = _keep(store)
        store.add(make_feedback(execution_id))
        _keep(store, execution_id=execution_id, outputs={"greeting": "again"})
        (kept,) = store.read()
        assert kept.outputs == {"greeting": "again"}
        assert len(kept.feedback) == 1

    def test_feedback_on_an_unknown_execution_is_an_error(self, store: FeedbackStore) -> None:
        """Nothing is stored."""
        with pytest.raises(ExecutionNotFoundError, match="no-such-execution"):
            store.add(make_feedback("no-such-execution"))
        assert list(store.read()) == []

    def test_keeps_whether_an_execution_was_drawn(self, store: FeedbackStore) -> None:
        """Feedback on executions that were drawn at random differs from other feedback."""
        execution_id = _keep(store)
        given = [make_feedback(execution_id, drawn=True, source="one"), make_feedback(execution_id, source="two")]
        for one in given:
            store.add(one)
        (kept,) = store.read()
        assert [one.drawn for one in kept.feedback] == [True, False]

    def test_keeps_outcomes_in_order(self, store: Any) -> None:
        """The latest outcome of each name and source counts. An execution with outcomes only has no feedback."""
        if not hasattr(store, "add_outcome"):
            pytest.skip("this store has no add_outcome(), which is optional")
        execution_id = _keep(store)
        first, second = make_outcome(execution_id, value=0.25), make_outcome(execution_id, value=0.5)
        third = make_outcome(execution_id, name="minutes", value=3.0, higher_is_better=False)
        for outcome in (first, second, third):
            store.add_outcome(outcome)
        (kept,) = store.read(rated=False)
        assert kept.outcomes == (first, second, third)
        assert kept.current_outcomes == (second, third)
        directions = [store.outcome_direction("pack/Greet", name) for name in ("reply_rate", "minutes", "other")]
        assert directions == [True, False, None]
        with pytest.raises(ExecutionNotFoundError, match="no-such-execution"):
            store.add_outcome(make_outcome("no-such-execution"))
        assert store.delete(execution_id)
        _keep(store, execution_id=execution_id)
        (kept,) = store.read()
        assert kept.outcomes == ()

    def test_filters(self, store: FeedbackStore) -> None:
        """By execution, by signature with and without its pack, and by whether there is feedback; oldest first."""
        first, second = _keep(store), _keep(store, signature="other/Greet")
        third = _keep(store, signature="pack/Greeting")
        store.add(make_feedback(second))
        assert _ids(store.read()) == [first, second, third]
        assert _ids(store.read(execution_id=second)) == [second]
        assert _ids(store.read(signature="pack/Greet")) == [first]
        assert _ids(store.read(signature="Greet")) == [first, second]
        assert _ids(store.read(rated=True)) == [second]
        assert _ids(store.read(rated=False)) == [first, third]
        assert _ids(store.read(signature="%")) == []
        assert _ids(store.read(execution_id="no-such-execution")) == []
        assert _ids(store.read(signature="Greet", rated=True)) == [second]

    def test_executions_can_be_searched(self, store: Any) -> None:
        """What is kept is found by time and signature, where the store has a method ``search``."""
        if not hasattr(store, "search"):
            pytest.skip("this store has no search(), which is optional")
        late = _keep(store, signature="pack/Other", started_at=2_000.0)
        old = _keep(store, started_at=1_000.0)
        assert _ids(store.search()) == [old, late]
        assert _ids(store.search(since=1_500.0)) == [late]
        assert _ids(store.search(signature="Other")) == [late]

    def test_deletes(self, store: FeedbackStore) -> None:
        """An execution goes with its feedback, and others stay."""
        keep, remove = _keep(store), _keep(store)
        store.add(make_feedback(remove))
        assert store.delete(remove) is True
        assert store.delete(remove) is False
        assert store.delete("no-such-execution") is False
        assert _ids(store.read()) == [keep]
        with pytest.raises(ExecutionNotFoundError):
            store.add(make_feedback(remove))

    @pytest.mark.parametrize(
        "text", ["", "Grüße, 世界 🌍", "nul\x00byte", "line\nbreak\u2028", "'; DROP TABLE x; --", "x" * 100_000]
    )
    def test_keeps_any_text(self, store: FeedbackStore, text: str) -> None:
        """Values, comments and sources come back as they were."""
        execution_id = _keep(store, inputs={"name": text}, outputs={"greeting": text})
        store.add(make_feedback(execution_id, comment=text, source=text or "x", corrections={"greeting": text}))
        (kept,) = store.read()
        (given,) = kept.feedback
        assert (kept.inputs, kept.outputs) == ({"name": text}, {"greeting": text})
        assert (given.comment, given.source, given.corrections) == (text, text or "x", {"greeting": text})

    def test_two_objects_share_the_store(self, make_store: Callable[[], FeedbackStore]) -> None:
        """What one has stored is durable and visible to the other."""
        first, second = make_store(), make_store()
        execution_id = _keep(first)
        second.add(make_feedback(execution_id))
        (kept,) = first.read(rated=True)
        assert kept.execution_id == execution_id
        first.close()
        second.close()
        self.require("durable")
        third = make_store()
        assert _ids(third.read()) == [execution_id]
        third.close()

    def test_many_threads_store_at_once(self, store: FeedbackStore) -> None:
        """Nothing is lost."""
        kept: list[str] = []
        failures: list[Exception] = []

        def work() -> None:
            try:
                for _ in range(10):
                    execution_id = _keep(store)
                    store.add(make_feedback(execution_id))
                    kept.append(execution_id)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(_ids(store.read(rated=True))) == sorted(kept)
        assert len(kept) == 40

    def test_what_a_killed_process_stored_is_there(self, make_store: Callable[[], FeedbackStore]) -> None:
        """Executions and feedback are durable when the methods return."""
        self.require("durable")
        event = make_event()

        def store_and_die() -> None:
            store = make_store()
            store.keep(event, _SPEC)
            store.add(make_feedback(event.execution_id))
            os.kill(os.getpid(), signal.SIGKILL)

        assert "killed" in str(error_in_fork(store_and_die))
        store = make_store()
        assert _ids(store.read(rated=True)) == [event.execution_id]
        store.close()

    def test_works_in_a_forked_process(self, store: FeedbackStore) -> None:
        """An object that was used before works on both sides; if it is durable, both see what the other keeps."""
        self.require_fork(store)
        before, inside = _keep(store), make_event()

        def use() -> None:
            store.keep(inside, _SPEC)
            store.add(make_feedback(before))
            assert _ids(store.read(rated=True)) == [before]

        assert error_in_fork(use) is None
        after = _keep(store)
        wanted = [before, inside.execution_id, after] if self.durable else [before, after]
        assert sorted(_ids(store.read())) == sorted(wanted)

    def test_an_outage_is_an_error(
        self, store: FeedbackStore, outage: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """What cannot be stored is not passed off as stored, and later the store works again."""
        execution_id = _keep(store)
        with outage():
            for use in (
                lambda: store.keep(make_event(), _SPEC),
                lambda: store.add(make_feedback(execution_id)),
                lambda: list(store.read()),
            ):
                with pytest.raises((HokusaiError, OSError)) as caught:
                    use()
                assert not isinstance(caught.value, ExecutionNotFoundError)
        store.add(make_feedback(execution_id))
        assert _ids(store.read(rated=True)) == [execution_id]

    def test_nothing_is_printed(self, store: FeedbackStore, capfd: pytest.CaptureFixture[str]) -> None:
        """Standard output and error belong to the host."""
        store.add(make_feedback(_keep(store)))
        list(store.read())
        assert tuple(capfd.readouterr()) == ("", "")

    def test_closing_releases_everything(self, make_store: Callable[[], FeedbackStore]) -> None:
        """No file and no thread is left."""
        with leftovers() as left:
            for _ in range(3):
                store = make_store()
                _keep(store)
                store.close()
        assert left() == []

    def test_closing_twice_is_harmless(self, make_store: Callable[[], FeedbackStore]) -> None:
        """Whether it was used or not."""
        unused, used = make_store(), make_store()
        _keep(used)
        for store in (unused, used):
            store.close()
            store.close()
