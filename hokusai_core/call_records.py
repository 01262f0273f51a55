"""Records of calls of a language model, and the protocols of guards before a call and of recorders after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from attrs import define, field, frozen

from hokusai_core.results import ModelExchange, Usage, known_cost

__all__ = [
    "Admission",
    "CallEstimate",
    "CallGuard",
    "CallRecord",
    "CostBound",
    "Meter",
    "OutputsWithExtras",
    "Recorder",
    "usage_of",
]


@frozen
class CostBound:
    """The most that a call may cost.

    Args:
        amount: picodollars, None where it is not known.
        problem: why it is not known, and what to do.
        unpriced: whether that is because no price of the model is known.
    """

    amount: int | None = 0
    problem: str = ""
    unpriced: bool = False


@frozen
class CallEstimate:
    """An estimate of a call before it is made.

    Args:
        model: name of the model.
        input_tokens: rough size of the prompt, four characters to a token.
        max_tokens: most tokens that the answer may have, None where the model's own limit holds.
        cost_bound: returns the most that the call may cost; called only where a ceiling on cost needs it.
        calls: answers that are asked for at once; each counts as a call.
    """

    model: str
    input_tokens: int
    max_tokens: int | None = None
    cost_bound: Callable[[], CostBound] = field(default=CostBound, eq=False, repr=False)
    calls: int = 1


@frozen
class CallRecord:
    """The record of a finished call of a language model.

    Args:
        model: name of the model.
        outcome: ``ok``; ``failed``; ``cancelled`` where the call was really stopped; ``abandoned`` where it runs on in
            a thread whose result is discarded.
        latency: seconds.
        usage: tokens; zero where the call failed or was answered by DSPy's own cache.
        cost: estimated US dollars, None where no price is known.
        price_source: where the price is from: ``user``, ``dspy`` or ``litellm``; "" where nothing was to be paid or no
            price is known.
        exchange: prompt and raw answers, where the meter keeps them.
        finish_reason: why the provider says that the answer ended, such as ``stop`` or ``length``; None where unknown.
        error: what was raised, None where nothing was.
        bill: whether the provider charges for the call: ``known`` as ``cost`` says; ``nothing`` where it refused the
            call or never got it; ``unknown`` where the answer was lost, or says nothing of its tokens.
    """

    model: str
    outcome: Literal["ok", "failed", "cancelled", "abandoned"]
    latency: float
    usage: Usage = Usage()
    cost: float | None = None
    exchange: ModelExchange | None = None
    finish_reason: str | None = None
    error: BaseException | None = None
    price_source: str = ""
    bill: Literal["known", "nothing", "unknown"] = "known"


class Admission(Protocol):
    """What a guard has set aside for one call; it is settled or refunded, once."""

    @property
    def cost(self) -> int:
        """Picodollars that are set aside; 0 for none."""
        ...

    def settle(self, call: CallRecord) -> None:
        """Charge what the call has used; must not raise."""
        ...

    def refund(self) -> None:
        """Give everything back, as no call was made; must not raise."""
        ...


class CallGuard(Protocol):
    """Is asked before every call: may raise (budget, deadline) or wait (rate limit)."""

    def before(self, estimate: CallEstimate) -> Admission | None:
        """Return what is set aside for the call once it may be made; raise where it may not."""
        ...

    async def abefore(self, estimate: CallEstimate) -> Admission | None:
        """Async version of ``before``."""
        ...

    def reserve(self, estimate: CallEstimate) -> Admission | None:
        """Do the same as ``before`` for a call that no rate limit of the executor concerns."""
        ...

    def charge(self, call: CallRecord) -> None:
        """Charge a call that was made without asking; must not raise."""
        ...


class Recorder(Protocol):
    """Receives a record of every call of a language model."""

    #: Whether records shall hold prompts and raw answers.
    keep_exchanges: bool

    def record(self, call: CallRecord) -> None:
        """Accept the record of one call; must not raise."""
        ...


@define(eq=False)
class Meter:
    """A recorder that keeps every record, for one execution or one optimization.

    Args:
        keep_exchanges: whether to keep prompts and raw answers.
    """

    keep_exchanges: bool = False
    calls: list[CallRecord] = field(factory=list)

    def record(self, call: CallRecord) -> None:
        """Keep the record."""
        self.calls.append(call)

    @property
    def usage(self) -> Usage:
        """Tokens of all calls."""
        if len(self.calls) == 1:
            return self.calls[0].usage
        return sum((call.usage for call in self.calls), Usage())

    @property
    def cost(self) -> float | None:
        """US dollars of the calls whose price is known, None where no price is."""
        if len(self.calls) == 1:
            return self.calls[0].cost
        return known_cost(call.cost for call in self.calls)

    @property
    def price_source(self) -> str:
        """Where the prices of the calls are from; several sources are separated by commas."""
        if len(self.calls) == 1:
            return self.calls[0].price_source
        return ", ".join(dict.fromkeys(call.price_source for call in self.calls if call.price_source))

    @property
    def finish_reason(self) -> str | None:
        """How the last answer ended; where one was cut off or withheld, how that one did."""
        if len(self.calls) == 1:
            return self.calls[0].finish_reason
        reasons = [call.finish_reason for call in self.calls if call.finish_reason is not None]
        return next(
            (reason for reason in reasons if reason not in ("stop", "tool_call")), reasons[-1] if reasons else None
        )

    @property
    def exchanges(self) -> tuple[ModelExchange, ...]:
        """Prompts and raw answers, in order."""
        return tuple(call.exchange for call in self.calls if call.exchange is not None)


class OutputsWithExtras(dict[str, Any]):
    """The outputs of an attempt, and what a strategy gave beside them.

    Args:
        outputs: output field -> value.
        extras: name -> JSON-able value, such as thoughts.
    """

    __slots__ = ("extras",)

    def __init__(self, outputs: Mapping[str, Any], extras: Mapping[str, Any]) -> None:
        super().__init__(outputs)
        self.extras = extras


def usage_of(entry: Mapping[str, Any], calls: int = 1) -> Usage:
    """Return a usage entry as DSPy writes it as ``Usage``."""
    return Usage(
        int(entry.get("prompt_tokens") or 0),
        int(entry.get("completion_tokens") or 0),
        calls,
        _detail(entry, "prompt_tokens_details", "cached_tokens"),
        _detail(entry, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(entry: Mapping[str, Any], details: str, name: str) -> int:
    found = entry.get(details)
    if found is None:
        return 0
    return int(found.get(name) or 0) if isinstance(found, Mapping) else 0
