"""The conformance suites pass components that keep to their protocol, and fail those that do not."""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import ArtifactError, ConfigurationError, InputError, LanguageModelUnavailable
from hokusai_core.hookspecs import COMPONENT_HOOKS
from hokusai_core.model import LanguageModel
from hokusai_core.results import Problem
from hokusai_core.signature_registry import Edition
from hokusai_core.signatures import FieldSpec, SignatureSpec
from hokusai_core.testing.edition_sources import EditionSourceConformance
from hokusai_core.testing.language_models import LanguageModelProviderConformance
from hokusai_core.testing.lm import null_lm
from hokusai_core.testing.signature_sources import SignatureSourceConformance
from hokusai_core.testing.validators import ValidatorConformance

ASK = SignatureSpec("Ask", "Answer.", (FieldSpec("question", "input"), FieldSpec("answer", "output")))


class NoPasswords:
    """A validator that refuses passwords in inputs."""

    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        return [
            Problem(name, "secret", "holds a password") for name, value in inputs.items() if "password" in str(value)
        ]

    def validate_outputs(
        self, signature: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Sequence[Problem]:
        return []


class Redacts(NoPasswords):
    def validate_outputs(self, signature: SignatureSpec, inputs: Any, outputs: Any) -> Sequence[Problem]:
        outputs["reply"] = "[redacted]"
        return []


class FindsNothing(NoPasswords):
    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        return []


class RaisesOnEmptyText(NoPasswords):
    def validate_inputs(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> Sequence[Problem]:
        assert inputs["message"][0]
        return []


class ScriptedProvider:
    """A provider of one scripted language model."""

    def available(self) -> str | None:
        return None

    def load(self, name: str, **options: Any) -> LanguageModel:
        if name not in ("", "scripted"):
            raise LanguageModelUnavailable(f"there is no model {name!r}; write null/scripted")
        return LanguageModel(null_lm(), identity="null/scripted 1")

    def close(self) -> None: ...


class AnyNameWillDo(ScriptedProvider):
    def load(self, name: str, **options: Any) -> LanguageModel:
        return super().load("")


class NewIdentityEachTime(ScriptedProvider):
    def load(self, name: str, **options: Any) -> LanguageModel:
        model = super().load(name)
        return LanguageModel(model.lm, identity=f"null/{id(model)}")


class MemorySource:
    """An edition source in memory."""

    published: dict[tuple[str, str], tuple[SignatureSpec, SignatureSpec]]

    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        found = self.published.get((namespace, name))
        if found is None:
            return None
        if found[0].fingerprint != spec.fingerprint:
            raise ArtifactError(f"{name} has changed")
        return Edition(BaseSignature.from_spec(found[1]), time.time())


class ForgetsTheNamespace(MemorySource):
    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        places = [place for place, known in self.published if known == name]
        return super().edition(name, spec, places[0]) if places else None


class ForAnyVersion(MemorySource):
    def edition(self, name: str, spec: SignatureSpec, namespace: str) -> Edition | None:
        found = self.published.get((namespace, name))
        return None if found is None else super().edition(name, found[0], namespace)


def load(uri: str) -> dict[str, Any]:
    if uri != "memory:/Ask":
        raise ConfigurationError(f"there is nothing at {uri}")
    return ASK.to_dict()


def load_anything(uri: str) -> dict[str, Any]:
    return ASK.to_dict()


class TestValidator(ValidatorConformance):
    bad_inputs: ClassVar = {"message": "my password is hunter2"}

    @pytest.fixture
    def validator(self) -> NoPasswords:
        return NoPasswords()


class TestProvider(LanguageModelProviderConformance):
    @pytest.fixture
    def make_provider(self) -> type[ScriptedProvider]:
        return ScriptedProvider


class TestEditionSource(EditionSourceConformance):
    @pytest.fixture(autouse=True)
    def _empty(self) -> None:
        MemorySource.published = {}

    @pytest.fixture
    def make_source(self) -> type[MemorySource]:
        return MemorySource

    def put(self, name: str, base: SignatureSpec, better: SignatureSpec, namespace: str) -> None:
        MemorySource.published[namespace, name] = base, better


class TestSignatureSource(SignatureSourceConformance):
    uri, unknown_uri = "memory:/Ask", "memory:/Nothing"

    @pytest.fixture
    def load(self) -> Callable[..., Any]:
        return load


BROKEN: list[tuple[Any, str, dict[str, Any]]] = [
    (TestValidator(), "test_changes_nothing", {"validator": Redacts()}),
    (TestValidator(), "test_names_every_problem", {"validator": FindsNothing()}),
    (TestValidator(), "test_judges_any_text", {"validator": RaisesOnEmptyText(), "text": ""}),
    (TestProvider(), "test_an_unknown_model_cannot_be_had", {"provider": AnyNameWillDo()}),
    (
        TestProvider(),
        "test_loads_a_model_with_an_identity",
        {"provider": NewIdentityEachTime(), "model": NewIdentityEachTime().load("")},
    ),
    (
        TestEditionSource(),
        "test_names_and_namespaces_are_told_apart",
        {"make_source": ForgetsTheNamespace, "place": ("pack/Shout", "other")},
    ),
    (TestEditionSource(), "test_an_edition_of_another_version_is_not_returned", {"make_source": ForAnyVersion}),
    (TestSignatureSource(), "test_an_unknown_address_is_an_error_that_names_it", {"load": load_anything}),
]


@pytest.mark.parametrize(
    ("suite", "name", "arguments"), BROKEN, ids=[f"{item[1]}-{n}" for n, item in enumerate(BROKEN)]
)
def test_a_suite_fails_a_component_that_breaks_its_protocol(suite: Any, name: str, arguments: dict[str, Any]) -> None:
    MemorySource.published = {}
    with pytest.raises((AssertionError, IndexError, InputError, pytest.fail.Exception)):
        getattr(suite, name)(**arguments)


def test_every_kind_of_component_has_a_suite() -> None:
    modules = {
        "language_model": "language_models", "cache": "caches", "tracker": "trackers", "validator": "validators",
        "optimizer": "optimizers", "metric": "metrics", "feedback_store": "feedback_stores", "backend": "backends",
        "signature_source": "signature_sources", "edition_source": "edition_sources", "command": "commands",
        "strategy": "strategies", "tool": "tools",
    }  # fmt: skip
    assert modules.keys() == COMPONENT_HOOKS.keys()
    for module in modules.values():
        suites = [
            value
            for name, value in vars(importlib.import_module(f"hokusai_core.testing.{module}")).items()
            if name.endswith("Conformance") and inspect.isclass(value)
        ]
        assert suites, module
        assert all(any(name.startswith("test_") for name in dir(suite)) for suite in suites)
