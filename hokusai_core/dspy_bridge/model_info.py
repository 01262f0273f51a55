"""Facts about language models and adapters: the host's current one, one by its name, and the identity of each."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

import dspy
from attrs import field, frozen
from dspy import BaseLM, settings
from dspy.lm15 import CacheConfig
from dspy.utils.dummies import DummyLM
from dspy.utils.exceptions import DSPyError

from hokusai_core.call_advice import likely_model
from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable
from hokusai_core.redaction import scrub

__all__ = [
    "ModelDescription",
    "asked_options",
    "call_parameters",
    "credentials_of",
    "default_language_model",
    "describe_model",
    "has_parameters",
    "host_adapter",
    "host_language_model",
    "is_language_model",
    "is_private",
    "live_parameters",
]

#: Parameters that say how a provider is reached rather than what it is asked.
_NEUTRAL = frozenset({"organization", "project", "timeout"})
#: Words in names of parameters that hold credentials, ``api_key`` and ``apiKey`` alike. ``keywords`` are none.
_PRIVATE_WORDS = frozenset({"auth", "bearer", "cookie", "cookies", "header", "headers", "jwt", "key", "keys", "sig"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: A ``session_token`` is a credential, ``stop_token_ids`` and ``max_tokens`` are not.
_PRIVATE = re.compile(r"(?i)(?:api|access|private)key|secret|passw|credential|authorization|token(?:_?provider)?$")
#: Names that mean a credential and nothing else. What they hold never decides about an answer. An ``eos_token``, a
#: ``secret_word`` or a cookie may.
_CREDENTIAL = re.compile(
    r"(?i)(?:api|access|private|secret|subscription)[_-]?key(?:_?id)?$|(?:^|client[_-]?)secret$|(?:^|[_-])passw(?:or)?d$"
    r"|credentials?$|authorization$|^(?:x-)?auth$|^bearer$|^jwt$"
    r"|(?:^|access[_-]?|session[_-]?|auth[_-]?|bearer[_-]?|refresh[_-]?|security[_-]?|api[_-]?)token(?:_?provider)?$"
    r"|(?:^|[_-])(?:ad|hf|id)[_-]?token(?:_?provider)?$"
)
#: Parameters of the connection, which say nothing of what is asked.
_CLIENT_SETTINGS = frozenset({"timeout", "num_retries", "max_retries"})
#: Options of a call that say how it is made, and what is asked in its messages.
_NOT_ASKED = _CLIENT_SETTINGS | {
    "api_base", "api_version", "base_url", "cache", "messages", "model", "prompt", "prompt_cache", "request",
    "rollout_id",
}  # fmt: skip
_QUERY = re.compile(r"([?&])([\w.-]+)=[^&#\s]*")
_PLAIN = (str, int, float, bool, type(None))
#: Texts that are shorter are no credentials, and stand in messages by chance.
_SHORTEST = 6
#: What these show are the parameters.
_OF_DSPY = (BaseLM.dump_state, dspy.LM.dump_state)


@frozen
class ModelDescription:
    """What tells one language model, as it is set up, from another; holds no credential.

    Args:
        name: name of the model.
        parameters: its parameters, JSON-able, credentials left out.
        adapter: class of the adapter and its settings.
        engine: class of the engine where it is not DSPy's own, with a digest of its state; else DSPy's word for it.
        unshown: what may decide about answers and must not be shown, as its name may be that of a credential: headers,
            ``organization``, parameters such as ``knowledge_key``. Without what is a credential for certain.
    """

    name: str
    parameters: Mapping[str, Any]
    adapter: str = ""
    engine: str = ""
    unshown: Mapping[str, Any] = field(factory=dict, repr=False)


def is_language_model(value: Any) -> bool:
    """Whether DSPy would take ``value`` for a language model."""
    return isinstance(value, BaseLM)


def host_language_model() -> Any:
    """Return the language model that the host has set with ``dspy.configure`` or ``dspy.context``, or None."""
    return settings["lm"]  # as an attribute it takes three times as long, at each execution


def host_adapter() -> Any:
    """Return the adapter that the host has set with ``dspy.configure`` or ``dspy.context``, or None."""
    return settings["adapter"]


def default_language_model(name: str, **settings_: Any) -> Any:
    """Return a ``dspy.LM`` for ``name``, with DSPy's own cache and retries off.

    Nothing is connected to: whether the provider knows the model and the key is good shows at the first call.

    Args:
        name: ``provider/model``.
        settings_: further settings of ``dspy.LM``.

    Raises:
        LanguageModelUnavailable: the name is malformed; says what a name looks like.
    """
    provider, slash, model = name.partition("/")
    if not slash or not provider.strip() or not model.strip() or name != name.strip():
        likely = likely_model(name.strip())
        meant = f"; did you mean {likely!r}?" if likely else ""
        raise LanguageModelUnavailable(
            f"{name!r} is not the name of a language model{meant or ';'} expected 'provider/model' such as "
            "'openai/gpt-5-mini', or an installed provider such as 'local' (hokusai models lists names)"
        )
    try:
        return dspy.LM(name, **{"cache": False, "num_retries": 0, **settings_})
    except (DSPyError, TypeError, ValueError) as error:
        raise LanguageModelUnavailable(f"language model {name!r} cannot be set up: {scrub(str(error))}") from error


def describe_model(lm: Any, adapter: Any = None) -> ModelDescription:
    """Return what tells ``lm`` with ``adapter`` from others. Cheap; reads the parameters anew every time."""
    return ModelDescription(
        name=lm.model,
        parameters={
            "model_type": getattr(lm, "model_type", "chat"),
            **{name: _json(value) for name, value in lm.kwargs.items() if not is_private(name) and value is not None},
        },
        adapter=_describe_adapter(adapter),
        engine=_describe_engine(lm),
        unshown=_unshown_parts(lm),
    )


def call_parameters(lm: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked parameters of a call as ``lm`` takes them.

    Raises:
        ConfigurationError: ``prompt_cache`` asks for what there is not.
    """
    told = dict(parameters)
    if "max_tokens" in told and lm.kwargs.get("max_completion_tokens") is not None:
        told["max_completion_tokens"] = told.pop("max_tokens")  # so DSPy calls it for models that reason
    if "prompt_cache" in told:
        asked = told["prompt_cache"]
        mode = asked if isinstance(asked, str) else "auto" if asked else "off"
        try:
            told["prompt_cache"] = CacheConfig(**asked) if isinstance(asked, dict) else CacheConfig(mode=mode)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"parameters: prompt_cache={asked!r}: {error}") from None
    return told


def asked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options of a call that are part of what is asked, JSON-able and without credentials."""
    return {
        name: _json(value)
        for name, value in options.items()
        if value is not None and name not in _NOT_ASKED and not is_private(name)
    }


def credentials_of(lm: Any) -> frozenset[str]:
    """Return the texts of ``lm`` that must not be shown: keys, tokens, values of headers.

    They are in its parameters, and in the attribute ``credentials`` of an engine that is not DSPy's own.
    """
    of_engine = getattr(getattr(lm, "_engine_spec", None), "credentials", ())
    return frozenset(of_engine) | frozenset(_texts({n: value for n, value in lm.kwargs.items() if is_private(n)}))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (text for text in (value, value.rpartition(" ")[2]) if len(text) >= _SHORTEST)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _NEUTRAL:
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def live_parameters(lm: Any) -> Any:
    """Return everything of ``lm`` that a host may change in place, to be compared with what it is later."""
    kwargs = {
        name: value if type(value) in _PLAIN else copy.deepcopy(value) if isinstance(value, (dict, list)) else value
        for name, value in lm.kwargs.items()
    }
    return lm.model, getattr(lm, "model_type", None), engines_of(lm), kwargs, _state(lm)


def has_parameters(lm: Any, seen: Any) -> bool:
    """Return whether ``live_parameters(lm)`` would equal ``seen``, without copying anything."""
    model, kind, engines, kwargs, state = seen
    return bool(
        lm.kwargs == kwargs
        and lm.model == model
        and getattr(lm, "model_type", None) == kind
        and (getattr(lm, "_engine_spec", None), getattr(lm, "_async_engine_spec", None)) == engines
        and state == _state(lm)
    )


def is_private(name: str) -> bool:
    """Whether a parameter or variable of that name may hold a credential."""
    if name in _NEUTRAL or _PRIVATE.search(name):
        return True
    return not _PRIVATE_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _without_secrets(text: str) -> str:
    if "://" in text:
        text = _QUERY.sub(lambda found: found[0] if not is_private(found[2]) else f"{found[1]}{found[2]}=...", text)
    return scrub(text)


def _json(value: Any) -> Any:
    if isinstance(value, str):
        return _without_secrets(str.__str__(value))  # of a StrEnum its value
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items() if not is_private(str(name))}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return _digest(value.model_json_schema())
    return f"{_class_path(value)}"


def _unshown_parts(lm: Any) -> dict[str, Any]:
    engines = [_unshown(_dumped(engine)) for engine in engines_of(lm) if not isinstance(engine, (str, NoneType))]
    parts = {
        "parameters": _unshown(lm.kwargs, opaque=True),
        "engine": (engines[0] if len(engines) == 1 else engines) if any(engines) else None,
        "state": None if isinstance(lm, DummyLM) or type(lm).dump_state in _OF_DSPY else _unshown(lm.dump_state()),
    }
    return {name: part for name, part in parts.items() if part}


def _dumped(engine: Any) -> Any:
    dump = getattr(engine, "dump_state", None)
    return dump() if callable(dump) else None


def _unshown(value: Any, *, private: bool = False, opaque: bool = False) -> Any:
    """Return what ``_json`` leaves out of ``value`` and is no credential; None where it shows everything.

    Args:
        value: a parameter.
        private: whether it is left out as a whole.
        opaque: whether ``_json`` shows no more than the class of an object.
    """
    if isinstance(value, Mapping):
        parts = {
            str(name): _unshown(item, private=private or is_private(str(name)), opaque=opaque)
            for name, item in value.items()
            if not _is_credential(str(name)) and str(name) not in _CLIENT_SETTINGS
        }
        return {name: part for name, part in parts.items() if part is not None} or None
    if isinstance(value, (list, tuple)):
        items = [_unshown(item, private=private, opaque=opaque) for item in value]
        return items if any(item is not None for item in items) else None
    if isinstance(value, str):
        # A query such as ?sig_style=casual is not shown, but says what is asked for.
        kept = _QUERY.sub(lambda found: f"{found[1]}{found[2]}=..." if _is_credential(found[2]) else found[0], value)
        return kept if private or ("://" in value and kept != _without_secrets(value)) else None
    if type(value) in _PLAIN:
        return value if private else None
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return None
    return repr(value) if private or opaque else None


def _is_credential(name: str) -> bool:
    return _CREDENTIAL.search(name) is not None


def _describe_adapter(adapter: Any) -> str:
    if adapter is None:
        return ""
    settings_ = {
        name: _describe_setting(value)
        for name, value in sorted(vars(adapter).items())
        if not name.startswith("_") and name != "callbacks"
    }
    shown = {name: value for name, value in settings_.items() if value is not None}
    return f"{_class_path(adapter)} {json.dumps(shown, sort_keys=True)}"


def _describe_setting(value: Any) -> Any:
    if isinstance(value, BaseLM):  # the one that a TwoStepAdapter has its answers read by
        described = describe_model(value)
        return [described.name, described.parameters, described.engine]
    if isinstance(value, list) and all(isinstance(item, type) for item in value):
        return sorted(map(str, value))
    return _json(value)


def _describe_engine(lm: Any) -> str:
    (engine, other), state = engines_of(lm), _state(lm)
    if engine is None:
        described = _class_path(lm)
    elif isinstance(engine, str):
        described = engine if type(lm) is dspy.LM else f"{_class_path(lm)} {engine}"
    else:
        described = _engine_text(engine)
        if other is not None and _dumped(other) != _dumped(engine):
            described += f" async {_engine_text(other)}"  # which may answer something else
    return f"{described} {state}" if state else described


def engines_of(lm: Any) -> tuple[Any, Any]:
    """Return the engine of ``lm`` and its asynchronous engine; each may be None or a word of DSPy's."""
    return getattr(lm, "_engine_spec", None), getattr(lm, "_async_engine_spec", None)


def _engine_text(engine: Any) -> str:
    dumped = _dumped(engine)
    return _class_path(engine) if dumped is None else f"{_class_path(engine)} {_digest(_public(dumped))}"


def _state(lm: Any) -> str:
    """Return a digest of what decides about the answers of ``lm`` beside its parameters, "" where it shows nothing.

    DSPy asks a language model with more state than its parameters to show it in ``dump_state``.
    """
    if isinstance(lm, DummyLM):
        answers: Any = lm.answers
        if isinstance(answers, Iterator):  # over a list: all of it, whatever has been answered so far
            answers = answers.__reduce__()[1]
        return _digest([answers, lm.follow_examples, lm.reasoning])
    if type(lm).dump_state in _OF_DSPY:
        return "developer_role" if getattr(lm, "use_developer_role", False) else ""
    told_already = BaseLM.dump_state(lm)
    own = {name: value for name, value in lm.dump_state().items() if name not in told_already}
    return _digest(_public(own)) if own else ""


def _public(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {str(name): _public(item) for name, item in state.items() if not is_private(str(name))}
    return [_public(item) for item in state] if isinstance(state, (list, tuple)) else state


def _class_path(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _digest(state: Any) -> str:
    text = json.dumps(state, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
