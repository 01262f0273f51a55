"""Checks of the examples that a signature ships."""

from __future__ import annotations

from hokusai_core.results import Problem
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["example_problems"]


def example_problems(spec: SignatureSpec) -> list[Problem]:
    """Return everything that keeps the examples of ``spec`` from being inputs and outputs of it.

    Fields are named ``examples[0].inputs.topic``.
    """
    problems: list[Problem] = []
    for number, example in enumerate(spec.examples):
        inputs = example["inputs"]
        found = [("inputs", problem) for problem in spec.binder.problems(inputs)]
        if all(problem.code == "missing" for _, problem in found):
            bound = {} if found else spec.binder.bind(inputs)
            found += [
                ("outputs", problem)
                for problem in spec.codec.check(bound, example["outputs"])
                if bound or problem.code != "not_a_choice"  # the choices are among the inputs
            ]
        problems += (
            Problem(f"examples[{number}].{part}.{problem.field}", problem.code, problem.message)
            for part, problem in found
        )
    return problems
