"""The conformance suite for signature sources: subclass ``SignatureSourceConformance`` in the tests of your plugin.

Example::

    class TestMySource(SignatureSourceConformance):
        uri = "acme:/EmailDraft"
        unknown_uri = "acme:/Nothing"

        @pytest.fixture
        def load(self):
            return my_plugin.load_signature
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.components import Component
from hokusai_core.errors import HokusaiError
from hokusai_core.executor import Executor
from hokusai_core.markers import hookimpl

__all__ = ["SignatureSourceConformance"]


class SignatureSourceConformance:
    """Tests that every signature source passes. The fixture ``load`` returns the target of the component.

    Attributes:
        uri: address of a signature that is there when a test begins.
        unknown_uri: address of the same scheme where nothing is.
    """

    uri: ClassVar[str] = ""
    unknown_uri: ClassVar[str] = ""

    @pytest.fixture
    def load(self) -> Callable[..., Mapping[str, Any]]:
        """Return the target: a function that takes the address as ``uri``."""
        raise NotImplementedError("define the fixture load")

    def test_returns_a_signature_as_data(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """It has a JSON form and makes a signature class."""
        data = load(uri=self.uri)
        assert json.loads(json.dumps(data)) == data
        cls = BaseSignature.from_dict(data)
        assert cls.spec.inputs
        assert cls.spec.outputs

    def test_the_same_address_gives_the_same(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """Loading has no side effect on what is loaded."""
        assert load(uri=self.uri) == load(uri=self.uri)

    def test_an_unknown_address_is_an_error_that_names_it(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """The message is for users."""
        with pytest.raises(HokusaiError) as caught:
            load(uri=self.unknown_uri)
        assert self.unknown_uri.partition(":")[2].strip("/").partition("@")[0] in str(caught.value)

    def test_an_executor_registers_from_the_address(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """The scheme is the name of the component."""
        scheme = self.uri.partition(":")[0]

        class Plugin:
            @hookimpl
            def provide_signature_sources(self) -> list[Component]:
                return [Component(name=scheme, target=load)]

        with Executor(mode="testing", plugins=[], extra_plugins=[Plugin()]) as executor:
            executor.register_signature("Loaded", self.uri)
            assert (
                executor.signature("Loaded").spec.fingerprint
                == BaseSignature.from_dict(load(uri=self.uri)).spec.fingerprint
            )
