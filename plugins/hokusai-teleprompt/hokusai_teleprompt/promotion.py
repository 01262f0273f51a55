"""Promote an optimized signature, so that it replaces the one of its name, and roll it back.

A promotion holds for every executor of the namespace that is made later, in any process of the user, until it is rolled
back. An executor leaves promotions out with ``promotions=False``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_core.plugin_api import Artifact, EditionFinder, read_artifact
from hokusai_teleprompt.promotion_history import Promotion, PromotionHistory

if TYPE_CHECKING:
    from hokusai_core import Executor
    from hokusai_core.types import RegisteredSignature

__all__ = ["all_promotions", "promote", "promotions", "rollback"]

#: Name of the component through which executors see promotions.
_SOURCE = "promotions"


def promote(executor: Executor, name: str, optimized: Any, *, note: str = "", force: bool = False) -> Promotion:
    """Let an optimized signature replace the one of that name.

    The name means it from now on: here, and in every executor of this namespace that is made later, in any process of
    this user, unless that executor has ``promotions=False``.

    Args:
        executor: knows the signature and the namespace.
        name: name of a signature.
        optimized: what ``TelepromptFineTuner.compile`` returned, or the path of a file that it was saved to.
        note: the reason; kept in the history.
        force: promote it although it was not found to be better.

    Returns:
        The new entry of the history.

    Raises:
        SignatureNotFoundError: no such signature.
        ArtifactError: it was not found to be better, or was made from another signature.
        ConfigurationError: this executor does not use promotions.
    """
    history, entry = _history(executor), executor.signatures.resolve(name)
    artifact = _artifact(optimized)
    if not artifact.promoted and not force:
        raise ArtifactError(
            f"this {artifact.spec.name} was not found to be better than {artifact.base_name}"
            f"{_reason(artifact)}. Promote it anyway with force=True, or hokusai promote --force"
        )
    original = _original(entry)
    if artifact.base.fingerprint != entry.spec.fingerprint:  # not made from what the name means now
        artifact.check_base(original)
    # Executors read the history at their start, so recorded answers stay in the file that they were saved to.
    kept = evolve(artifact, base=original, base_name=entry.qualified_name, certificate=None)
    promotion = history.promote(entry.qualified_name, kept, note)
    executor.signatures.refresh(entry.qualified_name)
    return promotion


def rollback(executor: Executor, name: str, *, note: str = "", original: bool = False) -> Promotion:
    """Go back to what stood under that name before its latest promotion.

    Args:
        executor: knows the signature and the namespace.
        name: name of a signature.
        note: the reason; kept in the history.
        original: go back to the signature as it was before all promotions.

    Returns:
        The new entry of the history.

    Raises:
        SignatureNotFoundError: no such signature.
        ArtifactError: nothing was promoted for it, or what stood there before cannot be used; nothing is changed then.
        ConfigurationError: this executor does not use promotions.
    """
    history, entry = _history(executor), executor.signatures.resolve(name)
    first = _original(entry)
    promotion = history.rollback(
        entry.qualified_name, note, check=lambda artifact: artifact.check_base(first), original=original
    )
    executor.signatures.refresh(entry.qualified_name)
    return promotion


def promotions(executor: Executor, name: str) -> list[Promotion]:
    """Return what was promoted for a signature and rolled back, the latest last.

    Raises:
        SignatureNotFoundError: no such signature.
        ArtifactError: the history is damaged; names the line.
        ConfigurationError: this executor does not use promotions.
    """
    history = _history(executor)
    return history.entries(executor.signatures.resolve(name).qualified_name)


def all_promotions(executor: Executor) -> dict[str, list[Promotion]]:
    """Return the history of every signature that has one, by qualified name.

    Signatures are included that this executor does not know.

    Raises:
        ArtifactError: a history is damaged; names the line.
        ConfigurationError: this executor does not use promotions.
    """
    history = _history(executor)
    return {name: history.entries(name) for name in history.names()}


def _reason(artifact: Artifact) -> str:
    verdict = artifact.report.get("verdict")
    return f" ({verdict})" if verdict else ""


def _history(executor: Executor) -> PromotionHistory:
    finder = EditionFinder.of(executor.plugins, executor.config)
    if not finder.enabled:
        raise ConfigurationError(
            "promotions are off for this executor (promotions=False, HOKUSAI_PROMOTIONS, or testing mode)"
        )
    if all(component.name != _SOURCE for component in executor.plugins.components("edition_source")):
        raise ConfigurationError(
            "this executor does not use the plugin teleprompt, so it would not see a promotion; see the arguments "
            "plugins and disable_plugins, HOKUSAI_PLUGINS and HOKUSAI_DISABLE_PLUGINS"
        )
    own = executor.config.value("data_folder")
    return PromotionHistory(finder.namespace, None if own is None else own / "promotions")


def _original(entry: RegisteredSignature) -> Any:
    """Return the signature that promotions of an entry replace, as data."""
    return entry.spec if entry.original is None else entry.original.spec


def _artifact(optimized: Any) -> Artifact:
    if isinstance(optimized, (str, os.PathLike)):
        return read_artifact(optimized)
    artifact = vars(optimized).get("artifact") if isinstance(optimized, type) else None
    if not isinstance(artifact, Artifact):
        raise ArtifactError(
            "only an optimized signature can be promoted: what TelepromptFineTuner.compile returned, or the path of a "
            "file that it was saved to"
        )
    return artifact
