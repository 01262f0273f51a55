"""SignatureValidator: checks whether inputs would be accepted."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import InputError, SignatureError
from hokusai_core.results import Problem

if TYPE_CHECKING:
    from hokusai_core.executor import Executor

__all__ = ["SignatureValidator"]


class SignatureValidator:
    """Checks inputs against a signature, with every check that an execution makes before it calls a language model.

    One validator may be shared by threads: each thread reads the problems of its own last check.

    Args:
        executor: whose signatures and validators are used; left out, those of the installed plugins.

    Example:
        >>> from hokusai_core import Executor
        >>> with Executor(plugins=[]) as executor:
        ...     executor.register_signature("Greet", "name, times: int -> greeting")
        ...     validator = SignatureValidator(executor)
        ...     validator.validate_inputs("Greet", {"nam": "Ada", "times": "often"})
        ...     sorted((problem.field, problem.code) for problem in validator.get_errors())
        False
        [('nam', 'unknown'), ('name', 'missing'), ('times', 'wrong_type')]
    """

    def __init__(self, executor: Executor | None = None) -> None:
        if executor is None:
            from hokusai_core.executor import Executor

            executor = Executor(cache_enabled=False)
        self._executor = executor
        self._last = threading.local()

    def validate_inputs(self, signature_name: Any, inputs: Mapping[str, Any]) -> bool:
        """Return whether ``inputs`` would be accepted. If not, ``get_errors`` returns the reasons.

        Args:
            signature_name: name of a signature, or a signature class.
            inputs: input field or alias -> value.
        """
        self._last.problems = self._problems(signature_name, inputs)
        return not self._last.problems

    def get_errors(self) -> list[Problem]:
        """Return every problem of this thread's last check; an empty list if there was none."""
        return list(getattr(self._last, "problems", ()))

    def _problems(self, signature: Any, inputs: Mapping[str, Any]) -> tuple[Problem, ...]:
        try:
            self._executor.check_inputs(signature, inputs)
        except InputError as error:
            return error.problems
        except SignatureError as error:
            return (Problem("signature_name", "unknown_signature", str(error)),)
        return ()
