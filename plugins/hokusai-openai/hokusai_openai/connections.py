"""Connections: blocking connections to one server, kept for the next call, on which no wait outlasts its deadline."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from hokusai_openai.network import Network, Proxy
from hokusai_openai.reply import Reply

__all__ = ["Connection", "Connections"]

#: Seconds after which an unused connection is not taken again. Many servers close theirs after 60 to 75 seconds.
_KEPT_FOR = 55.0


class Connection:
    """A connection to the server.

    Args:
        sock: the socket, connected.

    Attributes:
        used: whether a request was sent before the present one.
        idle_since: when the last reply was complete, as ``time.monotonic()`` tells it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reply: Reply | None = None
        self.used = False
        self.idle_since = 0.0

    @property
    def answered(self) -> bool:
        """Whether any byte of the reply to the present request has come."""
        return self._reply is not None and self._reply.received

    def ask(self, request: bytes, deadline: float) -> Reply:
        """Send a request and return the reply when its headers are here.

        Raises:
            TimeoutError: the deadline passed.
            OSError, HTTPException: the connection failed.
        """
        self._reply = reply = Reply(self._sock, deadline)
        self._sock.settimeout(max(0.001, deadline - time.monotonic()))
        self._sock.sendall(request)
        reply.begin()
        return reply

    def is_fresh(self) -> bool:
        """Return whether it may be used: nothing has come unasked, and the server has not closed it."""
        if time.monotonic() - self.idle_since > _KEPT_FOR:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection, also where a child process has a copy of it."""
        with suppress(OSError):  # it may not be connected any more
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Connections:
    """The connections to one server.

    Connections that came through a fork belong to the parent process. A child keeps them open and does not use them.

    Args:
        network: how the server is reached.
        connect_timeout: seconds that connecting takes at most.
    """

    def __init__(self, network: Network, connect_timeout: float) -> None:
        self._network, self._connect_timeout = network, connect_timeout
        self._idle: deque[Connection] = deque()
        self._process = os.getpid()
        self._inherited: list[Any] = []

    def take(self, deadline: float) -> Connection:
        """Return a connection that no other call uses.

        Raises:
            TimeoutError: the deadline passed.
            OSError, HTTPException: there is no way to the server.
        """
        idle = self._of_this_process()
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return self.connect(deadline)
            if connection.is_fresh():
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call."""
        connection.used, connection.idle_since = True, time.monotonic()
        idle = self._of_this_process()
        idle.append(connection)
        # The one at the front has waited longest; a burst of calls leaves many that are not needed again.
        try:
            if connection.idle_since - idle[0].idle_since > _KEPT_FOR:
                idle.popleft().close()
        except IndexError:  # another thread has taken it
            pass

    def connect(self, deadline: float) -> Connection:
        """Return a new connection.

        Raises:
            TimeoutError: the deadline or the time for connecting passed.
            OSError, HTTPException: there is no way to the server.
        """
        deadline = min(deadline, time.monotonic() + self._connect_timeout)
        network, proxy = self._network, self._network.proxy
        host, port = (network.host, network.port) if proxy is None else (proxy.host, proxy.port)
        sock = _connected(host, port, deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if network.tls is not None:
                if proxy is not None:
                    _open_tunnel(sock, network, proxy, deadline)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock = network.tls.wrap_socket(sock, server_hostname=network.host)
        except BaseException:
            sock.close()
            raise
        return Connection(sock)

    def close(self) -> None:
        """Close the connections that no call uses."""
        idle = self._of_this_process()
        with suppress(IndexError):
            while True:
                idle.pop().close()

    def _of_this_process(self) -> deque[Connection]:
        if self._process != os.getpid():
            self._inherited.append(self._idle)
            self._idle, self._process = deque(), os.getpid()
        return self._idle


def _open_tunnel(sock: socket.socket, network: Network, proxy: Proxy, deadline: float) -> None:
    """Have a proxy connect to the server.

    Raises:
        ConnectionError: the proxy refuses.
    """
    target = f"{network.host}:{network.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    reply = Reply(sock, deadline)
    reply.begin()
    if reply.status != 200:
        raise ConnectionError(f"the proxy {proxy.url} refused to connect: {reply.status} {reply.reason}")


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    """Return a socket that is connected to the first address of a host that can be reached.

    Raises:
        TimeoutError: the deadline passed.
        OSError: there is no such host, or none of its addresses can be reached.
    """
    problem: OSError = TimeoutError("timed out")
    for family, kind, protocol, _, address in _addresses(host, port, deadline):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(remaining)
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    raise problem


def _addresses(host: str, port: int, deadline: float) -> list[Any]:
    """Return the addresses of a host.

    The look-up of a name is done on a thread, because nothing else bounds how long it takes.

    Raises:
        TimeoutError: the deadline passed.
        OSError: the host has no address.
    """
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="hokusai-openai-resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if not found:
        raise TimeoutError(f"the look-up of {host} timed out")
    if isinstance(found[0], OSError):
        raise found[0]
    return list(found[0])
