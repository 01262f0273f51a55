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
from typing import Any

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import HokusaiError
from hokusai_core.protocols import EditionSource
from hokusai_core.signature_registry import Edition
from hokusai_core.signatures import FieldSpec, SignatureSpec

__all__ = ["EditionSourceConformance"]

_BASE = SignatureSpec("Shout", "Say it louder.", (FieldSpec("text", "input"), FieldSpec("loud", "output")))
_BETTER = _BASE.evolve(instructions="Say it much louder.", version="1.0.1")


class EditionSourceConformance:
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
        assert make_source().edition("pack/Shout", _BASE, "default") is None

    def test_finds_the_edition(self, make_source: Any) -> None:
        """With the time since when it is in force; asked twice, and by a source that was made before."""
        before, started = make_source(), time.time()
        assert before.edition("pack/Shout", _BASE, "default") is None
        self.put("pack/Shout", _BASE, _BETTER, "default")
        for source in (before, make_source(), before):
            found = source.edition("pack/Shout", _BASE, "default")
            assert isinstance(found, Edition)
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
