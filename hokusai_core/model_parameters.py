"""Parameters of language models that a call, a signature or an executor may set, such as ``temperature``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hokusai_core.suggestions import did_you_mean

__all__ = ["PARAMETERS", "checked_parameters", "merged_parameters", "parsed_parameters"]


def _number(lowest: float, highest: float = math.inf) -> Callable[[Any], Any]:
    expected = f"a number from {lowest:g} to {highest:g}" if highest < math.inf else f"a number of at least {lowest:g}"

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
            raise ValueError(f"expected {expected}")
        return value

    return check


def _count(lowest: int) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(f"expected a whole number of at least {lowest}")
        return value

    return check


def _integer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a whole number")
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a text that is not empty")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _stop(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("expected a text, or a list of texts")
    return list(texts)


def _prompt_cache(value: Any) -> Any:
    if isinstance(value, bool) or value in ("auto", "off"):
        return value
    known = {"mode", "prefix", "prefix_until_index", "retention", "key", "resource"}
    if isinstance(value, Mapping) and value.keys() <= known:
        for name, words in {"mode": ("auto", "off"), "prefix": ("stable", "history")}.items():
            if value.get(name, words[0]) not in words:
                raise ValueError(f"{name}: expected {' or '.join(words)}")
        return dict(value)
    raise ValueError(f"expected true, false, 'auto', 'off', or a mapping of {', '.join(sorted(known))}")


#: Parameter -> what its value must be. ``hokusai_core.dspy_bridge`` says them to the language model.
_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "temperature": _number(0, 2),
    "max_tokens": _count(1),
    "top_p": _number(0, 1),
    "top_k": _count(1),
    "stop": _stop,
    "seed": _integer,
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "reasoning_effort": _text,
    "service_tier": _text,
    "store": _flag,
    "prompt_cache": _prompt_cache,
}

#: Names of the parameters that a call may have.
PARAMETERS: Final = frozenset(_CHECKS)
#: A comma before another pair; a list has commas, too.
_NEXT_PAIR: Final = r",(?=\s*\w+\s*=)"  # compiled when it is used, as most commands read no parameter

_OF_MODEL = "it belongs to the language model itself: set it in dspy.LM(...), and pass that with lm=..."
_OF_PROMPT = "the prompt is written from the signature"
_ONE_ANSWER = "an execution has one answer; for several tries ask for a strategy such as 'best_of_n'"
#: Parameter -> why it is refused, and what to do.
_REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("api_key", "api_base", "base_url", "api_version", "headers", "extra_headers"), _OF_MODEL),
    **dict.fromkeys(("engine", "providers", "model_type", "organization", "project", "user"), _OF_MODEL),
    **dict.fromkeys(("messages", "prompt", "system", "tools", "tool_choice", "response_format"), _OF_PROMPT),
    **dict.fromkeys(("n", "num_generations", "best_of"), _ONE_ANSWER),
    "model": "choose the model with lm=...",
    "stream": "an execution returns whole answers; use the streaming methods of the executor",
    "timeout": "give timeout=... to the call",
    "cache": "give cache=... to the call",
    "rollout_id": "give cache='refresh' or cache='off' to the call",
    "num_retries": "give max_retries=... to the call",
    "max_retries": "give max_retries=... to the call",
    "max_completion_tokens": "write max_tokens, which means the same to every model",
}


def checked_parameters(value: Any) -> dict[str, Any]:
    """Return parameters of a language model by name; empty for None.

    A parameter with the value None is left to the language model, also where a signature or an executor sets it.

    Args:
        value: a mapping of name to value.

    Raises:
        ValueError: names every parameter that cannot be used, and says why.

    Example:
        >>> checked_parameters({"temperature": 0.2, "stop": "END"})
        {'temperature': 0.2, 'stop': ['END']}
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping of name to value, got {type(value).__name__}")
    checked: dict[str, Any] = {}
    problems: list[str] = []
    for name, given in value.items():
        try:
            checked[name] = None if given is None and name in _CHECKS else _check_of(name)(given)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return checked


def parsed_parameters(value: Any) -> dict[str, Any]:
    """Return parameters that are given as a mapping, as a JSON object, or as ``NAME=VALUE`` separated by commas.

    Raises:
        ValueError: names every parameter that cannot be used, and says why.

    Example:
        >>> parsed_parameters("temperature=0.2, reasoning_effort=low")
        {'temperature': 0.2, 'reasoning_effort': 'low'}
    """
    if not isinstance(value, str):
        return checked_parameters(value)
    if value.lstrip().startswith("{"):
        import json

        try:
            return checked_parameters(json.loads(value))
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error})") from None
    pairs = [part.partition("=") for part in re.split(_NEXT_PAIR, value) if part.strip()]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ValueError("expected NAME=VALUE, separated by commas, or a JSON object")
    return checked_parameters({name.strip(): _parsed(text.strip()) for name, _, text in pairs})


def merged_parameters(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of several levels as one, without those that are left to the language model.

    Args:
        levels: the more general ones first.
    """
    merged = {name: value for level in levels for name, value in level.items()}
    return {name: value for name, value in merged.items() if value is not None}


def _check_of(name: Any) -> Callable[[Any], Any]:
    if name in _REFUSED:
        raise ValueError(f"cannot be set here; {_REFUSED[name]}")
    try:
        return _CHECKS[name]
    except (KeyError, TypeError):
        hint = did_you_mean(str(name), _CHECKS)
        raise ValueError(f"there is no such parameter{hint}; there are {', '.join(_CHECKS)}") from None


def _parsed(text: str) -> Any:
    import json  # every start imports this module, for the names of settings

    try:
        return json.loads(text)
    except ValueError:
        return text
