"""Write the prompt of a signature and read an answer to it, without an executor of the host's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.executor import Executor

if TYPE_CHECKING:
    from hokusai_core.base_signature import BaseSignature

__all__ = ["read", "render"]


def render(
    signature: str | type[BaseSignature], inputs: Mapping[str, Any], *, lm: Any = None, adapter: Any = None
) -> Any:
    """Return the request that an execution of a signature would send, byte for byte; nothing is called.

    A host that has an executor calls ``Executor.render``: it knows what was registered, promoted and set there.

    Args:
        signature: signature class, or the name of an installed one.
        inputs: input field or alias -> value.
        lm: language model or its name, which is part of the request; None for the one that an executor would use.
        adapter: ``chat``, ``json``, ``xml`` or a DSPy adapter; None for the one that an executor would use.

    Raises:
        InputError: the inputs do not fit; carries every problem.
        LanguageModelUnavailable: there is no language model.
        PromptError: the signature is not answered by one request; says why.

    Example:
        >>> from hokusai_core import BaseSignature, InputField, OutputField, read, render
        >>> class Ask(BaseSignature):
        ...     "Answer the question."
        ...     question: str = InputField()
        ...     answer: str = OutputField()
        >>> request = render(Ask, {"question": "Why?"}, lm="openai/gpt-4o-mini")
        >>> request.model, [message.role for message in request.messages]
        ('openai/gpt-4o-mini', ['user'])
        >>> read(Ask, "[[ ## answer ## ]]\\nBecause.", lm="openai/gpt-4o-mini")
        {'answer': 'Because.'}
    """
    with _executor(lm, adapter) as executor:
        return executor.render(signature, inputs)


def read(
    signature: str | type[BaseSignature],
    answer: Any,
    inputs: Mapping[str, Any] | None = None,
    *,
    lm: Any = None,
    adapter: Any = None,
) -> dict[str, Any]:
    """Return the outputs in an answer to what ``render`` returned; nothing is called.

    Args:
        signature: signature class, or the name of an installed one.
        answer: the whole text that a model wrote, or the ``dspy.lm15.Response`` of an engine.
        inputs: what was asked; needed where an output chooses from an input.
        lm: as for ``render``.
        adapter: as for ``render``; it decides how the answer is read.

    Raises:
        InputError: the inputs do not fit, or an output chooses from one of them and they are not given.
        OutputError: the answer cannot be read, is cut off or withheld, or does not fit the signature.
        PromptError: the signature is not answered by one request.
    """
    with _executor(lm, adapter) as executor:
        return executor.read(signature, answer, inputs)


def _executor(lm: Any, adapter: Any) -> Executor:
    given = {"lm": lm, "adapter": adapter}
    options: Any = {name: value for name, value in given.items() if value is not None}
    return Executor(trackers=[], cache_enabled=False, **options)
