"""Options of a call: what the caller asked for, what the settings say where the caller did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.budget import Budget
from hokusai_core.execution.retry import RetryPolicy
from hokusai_core.execution.state import Options
from hokusai_core.settings import UNSET, Unset, parse_setting
from hokusai_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from hokusai_core.execution.state import CacheUse
    from hokusai_core.settings import Config

__all__ = ["OptionReader"]

#: What callers may ask for; the rest is between the parts of the core.
_PUBLIC: Final = (
    "lm", "cache", "cache_ttl", "timeout", "retry_on_failure", "max_retries", "collect_feedback", "tags", "budget"
)  # fmt: skip


class OptionReader:
    """Reads the options of calls for one executor.

    Args:
        config: the executor's settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        retries = config.value("max_retries") if config.value("retry_on_failure") else 0
        #: Options of a call that says nothing.
        self.default = Options(
            cache="use", cache_ttl=UNSET, timeout=config.value("timeout"), retry=RetryPolicy(retries)
        )

    def read(
        self,
        *,
        cache: CacheUse = "use",
        cache_ttl: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        collect_feedback: bool = False,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
        parent_id: str | None = None,
        parent_kind: str | None = None,
        step: str | None = None,
        fresh_since: float | None = None,
        **unknown: object,
    ) -> Options:
        """Return the options of a call: what the caller left out is filled from the settings, the rest is checked.

        Raises:
            ConfigurationError: an option has a value that cannot be used.
            TypeError: there is no such option.
        """
        for name in unknown:
            meant = did_you_mean(name, _PUBLIC)
            raise TypeError(f"unexpected keyword argument {name!r}{meant}; options are {', '.join(_PUBLIC)}")
        default = self.default
        if (
            cache_ttl is timeout is retry_on_failure is max_retries is UNSET
            and cache == "use"
            and budget is None
            and not (collect_feedback or tags or parent_id)
        ):
            return default
        given = {
            name: parse_setting(name, argument)
            for name, argument in (
                ("cache_ttl", cache_ttl),
                ("timeout", timeout),
                ("retry_on_failure", retry_on_failure),
                ("max_retries", max_retries),
            )
            if argument is not UNSET
        }
        if cache not in ("use", "refresh", "off"):
            raise ConfigurationError(f"cache={cache!r}: expected 'use', 'refresh' or 'off'")
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigurationError(f"budget: expected a Budget, such as Budget(calls=9), got {type(budget).__name__}")
        setting = self._config.value
        retries = given.get("max_retries", setting("max_retries"))
        return Options(
            cache=cache,
            cache_ttl=given.get("cache_ttl", UNSET),
            timeout=given.get("timeout", default.timeout),
            retry=RetryPolicy(retries if given.get("retry_on_failure", setting("retry_on_failure")) else 0),
            collect_feedback=collect_feedback,
            tags=_checked_tags(tags),
            budget=budget,
            parent_id=parent_id,
            parent_kind=parent_kind,
            step=step,
            fresh_since=fresh_since,
        )


def _checked_tags(tags: Mapping[str, str] | None) -> Mapping[str, str]:
    if not tags:
        return {}
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f"tags: expected a mapping of text to text, got {type(tags).__name__}")
    wrong = [key for key, tag in tags.items() if not isinstance(key, str) or not isinstance(tag, str)]
    if wrong:
        raise ConfigurationError(f"tags: expected texts; {', '.join(map(repr, wrong))} is not")
    return dict(tags)
