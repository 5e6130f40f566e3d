"""The way in: from the kernel's accept to a served connection.

An arrival is accepted at once, checked at the door (room, address limits, bans), waits in the accept gate for
its turn, says for whom it comes if it is a listed proxy, shakes hands on a TLS port, and is then a
`Connection`. A PROXY header from anybody who is not listed is a malformed line like any other.
"""

from __future__ import annotations

import asyncio
import ipaddress

import structlog

from stratum.accept_gate import AcceptGate, room_for_connections
from stratum.connection import Connection, Surroundings, new_connection_id
from stratum.limits import group
from stratum.listener import Arrival, Listener, bind, read_proxy_header
from stratum.proxy_protocol import BadHeader
from stratum.tls import TlsCertificate

log = structlog.get_logger(__name__)

GATE_SECONDS = 0.02
"""How often those who wait are looked at."""


class Refused(Exception):
    """A connection that the door does not let in."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Entrance:
    """Listeners, the door, the line before it."""

    def __init__(self, shared: Surroundings) -> None:
        self._shared = shared
        self._gate: AcceptGate[tuple[Arrival, str | None]] = AcceptGate(
            shared.limits.accept_per_second,
            present=lambda waiting: waiting[0].present(),
            forget=lambda waiting: self._turn_away(*waiting, "vanished"),
        )
        self._timer: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._room = room_for_connections(shared.limits.connections)
        self.listeners: list[Listener] = []

    @property
    def waiting(self) -> int:
        """Connections that wait to be let in."""
        return len(self._gate)

    async def listen(self, host: str, port: int, tls: TlsCertificate | None) -> list[tuple[str, int]]:
        """Bind and serve; returns the addresses bound. Raises OSError when the port is taken."""
        listener = Listener(await bind(host, port), tls, self._arrived)
        self.listeners.append(listener)
        return listener.addresses

    def reload_certificates(self) -> None:
        """Take new certificates if there are any."""
        for certificate in {listener.tls for listener in self.listeners}:
            if certificate is not None:
                certificate.reload_if_changed()

    def stop_listening(self) -> None:
        """Take no further connections."""
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    async def close(self) -> None:
        """Turn away who waits or shakes hands."""
        self.stop_listening()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for arrival, address in self._gate.empty():
            self._turn_away(arrival, address, "shutdown")
        opening = list(self._opening)
        await asyncio.sleep(0)  # one that has not begun could not close its socket
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)

    def _arrived(self, arrival: Arrival) -> None:
        shared = self._shared
        if len(shared.open) + len(self._gate) + shared.opening >= self._room:
            self._turn_away(arrival, None, "full")
            return
        address = None if self._is_proxy(arrival.host) else group(arrival.host)
        if address is not None:
            refusal = shared.door.enter(address, shared.ticks())
            if refusal is not None:
                self._turn_away(arrival, None, refusal)
                return
        self._gate.arrive((arrival, address), arrival.host)
        if self._timer is None:
            self._let_in()

    def _is_proxy(self, host: str) -> bool:
        proxies = self._shared.limits.proxies
        if not proxies:
            return False
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in proxies)

    def _let_in(self) -> None:
        self._timer = None
        for arrival, address in self._gate.let_in(self._shared.ticks()):
            self._shared.opening += 1
            task = asyncio.create_task(self._open(arrival, address))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        if self._gate:
            self._timer = asyncio.get_running_loop().call_later(GATE_SECONDS, self._let_in)

    async def _open(self, arrival: Arrival, address: str | None) -> None:
        shared, connection = self._shared, None
        opened_at = shared.ticks()
        failed, peer = "proxy-header", f"{arrival.host}:{arrival.port}"
        # In force for all that the loop calls for this connection, and for the tasks which that starts.
        number = new_connection_id()
        structlog.contextvars.bind_contextvars(connection=number)
        try:
            read = b""
            if address is None:
                async with asyncio.timeout(shared.limits.authorise_seconds):
                    source, read = await read_proxy_header(arrival.socket)
                if source is not None:
                    address = self._enter(source[0])
                    peer = f"{source[0]}:{source[1]}"
            failed = "tls-handshake" if arrival.tls is not None else "lost"
            connection = Connection(shared, peer, address, opened_at, read, number)
            await self._serve(arrival, connection)
        except (Refused, BadHeader, OSError) as error:
            log.info("connection_not_opened", connection=number, peer=peer, stage=failed, reason=str(error))
            self._not_opened(
                arrival, address, connection, error.word if isinstance(error, Refused) else failed
            )
        except asyncio.CancelledError:
            self._not_opened(arrival, address, connection, "shutdown")
            raise
        except Exception:
            log.exception("connection_failed", connection=number, peer=peer, stage=failed)
            self._not_opened(arrival, address, connection, "error")

    def _not_opened(
        self, arrival: Arrival, address: str | None, connection: Connection | None, reason: str
    ) -> None:
        """Turn it away, unless it was served, and has ended by itself."""
        if connection is None or not connection.served:
            self._shared.opening -= 1
            if address is not None and reason in ("tls-handshake", "proxy-header"):
                self._shared.door.offence(address, reason, self._shared.ticks())
            self._turn_away(arrival, address, reason)

    def _enter(self, host: str) -> str:
        """Check the peer behind a proxy at the door."""
        address = group(host)
        refusal = self._shared.door.enter(address, self._shared.ticks())
        if refusal is not None:
            raise Refused(refusal)
        return address

    async def _serve(self, arrival: Arrival, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        if arrival.tls is None:
            await loop.connect_accepted_socket(lambda: connection, arrival.socket)
        else:
            await loop.connect_accepted_socket(
                lambda: connection,
                arrival.socket,
                ssl=arrival.tls.context,
                ssl_handshake_timeout=self._shared.limits.handshake_seconds,
            )

    def _turn_away(self, arrival: Arrival, address: str | None, reason: str) -> None:
        """Close a connection that was not served; `address` if the door had counted it."""
        arrival.socket.close()
        self._shared.counts.refused[reason] += 1
        if address is not None:
            self._shared.door.leave(address, False)
