"""AsyncOpenAIEngine: asks an OpenAI-compatible server without blocking, on a session for each event loop."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
from dspy.lm15 import LM15Error, Request, Response

from hokusai_openai.chat_format import too_large
from hokusai_openai.engine import EngineFacts, request_headers
from hokusai_openai.network import Network
from hokusai_openai.options import ServerOptions

__all__ = ["AsyncOpenAIEngine"]

#: Seconds after which an unused connection is not taken again.
_KEPT_FOR = 55.0


class AsyncOpenAIEngine(EngineFacts):
    """An asynchronous engine of DSPy for an OpenAI-compatible server.

    Cancelling a call closes its connection, so that the server can stop.

    Args:
        options: the server and the model.
        network: how the server is reached; None for what the environment says now.
    """

    def __init__(self, options: ServerOptions, network: Network | None = None) -> None:
        super().__init__(options)
        self.network = network or Network.to(options.base_url)
        self._headers = dict(request_headers(self.network, options))
        self._sessions: dict[tuple[asyncio.AbstractEventLoop, bool], _KeptSession] = {}
        self._process = os.getpid()
        self._inherited: list[Any] = []

    async def complete(self, request: Request) -> Response:
        """Answer.

        Raises:
            LM15Error: the server refused, failed or could not be reached, or the deadline passed.
        """
        deadline, body = self.deadline(), self.format.body(request)
        async with self._failures("no complete answer came in time"), self._asked(body, deadline) as response:
            received = await self._body(response)
            if response.status >= 300:
                raise self.format.error(response.status, received, response.headers.get)
            return self.format.answer(request, received, response.headers.get)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """Answer piece by piece. Closing the iterator closes the connection, so that the server can stop.

        Raises:
            LM15Error: the server refused, failed or could not be reached, or the deadline passed.
        """
        deadline, body = self.deadline(), self.format.body(request, stream=True)
        async with self._failures("the stream did not end in time"), self._asked(body, deadline) as response:
            if response.status >= 300:
                raise self.format.error(response.status, await self._body(response), response.headers.get)
            events = self.format.events(request)
            async for line in self._lines(response):
                for event in events.of_line(line):
                    yield event
            for event in events.end():
                yield event

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the engine can be used again."""
        sessions, loop = self._of_this_process(), asyncio.get_running_loop()
        for key in [key for key in sessions if key[0] is loop]:
            await sessions.pop(key).close()

    def close(self) -> None:
        """Close the connections of every event loop that runs, each on its own loop."""
        sessions = self._of_this_process()
        for loop, fresh in [key for key in sessions if key[0].is_running()]:
            asyncio.run_coroutine_threadsafe(sessions.pop((loop, fresh)).close(), loop)

    @asynccontextmanager
    async def _failures(self, late: str) -> AsyncIterator[None]:
        """Raise what DSPy expects of an engine for what a connection raises."""
        try:
            yield
        except LM15Error:
            raise
        except TimeoutError:
            raise self.format.timeout_error(late) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self.format.transport_error("the connection failed", error) from error

    @asynccontextmanager
    async def _asked(self, body: bytes, deadline: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the reply, whose body is still to be read.

        Afterwards the connection is kept if the whole reply was read, and closed otherwise.
        """
        reused = SimpleNamespace(connection=False)
        session = await self._session()
        try:
            response = await self._post(session, body, deadline, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # The server may have closed a connection that was used before. If it died before any byte of the reply, the
            # request is sent once more, on a new connection.
            died = not isinstance(error, aiohttp.ClientConnectorError) and _has_no_reply(error)
            if not reused.connection or not died or not self.sends_twice():
                raise
            response = await self._post(await self._session(fresh=True), body, deadline, reused)
        try:
            yield response
        except BaseException:
            response.close()
            raise
        response.release()

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, deadline: float, reused: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        proxy = self.network.proxy
        through: dict[str, Any] = {}
        if proxy is not None:
            secret = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else None
            through = {"proxy": proxy.url, "proxy_headers": secret}
        return await session.post(
            self.network.url,
            data=body,
            headers=self._headers,
            allow_redirects=False,
            # Without the threshold, aiohttp rounds deadlines that are more than 5 s ahead up to whole seconds.
            timeout=aiohttp.ClientTimeout(
                total=remaining, sock_connect=min(remaining, self.options.connect_timeout), ceil_threshold=math.inf
            ),
            trace_request_ctx=reused,
            **through,
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self.options.max_answer_bytes
        if (response.content_length or 0) > limit:
            raise too_large(limit)
        pieces: list[bytes] = []
        left = limit
        while piece := await response.content.readany():
            left -= len(piece)
            if left < 0:
                raise too_large(limit)
            pieces.append(piece)
        return b"".join(pieces)

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        left, begun = self.options.max_answer_bytes, b""
        while piece := await response.content.readany():
            left -= len(piece)
            if left < 0:
                raise too_large(self.options.max_answer_bytes)
            *whole, begun = (begun + piece).split(b"\n")
            for line in whole:
                yield line
        if begun:
            yield begun

    async def _session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        """Return the session of the running event loop.

        Args:
            fresh: whether to return one that uses every connection once.
        """
        loop = asyncio.get_running_loop()
        sessions = self._of_this_process()
        if (loop, fresh) not in sessions:
            for other, kind in [key for key in sessions if key[0].is_closed()]:
                del sessions[other, kind]
            sessions[loop, fresh] = kept = _KeptSession(self.network, fresh=fresh)
            await kept.begin()
        return sessions[loop, fresh].session

    def _of_this_process(self) -> dict[tuple[asyncio.AbstractEventLoop, bool], _KeptSession]:
        """Return the sessions; those that came through a fork belong to the parent process and are kept unused."""
        if self._process != os.getpid():
            self._inherited.append(self._sessions)
            self._sessions, self._process = {}, os.getpid()
        return self._sessions


class _KeptSession:
    """A session that is closed with its event loop.

    Args:
        network: how the server is reached.
        fresh: whether every connection is used once.
    """

    def __init__(self, network: Network, *, fresh: bool) -> None:
        connector = aiohttp.TCPConnector(
            # A batch bounds how many calls are under way, so the connections are as many as the batch is wide.
            limit=0,
            ssl=network.tls if network.tls is not None else True,
            **({"force_close": True} if fresh else {"keepalive_timeout": _KEPT_FOR}),
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self.session = aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )
        self._keeper = self._keep()

    async def begin(self) -> None:
        """Have the event loop close the session when it ends: it closes its asynchronous generators."""
        await anext(self._keeper)

    async def close(self) -> None:
        """Close the session."""
        # In this order: a generator that waits for the session while the event loop ends would be closed twice at once.
        await self.session.close()
        await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.session.close()


async def _note_reuse(session: Any, context: Any, parameters: Any) -> None:
    context.trace_request_ctx.connection = True


def _has_no_reply(error: Exception) -> bool:
    return not isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(error.message, str)
