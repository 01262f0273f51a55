"""What the suites do not ask: what is on the server, who may see what, and what happens when the server is gone."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import logging
import os
import socket
import socketserver
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hokusai_core import Executor
from hokusai_core.errors import CacheError, ConfigurationError, DeadlineExceeded
from hokusai_core.testing.caches import make_entry
from hokusai_core.testing.lm import null_lm
from hokusai_diskcache.commands import cache as cache_command
from hokusai_redis import RedisCache
from hokusai_redis.testing import RedisProcess

Make = Callable[..., RedisCache]


def make_executor(cache: RedisCache, **options: Any) -> Executor:
    executor = Executor(**{"plugins": [], "lm": null_lm(answers={"answer": "42"}), "cache": cache, **options})
    executor.register_signature("Ask", "question -> answer")
    return executor


@pytest.fixture
def raw(server: RedisProcess) -> Iterator[Any]:
    client = redis.Redis.from_url(server.url)
    yield client
    client.close()


def names(raw: Any, cache: RedisCache, kind: str) -> list[bytes]:
    return list(raw.scan_iter(f"{cache.stats()['prefix']}:{kind}:*"))


# -- on the server -------------------------------------------------------------------------------------------------


def test_the_server_forgets_answers_when_their_time_is_over(make_cache: Make, raw: Any) -> None:
    cache = make_cache(max_age=50)
    for key, entry in (
        ("aa", make_entry("aa", expires_at=time.time() + 20)),
        ("bb", make_entry("bb")),
        ("cc", make_entry("cc", expires_at=time.time() + 0.05)),
    ):
        cache.put(entry)
        assert cache.get(key) == entry
    lives = {name.rpartition(b":")[2]: raw.pttl(name) for name in names(raw, cache, "entry")}
    assert 15_000 < lives[b"aa"] <= 20_000
    assert 45_000 < lives[b"bb"] <= 50_000
    time.sleep(0.06)
    assert cache.get("cc") is None
    assert cache.stats()["entries"] == 2


def test_what_is_damaged_or_foreign_is_a_miss(make_cache: Make, raw: Any) -> None:
    cache, again = make_cache(), make_cache()
    for number in range(5):
        cache.put(make_entry(f"{number:02}"))
    found = sorted(names(raw, cache, "entry"))
    whole = raw.get(found[0])
    raw.set(found[0], whole[:-3] + b"?!}")  # bits that changed
    raw.set(found[1], whole)  # moved to another key
    raw.set(found[2], b"\x80\x04cposix\nsystem\n")  # planted
    raw.delete(found[3])
    raw.hset(found[3], "a", "b")  # of another program
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [again.get(f"{number:02}") for number in range(4)] == [None] * 4
        assert asyncio.run(again.aget("03")) is None
    assert ["never wrote" in str(one.message) for one in caught] == [True]
    assert again.get("04") is not None
    assert again.stats()["damaged_entries"] == 3
    assert raw.exists(*found[:3]) == 0
    assert raw.hgetall(found[3]) == {b"a": b"b"}  # left alone, until an answer takes its place
    again.put(make_entry("03"))
    assert cache.get("03") is not None


def test_a_store_that_was_emptied_begins_anew(make_cache: Make, raw: Any) -> None:
    """The secret is gone with the rest; processes that are running agree on the next one."""
    first, second = make_cache(), make_cache()
    first.put(make_entry("aa"))
    assert second.get("aa") is not None
    for name in raw.scan_iter(f"{first.stats()['prefix']}:*"):
        raw.delete(name)
    third = make_cache()
    third.put(make_entry("bb"))  # with a secret of its own
    first.put(make_entry("cc"))
    asyncio.run(second.aput(make_entry("dd")))
    for cache in (first, second, third):
        assert [entry.key for key in ("bb", "cc", "dd") if (entry := cache.get(key))] == ["bb", "cc", "dd"]
    assert first.secret == second.secret == third.secret


def test_stores_with_other_prefixes_do_not_meet(make_cache: Make) -> None:
    cache, other = make_cache(), make_cache(prefix="test-other")
    cache.put(make_entry("aa"))
    other.put(make_entry("bb"))
    assert (cache.get("bb"), other.get("aa")) == (None, None)
    assert other.remove() == 1
    assert cache.get("aa") is not None


# -- settings and secrets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "http://:sesame@127.0.0.1"}, "begins with redis://"),
        ({"url": "redis://:sesame@127.0.0.1:port/0"}, "not a number"),
        ({"url": "redis://:sesame@127.0.0.1/mails"}, "number of a database"),
        ({"url": "redis://:sesame@127.0.0.1/0?sesame=1"}, "does not take an option"),
        ({"url": "redis://:sesame@127.0.0.1/0?decode_responses=yes"}, "decode_responses"),
        ({"prefix": "a b"}, "letters"),
        ({"timeout": 0}, "0.01 to 60"),
        ({"lease": 0.01}, "0.1 to 3600"),
        ({"max_age": 0}, "at least one second"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_secrets(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        RedisCache(**options)
    assert "sesame" not in str(refused.value)


def test_credentials_come_from_the_environment_and_are_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = RedisProcess("--requirepass", "sesame").start()
    try:
        monkeypatch.setenv("HOKUSAI_REDIS_URL", server.url)
        monkeypatch.setenv("HOKUSAI_REDIS_PASSWORD", "sesame")
        cache = RedisCache()
        cache.put(make_entry("aa"))
        assert RedisCache(server.url.replace("//", "//default:sesame@")).get("aa") is not None
        shown = [repr(cache), str(cache.stats())]
        cache.close()
        monkeypatch.setenv("HOKUSAI_REDIS_PASSWORD", "wrong-sesame")
        with warnings.catch_warnings(record=True) as caught, make_executor(RedisCache()) as executor:
            warnings.simplefilter("always")
            assert executor.execute_signature("Ask", {"question": "?"})["answer"] == "42"
            shown.append(str(executor.stats()))
        assert ["refuses these credentials" in str(one.message) for one in caught] == [True]
        shown += [str(caught[0].message), caplog.text]
        assert "sesame" not in "".join(shown)
    finally:
        server.close()


def test_a_user_with_few_rights_and_a_socket_in_the_file_system_will_do(tmp_path: Path) -> None:
    server = RedisProcess("--unixsocket", str(tmp_path / "s")).start()
    try:
        admin: Any = redis.Redis.from_url(server.url)
        rights = ("~mails:*", "+@read", "+@write", "+@scripting", "+@connection", "+time")  # as docs/redis.md says
        admin.execute_command("ACL", "SETUSER", "mails", "on", ">sesame", *rights)
        admin.close()
        cache = RedisCache(f"unix://{tmp_path / 's'}?username=mails&password=sesame", prefix="mails")
        lease = cache.lease("aa")
        assert cache.publish(make_entry("aa"), lease)
        asyncio.run(cache.aput(make_entry("bb")))
        assert (cache.stats()["entries"], cache.remove(older_than=60), cache.remove()) == (2, 0, 2)
        assert "sesame" not in str(cache.stats())
        cache.close()
    finally:
        server.close()


@contextmanager
def tls_before(port: int, folder: Path) -> Iterator[int]:
    """Take TLS connections for a server on a port, with the certificate ``cert.pem`` of 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", port)) as inside,
            ):
                threading.Thread(target=pump, args=(inside, outside), daemon=True).start()
                pump(outside, inside)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        relay.daemon_threads, relay.block_on_close = True, False
        threading.Thread(target=relay.serve_forever, args=(0.01,), daemon=True).start()
        yield relay.server_address[1]
        relay.shutdown()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_tls_connections_check_the_server(server: RedisProcess, tmp_path: Path) -> None:
    with tls_before(server.port, tmp_path) as port:
        cache = RedisCache(f"valkeys://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'cert.pem'}", prefix="test-tls")
        cache.put(make_entry("aa"))
        assert cache.get("aa") is not None
        assert asyncio.run(cache.aget("aa")) is not None
        cache.close()
        unknown = RedisCache(f"rediss://127.0.0.1:{port}/0", prefix="test-tls")
        with pytest.raises(CacheError, match="do not agree on TLS"):
            unknown.get("aa")
        with pytest.raises(CacheError, match="do not agree on TLS"):
            asyncio.run(unknown.aget("aa"))
        unknown.close()
    plain = RedisCache(server.url.replace("redis://", "rediss://"), timeout=0.3)
    with pytest.raises(CacheError):  # a server without TLS is not spoken to in the clear
        plain.get("aa")
    plain.close()


# -- executions ----------------------------------------------------------------------------------------------------


def test_executors_on_one_server_share_answers_and_calls(make_cache: Make) -> None:
    lm = null_lm(answers={"answer": "42"}, delay=0.2)
    with make_executor(make_cache(), lm=lm) as one, make_executor(make_cache(), lm=lm) as other:
        with ThreadPoolExecutor(2) as threads:
            results = list(
                threads.map(lambda executor: executor.execute_signature("Ask", {"question": "?"}), (one, other))
            )
        assert sorted(str(result.cached) for result in results) == ["None", "redis"]

        async def both() -> list[Any]:
            asked = [executor.aexecute_signature("Ask", {"question": "!"}) for executor in (one, other)]
            return list(await asyncio.gather(*asked))

        assert sorted(str(result.cached) for result in asyncio.run(both())) == ["None", "redis"]
    assert lm.engine.calls == 2


def test_an_execution_waits_for_another_process_no_longer_than_its_timeout(make_cache: Make) -> None:
    cache = make_cache()
    with make_executor(make_cache()) as executor:
        key = executor.explain("Ask", {"question": "?"}).key
        assert key is not None
        with ThreadPoolExecutor(1) as holder:  # of this thread, an execution would know that it waits for itself
            lease = holder.submit(cache.lease, key).result()
        since = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="longer than its timeout"):
            executor.execute_signature("Ask", {"question": "?"}, timeout=0.3)
        assert time.monotonic() - since < 5
        threading.Timer(0.2, lambda: cache.release(lease)).start()
        assert executor.execute_signature("Ask", {"question": "?"}).cached is None


def test_a_failed_call_is_made_again_by_an_execution_that_waits(make_cache: Make) -> None:
    lm = null_lm(answers={"answer": "42"}, delay=0.2, fail_first=1)
    with make_executor(make_cache(), lm=lm) as one, make_executor(make_cache(), lm=lm) as other:
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(it.execute_signature, "Ask", {"question": "?"}) for it in (one, other)]
        failed = [future.exception() for future in asked]
        assert sorted(type(error).__name__ for error in failed) == ["LanguageModelError", "NoneType"]
    assert lm.engine.calls == 2


def test_a_call_on_a_blocked_event_loop_is_not_waited_for(make_cache: Make) -> None:
    """A blocking call inside a task would wait for another task of the loop that it blocks."""
    with make_executor(make_cache()) as one, make_executor(make_cache()) as other:
        key = one.explain("Ask", {"question": "?"}).key

        async def main() -> Any:
            assert key is not None
            holder = make_cache()
            lease = await holder.alease(key)
            assert lease.held
            return one.execute_signature("Ask", {"question": "?"}, timeout=20), other

        since = time.monotonic()
        result, _ = asyncio.run(main())
        assert result.cached is None
        assert time.monotonic() - since < 10


def test_a_forked_process_uses_the_cache_of_its_parent(make_cache: Make) -> None:
    cache = make_cache()
    with make_executor(cache) as executor:
        executor.execute_signature("Ask", {"question": "?"})
        held = cache.lease("ab")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                found = cache.get(executor.explain("Ask", {"question": "?"}).key or "")
                fresh = executor.execute_signature("Ask", {"question": "!"}).cached is None
                code = 0 if found is not None and fresh and cache.stats()["leases_held"] == 0 else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert executor.execute_signature("Ask", {"question": "!"}).cached == "redis"
        assert cache.publish(make_entry("ab"), held)


def test_event_loops_close_their_connections(make_cache: Make, raw: Any) -> None:
    cache = make_cache()
    before = len(raw.client_list())
    for _ in range(5):
        asyncio.run(cache.aput(make_entry("aa")))
    until = time.monotonic() + 10
    while len(raw.client_list()) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(raw.client_list()) == before


def test_executions_go_on_while_the_server_is_down_and_use_it_when_it_is_back() -> None:
    server = RedisProcess().start()
    try:
        lm = null_lm(answers={"answer": "42"})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with make_executor(RedisCache(server.url), lm=lm, cache_entries=1) as executor:

                def ask(question: str) -> str | None:
                    result = executor.execute_signature("Ask", {"question": question})
                    assert result["answer"] == "42"
                    return result.cached

                assert (ask("a"), ask("b"), ask("a")) == (None, None, "redis")
                server.stop()
                assert [ask(question) for question in "cdcd"] == [None] * 4
                assert [
                    asyncio.run(executor.aexecute_signature("Ask", {"question": question})).cached for question in "ef"
                ] == [None, None]
                server.start()
                until = time.monotonic() + 30
                while "redis" not in (ask("c"), ask("d"), ask("c")) and time.monotonic() < until:
                    time.sleep(0.1)
                assert (ask("d"), ask("c")) == ("redis", "redis")
        messages = [str(one.message) for one in caught]
        assert len(messages) == 1, messages
        assert "cannot be reached" in messages[0]
    finally:
        server.close()


def test_a_server_that_takes_no_writes_still_answers() -> None:
    server = RedisProcess("--maxmemory-policy", "noeviction").start()
    try:
        with make_executor(RedisCache(server.url), cache_entries=1) as executor:
            executor.execute_signature("Ask", {"question": "a"})
            redis.Redis.from_url(server.url).config_set("maxmemory", "1")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert executor.execute_signature("Ask", {"question": "b"}).cached is None
                assert executor.execute_signature("Ask", {"question": "a"}).cached == "redis"
                assert executor.execute_signature("Ask", {"question": "c"}).cached is None
            assert ["takes no writes" in str(one.message) for one in caught] == [True]
    finally:
        server.close()


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [0, pytest.param(16_384, marks=pytest.mark.soak)])
def test_a_node_of_a_cluster_is_refused_with_the_reason(slots: int) -> None:
    while (server := RedisProcess("--cluster-enabled", "yes")).port > 55_000:  # the nodes talk on a port 10,000 above
        server.close()
    try:
        with redis.Redis.from_url(server.start().url) as client:
            if slots:
                client.execute_command("CLUSTER ADDSLOTS", *range(slots))
                while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    time.sleep(0.05)
        with (
            closing(RedisCache(server.url)) as cache,
            pytest.raises(CacheError, match=r"a node of a Redis Cluster.*Name a single"),
        ):
            cache.put(make_entry())
    finally:
        server.close()


def test_the_command_shows_and_clears_what_is_stored(server: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOKUSAI_REDIS_URL", server.url)
    monkeypatch.setenv("HOKUSAI_REDIS_PREFIX", "test-command")
    cache = RedisCache()
    for key, signature in (("aa", "one/Greet"), ("bb", "two/Greet"), ("cc", "one/Other")):
        cache.put(make_entry(key, signature=signature))
    for arguments in (["stats", "--cache", "redis"], ["stats"]):
        if len(arguments) == 1:
            monkeypatch.setenv("HOKUSAI_CACHE", "redis")
        figures = json.loads(CliRunner().invoke(cache_command, [*arguments, "--json"]).output)
        assert (figures["entries"], figures["location"]) == (3, server.url)
        assert figures["signatures"]["one/Greet"]["entries"] == 1
    cleared = CliRunner().invoke(cache_command, ["clear", "--signature", "Greet"])
    assert cleared.output == f"2 answers removed from {server.url}\n"
    assert [entry.key for entry in cache.entries()] == ["cc"]
    refused = CliRunner().invoke(cache_command, ["stats", "--cache", "redis", "--directory", "."])
    assert refused.exit_code == 2
    monkeypatch.setenv("HOKUSAI_REDIS_URL", "redis://:sesame@127.0.0.1:1/0")
    down = CliRunner().invoke(cache_command, ["stats"])
    assert down.exit_code == 1
    assert "cannot be reached" in down.output
    assert "sesame" not in down.output
    cache.close()
