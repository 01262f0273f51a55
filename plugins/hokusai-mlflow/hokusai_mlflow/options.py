"""Options of the MLflow tracker: argument, else environment variable, else default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from attrs import field, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import executor_data_folder, user_data_folder

__all__ = ["Content", "Redactor", "TrackingOptions", "make_options", "spool_folder"]

#: Which values of an execution are recorded beside its metadata.
Content = Literal["metadata", "inputs", "outputs", "both"]

#: Takes what the values are (``inputs``, ``outputs``, ``error``, ``tags``, ``feedback``) and the values by name;
#: returns those that may be recorded.
Redactor = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]

#: MLflow takes no other alias: a number or "latest" would mean a version.
_ALIAS: Final = re.compile(r"(?!v?\d+$|latest$)[\w-]{1,255}", re.ASCII | re.IGNORECASE)

_PREFIX: Final = "HOKUSAI_TRACKING_"
_SWITCHES: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@frozen
class TrackingOptions:
    """What is tracked, where to, and what it may cost.

    Args:
        tracking_uri: MLflow store; left out, ``mlflow.set_tracking_uri`` or ``MLFLOW_TRACKING_URI``, else a local
            database in the user's data folder.
        experiment: name of the experiment; left out, the host's, else ``Hokusai``.
        run: ``executor`` for a run of each executor's own, ``day`` for one run a day, which all executors of a user
            with this option share. The command takes ``day`` for single executions.
        run_name: name of the executor's own run. A later executor with the same name goes on with that run, whatever
            ``run`` says.
        tags: tags of the executor's own run.
        content: ``metadata`` for no values at all, ``inputs``, ``outputs`` or ``both``.
        sampling: share of executions that get a trace, 0 to 1. Rows and metrics hold every execution; failures and
            executions with feedback always get a trace.
        traces_per_second: above this rate of traces, or where MLflow is so slow that they queue, executions are
            sampled; the number left out is recorded.
        max_value_size: characters of a single value that are recorded.
        registry_alias: alias in the model registry, such as ``champion``, for what an optimization has promoted; None
            to register nothing. The prompt of it gets the same alias.
        prompts: whether the prompts of signatures become versions in the prompt registry, which traces are linked to.
            That needs ``content="both"`` and no ``redact``.
        redact: called on the caller's thread with everything that may hold content. Where it raises, nothing of that
            kind is recorded for the execution.
        spool_folder: where executions wait for delivery.
        data_folder: the data folder of the executor, None for that of the user; the local store is in it.
        spool_size: bytes that may wait, looked at once a second. Beyond it new executions go untracked and are
            counted; what was accepted is never dropped.
        exit_timeout: seconds that closing an executor, or the end of the process, waits for delivery at most, once the
            writer has started. The writer goes on by itself after that.
        writer: ``process`` starts a writer process when there is something to deliver; ``none`` leaves delivery to
            ``hokusai tracking flush``.
    """

    tracking_uri: str | None = None
    experiment: str | None = None
    run: Literal["executor", "day"] = "executor"
    run_name: str | None = None
    tags: Mapping[str, str] = field(factory=dict)
    content: Content = "both"
    sampling: float = 1.0
    traces_per_second: float = 25.0
    max_value_size: int = 16_384
    registry_alias: str | None = None
    prompts: bool = True
    redact: Redactor | None = None
    spool_folder: Path = field(factory=lambda: spool_folder())
    data_folder: Path | None = field(factory=executor_data_folder, init=False)
    spool_size: int = 2**30
    exit_timeout: float = 10.0
    writer: Literal["process", "none"] = "process"


def spool_folder() -> Path:
    """Return the folder where executions wait for delivery: ``HOKUSAI_SPOOL_DIR``, else in the user's data."""
    return user_data_folder("tracking", variable="HOKUSAI_SPOOL_DIR")


def make_options(given: Mapping[str, Any]) -> TrackingOptions:
    """Settle and check every option.

    Args:
        given: options by name; the others are read from ``HOKUSAI_TRACKING_<NAME>``, else have their default.

    Returns:
        The options.

    Raises:
        ConfigurationError: an option is unknown or has a value that cannot be used; names it.
    """
    values = {name: parse(os.environ[name_of]) for name, name_of, parse in _variables() if name_of in os.environ}
    values.update(given)
    values = {name: _CHECKS[name](name, value) if name in _CHECKS else value for name, value in values.items()}
    try:
        return TrackingOptions(**values)
    except TypeError as error:
        raise ConfigurationError(f"MLflow tracking: {error}; options are {', '.join(_names())}") from None


def _names() -> list[str]:
    return [attribute.name for attribute in TrackingOptions.__attrs_attrs__ if attribute.init]


def _variables() -> list[tuple[str, str, Callable[[str], Any]]]:
    texts = ["experiment", "run", "run_name", "content", "sampling", "traces_per_second", "max_value_size"]
    texts += ["registry_alias", "prompts", "spool_size", "exit_timeout", "writer"]
    return [(name, _PREFIX + name.upper(), str.strip) for name in texts]


def _number(low: float, high: float = float("inf")) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if isinstance(value, bool) or not low <= number <= high:
            raise _wrong(name, value, f"a number from {low:g} to {high:g}")
        return number

    return check


def _whole(low: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        number = _number(low)(name, value)
        if number != int(number):
            raise _wrong(name, value, "a whole number")
        return int(number)

    return check


def _choice(*words: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in words:
            raise _wrong(name, value, f"one of {', '.join(words)}")
        return str(value)

    return check


def _switch(name: str, value: Any) -> bool:
    found = value if isinstance(value, bool) else _SWITCHES.get(str(value).lower())
    if found is None:
        raise _wrong(name, value, "true or false")
    return found


def _texts(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "texts by name")
    return {str(key): str(text) for key, text in value.items()}


def _alias(name: str, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _ALIAS.fullmatch(value)):
        return value
    raise _wrong(name, value, "a name of letters, digits, _ and -, such as champion")


def _callable(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise _wrong(name, value, "a function of the kind of content and the values by name")
    return value


def _folder(_name: str, value: Any) -> Path:
    return Path(value).expanduser().absolute()


def _wrong(name: str, value: Any, expected: str) -> ConfigurationError:
    return ConfigurationError(f"MLflow tracking: {name}={value!r}; expected {expected}")


_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "tags": _texts,
    "content": _choice(*get_args(Content)),
    "sampling": _number(0, 1),
    "traces_per_second": _number(0),
    "max_value_size": _whole(16),
    "run": _choice("executor", "day"),
    "registry_alias": _alias,
    "prompts": _switch,
    "redact": _callable,
    "spool_folder": _folder,
    "spool_size": _whole(2**16),
    "exit_timeout": _number(0),
    "writer": _choice("process", "none"),
}
