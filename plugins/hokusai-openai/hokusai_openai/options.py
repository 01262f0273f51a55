"""ServerOptions: which server is asked for which model, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, fields, frozen, validators

from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable

__all__ = ["OPENAI", "SERVERS", "ServerOptions", "split_name"]

#: The server that is asked where no other one is named.
OPENAI = "https://api.openai.com/v1"

#: Kinds of servers that DSPy knows the differences of. "compatible" is what all of them have in common.
SERVERS = (
    "bedrock", "compatible", "deepseek", "groq", "lmstudio", "meta", "moonshotai", "ollama", "openai", "openrouter",
    "qwen", "sglang", "vllm", "xai", "zai",
)  # fmt: skip


def _check_seconds(_: Any, attribute: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name}={value!r}: give a number of seconds above 0")


def _copy(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


_text = validators.instance_of(str)


@frozen
class ServerOptions:
    """Which server is asked for which model, and how.

    Args:
        base_url: address of the API, such as ``http://127.0.0.1:8000/v1``.
        model: name of the model there.
        api_key: the key that is sent to the server; empty for none.
        headers: further headers, such as ``OpenAI-Organization``. Their values are never shown.
        server: kind of the server, one of ``SERVERS``; empty for ``openai`` at OpenAI and ``compatible`` elsewhere.
        timeout: seconds that a call takes at most, from the first byte sent to the last one received. A deadline of
            the execution that ends earlier wins.
        connect_timeout: seconds that connecting takes at most.
        max_answer_bytes: bytes that an answer, or a whole stream, has at most.
        structured_outputs: whether answers are asked for as JSON under the schema of the outputs, which the server has
            to support. The prompt is then that of the JSON format.
        priced_as: ``provider/model`` whose prices apply, such as ``openai/gpt-4o-mini``; empty for ``openai/`` and the
            name of the model at OpenAI, and for an unknown price elsewhere.
        free: whether calls cost nothing, so that a budget in dollars lets them pass.
    """

    base_url: str = field(validator=_text)
    model: str = field(validator=_text)
    api_key: str = field(default="", repr=False, validator=_text)
    headers: Mapping[str, str] = field(factory=dict, repr=False, converter=_copy)
    server: str = field(default="", validator=validators.in_(("", *SERVERS)))
    timeout: float = field(default=600.0, validator=_check_seconds)
    connect_timeout: float = field(default=10.0, validator=_check_seconds)
    max_answer_bytes: int = field(default=64 * 2**20, validator=[validators.instance_of(int), validators.ge(1024)])
    structured_outputs: bool = field(default=False, validator=validators.instance_of(bool))
    priced_as: str = field(default="", validator=_text)
    free: bool = field(default=False, validator=validators.instance_of(bool))

    def __attrs_post_init__(self) -> None:
        """Check the address, the key and the headers.

        Raises:
            ConfigurationError: one of them cannot be used.
        """
        address = self.base_url
        parts = urlsplit(address)
        try:
            port_is_valid = parts.port is None or parts.port > 0
        except ValueError:
            port_is_valid = False
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
            raise ConfigurationError(
                f"{_shown(address)!r} is not the address of a server: expected http://HOST:PORT/v1 or https://HOST/v1"
            )
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ConfigurationError(
                f"the address {_shown(address)!r} may hold no user, password or query, because addresses stand in "
                "records: pass api_key=... or headers=..., or set HOKUSAI_OPENAI_API_KEY"
            )
        for name, value in {"Authorization": self.api_key, **self.headers}.items():
            if not isinstance(value, str) or not (name + value).isascii() or not (name + value).isprintable():
                raise ConfigurationError(f"the value of {name} cannot be sent as a header: use printable ASCII only")
        if self.priced_as and "/" not in self.priced_as:
            raise ConfigurationError(f"priced_as={self.priced_as!r}: give provider/model, such as openai/gpt-4o-mini")

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str], **given: Any) -> ServerOptions:
        """Return the options for the name of a model.

        The key of the environment goes only to the server that the environment names, and to OpenAI where it names
        none. A model that is addressed elsewhere, for example by the file of a chain, does not get it.

        Args:
            name: ``http://HOST:PORT/v1#model``, or a model of the server that the environment names.
            environ: where addresses and keys are looked up.
            given: options of ``ServerOptions``, which win.

        Raises:
            LanguageModelUnavailable: the name is malformed.
            ConfigurationError: for an unknown option or a value that cannot be used.
        """
        address, model = split_name(name)
        servers = _servers(environ)
        values = {"base_url": address or servers[0][0], "model": model, **given}
        origin = _origin(values["base_url"])
        values.setdefault("api_key", next((key for base, key in servers if key and _origin(base) == origin), ""))
        known = [attribute.name for attribute in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigurationError(f"a server has no option {', '.join(unknown)}; it knows {', '.join(known)}")
        try:
            return cls(**{**values, "base_url": str(values["base_url"]).rstrip("/")})
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"option of an OpenAI-compatible server: {error.args[0]}") from None

    @property
    def name(self) -> str:
        """The name by which the model is known in results and records."""
        return f"{self.base_url}#{self.model}"

    @property
    def kind(self) -> str:
        """The kind of the server."""
        return self.server or ("openai" if self.at_openai else "compatible")

    @property
    def at_openai(self) -> bool:
        """Whether the server is OpenAI's own."""
        return _origin(self.base_url) == _origin(OPENAI)

    @property
    def price_entry(self) -> tuple[str, str] | None:
        """Provider and model whose prices apply, None where no price is known."""
        if self.priced_as:
            provider, _, model = self.priced_as.partition("/")
            return provider, model
        return ("openai", self.model) if self.at_openai else None

    @property
    def credentials(self) -> frozenset[str]:
        """The texts that must not be shown."""
        return frozenset(text for text in (self.api_key, *self.headers.values()) if len(text) >= 6)


def split_name(name: str) -> tuple[str, str]:
    """Return the address in a name, empty for none, and the model.

    Raises:
        LanguageModelUnavailable: the name has no model.
    """
    address, mark, model = name.partition("#") if "://" in name else ("", "", name)
    if not model.strip() or model != model.strip():
        example = f"{_shown(address) if mark else 'http://127.0.0.1:8000/v1'}#llama-3.1-8b"
        raise LanguageModelUnavailable(
            f"{_shown(name)!r} names no model: write the address of the server, '#' and the model, such as {example!r}"
        )
    return address, model


def _servers(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the servers that the environment names, each with its key, "" for none."""

    def value(name: str) -> str:
        return environ.get(name, "").strip()

    second = value("OPENAI_BASE_URL") or value("OPENAI_API_BASE") or OPENAI
    first = value("HOKUSAI_OPENAI_BASE_URL") or second
    return [(first, value("HOKUSAI_OPENAI_API_KEY")), (second, value("OPENAI_API_KEY"))]


def _origin(address: Any) -> tuple[str, str, int]:
    parts = urlsplit(str(address))
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, (parts.hostname or ""), port or (443 if parts.scheme == "https" else 80)


def _shown(address: str) -> str:
    """Return an address without user, password and query."""
    scheme, slashes, rest = address.partition("://")
    if not slashes:
        return address
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
