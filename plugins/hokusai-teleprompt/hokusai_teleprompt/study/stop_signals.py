"""Signals that end a study early.

Neither class is an ``Exception``, because optimizers of DSPy swallow those and go on paying.
"""

from __future__ import annotations

__all__ = ["StudyFailed", "StudyStop"]


class StudyStop(BaseException):
    """No further call may be made: a budget is spent, or the phase is over.

    Args:
        reason: why, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StudyFailed(BaseException):
    """The study cannot go on: the metric raised, or the language model is dead.

    Args:
        problem: what failed, in words.
        cause: the first error, with its traceback.
    """

    def __init__(self, problem: str, cause: BaseException) -> None:
        super().__init__(problem)
        self.problem, self.cause = problem, cause
