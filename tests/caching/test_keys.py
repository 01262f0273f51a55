"""What a key is made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hokusai_core.caching import keys
from hokusai_core.caching.keys import KeyScheme

PARTS = {"fingerprint": "f", "model": ["m", "", "auto"], "parameters": {"temperature": 0.5}, "namespace": "default"}


def scheme(secret: bytes = b"secret", sensitive: frozenset[str] = frozenset(), **parts: Any) -> KeyScheme:
    return KeyScheme({**PARTS, **parts}, sensitive, lambda: secret)


@pytest.mark.parametrize("part", [*PARTS, "new"])
def test_every_part_counts(part: str) -> None:
    inputs = {"question": "?"}
    changed: dict[str, Any] = {part: "changed"}
    assert scheme().key(inputs) == scheme().key(inputs)
    assert scheme(**changed).key(inputs) != scheme().key(inputs)
    digests = (scheme().explain(inputs), scheme(**changed).explain(inputs))
    assert [name for name in digests[1] if digests[0].get(name) != digests[1][name]] == [part]


def test_the_version_of_the_scheme_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scheme().key({}), scheme().explain({})["schema"]
    monkeypatch.setattr(keys, "SCHEMA", keys.SCHEMA + 1)
    assert scheme().key({}) != before[0]
    assert scheme().explain({})["schema"] != before[1]


def test_sensitive_values_enter_hashed_with_the_secret() -> None:
    inputs = {"name": "Ada", "question": "?"}
    veiled = frozenset({"name"})
    assert scheme(b"one", veiled).key(inputs) == scheme(b"one", veiled).key(inputs)
    assert scheme(b"one", veiled).key(inputs) != scheme(b"two", veiled).key(inputs)
    assert scheme(b"one").key(inputs) == scheme(b"two").key(inputs)
    one, two = scheme(b"one", veiled).explain(inputs), scheme(b"two", veiled).explain(inputs)
    assert [name for name in one if one[name] != two[name]] == ["input:name"]


def test_a_secret_that_changes_is_used() -> None:
    """As when a store comes back that was down."""
    secrets = iter([b"one", b"two", b"two"])
    changing = KeyScheme(PARTS, frozenset({"name"}), lambda: next(secrets))
    first, second, third = (changing.key({"name": "Ada"}) for _ in range(3))
    assert first != second == third


@given(st.dictionaries(st.text(), st.integers() | st.booleans() | st.floats() | st.text() | st.none()), st.randoms())
def test_the_order_of_inputs_does_not_count(inputs: dict[str, Any], random: Any) -> None:
    names = list(inputs)
    random.shuffle(names)
    assert scheme().key({name: inputs[name] for name in names}) == scheme().key(inputs)
