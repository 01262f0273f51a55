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
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final

import pytest

from hokusai_core.protocols import Validator
from hokusai_core.results import Problem
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.capabilities import Conformance, error_in_fork, refuse_coroutine
from hokusai_core.testing.event_loops import blocking_calls

__all__ = ["ValidatorConformance"]

_ODD_TEXTS = ["", " ", "naïve ☕ \u202e", "line\nbreak\u2028", "nul\x00byte", "x" * 20_000]

#: Seconds of CPU time that a check of a long text may take.
_QUICK: Final = 0.2


class ValidatorConformance(Conformance):
    """Tests that every validator passes. The fixture ``validator`` returns one.

    Attributes:
        spec: a signature that the validator checks; left out, ``message -> reply``.
        good: inputs and outputs that the validator accepts.
        bad_inputs: inputs that it does not accept, such as ``{"message": "..."}``; None if it checks outputs only.
        bad_outputs: outputs that it does not accept, such as ``{"reply": "..."}``; None if it checks inputs only.
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

    def _inputs(self, validator: Validator, inputs: Mapping[str, Any] | None) -> list[Problem]:
        """Return the problems of inputs, each of which has to be one."""
        _check_names("bad_inputs", inputs, self.spec.inputs)
        return _problems(validator.validate_inputs(self.spec, copy.deepcopy(dict(inputs or {}))), self.spec.inputs)

    def _outputs(self, validator: Validator, outputs: Mapping[str, Any] | None) -> list[Problem]:
        """Return the problems of outputs, each of which has to be one."""
        _check_names("bad_outputs", outputs, self.spec.outputs)
        given = copy.deepcopy((dict(self.good[0]), dict(outputs or {})))
        found = validator.validate_outputs(self.spec, *given)
        return _problems(found, {**self.spec.inputs, **self.spec.outputs})

    def test_satisfies_the_protocol(self, validator: Validator) -> None:
        """It has both methods."""
        assert isinstance(validator, Validator)

    def test_accepts_what_is_good(self, validator: Validator) -> None:
        """Good inputs and outputs have no problems."""
        assert self._inputs(validator, self.good[0]) == []
        assert self._outputs(validator, self.good[1]) == []

    def test_names_every_problem(self, validator: Validator) -> None:
        """Bad inputs or outputs have problems, each with a code and a message about the field."""
        if self.bad_inputs is None and self.bad_outputs is None:
            pytest.fail("set bad_inputs or bad_outputs: a validator that accepts everything checks nothing")
        if self.bad_inputs is not None:
            assert self._inputs(validator, self.bad_inputs), "nothing was found wrong"
        if self.bad_outputs is not None:
            assert self._outputs(validator, self.bad_outputs), "nothing was found wrong"

    def test_the_same_gives_the_same(self, validator: Validator) -> None:
        """Whatever was checked before."""
        verdicts = []
        for _ in range(5):
            verdicts.append([self._inputs(validator, one) for one in (self.bad_inputs, self.good[0]) if one])
            verdicts[-1] += [self._outputs(validator, one) for one in (self.bad_outputs, self.good[1]) if one]
        assert all(one == verdicts[0] for one in verdicts)

    def test_no_problem_quotes_a_sensitive_value(
        self, validator: Validator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Problems are shown to users and written to logs. Nothing else is printed, either."""
        found = self._inputs(validator, self.bad_inputs) if self.bad_inputs is not None else []
        found += self._outputs(validator, self.bad_outputs) if self.bad_outputs is not None else []
        printed = capfd.readouterr()
        assert (printed.out, printed.err) == ("", "")
        shown = " ".join(f"{problem.code} {problem.message}" for problem in found) + caplog.text
        for fields, values in ((self.spec.inputs, self.bad_inputs), (self.spec.outputs, self.bad_outputs)):
            for name, value in (values or {}).items():
                if name in fields and fields[name].sensitive:
                    assert str(value) not in shown, f"the value of the sensitive field {name!r} is shown"

    @pytest.mark.parametrize("text", _ODD_TEXTS, ids=["empty", "blank", "unicode", "breaks", "nul", "long"])
    def test_judges_any_text(self, validator: Validator, text: str) -> None:
        """A text is accepted or has problems; the validator does not raise."""
        inputs = {name: text if isinstance(value, str) else value for name, value in self.good[0].items()}
        outputs = {name: text if isinstance(value, str) else value for name, value in self.good[1].items()}
        started = time.thread_time()
        self._inputs(validator, inputs)
        self._outputs(validator, outputs)
        assert time.thread_time() - started < _QUICK, "a check holds up the event loop that it runs on"

    def test_makes_no_blocking_call(self, validator: Validator) -> None:
        """It runs on the thread of the execution, which may be that of an event loop: no network, no file, no sleep."""
        self._inputs(validator, self.good[0])
        self._outputs(validator, self.good[1])
        with blocking_calls() as calls:
            self._inputs(validator, self.bad_inputs or self.good[0])
            self._outputs(validator, self.bad_outputs or self.good[1])
        assert set(calls) <= self.calls_on_loop, f"it makes blocking calls: {set(calls)}"

    def test_changes_nothing(self, validator: Validator) -> None:
        """Checking only checks: inputs and outputs stay as they were."""
        for inputs, outputs in (self.good, (self.bad_inputs or {}, self.bad_outputs or {})):
            before = copy.deepcopy((dict(inputs), dict(outputs)))
            given = copy.deepcopy(before)
            validator.validate_inputs(self.spec, given[0])
            validator.validate_outputs(self.spec, given[0], given[1])
            assert given == before

    def test_works_in_a_forked_process(self, validator: Validator) -> None:
        """A prefork server makes it before it forks."""
        self.require_fork(validator)

        def check() -> None:
            assert self._inputs(validator, self.good[0]) == []
            assert self._outputs(validator, self.good[1]) == []

        assert error_in_fork(check) is None

    def test_many_threads_check_at_once(self, validator: Validator) -> None:
        """Good and bad values that are checked in parallel do not get mixed up."""
        if self.bad_inputs is not None:
            kinds = [self.good[0], self.bad_inputs] * 50
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda inputs: bool(self._inputs(validator, inputs)), kinds))
        else:
            kinds = [self.good[1], self.bad_outputs or {}] * 50
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda outputs: bool(self._outputs(validator, outputs)), kinds))
        assert found == [False, True] * 50


def _check_names(attribute: str, values: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> None:
    """Refuse values of fields that the signature does not have."""
    unknown = ", ".join(sorted((values or {}).keys() - fields.keys()))
    if unknown:
        pytest.fail(f"{attribute} has {unknown}; the signature of this test has {', '.join(fields)} there (see spec)")


def _problems(found: Sequence[Problem], fields: Mapping[str, Any]) -> list[Problem]:
    """Return problems as a list, after a check of their form."""
    refuse_coroutine(found)
    assert isinstance(found, Sequence), f"it returns {type(found).__name__} in place of a sequence"
    assert not isinstance(found, str), "it returns a text in place of a sequence of problems"
    for problem in found:
        assert isinstance(problem, Problem), f"{type(problem).__name__} is not a Problem"
        assert problem.field in fields, f"{problem.field!r} is no field of the signature"
        assert problem.code
        assert problem.message
    return list(found)
