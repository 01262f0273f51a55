"""What an executor can do with signatures beside running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.improvement import is_file
from hokusai_core.registration import from_address, is_address, signature_class

if TYPE_CHECKING:
    from hokusai_core.executor import Executor
    from hokusai_core.promotion import Promotion
    from hokusai_core.signatures import RegisteredSignature

__all__ = ["SignatureMethods"]


class SignatureMethods:
    """The part of ``Executor`` that registers, promotes and lists signatures."""

    def register_signature(self, name: str, x: Any, replace: bool = False, *, signature: Any = None) -> None:
        """Make a signature of the host's own available under ``name``.

        Args:
            name: how it is called; ``local/NAME`` always works too.
            x: a ``BaseSignature`` class, a ``dspy.Signature`` class, a text such as
                ``"question -> answer: float"``, a ``dspy.Module`` instance, an optimized signature, the path of a
                file that one was saved to, or an address such as ``"models:/EmailDraft@champion"`` of a place that a
                plugin knows.
            replace: whether it may take the place of what has that name.
            signature: inputs and outputs of a ``dspy.Module`` that does not tell them itself.

        Raises:
            SignatureExistsError: the name is taken and ``replace`` is False.
            SignatureDefinitionError: it cannot be run; says why.
        """
        executor = cast("Executor", self)
        executor._open()
        if is_file(name):
            raise SignatureDefinitionError(f"name {name!r}: would be taken for a file; leave '.json' out")
        if is_file(x):
            executor.signatures.register(
                name, executor._improvements.from_file(executor.signatures, x), replace=replace
            )
            return
        if is_address(x):
            x = from_address(executor.plugins, x)
        cls, program = signature_class(name, x, signature)
        if program is None:
            cls = executor._improvements.stand_in(name, cls)
        executor.signatures.register(name, cls, replace=replace, program=program)

    def promote(self, name: str, optimized: Any, *, note: str = "", force: bool = False) -> Promotion:
        """Let an optimized signature stand in for the one of that name.

        It is what the name means from now on: here, and in every executor of this namespace that is made later, in
        any process of this user, unless that executor has ``promotions=False``.

        Args:
            name: name of a signature.
            optimized: what ``TelepromptFineTuner.compile`` returned, or the path of a file that it was saved to.
            note: why; kept in the history.
            force: promote it although it was not found to be better.

        Raises:
            SignatureNotFoundError: no such signature.
            ArtifactError: it was not found to be better, or was made from another signature.
            ConfigurationError: promotions are off.
        """
        executor = cast("Executor", self)
        executor._open()
        return executor._improvements.promote(executor.signatures, name, optimized, note, force=force)

    def rollback(self, name: str, *, note: str = "", original: bool = False) -> Promotion:
        """Go back to what stood under that name before its latest promotion.

        Args:
            name: name of a signature.
            note: why; kept in the history.
            original: go back to the signature as it was before all promotions.

        Raises:
            SignatureNotFoundError: no such signature.
            ArtifactError: nothing was promoted for it, or what stood there before cannot be used any more; nothing is
                changed then.
            ConfigurationError: promotions are off.
        """
        executor = cast("Executor", self)
        executor._open()
        return executor._improvements.rollback(executor.signatures, name, note, original=original)

    def promotions(self, name: str) -> list[Promotion]:
        """Return what was promoted for a signature and rolled back, the latest last."""
        executor = cast("Executor", self)
        executor._open()
        return executor._improvements.history(executor.signatures, name)

    def signature(self, signature_name: Any) -> RegisteredSignature:
        """Return what a name means: the signature as data, its owner and its qualified name.

        Args:
            signature_name: name, signature class, or file of an optimized signature.

        Raises:
            SignatureNotFoundError: no such signature; names similar ones.
        """
        executor = cast("Executor", self)
        executor._open()
        return executor._plans.testing_plan(signature_name).registered

    def list_signatures(self) -> list[str]:
        """Return the names of all signatures, sorted; qualified where a short name is not unique."""
        executor = cast("Executor", self)
        executor._open()
        return list(executor.signatures.names())
