"""The conformance suite for edition sources: subclass ``EditionSourceConformance`` in the tests of your plugin.

Example::

    class TestMySource(EditionSourceConformance):
        @pytest.fixture
        def make_source(self):
            return MySource

        def put(self, name, base, better, namespace):
            my_plugin.publish(name, base, better, namespace)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import HokusaiError
from hokusai_core.protocols import EditionSource
from hokusai_core.signature_registry import Edition
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, error_in_fork, refuse_coroutine
from hokusai_core.testing.leftovers import leftovers

__all__ = ["EditionSourceConformance"]

_BASE = SignatureSpec("Shout", "Say it louder.", (FieldSpec("text", "input"), FieldSpec("loud", "output")))
_BETTER = _BASE.evolve(instructions="Say it much louder.", version="1.0.1")

#: Seconds that a listing of 100 signatures may wait for editions.
_QUICK: Final = 2.0


class EditionSourceConformance(Conformance):
    """Tests that every edition source passes.

    The fixture ``make_source`` returns a function that makes a source. Each call in one test opens the same place, at
    first an empty one. The method ``put`` puts an edition there.
    """

    @pytest.fixture
    def make_source(self) -> Callable[[], EditionSource]:
        """Return what makes a source."""
        raise NotImplementedError("define the fixture make_source")

    def put(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
        """Let ``better`` replace ``base``, the signature of that qualified name, in a namespace."""
        raise NotImplementedError("define the method put")

    def test_satisfies_the_protocol(self, make_source: Any) -> None:
        """It has its method."""
        assert isinstance(make_source(), EditionSource)

    def test_an_empty_source_has_no_editions(self, make_source: Any) -> None:
        """There is nothing where nothing was put."""
        found = make_source().edition("pack/Shout", _BASE, "default")
        refuse_coroutine(found)
        assert found is None

    def test_finds_the_edition(self, make_source: Any) -> None:
        """With the time since when it is in force; asked twice, and by a source that was made before."""
        before, started = make_source(), time.time()
        assert before.edition("pack/Shout", _BASE, "default") is None
        self.put("pack/Shout", _BASE, _BETTER, "default")
        for source in (before, make_source(), before):
            found = source.edition("pack/Shout", _BASE, "default")
            assert isinstance(found, Edition)
            assert isinstance(found.signature_class, type)
            assert issubclass(found.signature_class, BaseSignature)
            assert found.signature_class.spec.fingerprint == _BETTER.fingerprint
            assert started - 1 <= found.in_force_since <= time.time() + 1

    @pytest.mark.parametrize(
        "place",
        [("pack/Shout", "other"), ("pack/Shouts", "default"), ("other/Shout", "default"), ("local/Shout", "default")],
    )
    def test_names_and_namespaces_are_told_apart(self, make_source: Any, place: tuple[str, str]) -> None:
        """An edition belongs to one signature of one namespace."""
        self.put("pack/Shout", _BASE, _BETTER, "default")
        assert make_source().edition(place[0], _BASE, place[1]) is None

    @pytest.mark.parametrize("namespace", ["", "../..", "/", "a/b", "naïve ☕", "nul\x00", "n" * 100])
    def test_any_namespace_is_a_name(self, make_source: Any, namespace: str) -> None:
        """A namespace is text and leads nowhere else."""
        assert make_source().edition("pack/Shout", _BASE, namespace) is None

    def test_an_edition_of_another_version_is_not_returned(self, make_source: Any) -> None:
        """If the original has changed since the edition was made, there is no edition, or an error says so."""
        self.put("pack/Shout", _BASE, _BETTER, "default")
        changed = SignatureSpec(
            "Shout", "Say it louder.", (FieldSpec("words", "input"), FieldSpec("loud", "output")), version="2.0.0"
        )
        found: object = None
        with contextlib.suppress(HokusaiError):
            found = make_source().edition("pack/Shout", changed, "default")
        assert found is None

    def test_the_latest_edition_is_found(self, make_source: Any) -> None:
        """Also by a source that has found an earlier one."""
        source = make_source()
        self.put("pack/Shout", _BASE, _BETTER, "default")
        first = source.edition("pack/Shout", _BASE, "default")
        best = _BASE.evolve(instructions="Say it as loud as you can.", version="1.0.2")
        self.put("pack/Shout", _BASE, best, "default")
        second = source.edition("pack/Shout", _BASE, "default")
        assert first is not None
        assert second is not None
        assert second.signature_class.spec.fingerprint == best.fingerprint
        assert second.in_force_since >= first.in_force_since

    def test_asking_changes_nothing(self, make_source: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """Neither the original nor the output of the host."""
        self.put("pack/Shout", _BASE, _BETTER, "default")
        before = _BASE.to_dict()
        make_source().edition("pack/Shout", _BASE, "default")
        assert _BASE.to_dict() == before
        assert tuple(capfd.readouterr()) == ("", "")

    def test_an_edition_outlives_its_source(self, make_source: Any) -> None:
        """Another process finds it, too."""
        self.require("durable")
        assert error_in_fork(lambda: self.put("pack/Shout", _BASE, _BETTER, "default")) is None
        found = make_source().edition("pack/Shout", _BASE, "default")
        assert found is not None
        assert found.signature_class.spec.fingerprint == _BETTER.fingerprint

    def test_works_in_a_forked_process(self, make_source: Any) -> None:
        """A source that was used before finds the same there."""
        source = make_source()
        self.require_fork(source)
        self.put("pack/Shout", _BASE, _BETTER, "default")
        assert source.edition("pack/Shout", _BASE, "default") is not None

        def ask() -> None:
            assert source.edition("pack/Shout", _BASE, "default") is not None
            assert source.edition("pack/Shout", _BASE, "other") is None

        assert error_in_fork(ask) is None

    def test_many_threads_ask_at_once(self, make_source: Any) -> None:
        """Each gets the edition of its own namespace."""
        self.put("pack/Shout", _BASE, _BETTER, "default")
        source = make_source()

        def found(namespace: str) -> bool:
            return source.edition("pack/Shout", _BASE, namespace) is not None

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(found, ["default", "other"] * 20)) == [True, False] * 20

    def test_a_listing_is_quick(self, make_source: Any) -> None:
        """It asks for every installed signature, and leaves nothing open."""
        self.put("pack/Shout", _BASE, _BETTER, "default")
        source = make_source()
        source.edition("pack/Shout", _BASE, "default")
        with leftovers() as left:
            started = time.perf_counter()
            for number in range(100):
                source.edition(f"pack/Shout{number or ''}", _BASE, "default")
            assert time.perf_counter() - started < _QUICK
        assert left() == []
