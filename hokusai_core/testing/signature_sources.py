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

import copy
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from hokusai_core.base_signature import BaseSignature
from hokusai_core.components import Component
from hokusai_core.errors import HokusaiError
from hokusai_core.executor import Executor
from hokusai_core.markers import hookimpl
from hokusai_core.testing.capabilities import Conformance, error_in_fork, refuse_coroutine
from hokusai_core.testing.leftovers import leftovers

__all__ = ["SignatureSourceConformance"]


class SignatureSourceConformance(Conformance):
    """Tests that every signature source passes. The fixture ``load`` returns the target of the component.

    Attributes:
        uri: address of a signature that is there when a test begins.
        unknown_uri: address of the same scheme where nothing is.
        secret_uri: ``unknown_uri`` with a password or token in it; empty if the scheme has none.
        secret: the password or token in ``secret_uri``.
    """

    uri: ClassVar[str] = ""
    unknown_uri: ClassVar[str] = ""
    secret_uri: ClassVar[str] = ""
    secret: ClassVar[str] = ""

    @pytest.fixture
    def load(self) -> Callable[..., Mapping[str, Any]]:
        """Return the target: a function that takes the address as ``uri``."""
        raise NotImplementedError("define the fixture load")

    def test_returns_a_signature_as_data(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """It has a JSON form and makes a signature class."""
        data = load(uri=self.uri)
        refuse_coroutine(data)
        assert isinstance(data, Mapping), f"it returns {type(data).__name__} in place of a mapping"
        assert json.loads(json.dumps(data)) == data
        cls = BaseSignature.from_dict(data)
        assert cls.spec.inputs
        assert cls.spec.outputs

    def test_the_same_address_gives_the_same(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """Loading has no side effect on what is loaded, and what a caller does to the result none on the next one."""
        first = load(uri=self.uri)
        before = copy.deepcopy(first)
        assert load(uri=self.uri) == before
        for part in (*first.values(), first):
            if isinstance(part, (dict, list)):
                part.clear()
        assert load(uri=self.uri) == before

    def test_many_threads_load_at_once(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """Each gets the whole signature."""
        wanted = load(uri=self.uri)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: load(uri=self.uri), range(8))) == [wanted] * 8

    def test_an_unknown_address_is_an_error_that_names_it(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """The message is for users."""
        with pytest.raises(HokusaiError) as caught:
            load(uri=self.unknown_uri)
        assert self.unknown_uri.partition(":")[2].strip("/").partition("@")[0] in str(caught.value)

    def test_no_error_shows_a_secret(
        self,
        load: Callable[..., Mapping[str, Any]],
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """An address may hold a password or a token. Nothing is printed, either."""
        load(uri=self.uri)
        printed = capfd.readouterr()
        assert (printed.out, printed.err) == ("", "")
        if not self.secret:
            pytest.skip("set secret_uri and secret, if addresses of this scheme may hold a password or a token")
        with pytest.raises(HokusaiError) as caught:
            load(uri=self.secret_uri)
        printed = capfd.readouterr()
        error: BaseException | None = caught.value
        shown = printed.out + printed.err + caplog.text
        while error is not None:
            shown += f"{error!r} {error}"
            error = error.__cause__ or error.__context__
        assert self.secret not in shown

    def test_works_in_a_forked_process(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """Worker processes load signatures, too."""
        self.require_fork(load)
        wanted = load(uri=self.uri)

        def check() -> None:
            assert load(uri=self.uri) == wanted

        assert error_in_fork(check) is None

    def test_loading_releases_everything(self, load: Callable[..., Mapping[str, Any]]) -> None:
        """No file and no thread is left."""
        load(uri=self.uri)
        with leftovers() as left:
            for _ in range(3):
                load(uri=self.uri)
        assert left() == []

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
