"""Listening sockets, and the first steps of a connection on its bare socket.

Connections are taken from the kernel as fast as they come, and nothing is read from them: that is for later,
when the accept gate has let them in. A PROXY header is read off the bare socket, byte-exact, so that what
follows it (a line, or a TLS handshake) finds the stream untouched.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from stratum.proxy_protocol import HEADER_LIMIT, parse, starts_like_header
from stratum.tls import TlsCertificate

log = structlog.get_logger(__name__)

BACKLOG = 4096
ACCEPT_AT_ONCE = 1024
"""Connections taken in one go before others have their turn on the loop."""
FULL_SECONDS = 0.5
"""How long nothing is accepted when the machine has no file or memory left for a connection."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that the kernel has made, of which nothing was read yet."""

    socket: socket.socket
    host: str
    """The peer on the wire, a proxy perhaps."""
    port: int
    tls: TlsCertificate | None

    def present(self) -> bool:
        """False when the peer has closed or reset the connection meanwhile, and left nothing to read."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK) != b""
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False


class Listener:
    """The sockets of one address, and who is told of what arrives there."""

    def __init__(
        self, sockets: list[socket.socket], tls: TlsCertificate | None, arrived: Callable[[Arrival], None]
    ) -> None:
        self.sockets = sockets
        self.tls = tls
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        for bound in sockets:
            self._loop.add_reader(bound, self._accept, bound)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [bound.getsockname()[:2] for bound in self.sockets]

    def close(self) -> None:
        """Take nothing more; what the kernel has made already is reset."""
        for bound in self.sockets:
            self._loop.remove_reader(bound)
            bound.close()
        self.sockets = []

    def _accept(self, bound: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, name = bound.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("accept_failed", again_seconds=FULL_SECONDS, reason=str(error))
                    self._loop.remove_reader(bound)
                    self._loop.call_later(FULL_SECONDS, self._accept_again, bound)
                    return
                continue  # one that was gone before we came (accept(2), "Error handling")
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._arrived(Arrival(accepted, name[0], name[1], self.tls))

    def _accept_again(self, bound: socket.socket) -> None:
        if bound in self.sockets:
            self._loop.add_reader(bound, self._accept, bound)


async def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address that a host has. Raises OSError when one cannot be had."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")  # "::" is everything
            _bind(bound, address)
            bound.listen(BACKLOG)
            bound.setblocking(False)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _bind(
    bound: socket.socket, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
) -> None:
    try:
        bound.bind(address)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot listen on {address[0]!s} port {address[1]!s}: {error.strerror}"
        ) from None


async def read_proxy_header(peer: socket.socket) -> tuple[tuple[str, int] | None, bytes]:
    """The real peer if a header names one, and bytes that were read of a stream without a header.

    Raises BadHeader, and ConnectionError when the peer closes first.
    """
    read = b""
    while True:
        ahead = await _peek(peer)
        if not ahead:
            raise ConnectionResetError("closed before anything was said")
        data = read + ahead
        if not starts_like_header(data):
            return None, read
        header = parse(data)
        ours = len(ahead) if header is None else header.length - len(read)
        read += peer.recv(ours)
        if header is not None:
            return header.source, b""


async def _peek(peer: socket.socket) -> bytes:
    """What has come, left where it is."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return peer.recv(HEADER_LIMIT, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            readable = loop.create_future()
            loop.add_reader(peer, _wake, readable)
            try:
                await readable
            finally:
                loop.remove_reader(peer)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
