"""Results of executions: the outputs, the attempts, the usage and the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from attrs import asdict, field, frozen

from hokusai_core.result_view import html_table, plain_values, values_rows, values_text
from hokusai_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    #: The signature class of a result, Any if it was named by a text.
    S_co = TypeVarWithDefault("S_co", covariant=True, default=Any)
else:
    S_co = TypeVar("S_co", covariant=True)  # defaults of type variables came with Python 3.13

__all__ = [
    "Attempt",
    "ExecutionResult",
    "ExecutionTrace",
    "ModelExchange",
    "Outputs",
    "Problem",
    "StageTiming",
    "TokenCount",
    "Usage",
    "known_cost",
]


@frozen
class Problem:
    """One fault of an input or an output.

    Args:
        field: name of the field, as the caller wrote it.
        code: stable, machine-readable kind: ``missing``, ``unknown``, ``wrong_type``, ``out_of_range``, ``empty``,
            ``duplicate`` or a validator's own.
        message: one sentence that says what to do.
    """

    field: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@frozen
class TokenCount:
    """The tokens of a request.

    Args:
        tokens: how many.
        exact: whether the tokenizer of the model has counted them; else they are an estimate.
    """

    tokens: int
    exact: bool

    def __str__(self) -> str:
        return f"{self.tokens} tokens" if self.exact else f"about {self.tokens} tokens (an estimate)"


@frozen
class Usage:
    """Tokens that language-model calls consumed.

    Args:
        input_tokens: tokens of the prompts.
        output_tokens: tokens of the answers.
        calls: language-model calls that were made.
        cached_tokens: those of ``input_tokens`` that the provider had in its prompt cache.
        reasoning_tokens: those of ``output_tokens`` that the model thought with, as far as the provider tells.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens of prompts and answers together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.calls + other.calls,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        """Return the counts as a JSON-able dict."""
        return asdict(self)


def known_cost(costs: Iterable[float | None]) -> float | None:
    """Return the sum of the costs that are known, None where none is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


@frozen
class Attempt:
    """One attempt to get an answer.

    Args:
        number: 1 for the first.
        outcome: ``ok``; ``failed``; ``cancelled`` where the call was really stopped; ``abandoned`` where the deadline
            passed and the call runs on in a thread whose result is discarded.
        latency: seconds.
        model: model that was called.
        usage: tokens of this try.
        cost: estimated US dollars, None where unknown.
        error: class and message of what failed, free of sensitive values.
        price_source: where the price is from: ``user`` (the option ``prices``), ``dspy`` or ``litellm``; "" where
            nothing was to be paid or no price is known.
        finish_reason: why the provider says that the answer ended, such as ``stop`` or ``length``. If a program
            makes several calls, the last, or one that was cut off or withheld. None where unknown.
    """

    number: int
    outcome: Literal["ok", "failed", "cancelled", "abandoned"]
    latency: float
    model: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    error: str | None = None
    finish_reason: str | None = None
    price_source: str = ""


@frozen
class ModelExchange:
    """One prompt and its raw answer. Kept in development mode, and for trackers that ask for it.

    Args:
        messages: the prompt, as role and content.
        completions: raw answers, before parsing; empty where the call failed.
        finish_reason: why the provider says that the answer ended, such as ``stop`` or ``length``; None where unknown.
        latency: seconds of the call.
        attempt: number of the attempt that it belongs to, from 1; 0 outside of an execution.
    """

    messages: tuple[Mapping[str, Any], ...]
    completions: tuple[str, ...]
    finish_reason: str | None = None
    latency: float = 0.0
    attempt: int = 0


@frozen
class StageTiming:
    """The duration of one stage of an execution.

    Args:
        name: ``prepare`` (signature and language model are made ready; only where that is done for this execution),
            ``bind``, ``validate_inputs``, ``cache_lookup``, ``language_model``, ``validate_outputs`` or
            ``cache_store``.
        started: seconds since the execution began.
        duration: seconds.
    """

    name: str
    started: float
    duration: float


@frozen
class ExecutionTrace:
    """What happened inside an execution; kept in development mode only.

    Args:
        stages: name and duration of every stage, in order.
        exchanges: prompts and raw completions, in order.
    """

    stages: tuple[StageTiming, ...] = ()
    exchanges: tuple[ModelExchange, ...] = ()


class Outputs(dict[str, Any]):
    """The outputs of an execution by attribute and by key; a copy, so that changing it changes no result.

    An output that is named like a method of ``dict`` is reached by attribute too, in place of the method.

    Args:
        values: output field name -> typed value.
        signature: qualified name of the signature, for messages.

    Example:
        >>> outputs = Outputs({"team": "billing", "items": 3})
        >>> outputs.team, outputs["team"], outputs.items
        ('billing', 'billing', 3)
    """

    __slots__ = ("__signature",)

    def __init__(self, values: Mapping[str, Any], signature: str = "") -> None:
        super().__init__(values)
        self.__signature = signature

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        names = list(self)
        raise AttributeError(
            f"{self.__signature or 'the signature'} has no output {name!r}{did_you_mean(name, names)}; it has "
            f"{', '.join(names) or 'none'}"
        )

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    def __repr__(self) -> str:
        # Values stay out, as in the repr of a result: a field may be sensitive.
        return f"<Outputs of {self.__signature or 'a signature'}: {', '.join(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Outputs, (dict(self), self.__signature)


# Without slots, as attrs fills a dict in half the time, and a hit in memory makes little else than a result.
@frozen(eq=False, repr=False, slots=False)
class ExecutionResult(Mapping[str, Any], Generic[S_co]):
    """The outputs of an execution as a read-only mapping, with attributes such as its attempts, usage and cost.

    ``result["execution_id"]`` is the id that feedback needs; it is not an output, so iterating leaves it out.

    The result of ``execute_signature(RouteTicket, ...)`` is an ``ExecutionResult[RouteTicket]``: type checkers and
    editors take the type of ``result.outputs.team`` from the class.

    Args:
        outputs: output field name -> typed value.
        execution_id: unique id of this execution.
        signature: qualified name of the signature.
        signature_version: its version.
        fingerprint: hash over its fields, types, instructions and demos.
        model: name of the language model that answered.
        usage: tokens of all attempts; zero for a cache hit.
        cost: estimated US dollars of all attempts; None where unknown, 0.0 for a cache hit.
        latency: seconds from call to result.
        cached: the tier that answered (``memory``, ``disk``, ...), ``shared`` where another caller's concurrent
            execution did, None where the language model did.
        cache_age: seconds since the answer was stored, None unless cached.
        original_latency: seconds that the stored answer took, None unless cached.
        original_cost: estimated US dollars that the stored answer cost, None unless cached and known.
        attempts: every try.
        trace: prompts, completions and stage timings, in development mode.
        strategy: name of the strategy that answered, "" for one call of the language model or a program.
        extras: what the strategy gave beside the outputs, such as ``reasoning`` or ``trajectory``, as JSON-able data.
            Where a field of the signature is sensitive, they may quote it, and are kept in memory only.
        inputs: the inputs as they were used: by field name, converted, defaults filled in.
        sensitive: names of the fields whose values are not shown.
        notes: what a reader of the outputs ought to know, such as that a small model wrote a free text.

    ``print(result)`` shows the outputs; a notebook shows them as a table.

    Example:
        >>> result = ExecutionResult(outputs={"draft": "Dear all"}, execution_id="e1", signature="p/DraftText")
        >>> result["draft"], result["execution_id"], dict(result)
        ('Dear all', 'e1', {'draft': 'Dear all'})
        >>> print(result)
        draft: Dear all
    """

    _outputs: Mapping[str, Any]
    execution_id: str
    signature: str
    signature_version: str = ""
    fingerprint: str = ""
    model: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    latency: float = 0.0
    cached: str | None = None
    cache_age: float | None = None
    original_latency: float | None = None
    original_cost: float | None = None
    attempts: tuple[Attempt, ...] = ()
    trace: ExecutionTrace | None = field(default=None)
    strategy: str = ""
    extras: Mapping[str, Any] = field(factory=dict)
    inputs: Mapping[str, Any] = field(factory=dict)
    sensitive: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def price_source(self) -> str:
        """Where the prices of ``cost`` are from: ``user``, ``dspy`` or ``litellm``; "" for none, as for a cache hit."""
        return ", ".join(dict.fromkeys(attempt.price_source for attempt in self.attempts if attempt.price_source))

    @property
    def outputs(self) -> S_co:
        """The outputs by attribute and by key; see ``Outputs``."""
        return cast("S_co", Outputs(self._outputs, self.signature))

    def __getitem__(self, name: str) -> Any:
        try:
            return self._outputs[name]
        except KeyError:
            if name == "execution_id":
                return self.execution_id
            raise KeyError(f"{name!r} is no output of {self.signature}; it has {', '.join(self._outputs)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        # Values stay out: outputs may be long, and a field may be sensitive.
        source = f"cached={self.cached!r}" if self.cached else f"model={self.model!r}"
        return f"<ExecutionResult {self.signature} {source} outputs={list(self._outputs)} id={self.execution_id}>"

    def to_dict(self, *, sensitive: bool = False) -> dict[str, Any]:
        """Return the outputs and how they came about as a JSON-able dict, whatever the types of the outputs.

        Args:
            sensitive: whether values of sensitive fields, and extras that may quote them, are in it too.
        """
        hidden = frozenset() if sensitive else self.sensitive
        return {
            "signature": self.signature,
            "signature_version": self.signature_version,
            "fingerprint": self.fingerprint,
            "execution_id": self.execution_id,
            "inputs": plain_values(self.inputs, hidden),
            "outputs": plain_values(self._outputs, hidden),
            "model": self.model,
            "usage": self.usage.to_dict(),
            "cost": self.cost,
            "price_source": self.price_source or None,
            "latency": self.latency,
            "cached": self.cached,
            "attempts": len(self.attempts),
            "strategy": self.strategy or None,
            "extras": {} if hidden else plain_values(self.extras, hidden),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return values_text(self._outputs, self.sensitive)

    def _repr_html_(self) -> str:
        source = f"{self.cached} cache" if self.cached else self.model
        caption = ", ".join(part for part in (self.signature, source, f"{self.latency:.2f} s") if part)
        return html_table(("output", "value"), values_rows(self._outputs, self.sensitive), caption)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"'ExecutionResult' object has no attribute {name!r}")
        if name in self._outputs:
            raise AttributeError(f"{name!r} is an output: write result[{name!r}] or result.outputs.{name}")
        known = ", ".join(f"result[{output!r}]" for output in self._outputs)
        raise AttributeError(f"a result has no attribute {name!r}; its outputs are {known or 'none'}")

    def _ipython_key_completions_(self) -> list[str]:
        return [*self._outputs, "execution_id"]
