"""Options of an execution: their table, and the values of one call with defaults from the settings.

``ExecutionOptions`` is the table. The keyword arguments of every ``execute_*`` method, the flags of the ``hokusai``
command and the reference page are read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, Unpack

from hokusai_core.call_advice import option_advice
from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.budget import Budget
from hokusai_core.execution.state import Options, RetryPolicy
from hokusai_core.model_parameters import PARAMETERS, parsed_parameters
from hokusai_core.option_table import Option, anything, options_of
from hokusai_core.settings import UNSET, Settings, executor_options
from hokusai_core.signatures.strategy_choice import StrategyChoice
from hokusai_core.suggestions import did_you_mean

__all__ = ["ExecutionOptions", "OptionReader", "execution_options"]


def _cache(value: Any) -> Any:
    if value not in ("use", "refresh", "off"):
        raise ValueError("expected 'use', 'refresh' or 'off'")
    return value


def _budget(value: Any) -> Budget | None:
    if value is not None and not isinstance(value, Budget):
        raise ValueError("expected a Budget, such as Budget(calls=9)")
    return value


def _tags(value: Any) -> Mapping[str, str]:
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping of text to text, got {type(value).__name__}")
    wrong = [key for key, tag in value.items() if not isinstance(key, str) or not isinstance(tag, str)]
    if wrong:
        raise ValueError(f"expected texts; {', '.join(map(repr, wrong))} is not")
    return dict(value)


class ExecutionOptions(TypedDict, total=False):
    """Options of one execution. An option that is left out has the value of the executor's setting."""

    lm: Annotated[Any, Option("language model of this call, in place of the executor's", anything)]
    cache: Annotated[
        Literal["use", "refresh", "off"],
        Option(
            "'use' to serve a stored answer, 'refresh' to call and store the new answer, 'off' for neither",
            _cache,
            "use",
        ),
    ]
    cache_ttl: Annotated[
        float | None,
        Option(
            "seconds for which the answer is served; left out, the signature's, else the executor's",
            executor_options()["cache_ttl"].parse,
        ),
    ]
    timeout: Annotated[
        float | None,
        Option(
            "seconds for the whole execution, retries included; None for no bound", executor_options()["timeout"].parse
        ),
    ]
    retry_on_failure: Annotated[
        bool, Option("whether a failed call is tried again", executor_options()["retry_on_failure"].parse)
    ]
    max_retries: Annotated[
        int,
        Option("tries after the first; giving it does not turn retries on", executor_options()["max_retries"].parse),
    ]
    collect_feedback: Annotated[
        bool, Option("keep this execution so that FeedbackCollector can take feedback on it", bool, False)
    ]
    tags: Annotated[Mapping[str, str] | None, Option("free tags for trackers", _tags)]
    budget: Annotated[
        Budget | None,
        Option("a Budget that the calls are charged to; left out, that of the executor's max_cost", _budget),
    ]
    strategy: Annotated[
        str | Mapping[str, Any] | StrategyChoice | None,
        Option(
            "how the signature is answered: the name of a strategy, or a mapping of 'name' and its options; left out, "
            "as the signature declares",
            StrategyChoice.of,
        ),
    ]
    parameters: Annotated[
        Mapping[str, Any] | None,
        Option(
            "parameters of the language model for this call, such as {'temperature': 0.2}; they go before those of the "
            "signature and of the executor",
            parsed_parameters,
            private=True,
        ),
    ]


def execution_options() -> Mapping[str, Option]:
    """Return every option of an execution by name."""
    return options_of(ExecutionOptions)


class OptionReader:
    """Reads the options of calls for one executor.

    Args:
        settings: the executor's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._table = execution_options()
        #: Options of a call that gives none.
        self.default = Options(
            cache="use",
            cache_ttl=UNSET,
            timeout=settings.value("timeout"),
            retry=self._retry({}),
            budget=_executor_budget(settings),
        )

    def read(
        self,
        *,
        parent_id: str | None = None,
        parent_kind: str | None = None,
        step: str | None = None,
        fresh_since: float | None = None,
        **given: Unpack[ExecutionOptions],
    ) -> Options:
        """Return the options of a call: those that are given are checked, the others are filled in from the settings.

        ``lm`` is not part of them.

        Args:
            parent_id: id of the batch, chain or pipeline around the execution.
            parent_kind: what that is: ``batch``, ``chain``, ``pipeline`` or ``parallel``.
            step: name of the execution within a chain or pipeline.
            fresh_since: with ``cache="refresh"``, the time since which a stored answer counts as fresh.
            given: see ``ExecutionOptions``; ``UNSET`` counts as left out.

        Raises:
            ConfigurationError: an option has a value that cannot be used.
            TypeError: there is no such option.
        """
        if not given and parent_id is None:
            return self.default
        values = {name: self._value(name, raw) for name, raw in given.items() if raw is not UNSET}
        return Options(
            cache=values.get("cache", "use"),
            cache_ttl=values.get("cache_ttl", UNSET),
            timeout=values.get("timeout", self.default.timeout),
            retry=self._retry(values),
            collect_feedback=values.get("collect_feedback", False),
            tags=values.get("tags", {}),
            budget=values.get("budget") or self.default.budget,
            strategy=values.get("strategy"),
            parameters=values.get("parameters", {}),
            parent_id=parent_id,
            parent_kind=parent_kind,
            step=step,
            fresh_since=fresh_since,
        )

    def _value(self, name: str, raw: Any) -> Any:
        option = self._table.get(name)
        if option is None:
            hint = option_advice(name, PARAMETERS) or did_you_mean(name, self._table)
            raise TypeError(
                f"unexpected keyword argument {name!r}{hint}; inputs go into the mapping: {{{name!r}: ...}}; "
                f"options are {', '.join(self._table)}"
            )
        return option.read(raw, name)

    def _retry(self, values: Mapping[str, Any]) -> RetryPolicy:
        on = values.get("retry_on_failure", self._settings.value("retry_on_failure"))
        return RetryPolicy(values.get("max_retries", self._settings.value("max_retries")) if on else 0)


def _executor_budget(settings: Settings) -> Budget | None:
    """Return the budget of executions that give none, None for no bound."""
    cost, file = settings.value("max_cost"), settings.value("budget_file")
    if cost is None and file is not None:
        raise ConfigurationError(
            f"budget_file={file!r}: it says what was spent, and max_cost how much may be; give both"
        )
    return None if cost is None else Budget(cost=cost, unpriced=settings.value("unpriced"), file=file)
