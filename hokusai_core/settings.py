"""Settings of an executor: argument, else environment variable, else project file, else default.

Each keeps its source.

``ExecutorOptions`` is the one table of all settings. The keyword arguments of ``Executor``, the environment variables,
the listings of the ``hokusai`` command and the reference page are read from it.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict, Unpack

from attrs import frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.model_parameters import parsed_parameters
from hokusai_core.option_table import (
    ComponentChoice,
    Option,
    anything,
    component,
    count,
    flag,
    names,
    optional_names,
    optional_number,
    optional_text,
    options_of,
    shown,
    verbatim_text,
)
from hokusai_core.project_file import project_settings
from hokusai_core.protocols import Cache, FeedbackStore, Tracker, Validator, protocol_problems
from hokusai_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from hokusai_core.media import MediaPolicy

__all__ = [
    "UNSET",
    "ExecutionMode",
    "ExecutorOptions",
    "SettingValue",
    "Settings",
    "Unset",
    "executor_options",
    "parse_setting",
    "variable_of",
]


class Unset(enum.Enum):
    """The type of ``UNSET``, which marks an argument that was not given, where None is a valid value."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET


class ExecutionMode(enum.Enum):
    """The mode of an executor.

    ``PRODUCTION`` is quiet. ``DEVELOPMENT`` also keeps prompts, raw completions and stage timings on
    ``result.trace``. ``TESTING`` calls no language model and no tracker: answers are typed, deterministic, and taken
    from the signature's examples where the inputs match one.
    """

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TESTING = "testing"


#: Settings without a variable that a project file may give.
_ALSO_IN_FILES: Final = ("lm", "models", "adapter")
#: Formats of prompts and answers that an adapter can be chosen by.
_FORMATS = ("chat", "json", "xml")


def _mode(value: Any) -> ExecutionMode:
    if isinstance(value, ExecutionMode):
        return value
    try:
        return ExecutionMode(str(value).lower())
    except ValueError:
        raise ValueError(f"expected one of {', '.join(mode.value for mode in ExecutionMode)}") from None


def _preferences(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(short): str(qualified) for short, qualified in value.items()}
    pairs = [part.partition("=") for part in names(value)]
    if any(not short or not qualified for short, _, qualified in pairs):
        raise ValueError("expected Name=pack/Name, separated by commas")
    return {short.strip(): qualified.strip() for short, _, qualified in pairs}


def _unpriced(value: Any) -> str:
    if value not in ("refuse", "allow"):
        raise ValueError("expected 'refuse' or 'allow'")
    return str(value)


def _plugins(value: Any) -> tuple[object, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError("expected plugin modules or objects, or pairs of a name and such an object")
    return tuple(value)


def _adapter(value: Any) -> Any:
    """The name of a format, or a DSPy adapter."""
    if isinstance(value, str):
        if value not in _FORMATS:
            raise ValueError(f"{value!r} is no format of prompts; there are {', '.join(_FORMATS)}")
    elif isinstance(value, type):
        raise ValueError(f"{value.__name__} is a class; give an adapter, such as {value.__name__}()")
    elif value is not None and not (callable(value) and hasattr(value, "format") and hasattr(value, "parse")):
        raise ValueError(f"{type(value).__name__} is not a DSPy adapter; give one, or one of {', '.join(_FORMATS)}")
    return value


def _prices(value: Any) -> Any:
    """The table of prices; few executors have one, and every command reads the settings."""
    from hokusai_core.price_table import PriceTable

    return PriceTable.of(value)


def _cassette(value: Any) -> Any:
    """The path of a cassette, or a cassette."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none")):
        return None
    if not isinstance(value, (str, os.PathLike)) and not (callable(getattr(value, "find", None)) and value.record_mode):
        raise ValueError(f"{type(value).__name__} is no cassette; give a path, or what cassette(path) returns")
    return value


def _folder(value: Any) -> Path | None:
    if value is not None and (not isinstance(value, (str, os.PathLike)) or not os.fspath(value)):
        raise ValueError("expected the path of a folder")
    return None if value is None else Path(value).expanduser().absolute()


def _thread_pool(value: Any) -> Any:
    from concurrent.futures import Executor, ProcessPoolExecutor  # few executors are given one

    if value is not None and (isinstance(value, ProcessPoolExecutor) or not isinstance(value, Executor)):
        raise ValueError(f"{type(value).__name__} is no pool of threads; give a concurrent.futures.ThreadPoolExecutor")
    return value


def _named(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError("expected a mapping of name to language model")
    return MappingProxyType(dict(value))


def _trackers(value: Any) -> tuple[str, ...] | Mapping[str, Any]:
    """Names of components; or by name trackers, or options of a component."""
    if not isinstance(value, Mapping):
        return names(value)
    found: dict[str, Any] = {}
    for name, tracker in value.items():
        if isinstance(tracker, Mapping):
            found[name] = ComponentChoice.of({"name": name, **tracker})
            continue
        problems = [] if isinstance(tracker, ComponentChoice) else protocol_problems(Tracker, tracker)
        if problems:
            raise ValueError(f"trackers[{name!r}]: {type(tracker).__name__} is not a Tracker: {'; '.join(problems)}")
        found[name] = tracker
    return MappingProxyType(found)


def _validators(value: Any) -> tuple[Any, ...]:
    """Validators of the host's own."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError("expected a list of validators; those of installed plugins are used by themselves")
    found = tuple(value)
    for number, validator in enumerate(found):
        problems = protocol_problems(Validator, validator)
        if problems:
            raise ValueError(
                f"validators[{number}]: {type(validator).__name__} is not a Validator: {'; '.join(problems)}"
            )
    return found


class ExecutorOptions(TypedDict, total=False):
    """Options of an executor. All but the first four can also be set by environment variables."""

    lm: Annotated[
        Any,
        Option(
            'language model: a name ("openai/gpt-5-mini", "local"), a dspy.LM, a LanguageModel or a ModelPolicy; '
            "left out, dspy.settings.lm of the host, else HOKUSAI_LM, else an embedded model",
            anything,
            environment=False,
        ),
    ]
    models: Annotated[
        Mapping[str, Any],
        Option(
            "language models by a name that lm= and --lm can give: a table with 'model' and its settings, a table with "
            "'models' for a policy, a ModelPolicy, or a dspy.LM",
            _named,
            MappingProxyType({}),
            environment=False,
            private=True,
        ),
    ]
    adapter: Annotated[
        Any,
        Option(
            'DSPy adapter for every call, or the name of a format ("chat", "json", "xml"); left out, the model\'s own, '
            "else dspy.settings.adapter of the host, else FastChatAdapter",
            _adapter,
            environment=False,
        ),
    ]
    extra_plugins: Annotated[
        Iterable[object],
        Option(
            "plugin modules or objects of the host's own, used beside the installed ones",
            _plugins,
            (),
            environment=False,
        ),
    ]
    validators: Annotated[
        Iterable[Any],
        Option(
            "validators of the host's own, asked beside those of plugins: objects that satisfy Validator",
            _validators,
            (),
            environment=False,
        ),
    ]
    cache_enabled: Annotated[bool, Option("whether answers are stored and served at all", flag, True)]
    cache: Annotated[
        Any,
        Option(
            "persistent cache behind the memory cache: a component's name, {'name': ..., options}, or an object that "
            "satisfies Cache",
            component(Cache),
            private=True,  # options may hold credentials
        ),
    ]
    cache_ttl: Annotated[float | None, Option("seconds for which a stored answer is served", optional_number)]
    cache_entries: Annotated[int, Option("answers that the memory cache holds at most", count(1), 10_000)]
    cache_bytes: Annotated[int, Option("bytes that the memory cache holds at most", count(1), 64 * 2**20)]
    media_bytes: Annotated[
        int, Option("bytes that a picture, sound or file among the inputs may have at most", count(1), 20 * 2**20)
    ]
    media_urls: Annotated[
        bool, Option("whether a picture may be a URL, which the provider of the language model fetches", flag, False)
    ]
    namespace: Annotated[str, Option("part of every cache key, to keep tenants apart", verbatim_text, "default")]
    cassette: Annotated[
        Any,
        Option(
            "where calls of language models are recorded and answered from: a file, or what cassette() returns; none "
            "for no cassette",
            _cassette,
        ),
    ]
    timeout: Annotated[
        float | None,
        Option("seconds that bound one execution, retries included; none for no bound", optional_number, 300.0),
    ]
    max_workers: Annotated[int, Option("rows and tasks that run at the same time", count(1), 8)]
    thread_pool: Annotated[
        Any,
        Option(
            "a concurrent.futures.ThreadPoolExecutor of the host for rows and tasks, which the executor does not end; "
            "left out, threads of its own",
            _thread_pool,
            environment=False,
        ),
    ]
    data_folder: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "folder of everything that this executor keeps; left out, the folders of the user, which HOKUSAI_DATA_DIR "
            "and HOKUSAI_CACHE_DIR can move",
            _folder,
            environment=False,
        ),
    ]
    parameters: Annotated[
        Mapping[str, Any],
        Option(
            "parameters that every language model gets, such as {'temperature': 0.2}; those of a signature and of a "
            "call go before them",
            parsed_parameters,
            MappingProxyType({}),
            private=True,
        ),
    ]
    prices: Annotated[
        Any,
        Option(
            "prices of language models in US dollars for a million tokens, in place of those that DSPy knows: a "
            "mapping, or the path of a TOML or JSON file",
            _prices,
        ),
    ]
    max_cost: Annotated[
        float | None,
        Option(
            "US dollars that all executions together may cost that give no budget of their own; none for no bound",
            optional_number,
        ),
    ]
    budget_file: Annotated[
        str | None,
        Option(
            "file of what was spent, by which processes share max_cost; left out, it is this executor's alone",
            optional_text,
        ),
    ]
    unpriced: Annotated[
        Literal["refuse", "allow"],
        Option(
            "what max_cost does with calls whose price is not known: 'refuse' makes no such call, 'allow' counts it as "
            "free",
            _unpriced,
            "refuse",
        ),
    ]
    retry_on_failure: Annotated[bool, Option("whether failed calls are tried again", flag, False)]
    max_retries: Annotated[int, Option("tries after the first, if retries are on", count(0), 3)]
    requests_per_minute: Annotated[
        float | None, Option("language-model calls per minute and model; none for no bound", optional_number)
    ]
    tokens_per_minute: Annotated[
        float | None, Option("tokens per minute and model; none for no bound", optional_number)
    ]
    mode: Annotated[ExecutionMode | str, Option("production, development or testing", _mode, ExecutionMode.PRODUCTION)]
    trackers: Annotated[
        Sequence[str] | Mapping[str, Any],
        Option(
            "trackers that record executions: names of components; or by name trackers, or options of a component",
            _trackers,
            (),
            private=True,
        ),
    ]
    promotions: Annotated[
        bool,
        Option("whether promoted signatures replace their originals; left out, not in testing mode", flag, True),
    ]
    feedback_store: Annotated[
        Any,
        Option(
            "where executions are kept for feedback: a component's name, {'name': ..., options}, or an object that "
            "satisfies FeedbackStore; left out, the installed one",
            component(FeedbackStore),
            private=True,
        ),
    ]
    plugins: Annotated[
        Sequence[str] | None, Option("the only plugins that are used; none for all that are installed", optional_names)
    ]
    disable_plugins: Annotated[Sequence[str], Option("plugins that are not even imported", names, ())]
    strict_plugins: Annotated[bool, Option("whether a plugin that fails is an error instead of a warning", flag, False)]
    prefer: Annotated[
        Mapping[str, str],
        Option("which signature a short name means: Name=pack/Name", _preferences, MappingProxyType({})),
    ]


def executor_options() -> Mapping[str, Option]:
    """Return every option of an executor by name."""
    return options_of(ExecutorOptions)


def _of_project_file() -> list[str]:
    """Return the settings that a project file may give: all that a file can hold."""
    return [name for name, option in executor_options().items() if option.environment or name in _ALSO_IN_FILES]


def variable_of(name: str) -> str:
    """Return the environment variable of an option."""
    return f"HOKUSAI_{name.upper()}"


@frozen
class SettingValue:
    """A value and its source: ``argument``, ``environment NAME``, ``file PATH`` or ``default``."""

    value: Any
    source: str

    def __str__(self) -> str:
        return f"{shown(self.value)} ({self.source})"


class Settings(Mapping[str, SettingValue]):
    """Every setting of an executor with its source, read-only.

    Settings that are made like this read no environment variable, so a host that embeds an executor decides alone.
    ``from_environment`` reads the variables; ``Executor(timeout=5)`` does the same.

    Args:
        options: see ``ExecutorOptions``.

    Raises:
        ConfigurationError: names every option that cannot be used, and what is expected.

    Example:
        >>> Settings(timeout=5)
        Settings(timeout=5.0)
        >>> settings = Settings.from_environment({"HOKUSAI_MAX_WORKERS": "2"}, timeout=5)
        >>> settings["timeout"].source, settings.value("max_workers"), settings["max_workers"].source
        ('argument', 2, 'environment HOKUSAI_MAX_WORKERS')
    """

    __slots__ = ("_values", "environ")

    def __init__(self, **options: Unpack[ExecutorOptions]) -> None:
        self.environ: Mapping[str, str] = MappingProxyType({})
        self._values = _read(_known(options), self.environ)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, /, **options: Unpack[ExecutorOptions]
    ) -> Settings:
        """Return settings that are read from environment variables where no option is given.

        Args:
            environ: the environment; None for that of the process.
            options: see ``ExecutorOptions``.

        Raises:
            ConfigurationError: names every option and variable that cannot be used, and what is expected.
        """
        search, environ = environ is None, os.environ if environ is None else environ
        project = project_settings(environ, search=search, known=_of_project_file())
        return cls._of(_read(_known(options), environ, project), environ)

    @classmethod
    def _of(cls, values: Mapping[str, SettingValue], environ: Mapping[str, str]) -> Settings:
        settings = cls.__new__(cls)
        settings.environ, settings._values = environ, dict(values)
        return settings

    def with_options(self, **options: Unpack[ExecutorOptions]) -> Settings:
        """Return these settings with other options.

        Raises:
            ConfigurationError: names every option that cannot be used, and what is expected.
        """
        given = {name: value for name, value in _read(_known(options), {}).items() if value.source != "default"}
        return self._of({**self._values, **given}, self.environ)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Settings:
        """Return these settings with other defaults; what was given, or read from a variable, stays.

        Raises:
            ConfigurationError: names every default that cannot be used.
        """
        read = _read(defaults, {})
        changed = {name: SettingValue(read[name].value, "default") for name in defaults}
        given = {name: value for name, value in self._values.items() if value.source != "default"}
        return self._of({**self._values, **changed, **given}, self.environ)

    def shown_with(self, **values: SettingValue) -> Settings:
        """Return these settings with other values for listings to show."""
        return self._of({**self._values, **values}, self.environ)

    def value(self, name: str) -> Any:
        """Return the value of a setting without its source."""
        return self._values[name].value

    @property
    def media_policy(self) -> MediaPolicy:
        """Which pictures, sounds and files are taken."""
        from hokusai_core.media import MediaPolicy  # an executor needs it, and a command that lists does not

        return MediaPolicy(self.value("media_bytes"), self.value("media_urls"))

    def __getitem__(self, name: str) -> SettingValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        given = {name: value for name, value in self._values.items() if value.source != "default"}
        return f"Settings({', '.join(f'{name}={shown(item.value)}' for name, item in given.items())})"

    def __str__(self) -> str:
        return "\n".join(f"{name} = {value}" for name, value in self._values.items())


def _known(options: ExecutorOptions) -> Mapping[str, Any]:
    """Return the keyword arguments of a caller.

    Raises:
        TypeError: there is no option of a name, as Python says it of any function.
    """
    table = executor_options()
    for name in options:
        if name not in table:
            raise TypeError(f"unexpected keyword argument {name!r}{did_you_mean(name, table)}")
    return options


def _read(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    project: tuple[Mapping[str, Any], str] = (MappingProxyType({}), ""),
) -> dict[str, SettingValue]:
    """Return every setting with its source.

    Raises:
        ConfigurationError: names every option and variable that cannot be used.
    """
    table = executor_options()
    values: dict[str, SettingValue] = {}
    problems = [f"{name}: there is no such setting{did_you_mean(name, table)}" for name in options if name not in table]
    for name, option in table.items():
        given, variable = options.get(name, UNSET), variable_of(name)
        if given is not UNSET:
            raw, source, label = given, "argument", name
        elif option.environment and variable in environ:
            raw, source, label = environ[variable], f"environment {variable}", variable
        elif name in project[0]:
            raw, source, label = project[0][name], project[1], f"{project[1]}: {name}"
        else:
            values[name] = SettingValue(option.default, "default")
            continue
        try:
            values[name] = SettingValue(option.read(raw, label), source)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values


def parse_setting(name: str, raw: Any) -> Any:
    """Return the value of one setting that a call was given.

    Raises:
        ConfigurationError: names it, what is wrong and what is expected.
    """
    return executor_options()[name].read(raw, name)
