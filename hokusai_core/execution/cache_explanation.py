"""Explain why an execution would be served from the cache, or why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hokusai_core.protocols import CacheMaintenance

if TYPE_CHECKING:
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.caching.tiers import CacheTiers
    from hokusai_core.execution.state import ExecutionState

__all__ = ["CacheExplanation", "StoredAnswer", "explain"]

#: Stored entries that are compared at most; the latest come first where the cache lists them so.
_COMPARED = 20_000
_UNREADABLE, _REFUSED = "unreadable", "refused by a validator"
#: Parts of a key whose names do not tell what they are made of.
_IN_WORDS = {
    "fingerprint": "fingerprint (instructions, fields, types or demos)",
    "program": "program (its prompts, or its code)",
    "schema": "schema (it was stored by another version)",
}
#: What is said of a tier in words of its own already.
_PLAIN = ("miss", "expired", _UNREADABLE, _REFUSED)


@frozen
class StoredAnswer:
    """The description of a stored entry; never its outputs.

    Args:
        key: what it is stored under.
        tier: where it is.
        model: name of the model that answered.
        age: seconds since it was stored.
        expires_in: seconds for which it may still be served, negative where it has expired, None for ever.
        latency: seconds that the answer took.
        cost: estimated US dollars that it cost, None where unknown.
    """

    key: str
    tier: str
    model: str
    age: float
    expires_in: float | None
    latency: float
    cost: float | None


@frozen
class CacheExplanation:
    """The explanation why an execution would be served from the cache, or why not.

    Args:
        signature: qualified name of the signature.
        key: what the answer would be stored under, None where nothing would be.
        hit: tier that would answer, None for a miss.
        tiers: tier -> ``hit``, ``miss``, ``expired``, ``unreadable``, ``refused by a validator`` or why it cannot say.
        reason: the explanation in a sentence.
        stored: the entry that would be served, or that is too old to be.
        nearest: for a miss, the stored entry of that signature that differs least.
        differs: parts of the key in which the nearest entry differs: ``fingerprint`` (instructions, fields, types,
            demos), ``model``, ``parameters``, ``adapter``, ``namespace``, ``strategy``, ``schema``, ``input:<field>``.
        parts: part -> digest, as it enters the key.
    """

    signature: str
    key: str | None
    hit: str | None
    reason: str
    tiers: Mapping[str, str] = field(factory=dict)
    stored: StoredAnswer | None = None
    nearest: StoredAnswer | None = None
    differs: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON-able dict."""
        from attrs import asdict

        return asdict(self)

    def __str__(self) -> str:
        return f"{self.signature}: {self.reason}"


def explain(state: ExecutionState, stage: CacheTiers | None, accepts: Callable[[CacheEntry], bool]) -> CacheExplanation:
    """Explain what the cache would do with an execution.

    Args:
        state: the execution, its inputs bound; nothing of it is executed.
        stage: the cache of its executor, None where caching is off.
        accepts: returns whether the validators of its executor let a stored answer pass.
    """
    plan = state.plan
    if stage is None:
        return CacheExplanation(
            plan.name, None, None, "caching is off (cache_enabled=False): nothing is stored or served"
        )
    if plan.strategy is not None and plan.strategy.unversioned:
        names = ", ".join(plan.strategy.unversioned)
        return CacheExplanation(plan.name, None, None, f"nothing is stored or served: {names} has no version")
    if plan.keys is None:
        return CacheExplanation(plan.name, None, None, "testing mode neither stores nor serves answers")
    try:
        key, parts, now = plan.keys.key(state.inputs), plan.keys.explain(state.inputs), time.time()
    except (TypeError, ValueError) as error:
        return CacheExplanation(plan.name, None, None, f"nothing is stored or served: the inputs make no key ({error})")
    tiers: dict[str, str] = {}
    old: StoredAnswer | None = None
    for tier, found in _each_tier(state, stage, key, accepts):
        if not isinstance(found, str) and found is not None:
            answer = _describe(found, tier, now)
            if not found.expired(now, state.ttl):
                tiers[tier] = "hit"
                reason = f"hit in the {tier} cache: {_told(answer)}"
                return CacheExplanation(plan.name, key, tier, reason, tiers, stored=answer, parts=parts)
            found, old = "expired", answer
        tiers[tier] = found or "miss"
    near = _nearest(stage, plan.name, key, parts)
    also = "".join(f"; {tier}: {found}" for tier, found in tiers.items() if found not in _PLAIN)
    if near is None:
        reason = "miss: " + ("the stored answer is too old" if old else "no answer of this signature is stored") + also
        return CacheExplanation(plan.name, key, None, reason, tiers, stored=old, parts=parts)
    tier, entry, differs = near
    nearest = _describe(entry, tier, now)
    if not differs:
        what = "is one that a validator objects to" if _REFUSED in tiers.values() else "is too old or unreadable"
        reason = f"miss: the answer that was stored {what} ({_told(nearest)})"
        return CacheExplanation(plan.name, key, None, reason, tiers, stored=old or nearest, parts=parts)
    named = ", ".join(_IN_WORDS.get(part, part) for part in differs)
    reason = f"miss: the nearest stored answer differs in {named} ({_told(nearest)}){also}"
    return CacheExplanation(plan.name, key, None, reason, tiers, nearest=nearest, differs=differs, parts=parts)


def _each_tier(
    state: ExecutionState, stage: CacheTiers, key: str, accepts: Callable[[CacheEntry], bool]
) -> Iterator[tuple[str, CacheEntry | str | None]]:
    """Yield each tier with what it has under ``key``: an entry, None, or why it cannot say."""
    yield stage.memory.tier, stage.memory.get(key)
    if stage.persistent is None:
        return
    if not state.plan.persist:
        spec = state.plan.spec
        reason = "an output is sensitive" if spec.sensitive & spec.outputs.keys() else "its program has code of its own"
        yield stage.persistent.tier, f"never stored: {reason}"
        return
    try:
        entry = stage.read(key)
    except Exception as error:  # as in an execution, a failure of a cache is reported, not raised
        yield stage.persistent.tier, f"unavailable: {error}"
        return
    if entry is None or entry.expired(time.time(), state.ttl):
        yield stage.persistent.tier, entry
    elif not state.fits(entry):
        yield stage.persistent.tier, _UNREADABLE
    else:
        yield stage.persistent.tier, entry if accepts(entry) else _REFUSED


def _nearest(
    stage: CacheTiers, signature: str, key: str, parts: Mapping[str, str]
) -> tuple[str, CacheEntry, tuple[str, ...]] | None:
    best: tuple[str, CacheEntry, tuple[str, ...]] | None = None
    for tier, entry in _stored(stage, signature):
        names = [*parts, *(name for name in entry.parts if name not in parts)]
        differs = tuple(name for name in names if parts.get(name) != entry.parts.get(name))
        if not differs and entry.key != key:
            continue
        if best is None or (len(differs), -entry.created_at) < (len(best[2]), -best[1].created_at):
            best = tier, entry, differs
    return best


def _stored(stage: CacheTiers, signature: str) -> Iterator[tuple[str, CacheEntry]]:
    for entry in stage.memory.entries(signature):
        yield stage.memory.tier, entry
    persistent = stage.persistent
    if persistent is None or not isinstance(persistent, CacheMaintenance):
        return
    try:
        for entry in islice(persistent.entries(signature), _COMPARED):
            yield persistent.tier, entry
    except Exception:  # what ails it has been told by the look-up
        return


def _describe(entry: CacheEntry, tier: str, now: float) -> StoredAnswer:
    expires_in = None if entry.expires_at is None else entry.expires_at - now
    return StoredAnswer(entry.key, tier, entry.model, now - entry.created_at, expires_in, entry.latency, entry.cost)


def _told(answer: StoredAnswer) -> str:
    if answer.expires_in is None:
        expiry = "never expires"
    elif answer.expires_in > 0:
        expiry = f"expires in {_span(answer.expires_in)}"
    else:
        expiry = f"expired {_span(-answer.expires_in)} ago"
    return f"stored {_span(answer.age)} ago by {answer.model}, {expiry}"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
