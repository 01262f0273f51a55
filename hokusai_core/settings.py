"""Settings of an executor: argument, else environment variable, else default, and which of them it was."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from hokusai_core.errors import ConfigurationError

__all__ = [
    "SETTINGS",
    "UNSET",
    "Config",
    "ExecutionMode",
    "Setting",
    "SettingValue",
    "Unset",
    "parse_setting",
    "read_settings",
]


class Unset(enum.Enum):
    """Type of ``UNSET``, which stands for an argument that was not given where None has a meaning of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET


class ExecutionMode(enum.Enum):
    """How an executor behaves.

    ``PRODUCTION`` is quiet. ``DEVELOPMENT`` also keeps prompts, raw completions and stage timings on
    ``result.trace``. ``TESTING`` calls no language model and no tracker: answers are typed, deterministic, and taken
    from the signature's examples where the inputs match one.
    """

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TESTING = "testing"


@frozen
class Setting:
    """One setting: how it is called, where it is read from, and what it may be.

    Args:
        name: the executor's argument.
        default: value where nothing is given.
        parse: turns an argument or an environment variable's text into the value; raises ValueError with a message
            that says what is expected.
        summary: one line for listings.
    """

    name: str
    default: Any
    parse: Callable[[Any], Any]
    summary: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"HOKUSAI_{self.name.upper()}"


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("expected true or false")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a non-empty text")
    return value.strip()


def _optional_text(value: Any) -> str | None:
    return None if value is None or value == "" else _text(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("expected a number") from None
    if not 0 < number < math.inf:  # refuses NaN too
        raise ValueError("expected a finite number above zero")
    return number


def _optional_number(value: Any) -> float | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
        return None
    return _number(value)


def _count(minimum: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        try:
            number = int(str(value)) if not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or number < minimum:
            raise ValueError(f"expected a whole number of at least {minimum}")
        return number

    return parse


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, Mapping) or not hasattr(parts, "__iter__"):
        raise ValueError("expected names, separated by commas")
    names = tuple(str(part).strip() for part in parts)
    return tuple(name for name in names if name)


def _optional_names(value: Any) -> tuple[str, ...] | None:
    return None if value is None else _names(value)


def _preferences(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(short): str(qualified) for short, qualified in value.items()}
    pairs = [part.partition("=") for part in _names(value)]
    if any(not short or not qualified for short, _, qualified in pairs):
        raise ValueError("expected Name=pack/Name, separated by commas")
    return {short.strip(): qualified.strip() for short, _, qualified in pairs}


def _mode(value: Any) -> ExecutionMode:
    if isinstance(value, ExecutionMode):
        return value
    try:
        return ExecutionMode(str(value).lower())
    except ValueError:
        raise ValueError(f"expected one of {', '.join(mode.value for mode in ExecutionMode)}") from None


def _component(value: Any) -> Any:
    """A cache by the name of its component, or the object itself."""
    if value is None or isinstance(value, str):
        return _optional_text(value)
    lacks = [name for name in ("get", "put", "aget", "aput", "close") if not callable(getattr(value, name, None))]
    if lacks or isinstance(value, type):
        reason = f"it lacks {', '.join(lacks)}" if lacks else "this is a class, not an object of it"
        raise ValueError(f"expected a component's name, or an object that satisfies Cache; {reason}")
    return value


def _feedback_store(value: Any) -> Any:
    """A feedback store by the name of its component, or the object itself."""
    if value is None or isinstance(value, str):
        return _optional_text(value)
    if not (callable(getattr(value, "keep", None)) and callable(getattr(value, "add", None))):
        raise ValueError("expected a component's name, or an object that satisfies FeedbackStore")
    return value


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("cache_enabled", True, _flag, "whether answers are stored and served at all"),
    Setting("cache", None, _component, "persistent cache behind the memory cache: a component's name"),
    Setting("cache_ttl", None, _optional_number, "seconds for which a stored answer is served"),
    Setting("cache_entries", 10_000, _count(1), "answers that the memory cache holds at most"),
    Setting("cache_bytes", 64 * 2**20, _count(1), "bytes that the memory cache holds at most"),
    Setting("namespace", "default", _text, "part of every cache key, to keep tenants apart"),
    Setting(
        "timeout", 300.0, _optional_number, "seconds that bound one execution, retries included; none for no bound"
    ),
    Setting("max_workers", 8, _count(1), "rows and tasks that run at the same time"),
    Setting("retry_on_failure", False, _flag, "whether failed calls are tried again"),
    Setting("max_retries", 3, _count(0), "tries after the first, where retries are on"),
    Setting(
        "requests_per_minute", None, _optional_number, "language-model calls per minute and model, none for no bound"
    ),
    Setting("tokens_per_minute", None, _optional_number, "tokens per minute and model, none for no bound"),
    Setting("mode", ExecutionMode.PRODUCTION, _mode, "production, development or testing"),
    Setting("trackers", (), _names, "trackers that record executions: names of components"),
    Setting("promotions", True, _flag, "whether promoted signatures stand in for those that they were made from"),
    Setting("feedback_store", None, _feedback_store, "where executions are kept for feedback: a component's name"),
    Setting("plugins", None, _optional_names, "the only plugins that are used; none for all that are installed"),
    Setting("disable_plugins", (), _names, "plugins that are not even imported"),
    Setting("strict_plugins", False, _flag, "whether a plugin that fails is an error instead of a warning"),
    Setting("prefer", {}, _preferences, "which pack's signature a short name means: Name=pack/Name"),
)


@frozen
class SettingValue:
    """A value and where it came from: ``argument``, ``environment NAME`` or ``default``."""

    value: Any
    source: str

    def __str__(self) -> str:
        shown = self.value.value if isinstance(self.value, enum.Enum) else self.value
        return f"{shown!r} ({self.source})"


class Config(Mapping[str, SettingValue]):
    """Every setting of an executor with its source, read-only.

    Example:
        >>> config = read_settings({"timeout": 5}, environ={"HOKUSAI_MAX_WORKERS": "2"})
        >>> config["timeout"].source, config.value("max_workers"), config["max_workers"].source
        ('argument', 2, 'environment HOKUSAI_MAX_WORKERS')
    """

    def __init__(self, values: Mapping[str, SettingValue]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> SettingValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def value(self, name: str) -> Any:
        """Return the value of a setting without its source."""
        return self._values[name].value

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {value}" for name, value in self._values.items())


def read_settings(
    arguments: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Settle every setting.

    Args:
        arguments: what the caller gave; ``UNSET`` counts as not given.
        defaults: defaults that differ from those of the neutral executor.
        environ: environment to read, that of the process where None.

    Returns:
        All settings with their sources.

    Raises:
        ConfigurationError: names every argument and variable that cannot be used, and what is expected.
    """
    environ = os.environ if environ is None else environ
    defaults = defaults or {}
    values: dict[str, SettingValue] = {}
    problems = [f"{name}: there is no such setting" for name in {**defaults, **arguments} if name not in _BY_NAME]
    for setting in SETTINGS:
        given = arguments.get(setting.name, UNSET)
        if given is not UNSET:
            raw, source, label = given, "argument", setting.name
        elif setting.variable in environ:
            raw, source, label = environ[setting.variable], f"environment {setting.variable}", setting.variable
        else:
            raw, source, label = defaults.get(setting.name, setting.default), "default", setting.name
        try:
            values[setting.name] = SettingValue(_parse(setting, raw, label), source)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Config(values)


def parse_setting(name: str, raw: Any) -> Any:
    """Return the value of one setting that a call was given.

    Raises:
        ConfigurationError: names it, what is wrong and what is expected.
    """
    return _parse(_BY_NAME[name], raw, name)


def _parse(setting: Setting, raw: Any, label: str) -> Any:
    try:
        return setting.parse(raw)
    except ValueError as error:
        raise ConfigurationError(f"{label}={raw!r}: {error} ({setting.summary})") from None


_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
