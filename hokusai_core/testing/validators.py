"""The conformance suite for validators: subclass ``ValidatorConformance`` in the tests of a plugin that offers one.

Example::

    class TestMyValidator(ValidatorConformance):
        spec = Reply.spec
        good = {"message": "hello"}, {"reply": "hello, too"}
        bad_inputs = {"message": "my password is hunter2"}

        @pytest.fixture
        def validator(self):
            return MyValidator()
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from hokusai_core.protocols import Validator
from hokusai_core.results import Problem
from hokusai_core.signatures import FieldSpec, SignatureSpec

__all__ = ["ValidatorConformance"]

_ODD_TEXTS = ["", " ", "naïve ☕ \u202e", "line\nbreak\u2028", "nul\x00byte", "x" * 20_000]


class ValidatorConformance:
    """Tests that every validator passes. The fixture ``validator`` returns one.

    Attributes:
        spec: a signature that the validator checks.
        good: inputs and outputs that the validator accepts.
        bad_inputs: inputs that it does not accept; None if it checks outputs only.
        bad_outputs: outputs that it does not accept; None if it checks inputs only.
    """

    spec: ClassVar[SignatureSpec] = SignatureSpec(
        "Reply", "Reply to the message.", (FieldSpec("message", "input"), FieldSpec("reply", "output"))
    )
    good: ClassVar[tuple[Mapping[str, Any], Mapping[str, Any]]] = ({"message": "hello"}, {"reply": "hello, too"})
    bad_inputs: ClassVar[Mapping[str, Any] | None] = None
    bad_outputs: ClassVar[Mapping[str, Any] | None] = None

    @pytest.fixture
    def validator(self) -> Validator:
        """Return the validator."""
        raise NotImplementedError("define the fixture validator")

    def test_satisfies_the_protocol(self, validator: Validator) -> None:
        """It has both methods."""
        assert isinstance(validator, Validator)

    def test_accepts_what_is_good(self, validator: Validator) -> None:
        """Good inputs and outputs have no problems."""
        inputs, outputs = self.good
        assert list(validator.validate_inputs(self.spec, inputs)) == []
        assert list(validator.validate_outputs(self.spec, inputs, outputs)) == []

    def test_names_every_problem(self, validator: Validator) -> None:
        """Bad inputs or outputs have problems, each with a code and a message about the field."""
        if self.bad_inputs is None and self.bad_outputs is None:
            pytest.fail("set bad_inputs or bad_outputs: a validator that accepts everything checks nothing")
        if self.bad_inputs is not None:
            _check_problems(validator.validate_inputs(self.spec, self.bad_inputs), self.spec.inputs)
        if self.bad_outputs is not None:
            _check_problems(validator.validate_outputs(self.spec, self.good[0], self.bad_outputs), self.spec.outputs)

    @pytest.mark.parametrize("text", _ODD_TEXTS, ids=["empty", "blank", "unicode", "breaks", "nul", "long"])
    def test_judges_any_text(self, validator: Validator, text: str) -> None:
        """A text is accepted or has problems; the validator does not raise."""
        inputs = {name: text if isinstance(value, str) else value for name, value in self.good[0].items()}
        outputs = {name: text if isinstance(value, str) else value for name, value in self.good[1].items()}
        for problems in (
            validator.validate_inputs(self.spec, inputs),
            validator.validate_outputs(self.spec, self.good[0], outputs),
        ):
            assert all(isinstance(problem, Problem) for problem in problems)

    def test_changes_nothing(self, validator: Validator) -> None:
        """Checking only checks: inputs and outputs stay as they were."""
        inputs, outputs = copy.deepcopy(dict(self.good[0])), copy.deepcopy(dict(self.good[1]))
        validator.validate_inputs(self.spec, inputs)
        validator.validate_outputs(self.spec, inputs, outputs)
        assert (inputs, outputs) == (dict(self.good[0]), dict(self.good[1]))

    def test_many_threads_check_at_once(self, validator: Validator) -> None:
        """Good and bad values that are checked in parallel do not get mixed up."""
        if self.bad_inputs is not None:
            kinds = [self.good[0], self.bad_inputs] * 50
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda inputs: bool(validator.validate_inputs(self.spec, inputs)), kinds))
        else:
            kinds = [self.good[1], self.bad_outputs or {}] * 50
            with ThreadPoolExecutor(8) as pool:
                found = list(
                    pool.map(lambda out: bool(validator.validate_outputs(self.spec, self.good[0], out)), kinds)
                )
        assert found == [False, True] * 50


def _check_problems(problems: Sequence[Problem], fields: Mapping[str, Any]) -> None:
    assert problems, "nothing was found wrong"
    for problem in problems:
        assert isinstance(problem, Problem)
        assert problem.field in fields
        assert problem.code
        assert problem.message
