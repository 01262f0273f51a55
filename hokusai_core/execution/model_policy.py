"""ModelPolicy: language models in the order in which they are asked, and when the next one is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from hokusai_core import errors
from hokusai_core.errors import (
    AnswerRefused,
    BudgetExceeded,
    CassetteMiss,
    ConfigurationError,
    DeadlineExceeded,
    ExecutionError,
    LanguageModelError,
    OutputError,
    RateLimitedError,
    ResourcesExhausted,
)
from hokusai_core.execution.circuit import Circuit
from hokusai_core.model_parameters import parsed_parameters
from hokusai_core.option_table import optional_number
from hokusai_core.suggestions import did_you_mean

__all__ = ["ModelPolicy", "PolicyModel"]

#: Errors after which the next model is asked, where a policy does not say it.
_MOVE_ON = (LanguageModelError, OutputError, DeadlineExceeded)
#: Errors that no other model can mend.
_NEVER = (BudgetExceeded, CassetteMiss, ResourcesExhausted)


@frozen(eq=False)
class PolicyModel:
    """One language model of a policy, with its settings.

    Args:
        lm: its name, such as ``"openai/gpt-5-mini"`` or ``"local"``, a ``dspy.LM``, or a ``LanguageModel``.
        parameters: parameters of its calls, such as ``{"temperature": 0}``. Those of the executor, of the signature and
            of the call go before them.
        timeout: seconds after which the next model is asked, retries included; None leaves all of the time that the
            execution has.

    Raises:
        ConfigurationError: a setting cannot be used; says which.
    """

    lm: Any
    parameters: Mapping[str, Any] = field(factory=dict)
    timeout: float | None = None

    @classmethod
    def of(cls, value: Any) -> PolicyModel:
        """Return the model that a name, a language model, a mapping of settings, or a ``PolicyModel`` stands for.

        Raises:
            ConfigurationError: it is none of these, or a setting cannot be used.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            return cls(value)
        unknown = [name for name in value if name not in ("lm", "parameters", "timeout")]
        if unknown or value.get("lm") is None:
            raise ConfigurationError(
                f"a model of a policy has lm, parameters and timeout, and needs lm; got {', '.join(map(str, value))}"
            )
        return cls(**value)

    def __attrs_post_init__(self) -> None:
        unnamed = isinstance(self.lm, str) and not self.lm.strip()
        if self.lm is None or unnamed or isinstance(self.lm, (ModelPolicy, Mapping)):
            given = repr(self.lm) if unnamed else type(self.lm).__name__
            raise ConfigurationError(f"lm={given}: a model of a policy is a name, a dspy.LM or a LanguageModel")
        for name, read in (("parameters", parsed_parameters), ("timeout", optional_number)):
            try:
                object.__setattr__(self, name, read(getattr(self, name)))
            except ValueError as error:
                raise ConfigurationError(f"{self.name}: {name}: {error}") from None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.lm if isinstance(self.lm, str) else str(getattr(getattr(self.lm, "lm", self.lm), "model", self.lm))


class ModelPolicy:
    """An ordered list of language models. Where one fails, the next one is asked.

    Give it as ``lm=`` of an executor or a call. Retries are made on one model first; then the next one is asked. Each
    model has its own cache key, so the answer of one is never served as that of another. ``result.model`` names the
    model that answered, and ``result.attempts`` what each of them did and cost.

    A model that fails ``failures`` times in a row is passed over for ``reset_after`` seconds, its stored answers
    included. Then one call tries it again. A policy may be shared by executors, which then share what they know.

    Args:
        models: the models, the first to be asked first: names, language models, mappings of the settings of a
            ``PolicyModel``, or such objects.
        move_on: classes of errors, or their names, after which the next model is asked. Left out: failures of the
            language model, answers that cannot be used, and the timeout of a model. Add ``AnswerRefused`` to ask the
            next model after a refusal. Inputs that do not fit and a spent budget always end the execution.
        failures: failures in a row after which a model is passed over; None for never.
        reset_after: seconds for which it is passed over.

    Raises:
        ConfigurationError: there is no model, or a setting cannot be used.

    Example:
        >>> policy = ModelPolicy(["openai/gpt-5-mini", {"lm": "local", "timeout": 60}], failures=5)
        >>> [model.name for model in policy.models]
        ['openai/gpt-5-mini', 'local']
    """

    def __init__(
        self,
        models: Iterable[Any],
        *,
        move_on: Iterable[type[Exception] | str] | None = None,
        failures: int | None = 3,
        reset_after: float = 60.0,
    ) -> None:
        if isinstance(models, (str, bytes, Mapping)) or not isinstance(models, Iterable):
            raise ConfigurationError(f"ModelPolicy({models!r}): expected a list of models, the first one first")
        #: The models, in order.
        self.models = tuple(map(PolicyModel.of, models))
        if not self.models:
            raise ConfigurationError("ModelPolicy([]): there is no model in it")
        if failures is not None and (isinstance(failures, bool) or not isinstance(failures, int) or failures < 1):
            raise ConfigurationError(f"failures={failures!r}: expected a whole number of at least 1, or None")
        if isinstance(reset_after, bool) or not isinstance(reset_after, (int, float)) or not reset_after > 0:
            raise ConfigurationError(f"reset_after={reset_after!r}: expected seconds above zero")
        #: Classes of errors after which the next model is asked.
        self.move_on = _MOVE_ON if move_on is None else _classes(move_on)
        self.failures, self.reset_after = failures, float(reset_after)
        self.circuits = tuple(Circuit(failures, float(reset_after)) for _ in self.models)

    @property
    def askable(self) -> list[PolicyModel]:
        """The models whose circuits are closed, or are about to be tried."""
        pairs = zip(self.models, self.circuits, strict=True)
        return [model for model, circuit in pairs if not circuit.seconds_left]

    def moves_on(self, error: ExecutionError) -> bool:
        """Return whether the next model is asked after ``error``."""
        if isinstance(error, _NEVER):
            return False
        if isinstance(error, AnswerRefused):  # where another model does what this one would not is for people to say
            return any(issubclass(kind, AnswerRefused) for kind in self.move_on)
        return isinstance(error, self.move_on) or type(error) is ExecutionError

    def is_failure(self, error: ExecutionError) -> bool:
        """Return whether ``error`` is a failure of the model, and not for instance of the executor's own rate limit."""
        return self.moves_on(error) and (error.retryable or not isinstance(error, RateLimitedError))

    def __repr__(self) -> str:
        return f"<ModelPolicy of {', '.join(model.name for model in self.models)}>"


def _classes(kinds: Iterable[type[Exception] | str]) -> tuple[type[Exception], ...]:
    """Return classes of errors that are given as such or by name."""
    if isinstance(kinds, (str, bytes)) or not isinstance(kinds, Iterable):
        raise ConfigurationError(f"move_on={kinds!r}: expected a list of classes of errors, or of their names")
    known = {
        name: kind
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type) and issubclass(kind, ExecutionError)
    }
    chosen: list[type[Exception]] = []
    for kind in kinds:
        found = known.get(kind) if isinstance(kind, str) else kind
        if not isinstance(found, type) or not issubclass(found, ExecutionError):
            hint = did_you_mean(kind, known) if isinstance(kind, str) else ""
            raise ConfigurationError(
                f"move_on: {kind!r} is not an error of an execution{hint}; there are {', '.join(known)}"
            )
        if issubclass(found, _NEVER):
            raise ConfigurationError(f"move_on: {found.__name__} always ends an execution; leave it out")
        chosen.append(found)
    return tuple(chosen)
