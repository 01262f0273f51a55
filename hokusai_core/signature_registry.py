"""SignatureRegistry: finds signatures by name."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from hokusai_core.base_signature import BaseSignature
from hokusai_core.components import Owner
from hokusai_core.errors import (
    AmbiguousSignatureError,
    ConfigurationError,
    SignatureDefinitionError,
    SignatureExistsError,
    SignatureNotFoundError,
)
from hokusai_core.process import fork_callbacks
from hokusai_core.signatures.spec import SignatureSpec
from hokusai_core.suggestions import did_you_mean

__all__ = ["LOCAL", "Edition", "RegisteredSignature", "SignatureFailure", "SignaturePack", "SignatureRegistry"]

#: Owner of what the host registers itself.
LOCAL = Owner("local")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def _tuple(value: Iterable[type[BaseSignature]]) -> tuple[type[BaseSignature], ...]:
    return tuple(value)


@frozen
class SignaturePack:
    """The signatures of one plugin.

    Args:
        owner: the plugin.
        signatures: its signature classes.
        since: when it came into this environment, in seconds since the epoch; None where that is not known. A short
            name means the signature of the pack that was there first.
    """

    owner: Owner
    signatures: tuple[type[BaseSignature], ...] = field(converter=_tuple)
    since: float | None = None


@frozen(eq=False)
class Edition:
    """A signature that replaces another one under its name.

    Args:
        signature_class: the signature.
        in_force_since: when it took the place of the original, in seconds since the epoch.
        note: why it did, in words.
        source: qualified name of the edition source; filled in by the core.
    """

    signature_class: type[BaseSignature]
    in_force_since: float
    note: str = ""
    source: str = ""


@frozen(eq=False)
class RegisteredSignature:
    """A signature under the name by which it is found.

    Args:
        name: short name.
        qualified_name: ``pack/Name``; always finds it.
        owner: the plugin that brought it, ``local`` for the host.
        spec: the signature as data.
        signature_class: the signature as a class.
        program: a ``dspy.Module`` that runs instead of a plain prediction, or None. An edition keeps it, and has the
            states of its predictors in ``spec``.
        shadows: qualified names that the short name would mean without this one.
        edition: the edition that replaces the original; ``spec`` and ``signature_class`` are then its own.
        original: the signature that the edition replaces, None where there is no edition.
    """

    name: str
    qualified_name: str
    owner: Owner
    spec: SignatureSpec
    signature_class: type[BaseSignature] | None
    program: Any = None
    shadows: tuple[str, ...] = ()
    edition: Edition | None = None
    original: type[BaseSignature] | None = None

    @property
    def program_fingerprint(self) -> str:
        """Hash of what the program takes and gives, without what was found for its predictors."""
        return self.spec.evolve(predictors={}, demos=()).fingerprint


@frozen
class SignatureFailure:
    """A signature of a pack that cannot be used; the others of the pack can.

    Args:
        name: its short name.
        owner: the plugin that brought it.
        cause: what is wrong with it.
    """

    name: str
    owner: Owner
    cause: Exception

    @property
    def qualified_name(self) -> str:
        """``pack/Name``."""
        return f"{self.owner.plugin}/{self.name}"


_Entries = list[RegisteredSignature]  # inside the class, ``list`` is its method


class SignatureRegistry:
    """Finds signatures by name. Safe to use from many threads.

    Args:
        load_packs: called once, when a signature is first needed.
        prefer: short name -> qualified name, for names that several packs have. A name that no pack has becomes
            another name for that signature.
        find_edition: returns the edition that replaces a signature, given its qualified name and its spec.
        settle: returns a spec with the versions of the strategy that it declares.

    Example:
        >>> from hokusai_core import InputField, OutputField
        >>> class Shout(BaseSignature):
        ...     text: str = InputField()
        ...     loud: str = OutputField()
        >>> registry = SignatureRegistry(lambda: [SignaturePack(Owner("demo"), (Shout,))])
        >>> registry.resolve("Shout").qualified_name
        'demo/Shout'
    """

    def __init__(
        self,
        load_packs: Callable[[], Iterable[SignaturePack]],
        prefer: Mapping[str, str] | None = None,
        *,
        find_edition: Callable[[str, SignatureSpec], Edition | None] = lambda name, spec: None,
        settle: Callable[[SignatureSpec], SignatureSpec] = lambda spec: spec,
    ) -> None:
        self._load_packs, self._find_edition, self._settle = load_packs, find_edition, settle
        self._prefer = dict(prefer or {})
        self._lock = threading.RLock()
        self._loaded = False
        self._entries: dict[str, RegisteredSignature] = {}
        self._failures: dict[str, SignatureFailure] = {}
        #: When packs came, by the names of their plugins.
        self._since: dict[str, float | None] = {}
        #: What short names and aliases were found to mean; replaced, never changed, when a signature is added.
        self._found: dict[str, RegisteredSignature] = {}
        self._warned: set[str] = set()
        #: A number that grows whenever the signature of a name may have changed.
        self.generation = 0
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def register(
        self,
        name: str,
        signature: type[BaseSignature] | SignatureSpec,
        *,
        replace: bool = False,
        owner: Owner = LOCAL,
        program: Any = None,
    ) -> RegisteredSignature:
        """Register a signature under ``name``.

        Args:
            name: short name; letters, digits, ``_``, ``.`` and ``-``.
            signature: the class, or the spec, which of a program may lack outputs.
            replace: replace the one registered under that name, or shadow those that packs have.
            owner: who registers it.
            program: the module that runs it.

        Raises:
            SignatureDefinitionError: where the name or the signature cannot be used.
            SignatureExistsError: where the name is taken and ``replace`` was not given.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SignatureDefinitionError(f"name {name!r}: use letters, digits, '_', '.' and '-', and no digit first")
        spec, cls = _spec_and_class(name, signature, checked=program is None)
        spec = self._settle(spec)
        with self._lock:
            self._ensure_loaded()
            qualified = f"{owner.plugin}/{name}"
            others = [item for item in self._candidates(name) if item.qualified_name != qualified]
            if not replace and (others or qualified in self._entries):
                taken = ", ".join(f"{item.qualified_name} {item.spec.version}" for item in others) or qualified
                raise SignatureExistsError(
                    f"signature {name!r} is registered already ({taken}); choose another name, or pass replace=True"
                )
            # What takes the place of a pack's signature means no more than that one did.
            shadows = tuple(item.qualified_name for item in others) if owner.plugin == LOCAL.plugin else ()
            entry = self._edited(RegisteredSignature(name, qualified, owner, spec, cls, program, shadows))
            self._entries[qualified] = entry
            self._failures.pop(qualified, None)
            self._found = {}
            self.generation += 1
            return entry

    def refresh(self, name: str) -> RegisteredSignature:
        """Ask again which edition replaces a signature; call it after one was promoted or rolled back.

        Args:
            name: name of the signature.

        Raises:
            SignatureNotFoundError: no such signature.
            ComponentConflictError: several edition sources have an edition of it.
        """
        with self._lock:
            self._ensure_loaded()
            entry = self._find(name)
            if entry.original is not None:
                entry = evolve(
                    entry,
                    spec=self._settle(entry.original.spec),
                    signature_class=entry.original,
                    edition=None,
                    original=None,
                )
            entry = self._entries[entry.qualified_name] = self._edited(entry)
            self._found = {}
            self.generation += 1
            return entry

    def resolve(self, name: str) -> RegisteredSignature:
        """Return the signature that ``name`` means: a short name, an alias, or ``pack/Name``.

        Raises:
            SignatureNotFoundError: with the closest known name.
            AmbiguousSignatureError: listing all that it may mean, and the setting that picks one.
            SignatureDefinitionError: where a pack has it, but it cannot be used.
        """
        entry = self._found.get(name)
        if entry is None:
            with self._lock:
                self._ensure_loaded()
                entry = self._find(name)
                self._found = {**self._found, name: entry}
        if entry.spec.deprecated is not None:
            self._warn(entry)
        return entry

    def known(self, qualified_name: str) -> RegisteredSignature | None:
        """Return the signature of a qualified name if it is registered; packs are not loaded for it."""
        return self._entries.get(qualified_name)

    def list(self) -> _Entries:
        """Return every signature, sorted by name."""
        with self._lock:
            self._ensure_loaded()
            return sorted(self._entries.values(), key=lambda entry: (entry.name, entry.qualified_name))

    def names(self) -> Sequence[str]:
        """Return a name for every signature, sorted: the short one if it is unambiguous, else ``pack/Name``."""
        return [self.display_name(entry) for entry in self.list()]

    def display_name(self, entry: RegisteredSignature) -> str:
        """Return the shortest name that means ``entry``."""
        return entry.name if self.meaning(entry.name) is entry else entry.qualified_name

    def meaning(self, name: str) -> RegisteredSignature | None:
        """Return the signature that the short name of one means; None where it may mean several."""
        with self._lock:
            self._ensure_loaded()
            try:
                return self._find(name)
            except (AmbiguousSignatureError, ConfigurationError):
                return None

    def failures(self) -> tuple[SignatureFailure, ...]:
        """Return the signatures of packs that cannot be used, each with its faults."""
        with self._lock:
            self._ensure_loaded()
            return tuple(self._failures.values())

    def _ensure_loaded(self) -> None:
        if self._loaded:
            return
        for pack in self._load_packs():
            self._since[pack.owner.plugin] = pack.since
            for cls in pack.signatures:
                self._add(cls, pack.owner)
        self._loaded = True

    def _add(self, cls: type[BaseSignature], owner: Owner) -> None:
        name = getattr(cls, "__name__", type(cls).__name__)
        qualified = f"{owner.plugin}/{name}"
        try:
            if qualified in self._entries:
                known = self._entries[qualified]
                if cls in (known.signature_class, known.original):
                    return
                raise SignatureExistsError(f"pack {owner.plugin!r} has two signatures called {name!r}; rename one")
            spec = self._settle(_spec_and_class(name, cls, checked=True)[0])
            self._entries[qualified] = self._edited(RegisteredSignature(name, qualified, owner, spec, cls))
        except Exception as error:
            # Whatever one signature does wrong must not cost the others; it is reported, and raised when asked for.
            self._failures[qualified] = SignatureFailure(name, owner, error)

    def _edited(self, entry: RegisteredSignature) -> RegisteredSignature:
        """Return the entry with the edition that replaces its signature, itself where there is none."""
        edition = self._find_edition(entry.qualified_name, entry.spec)
        if edition is None:
            return entry
        spec, cls = _spec_and_class(entry.name, edition.signature_class, checked=True)
        if spec.strategy is not None and entry.spec.strategy is not None:
            spec = spec.evolve(strategy=spec.strategy.with_objects(entry.spec.strategy.named_objects()))
        return evolve(
            entry, spec=self._settle(spec), signature_class=cls, edition=edition, original=entry.signature_class
        )

    def _candidates(self, name: str) -> _Entries:
        """Return the signatures of that name or alias; of one pack, a name goes before an alias."""
        by_pack: dict[str, _Entries] = {}
        for entry in self._entries.values():
            if entry.name == name or name in entry.spec.aliases:
                by_pack.setdefault(entry.owner.plugin, []).append(entry)
        return [entry for entries in by_pack.values() for entry in _named_first(entries, name)]

    def _find(self, name: str) -> RegisteredSignature:
        if name in self._entries:
            return self._entries[name]
        if "/" in name:
            pack, _, short = name.partition("/")
            found = [entry for entry in self._candidates(short) if entry.owner.plugin == pack]
        else:
            found = self._candidates(name)
            shadowed = {other for entry in found for other in entry.shadows if entry.name == name}
            found = [entry for entry in found if entry.qualified_name not in shadowed]
            if len(found) != 1 and name in self._prefer:
                found = self._preferred(name, found)
            found = self._earliest(found)
        if len(found) == 1:
            return found[0]
        raise self._ambiguous(name, found) if found else self._not_found(name)

    def _preferred(self, name: str, found: _Entries) -> _Entries:
        wanted = self._prefer[name]
        if not found and wanted in self._entries:
            return [self._entries[wanted]]
        chosen = [entry for entry in found if wanted in (entry.qualified_name, entry.owner.plugin)]
        if not chosen:
            options = ", ".join(entry.qualified_name for entry in found or self._entries.values())
            raise ConfigurationError(f"the setting prefers {wanted!r} for {name!r}, but there are only {options}")
        return chosen

    def _earliest(self, found: _Entries) -> _Entries:
        """Return the signature of the pack that was there before the others; all of them where none was."""
        times = [since for entry in found if (since := self._since.get(entry.owner.plugin)) is not None]
        if len(times) < len(found) or times.count(first := min(times, default=0.0)) != 1:
            return found
        return [found[times.index(first)]]

    def _ambiguous(self, name: str, found: _Entries) -> AmbiguousSignatureError:
        options = ", ".join(f"{entry.qualified_name} {entry.spec.version}" for entry in found)
        first = found[0].qualified_name
        return AmbiguousSignatureError(
            f"signature {name!r} may mean {options}; use the qualified name, or choose with "
            f"HOKUSAI_PREFER={name}={first} or prefer={{{name!r}: {first!r}}}"
        )

    def _not_found(self, name: str) -> Exception:
        for failure in self._failures.values():
            if name in (failure.name, failure.qualified_name):
                error = SignatureDefinitionError(
                    f"signature {failure.qualified_name!r} of {failure.owner}: {failure.cause}"
                )
                error.__cause__ = failure.cause
                return error
        known = set(self._entries) | {
            known for entry in self._entries.values() for known in (entry.name, *entry.spec.aliases)
        }
        count = len(self._entries)
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        listing = (
            f"hokusai list, or list_signatures(), shows the {count} that there are"
            if count
            else "no signature pack is installed and enabled (hokusai plugins shows what is)"
        )
        return SignatureNotFoundError(f"there is no signature {name!r}{hint or ';'} {listing}")

    def _warn(self, entry: RegisteredSignature) -> None:
        with self._lock:
            if entry.qualified_name in self._warned:
                return
            self._warned.add(entry.qualified_name)
        advice = f": {entry.spec.deprecated}" if entry.spec.deprecated else ""
        warnings.warn(f"signature {entry.qualified_name} is deprecated{advice}", DeprecationWarning, stacklevel=3)


def _named_first(entries: list[RegisteredSignature], name: str) -> Iterator[RegisteredSignature]:
    named = [entry for entry in entries if entry.name == name]
    return iter(named or entries)


def _spec_and_class(name: str, signature: Any, *, checked: bool) -> tuple[SignatureSpec, type[BaseSignature] | None]:
    if isinstance(signature, SignatureSpec):
        return (signature, BaseSignature.from_spec(signature)) if checked else (signature, None)
    if isinstance(signature, type) and issubclass(signature, BaseSignature):
        return signature.spec, signature
    kind = signature.__name__ if isinstance(signature, type) else type(signature).__name__
    raise SignatureDefinitionError(f"signature {name!r}: expected a BaseSignature class, got {kind}")
