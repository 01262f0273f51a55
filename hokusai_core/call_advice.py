"""Advice for calls that are written as in other libraries, such as DSPy and LangChain."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Final

__all__ = ["likely_model", "method_advice", "missing_inputs", "option_advice", "own_name_of_model"]

#: Methods of other libraries -> what an executor has in their place.
_METHODS: Final = {
    "invoke": "execute_signature(name, {...})",
    "ainvoke": "await aexecute_signature(name, {...})",
    "forward": "execute_signature(name, {...})",
    "aforward": "await aexecute_signature(name, {...})",
    "acall": "await aexecute_signature(name, {...})",
    "predict": "execute_signature(name, {...})",
    "run": "execute_signature(name, {...})",
    "arun": "await aexecute_signature(name, {...})",
    "complete": "execute_signature(name, {...})",
    "execute": "execute_signature(name, {...})",
    "batch": "execute_batch(name, [{...}, ...])",
    "abatch": "await aexecute_batch(name, [{...}, ...])",
    "stream": "stream_signature(name, {...})",
    "astream": "astream_signature(name, {...})",
}
#: Arguments of other libraries -> what is written in their place.
_OPTIONS: Final = {
    **dict.fromkeys(("model", "model_name", "llm"), "lm='provider/model'"),
    "config": "parameters={...}",
    "callbacks": "trackers=[...] of the executor",
    "n": "strategy='best_of_n'",
}
#: How names of models begin -> their provider.
_PROVIDERS: Final = (
    (("gpt-", "chatgpt-", "o1", "o3", "o4"), "openai"),
    (("claude",), "anthropic"),
    (("gemini", "gemma"), "gemini"),
    (("mistral", "codestral", "ministral", "magistral"), "mistral"),
    (("deepseek",), "deepseek"),
    (("grok",), "xai"),
    (("command",), "cohere"),
    (("sonar",), "perplexity"),
)


def method_advice(owner: str, name: str, target: str = "") -> str:
    """Return what to write in place of a method of another library; empty for a name of none.

    Args:
        owner: what the method was looked for in, such as ``an executor``.
        name: the name of the method.
        target: what is to be executed, where that is known, as Python writes it.

    Example:
        >>> method_advice("an executor", "invoke")
        "an executor has no 'invoke'; write executor.execute_signature(name, {...})"
    """
    instead = _METHODS.get(name)
    if instead is None:
        return ""
    if target:
        instead = instead.replace("(name,", f"({target},")
    awaited, instead = ("await ", instead[6:]) if instead.startswith("await ") else ("", instead)
    return f"{owner} has no {name!r}; write {awaited}executor.{instead}"


def option_advice(name: str, parameters: Container[str]) -> str:
    """Return what to write in place of an argument of another library; empty for any other.

    Args:
        name: the name of the argument.
        parameters: names of the parameters of language models.

    Example:
        >>> option_advice("temperature", ["temperature"])
        "; write parameters={'temperature': ...}"
    """
    instead = f"parameters={{{name!r}: ...}}" if name in parameters else _OPTIONS.get(name)
    return f"; write {instead}" if instead else ""


def own_name_of_model(model: Any) -> str:
    """Return the name under which Hokusai would call the model of another library, such as LangChain's ``ChatOpenAI``.

    Args:
        model: an object; its ``model_name`` or ``model`` is read.
    """
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model"))
    return next((found for name in names if isinstance(name, str) and (found := likely_model(name))), "")


def missing_inputs(signature: Any, given: Iterable[str]) -> TypeError:
    """Return the error for an execution without a mapping of inputs.

    Args:
        signature: what was to be executed.
        given: names of the keyword arguments that are not options.
    """
    name = signature.__name__ if isinstance(signature, type) else repr(signature)
    pairs = ", ".join(f"{one!r}: ..." for one in given) or "'field': ..."
    return TypeError(f"inputs are given as one mapping, not as keyword arguments: write ({name}, {{{pairs}}})")


def likely_model(name: str) -> str:
    """Return the whole name that the name of a model without its provider is likely to mean; empty for none.

    Example:
        >>> likely_model("gpt-5"), likely_model("unheard-of")
        ('openai/gpt-5', '')
    """
    lowered = name.lower()
    return next((f"{provider}/{name}" for starts, provider in _PROVIDERS if lowered.startswith(starts)), "")
