"""StrategyTask and Reward: what a strategy is given to build a module from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from attrs import field, frozen

from hokusai_core.errors import HokusaiError, OutputError, PluginError

if TYPE_CHECKING:
    from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["Reward", "StrategyTask"]


@frozen(eq=False)
class StrategyTask:
    """What a strategy builds a module for.

    Args:
        spec: the signature as data.
        signature: the signature as a ``dspy.Signature`` class. Its fields may be named differently from those of
            ``spec``, as DSPy needs some names for itself; the module takes and returns fields under these names.
        names: field name of ``spec`` -> its name in ``signature``.
        demos: few-shot examples of ``spec``, under the names of ``signature``. The module's predictors get them
            wherever they have all fields of ``signature``; for the module of a part its strategy does so.
    """

    spec: SignatureSpec
    signature: Any
    names: Mapping[str, str]
    demos: Sequence[Mapping[str, Any]]
    _own_inputs: Callable[[Mapping[str, Any]], dict[str, Any]] = field(alias="own_inputs")
    _own_outputs: Callable[[Any], dict[str, Any]] = field(alias="own_outputs")
    _language_model: Callable[[], Any] = field(alias="language_model")
    _call: Callable[[Mapping[str, Any]], tuple[Any, dict[str, Any]]] = field(alias="call")
    _bind: Callable[[Mapping[str, Any]], dict[str, Any]] = field(alias="bind")
    _part: Callable[[SignatureSpec], StrategyTask] = field(alias="part")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # optimizers copy modules, which hold it; it never changes

    def inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call of the module under the names of ``spec``."""
        return self._own_inputs(values)

    def outputs(self, values: Mapping[str, Any], prediction: Any) -> dict[str, Any]:
        """Return the outputs of a prediction under the names of ``spec``, in their types.

        Args:
            values: the inputs, as the module was called with them.
            prediction: what the module, or another one for the same signature, returned.

        Raises:
            OutputError: an output is missing, or does not fit its type or its constraints.
        """
        outputs, problems = self.spec.codec.settle(self.inputs(values), self._own_outputs(prediction))
        if problems:
            raise OutputError(f"the answer does not fit {self.spec.name}: " + "; ".join(map(str, problems)))
        return outputs

    def call(self, inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return ``signature``, its outputs narrowed to the choices of these inputs, and the values of its inputs.

        Args:
            inputs: bound inputs under the names of ``spec``.
        """
        return self._call(inputs)

    def bind(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs under the names of ``spec`` as an execution binds them: converted, defaults filled in.

        Raises:
            InputError: they do not fit; carries every problem.
        """
        return self._bind(inputs)

    def part(self, spec: SignatureSpec) -> StrategyTask:
        """Return the task of another signature that the module answers on its way, such as a step of a chain."""
        return self._part(spec)

    def language_model(self) -> Any:
        """Return the language model of the execution that runs; its calls are counted and charged as others."""
        return self._language_model()


@frozen(eq=False)
class Reward:
    """A score of outputs that a strategy chooses by; a higher one is better.

    Args:
        name: kind and name, such as ``validator no-secrets``.
        version: its version; "" if it has none.
        best: the highest score that there can be; None where it is not known.
        calls_model: whether scoring calls a language model, so that it takes a while.
    """

    name: str
    version: str
    _score: Callable[[StrategyTask, Mapping[str, Any], Mapping[str, Any]], Any] = field(alias="score")
    best: float | None = None
    calls_model: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # as of a task

    def __call__(self, task: StrategyTask, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        """Return the score of ``outputs``.

        Raises:
            PluginError: the reward raises, or what it returns is not a number.
        """
        try:
            score = float(self._score(task, inputs, outputs))
        except HokusaiError:
            raise
        except Exception as error:
            failure = error
        else:
            return self._checked(score)
        message = f"reward {self.name!r} raised {type(failure).__name__}"
        if task.spec.sensitive:  # its message and its traceback may quote a sensitive value
            raise PluginError(f"{message}; it is not shown, because {task.spec.name} has sensitive fields")
        raise PluginError(f"{message}; see the cause") from failure

    def _checked(self, score: float) -> float:
        if math.isnan(score):
            raise PluginError(f"reward {self.name!r} returned NaN, which compares with no other score")
        return score
