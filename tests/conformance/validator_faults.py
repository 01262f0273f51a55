"""Validators of authors in a hurry: each breaks the protocol in one way."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.results import Problem
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.validators import ValidatorConformance

SECRET = "my password is hunter2"  # noqa: S105  # planted


class NoPasswords:
    """A validator that is right: no password goes in, and none comes out."""

    fork_safe = True

    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        return [self.problem(name, value) for name, value in inputs.items() if self.is_bad(str(value))]

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> Any:
        return self.validate_inputs(signature, outputs)

    def problem(self, name: str, value: Any) -> Any:
        return Problem(name, "secret", "holds a password")

    def is_bad(self, text: str) -> Any:
        return "password" in text


class Redacts(NoPasswords):
    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> Any:
        found = super().validate_outputs(signature, inputs, outputs)
        for problem in found:
            outputs[problem.field] = "[redacted]"
        return found


class TrimsInputs(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        inputs["checked"] = True
        return super().validate_inputs(signature, {name: inputs[name] for name in inputs if name != "checked"})


class FindsNothingInInputs(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        return []

    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> Any:
        return super().validate_inputs(signature, outputs)


class FindsNothingInOutputs(NoPasswords):
    def validate_outputs(self, signature: Any, inputs: Any, outputs: Any) -> Any:
        return []


class RefusesEverything(NoPasswords):
    def is_bad(self, text: str) -> Any:
        return True


class NeedsACharacter(NoPasswords):
    def is_bad(self, text: str) -> Any:
        return text[0] == "p" or "password" in text


class NeedsPlainText(NoPasswords):
    def is_bad(self, text: str) -> Any:
        return b"password" in text.encode("ascii")


class RaisesInPlaceOfSaying(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        raise ValueError(f"{name} holds a password")


class NamesNoField(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        return Problem("somewhere", "secret", "holds a password")


class HasNoCode(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        return Problem(name, "", "holds a password")


class HasNoMessage(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        return Problem(name, "secret", "")


class Texts(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        return f"{name} holds a password"


class OneText(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        found = super().validate_inputs(signature, inputs)
        return "holds a password" if found else ""


class NoneForGood(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        return super().validate_inputs(signature, inputs) or None


class Generates(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Iterator[Any]:
        yield from super().validate_inputs(signature, inputs)


class Waits(NoPasswords):
    async def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        return super().validate_inputs(signature, inputs)


class Collects(NoPasswords):
    def __init__(self) -> None:
        self.found: list[Any] = []

    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        self.found += super().validate_inputs(signature, inputs)
        return list(self.found)


class Remembers(NoPasswords):
    """Reports each problem once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        found = [one for one in super().validate_inputs(signature, inputs) if one.field not in self.seen]
        self.seen |= {one.field for one in found}
        return found


class NotForThreads(NoPasswords):
    def validate_inputs(self, signature: Any, inputs: Any) -> Any:
        self.inputs = inputs
        time.sleep(0.0003)
        return super().validate_inputs(signature, self.inputs)


class QuotesSecrets(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        return Problem(name, "secret", f"{value!r} holds a password")


class LogsSecrets(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        logging.getLogger("acme").warning("refused %s", value)
        return super().problem(name, value)


class Prints(NoPasswords):
    def problem(self, name: str, value: Any) -> Any:
        os.write(1, b"refused\n")
        return super().problem(name, value)


class AsksAServer(NoPasswords):
    def is_bad(self, text: str) -> Any:
        time.sleep(0.0001)
        return super().is_bad(text)


class ReadsAFile(NoPasswords):
    def is_bad(self, text: str) -> Any:
        with open(os.devnull) as file:
            return super().is_bad(text + file.read())


class SlowOnLongTexts(NoPasswords):
    """It compares each part with each other one."""

    def is_bad(self, text: str) -> Any:
        parts = range(0, len(text), 5)
        return sum(1 for first in parts for second in parts if first > second) < 0 or super().is_bad(text)


class OnlyForItsProcess(NoPasswords):
    def __init__(self) -> None:
        self.process = os.getpid()

    def is_bad(self, text: str) -> Any:
        return os.getpid() != self.process or super().is_bad(text)


class ChecksNoOutputs:
    validate_inputs = NoPasswords.validate_inputs
    problem, is_bad = NoPasswords.problem, NoPasswords.is_bad


class Suite(ValidatorConformance):
    spec: ClassVar[SignatureSpec] = SignatureSpec(
        "Reply",
        "Reply to the message.",
        (FieldSpec("message", "input", sensitive=True), FieldSpec("reply", "output", sensitive=True)),
    )
    bad_inputs: ClassVar[Mapping[str, Any] | None] = {"message": SECRET}
    bad_outputs: ClassVar[Mapping[str, Any] | None] = {"reply": SECRET}

    @pytest.fixture
    def validator(self, planted: Any) -> Any:
        return planted()


GOOD = NoPasswords
FAULTS = [
    Redacts, TrimsInputs, FindsNothingInInputs, FindsNothingInOutputs, RefusesEverything, NeedsACharacter,
    NeedsPlainText, RaisesInPlaceOfSaying, NamesNoField, HasNoCode, HasNoMessage, Texts, OneText, NoneForGood,
    Generates, Waits, Collects, Remembers, NotForThreads, QuotesSecrets, LogsSecrets, Prints, AsksAServer, ReadsAFile,
    SlowOnLongTexts, OnlyForItsProcess, ChecksNoOutputs,
]  # fmt: skip
