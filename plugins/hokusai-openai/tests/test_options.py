"""Names, addresses, options and where keys go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, LanguageModelUnavailable
from hokusai_core.plugin_api import install_command
from hokusai_core.testing.chat_server import ChatServer
from hokusai_openai import ServerOptions
from hokusai_openai.options import split_name

LOCAL, OTHER, OPENAI = "http://127.0.0.1:8000/v1", "http://10.0.0.9/v1", "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{LOCAL}#llama", (LOCAL, "llama")),
        (f"{LOCAL}#meta/llama-3#q4", (LOCAL, "meta/llama-3#q4")),
        ("gpt-5-mini", ("", "gpt-5-mini")),
        ("meta/llama-3", ("", "meta/llama-3")),
    ],
)
def test_a_name_is_an_address_and_a_model(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


@pytest.mark.parametrize("name", ["", LOCAL, f"{LOCAL}#", f"{LOCAL}# llama", "https://me:secret-pass@example.com/v1"])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(LanguageModelUnavailable, match="names no model") as caught:
        split_name(name)
    assert "secret-pass" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1",
        "http://",
        "http://host:0x/v1",
        "https://me:secret-pass@example.com/v1",
        f"{LOCAL}?key=secret-pass",
    ],
)
def test_an_address_that_cannot_be_used_or_shown_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerOptions.of(f"{address}#llama", {})
    assert "secret-pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "name", "key"),
    [
        ({"OPENAI_API_KEY": "open-key"}, f"{OPENAI}#gpt", "open-key"),
        ({"OPENAI_API_KEY": "open-key"}, "gpt", "open-key"),
        ({"OPENAI_API_KEY": "open-key"}, f"{LOCAL}#llama", ""),
        ({"OPENAI_API_KEY": "open-key", "OPENAI_BASE_URL": LOCAL}, f"{LOCAL}#llama", "open-key"),
        ({"OPENAI_API_KEY": "open-key", "OPENAI_BASE_URL": LOCAL}, f"{OPENAI}#gpt", ""),
        ({"HOKUSAI_OPENAI_API_KEY": "own-key", "HOKUSAI_OPENAI_BASE_URL": LOCAL}, "llama", "own-key"),
        ({"HOKUSAI_OPENAI_API_KEY": "own-key", "HOKUSAI_OPENAI_BASE_URL": LOCAL}, f"{OTHER}#llama", ""),
        ({"HOKUSAI_OPENAI_API_KEY": "own-key", "HOKUSAI_OPENAI_BASE_URL": LOCAL}, "http://127.0.0.1:8001/v1#x", ""),
        ({"HOKUSAI_OPENAI_API_KEY": "own-key", "HOKUSAI_OPENAI_BASE_URL": LOCAL}, "https://127.0.0.1:8000/v1#x", ""),
        ({"HOKUSAI_OPENAI_BASE_URL": LOCAL, "OPENAI_API_KEY": "open-key"}, "llama", ""),
        ({"HOKUSAI_OPENAI_BASE_URL": LOCAL, "OPENAI_API_KEY": "open-key"}, f"{OPENAI}#gpt", "open-key"),
        ({"HOKUSAI_OPENAI_API_KEY": "own-key"}, "gpt", "own-key"),
    ],
)
def test_a_key_goes_to_its_own_server_only(environ: dict[str, str], name: str, key: str) -> None:
    assert ServerOptions.of(name, environ).api_key == key


def test_a_key_that_is_given_wins() -> None:
    assert ServerOptions.of(f"{OTHER}#llama", {"OPENAI_API_KEY": "open-key"}, api_key="mine").api_key == "mine"


@pytest.mark.parametrize(
    "options",
    [
        {"tiemout": 3},
        {"timeout": 0},
        {"timeout": True},
        {"timeout": float("inf")},
        {"server": "apache"},
        {"api_key": "line\nbreak"},
        {"headers": {"X-Team": "a\r\nb"}},
        {"priced_as": "gpt"},
        {"max_answer_bytes": 3},
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ServerOptions.of(f"{LOCAL}#llama", {}, **options)


def test_nothing_that_is_shown_holds_a_key() -> None:
    options = ServerOptions.of(f"{LOCAL}#llama", {}, api_key="sk-secret", headers={"X-Pass": "hidden-word"})
    assert "sk-secret" not in repr(options)
    assert "hidden-word" not in repr(options)
    assert options.credentials == {"sk-secret", "hidden-word"}


def test_prices_are_those_of_openai_there_and_unknown_elsewhere() -> None:
    assert ServerOptions.of(f"{OPENAI}#gpt-4o-mini", {}).price_entry == ("openai", "gpt-4o-mini")
    assert ServerOptions.of(f"{LOCAL}#gpt-4o-mini", {}).price_entry is None
    assert ServerOptions.of(f"{LOCAL}#x", {}, priced_as="openai/gpt-4o").price_entry == ("openai", "gpt-4o")


def test_the_executor_takes_an_address(server: ChatServer) -> None:
    with Executor(lm=f"{server.base_url}#llama", plugins=["openai"]) as executor:
        executor.register_signature("Ask", "question -> answer")
        result = executor.execute_signature("Ask", {"question": "How many?"})
        assert (result.outputs["answer"], result.model) == ("Seven.", f"{server.base_url}#llama")
        by_variable = executor.execute_signature("Ask", {"question": "Why?"}, lm=f"{server.base_url}#other")
        assert by_variable.model.endswith("#other")


def test_an_address_without_the_plugin_says_what_to_install() -> None:
    with Executor(lm=f"{LOCAL}#llama", plugins=[]) as executor:
        executor.register_signature("Ask", "question -> answer")
        with pytest.raises(LanguageModelUnavailable, match=re.escape(install_command("hokusai-openai"))):
            executor.execute_signature("Ask", {"question": "How many?"})
