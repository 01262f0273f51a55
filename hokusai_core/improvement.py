"""Optimized signatures in an executor: from files, and in the place of those that they were made from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.errors import AmbiguousSignatureError, ArtifactError, ConfigurationError, SignatureNotFoundError
from hokusai_core.promotion import Promotion, PromotionBook
from hokusai_core.settings import Config, ExecutionMode

if TYPE_CHECKING:
    from hokusai_core.artifacts import Artifact
    from hokusai_core.signatures import BaseSignature, RegisteredSignature, SignaturePack, SignatureRegistry

__all__ = ["Improvements", "PromotionWarning", "is_file"]


class PromotionWarning(UserWarning):
    """A promoted signature is not used; the one that it was made from is."""


def is_file(signature: Any) -> bool:
    """Whether ``signature`` names a file with a saved signature and not a signature by its name."""
    return isinstance(signature, os.PathLike) or (isinstance(signature, str) and signature.endswith(".json"))


class Improvements:
    """The optimized signatures of one executor.

    Args:
        namespace: whose promotions hold.
        enabled: whether promotions hold at all.
    """

    @classmethod
    def of(cls, config: Config) -> Improvements:
        """Return those that the settings of an executor ask for."""
        # A host's tests must not depend on what was promoted on the machine that they run on.
        testing = config.value("mode") is ExecutionMode.TESTING and config["promotions"].source == "default"
        return cls(config.value("namespace"), enabled=config.value("promotions") and not testing)

    def __init__(self, namespace: str, *, enabled: bool) -> None:
        self._book: PromotionBook | None = None
        self._off = ConfigurationError(
            "promotions are off for this executor (promotions=False or HOKUSAI_PROMOTIONS, or testing mode)"
        )
        self._unreadable = False
        if enabled:
            try:
                self._book = PromotionBook(namespace)
            except ConfigurationError as error:  # a user without a home has promoted nothing
                self._off = error
        #: Qualified name -> the original of a signature that another one stands in for.
        self._lifted: dict[str, type[BaseSignature]] = {}

    # -- promotions that were made before -----------------------------------------------------------------------

    def applied(self, load_packs: Callable[[], Iterable[SignaturePack]]) -> Iterable[SignaturePack]:
        """Return the packs with promoted signatures in the place of their originals."""
        for pack in load_packs():
            if self._book is not None:
                plugin = pack.owner.plugin
                promoted = [self._promoted(f"{plugin}/{getattr(cls, '__name__', '')}", cls) for cls in pack.signatures]
                pack = evolve(pack, signatures=promoted)
            yield pack

    def stand_in(self, name: str, cls: type[BaseSignature]) -> type[BaseSignature]:
        """Return what a signature that the host registers under ``name`` was promoted to, itself for nothing."""
        return self._promoted(f"local/{name}", cls)

    def _promoted(self, qualified: str, cls: type[BaseSignature]) -> type[BaseSignature]:
        if self._book is None or not self._knows(self._book, qualified):
            return cls
        try:
            artifact = self._book.current(qualified)
            if artifact is None:
                return cls
            artifact.check_base(cls.spec)
        except (ArtifactError, OSError) as error:
            warnings.warn(
                f"the promotion of {qualified} is not used: {error}. Roll it back with "
                f"executor.rollback({qualified!r}), or leave all promotions out with promotions=False",
                PromotionWarning,
                stacklevel=2,
            )
            return cls
        self._lifted[qualified] = cls
        return artifact.signature

    def _knows(self, book: PromotionBook, qualified: str) -> bool:
        try:
            return not self._unreadable and book.knows(qualified)
        except OSError as error:  # such as the home of another user, which HOME was left at
            self._unreadable = True
            warnings.warn(
                f"promotions are not used: {error}. Set HOKUSAI_DATA_DIR to a folder of your own, or leave them out "
                "with promotions=False",
                PromotionWarning,
                stacklevel=2,
            )
            return False

    # -- promotions that are made now ---------------------------------------------------------------------------

    def promote(self, registry: SignatureRegistry, name: str, optimized: Any, note: str, *, force: bool) -> Promotion:
        """Let ``optimized`` stand in for the signature of that name, here and wherever the namespace is used.

        Raises:
            ConfigurationError: promotions are off.
            ArtifactError: it did not pass its gate, or was made from another signature.
        """
        book, entry = self._open_book(), registry.resolve(name)
        artifact = _artifact(optimized)
        if not artifact.promoted and not force:
            raise ArtifactError(
                f"this {artifact.spec.name} was not found to be better than {artifact.base_name}: its gate was not "
                "passed. Its report says why; promote it all the same with force=True"
            )
        original = self._lifted.get(entry.qualified_name, entry.signature_class)
        if original is None or entry.program is not None:
            raise ArtifactError(f"{entry.qualified_name} is a program; only signatures can be promoted")
        if artifact.base.fingerprint != entry.spec.fingerprint:  # not made from what stands there now
            artifact.check_base(original.spec)
        artifact = evolve(artifact, base=original.spec, base_name=entry.qualified_name)
        promotion = book.promote(entry.qualified_name, artifact, note)
        self._lifted[entry.qualified_name] = original
        _replace(registry, entry, artifact.signature)
        return promotion

    def rollback(self, registry: SignatureRegistry, name: str, note: str, *, original: bool) -> Promotion:
        """Go back to what stood there before the latest promotion, or to the original signature.

        Raises:
            ConfigurationError: promotions are off.
            ArtifactError: nothing was promoted for the signature, or what stood there before cannot be used.
        """
        book, entry = self._open_book(), registry.resolve(name)
        label = entry.qualified_name
        first = self._lifted.get(label, entry.signature_class)
        if first is None:
            raise ArtifactError(f"{label} is a program; only signatures are promoted and rolled back")
        promotion, previous = book.rollback(
            label, note, check=lambda artifact: artifact.check_base(first.spec), original=original
        )
        _replace(registry, entry, first if previous is None else previous.signature)
        return promotion

    def in_force(self, qualified: str) -> Promotion | None:
        """Return the promotion by which another signature stands in for the one of that name, None for none."""
        if self._book is None or qualified not in self._lifted:
            return None
        latest = self._book.history(qualified)[-1:]
        return latest[0] if latest and latest[0].fingerprint is not None else None

    def history(self, registry: SignatureRegistry, name: str) -> list[Promotion]:
        """Return what was promoted for a signature and rolled back, the latest last."""
        return self._open_book().history(registry.resolve(name).qualified_name)

    def _open_book(self) -> PromotionBook:
        if self._book is None:
            raise self._off
        return self._book

    # -- files --------------------------------------------------------------------------------------------------

    def from_file(self, registry: SignatureRegistry, path: Any) -> type[BaseSignature]:
        """Return the optimized signature in a file.

        Raises:
            ArtifactError: it cannot be used, or its base is installed and is not what it was.
        """
        from hokusai_core.artifacts import read_artifact

        artifact = read_artifact(path)
        try:
            entry = registry.resolve(artifact.base_name)
        except (SignatureNotFoundError, AmbiguousSignatureError):
            return artifact.signature  # a signature of some program's own, which is not there to compare with
        lifted = self._lifted.get(entry.qualified_name)
        if artifact.spec.fingerprint != entry.spec.fingerprint:
            artifact.check_base(entry.spec if lifted is None else lifted.spec)
        return artifact.signature


def _artifact(optimized: Any) -> Artifact:
    from hokusai_core.artifacts import Artifact, read_artifact

    if is_file(optimized):
        return read_artifact(optimized)
    found: Mapping[str, Any] = vars(optimized) if isinstance(optimized, type) else {}
    artifact = found.get("artifact")
    if not isinstance(artifact, Artifact):
        raise ArtifactError(
            "only an optimized signature can be promoted: what TelepromptFineTuner.compile returned, or the path of a "
            "file that it was saved to"
        )
    return artifact


def _replace(registry: SignatureRegistry, entry: RegisteredSignature, cls: type[BaseSignature]) -> None:
    registry.register(entry.name, cls, replace=True, owner=entry.owner)
