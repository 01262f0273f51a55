"""The registry: which signature a name stands for, and what is said where none does."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable
from typing import Any

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.components import Owner
from hokusai_core.errors import (
    AmbiguousSignatureError,
    ConfigurationError,
    SignatureDefinitionError,
    SignatureExistsError,
    SignatureNotFoundError,
)
from hokusai_core.signature_registry import SignaturePack, SignatureRegistry
from hokusai_core.signatures import FieldSpec, InputField, OutputField, SignatureSpec


def make(name: str, **metadata: Any) -> type[BaseSignature]:
    return type(BaseSignature)(name, (BaseSignature,), {"x": InputField(), "y": OutputField(), **metadata})  # type: ignore[misc, no-any-return, return-value]


def registry(*packs: tuple[str, Iterable[Any]], **prefer: str) -> SignatureRegistry:
    made = [SignaturePack(Owner(name, f"dist-{name}", "1.0"), tuple(signatures)) for name, signatures in packs]
    return SignatureRegistry(lambda: made, {name: target.replace("__", "/") for name, target in prefer.items()})


def test_short_names_qualified_names_and_aliases() -> None:
    found = registry(("a", [make("Draft", aliases=("Write",)), make("Other")]), ("b", [make("Third")]))
    for name in ("Draft", "a/Draft", "Write", "a/Write"):
        assert found.resolve(name).qualified_name == "a/Draft"
    assert found.names() == ["Draft", "Other", "Third"]
    assert [entry.owner.distribution for entry in found.list()] == ["dist-a", "dist-a", "dist-b"]


def test_a_name_of_two_packs_is_ambiguous() -> None:
    packs = ("a", [make("Draft", version="1.2.0"), make("Own")]), ("b", [make("Draft", version="3.0.0")])
    found = registry(*packs)
    with pytest.raises(AmbiguousSignatureError) as caught:
        found.resolve("Draft")
    message = str(caught.value)
    assert "a/Draft 1.2.0, b/Draft 3.0.0" in message
    assert "HOKUSAI_PREFER=Draft=a/Draft" in message
    assert found.resolve("b/Draft").spec.version == "3.0.0"
    assert found.names() == ["a/Draft", "b/Draft", "Own"]
    preferring = registry(*packs, Draft="b__Draft")
    assert preferring.resolve("Draft").qualified_name == "b/Draft"
    assert preferring.names() == ["a/Draft", "Draft", "Own"]
    with pytest.raises(ConfigurationError, match=r"prefers 'c/Draft' for 'Draft', but there are only a/Draft, b/Draft"):
        registry(*packs, Draft="c__Draft").resolve("Draft")


def test_a_short_name_keeps_its_meaning_when_another_pack_comes() -> None:
    def packs(*since: float | None) -> SignatureRegistry:
        made = [
            SignaturePack(Owner(name, f"dist-{name}", "1.0"), (make("Draft", aliases=("Write",)),), when)
            for name, when in zip("abc", since, strict=False)
        ]
        return SignatureRegistry(lambda: made)

    found = packs(30.0, 10.0, 20.0)
    assert [found.resolve(name).qualified_name for name in ("Draft", "Write")] == ["b/Draft", "b/Draft"]
    assert found.names() == ["a/Draft", "Draft", "c/Draft"]
    assert found.resolve("a/Draft").owner.plugin == "a"
    for unknown in (packs(10.0, 10.0), packs(10.0, None)):
        assert unknown.meaning("Draft") is None
        with pytest.raises(AmbiguousSignatureError):
            unknown.resolve("Draft")


def test_a_preference_gives_a_signature_another_name() -> None:
    found = registry(("a", [make("Draft")]), Write="a__Draft")
    assert found.resolve("Write") is found.resolve("Draft")
    assert found.names() == ["Draft"]
    with pytest.raises(ConfigurationError, match="prefers 'a/Drift' for 'Write', but there are only a/Draft"):
        registry(("a", [make("Draft")]), Write="a__Drift").resolve("Write")


def test_an_alias_never_hides_the_name_of_another_pack() -> None:
    found = registry(("a", [make("Draft", aliases=("Write",))]), ("b", [make("Write")]))
    with pytest.raises(AmbiguousSignatureError):
        found.resolve("Write")
    same_pack = registry(("a", [make("Draft", aliases=("Write",)), make("Write")]))
    assert same_pack.resolve("Write").name == "Write"


def test_unknown_names_come_with_a_guess() -> None:
    found = registry(("a", [make("EmailDraft", aliases=("Mail",))]))
    with pytest.raises(SignatureNotFoundError, match="no signature 'EmialDraft'; did you mean 'EmailDraft'"):
        found.resolve("EmialDraft")
    with pytest.raises(SignatureNotFoundError, match="did you mean 'a/EmailDraft'"):
        found.resolve("a/EmailDraf")
    with pytest.raises(SignatureNotFoundError, match="no signature pack is installed and enabled"):
        registry().resolve("X")


def test_registering_never_overwrites_silently() -> None:
    found = registry(("a", [make("Draft", version="9.0")]))
    mine = make("Mine")
    with pytest.raises(SignatureExistsError, match=r"'Draft' is registered already \(a/Draft 9.0\).*replace=True"):
        found.register("Draft", mine)
    before = found.generation
    entry = found.register("Draft", mine, replace=True)
    assert entry.shadows == ("a/Draft",)
    assert found.generation > before
    assert found.resolve("Draft") is entry
    assert found.resolve("local/Draft") is entry
    assert found.resolve("a/Draft").spec.version == "9.0"
    assert found.names() == ["a/Draft", "Draft"]
    with pytest.raises(SignatureExistsError):
        found.register("Draft", make("Again"))
    again = found.register("Draft", make("Again"), replace=True)
    assert found.resolve("Draft") is again


def test_what_was_resolved_before_follows_a_replacement() -> None:
    found = registry(("a", [make("Draft")]))
    assert found.resolve("Draft").owner.plugin == "a"
    found.register("Draft", make("Mine"), replace=True)
    assert found.resolve("Draft").owner.plugin == "local"


def test_only_what_can_be_run_is_registered() -> None:
    found = registry()

    class Empty(BaseSignature):
        pass

    with pytest.raises(SignatureDefinitionError, match="'Empty' cannot be used"):
        found.register("Empty", Empty)
    with pytest.raises(SignatureDefinitionError, match="expected a BaseSignature class, got int"):
        found.register("X", 3)  # type: ignore[arg-type]
    for name in ("", "a/b", "a b", "1x"):
        with pytest.raises(SignatureDefinitionError, match="use letters"):
            found.register(name, make("Ok"))
    spec = SignatureSpec("S", "i", (FieldSpec("y", "output"),))
    assert found.register("S", spec).signature_class is not None
    program = found.register("P", SignatureSpec("P", "", ()), program=object())
    assert program.signature_class is None
    assert found.names() == ["P", "S"]


def test_a_bad_signature_costs_the_pack_only_itself() -> None:
    class Bad(BaseSignature):
        x: bytes = InputField()
        y = OutputField()

    found = registry(("a", [make("Good"), Bad, 3, make("Good")]))
    assert found.names() == ["Good"]
    assert [failure.qualified_name for failure in found.failures()] == ["a/Bad", "a/int", "a/Good"]
    for name in ("Bad", "a/Bad"):
        with pytest.raises(SignatureDefinitionError, match=r"'a/Bad' of a \(dist-a 1.0\)") as caught:
            found.resolve(name)
        assert "field 'x': type bytes" in str(caught.value)


def test_deprecation_is_said_once() -> None:
    found = registry(("a", [make("Old", deprecated="use New"), make("Older", deprecated=True)]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("Old", "a/Old", "Old", "Older"):
            found.resolve(name)
    assert [str(item.message) for item in caught] == [
        "signature a/Old is deprecated: use New",
        "signature a/Older is deprecated",
    ]
    assert {item.category for item in caught} == {DeprecationWarning}
    assert caught[0].filename == __file__


def test_packs_are_loaded_once_and_only_when_needed() -> None:
    calls: list[int] = []

    def load() -> list[SignaturePack]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("not yet")
        return [SignaturePack(Owner("a"), (make("Draft"),))]

    found = SignatureRegistry(load)
    assert calls == []
    with pytest.raises(OSError, match="not yet"):
        found.names()
    assert found.names() == ["Draft"]
    found.resolve("Draft")
    assert len(calls) == 2


def test_many_threads_see_one_registry() -> None:
    found = registry(("a", [make(f"S{number}") for number in range(20)]))
    barrier, errors = threading.Barrier(8), []

    def work(worker: int) -> None:
        try:
            barrier.wait(10)
            for number in range(20):
                entry = found.register(f"T{worker}_{number}", make("T"))
                assert found.resolve(f"T{worker}_{number}") is entry
                assert found.resolve(f"S{number}").owner.plugin == "a"
                assert len(found.names()) >= 20
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(found.list()) == 20 + 8 * 20


def test_a_spec_built_in_many_threads_is_one() -> None:
    cls, seen = make("Shared"), []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(10)
        seen.append(cls.spec)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 8
    assert all(spec is seen[0] for spec in seen)
