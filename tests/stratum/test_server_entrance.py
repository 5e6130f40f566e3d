"""How connections come in: storms, limits, bans, proxies, several ports."""

import asyncio
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from stratum.listener import Arrival
from stratum.proxy_protocol import SIGNATURE_2
from tests.stratum.certificates import CertificateFiles
from tests.stratum.server_world import Peer, Run, World

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("203.0.113.0/24"),)
GARBAGE = b"GET / HTTP/1.1\r\n"
FARM = "192.0.2.7"
HEADER = f"PROXY TCP4 {FARM} 192.0.2.1 50000 3333\r\n".encode()


async def answered(peer: Peer) -> bool:
    """Whether the server serves this client."""
    answer = await peer.call("mining.ping")
    return bool(answer["result"] == "pong")


def connections_of(world: World, address: str) -> int:
    """What the door has counted."""
    known = world.server._shared.door._known.get(address)
    return known.connections if known else 0


# Storms


def test_q56_a_storm_waits_in_line_and_nobody_is_refused(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.connect() for _ in range(60)]
        await world.until(lambda: world.server.waiting + world.server.counts.connections >= 60)
        assert world.server.waiting > 20, "connected, and not yet served"
        assert all(await asyncio.gather(*(answered(peer) for peer in peers)))
        assert world.server.waiting == 0
        assert world.server.counts.refused == {}

    run(scenario, accept_per_second=200.0)


def test_who_gives_up_while_waiting_is_forgotten(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert await answered(await world.connect())
        gone = [await world.connect() for _ in range(5)]
        stays = await world.connect()
        await world.until(lambda: world.server.waiting == 6)
        for peer in gone:
            peer.writer.transport.abort()
        assert await answered(stays)
        assert world.server.counts.refused == {"vanished": 5}
        assert world.server.counts.connections == 2
        assert connections_of(world, "127.0.0.1") == 2
        assert world.server._shared.opening == 0

    run(scenario, accept_per_second=4.0)


def test_what_was_said_while_waiting_is_read_later(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert await answered(await world.connect())
        peer = await world.connect(b'{"id":1,"method":"mining.ping"}\n')
        peer.writer.write_eof()
        assert [message["result"] for message in await peer.rest()] == ["pong"]

    run(scenario, accept_per_second=4.0)


def test_a_stop_turns_away_who_waits(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert await answered(await world.connect())
        waiting = await world.connect()
        await world.until(lambda: world.server.waiting == 1)
        await world.server.close()
        assert await waiting.rest() == []
        assert world.server.counts.refused == {"shutdown": 1}

    run(scenario, accept_per_second=0.1)


def test_above_its_room_the_server_closes_at_once_and_counts(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.connect() for _ in range(3)]
        assert all([await answered(peer) for peer in peers])
        assert await (await world.connect()).rest() == []
        assert world.server.counts.refused == {"full": 1}
        peers[0].writer.close()
        await world.until(lambda: len(world.server.connections) == 2)
        assert await answered(await world.connect())

    run(scenario, connections=3)


def test_a_machine_without_files_left_waits_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratum.listener.FULL_SECONDS", 0.05)

    async def scenario(world: World) -> None:
        (listener,) = world.server._entrance.listeners
        (bound,) = listener.sockets
        failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "gone")]

        class Failing:
            """The listening socket, which fails twice."""

            def accept(self) -> tuple[socket.socket, tuple[str, int]]:
                if failures:
                    raise failures.pop(0)
                accepted: tuple[socket.socket, tuple[str, int]] = bound.accept()
                return accepted

            def __getattr__(self, name: str) -> object:
                return getattr(bound, name)

        failing = Failing()
        asyncio.get_running_loop().remove_reader(bound)
        listener.sockets = [failing]  # type: ignore[list-item]
        listener._accept(failing)  # type: ignore[arg-type]
        assert await answered(await world.connect())
        assert failures == []
        listener.sockets = [bound]

    run(scenario)


# Addresses


def test_an_address_has_a_limit_of_its_own(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.connect() for _ in range(2)]
        assert all([await answered(peer) for peer in peers])
        assert await (await world.connect()).rest() == []
        assert world.server.counts.refused == {"address-full": 1}

    run(scenario, connections_per_address=2)


def test_an_account_has_a_limit_and_hears_what_to_do(run: Run) -> None:
    async def scenario(world: World) -> None:
        one = await world.ready("alice.1")
        other = await world.connect()
        await other.call("mining.subscribe")
        code, text, _ = (await other.call("mining.authorize", ["alice.2"]))["error"]
        assert code == 24
        assert "its limit; put machines behind a Stratum proxy" in text
        one.writer.close()
        await world.until(lambda: len(world.server.connections) == 1)
        assert (await other.call("mining.authorize", ["alice.2"]))["result"] is True

    run(scenario, connections_per_account=1)


async def offend(world: World, times: int) -> None:
    """Connections that send garbage."""
    for _ in range(times):
        peer = await world.connect(GARBAGE)
        await peer.rest()


def test_offences_end_in_a_ban_that_is_visible_and_passes(run: Run) -> None:
    async def scenario(world: World) -> None:
        await offend(world, 4)
        (ban,) = world.server.bans()
        assert (ban.address, ban.reason) == ("127.0.0.1", "malformed")
        assert ban.until == pytest.approx(world.now + 60, abs=5)
        assert world.server.counts.bans == {"malformed": 1}
        assert await (await world.connect()).rest() == []
        assert world.server.counts.refused == {"banned": 1}
        world.pass_time(61)
        assert world.server.bans() == []
        assert await answered(await world.connect())

    run(scenario, offences_burst=3)


def test_an_operator_lifts_a_ban(run: Run) -> None:
    async def scenario(world: World) -> None:
        await offend(world, 4)
        assert world.server.unban("127.0.0.1")
        assert not world.server.unban("127.0.0.1")
        assert await answered(await world.connect())

    run(scenario, offences_burst=3)


def test_a_farm_does_not_suffer_for_one_broken_machine(run: Run) -> None:
    async def scenario(world: World) -> None:
        good = await world.ready()
        await offend(world, 10)
        assert world.server.bans() == []
        assert world.server.counts.closed == {"malformed": 10}
        assert await answered(good)
        assert await answered(await world.connect())

    run(scenario, offences_burst=3)


def test_refusals_and_silence_are_offences_too(run: Run) -> None:
    async def scenario(world: World) -> None:
        refused = await world.connect(b'{"id":1,"method":"mining.authorize","params":["eve"]}\n' * 12)
        assert [answer["error"] for answer in await refused.rest()] == [[24, "no licence", None]] * 10
        for _ in range(2):
            silent = await world.connect()
            assert await answered(silent)
            world.pass_time(15.1)
            await silent.rest()
        assert world.server.counts.closed == {"refused": 1, "not-authorised": 2}
        assert world.server.counts.bans == {"not-authorised": 1}

    run(scenario, offences_burst=2, offences_per_second=0.0)


def test_q32_refused_shares_are_no_offence(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        for _ in range(50):
            answer = await peer.call("mining.submit", ["alice.s17", "dead", "00", "00", "00"])
            assert answer["error"][0] == 21
        peer.writer.close()
        await world.until(lambda: not world.server.connections)
        assert world.server.bans() == []
        assert await answered(await world.connect())

    run(scenario, offences_burst=0)


def test_too_many_lines_are_answered_later_and_all_of_them(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect(b'{"id":1,"method":"mining.ping"}\n' * 30)
        for _ in range(30):
            assert (await peer.read())["result"] == "pong"
        assert world.server.counts.throttled > 1

    run(scenario, stranger_lines_burst=5, stranger_lines_per_second=200.0)


# Proxies


def version_2(host: str) -> bytes:
    address = ipaddress.ip_address(host)
    body = address.packed + bytes(len(address.packed)) + struct.pack(">HH", 50_000, 3333) + b"\x20\x00\x01x"
    family = b"\x11" if address.version == 4 else b"\x21"
    return SIGNATURE_2 + b"\x21" + family + struct.pack(">H", len(body)) + body


@pytest.mark.parametrize(
    ("header", "peer", "address"),
    [
        (HEADER, "192.0.2.7:50000", "192.0.2.7"),
        (version_2(FARM), "192.0.2.7:50000", "192.0.2.7"),
        (version_2("2001:db8:1:2:3::4"), "2001:db8:1:2:3::4:50000", "2001:db8:1:2::/64"),
    ],
    ids=["1", "2", "2, IPv6"],
)
def test_a_listed_proxy_speaks_for_its_peer(run: Run, header: bytes, peer: str, address: str) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect(header)
        assert await answered(client)
        (connection,) = world.server.connections
        assert connection.peer == peer
        assert connections_of(world, address) == 1
        assert connections_of(world, "127.0.0.1") == 0
        client.writer.close()
        await world.until(lambda: connections_of(world, address) == 0)

    run(scenario, proxies=HERE)


def test_a_header_in_pieces_with_a_line_behind_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect()
        for at in range(0, len(HEADER), 9):
            client.write(HEADER[at : at + 9])
            await asyncio.sleep(0.002)
        client.write(HEADER[len(HEADER) :] + b'{"id":1,"method":"mining.ping"}\n')
        assert (await client.read())["result"] == "pong"
        (connection,) = world.server.connections
        assert connection.peer == "192.0.2.7:50000"

    run(scenario, proxies=HERE)


@pytest.mark.parametrize("first", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_listed_proxy_without_a_header_counts_as_itself(run: Run, first: bytes) -> None:
    """Also when its first bytes could have been those of a header."""

    async def scenario(world: World) -> None:
        client = await world.connect(first)
        await asyncio.sleep(0.01)
        assert await answered(client)
        (connection,) = world.server.connections
        assert connection.peer.startswith("127.0.0.1:")

    run(scenario, proxies=HERE)


def test_a_listed_proxy_is_never_banned_but_who_is_behind_it_is(run: Run) -> None:
    async def scenario(world: World) -> None:
        await offend(world, 10)
        assert world.server.bans() == []
        for _ in range(4):
            await (await world.connect(HEADER + GARBAGE)).rest()
        assert [ban.address for ban in world.server.bans()] == [FARM]
        assert await (await world.connect(HEADER)).rest() == []
        assert world.server.counts.refused == {"banned": 1}
        assert await answered(await world.connect(version_2("192.0.2.8")))

    run(scenario, proxies=HERE, offences_burst=3)


@pytest.mark.parametrize(
    "said",
    [
        b"PROXY TCP4 nonsense\r\n",
        SIGNATURE_2 + b"\x21\x11\xff\xff",
        HEADER[:20],
        b"",
    ],
    ids=["wrong", "too long", "half", "nothing"],
)
def test_a_header_that_is_wrong_or_never_whole_ends_the_connection(run: Run, said: bytes) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect(said)
        assert await client.rest() == []
        assert world.server.counts.refused == {"proxy-header": 1}
        assert world.server._shared.opening == 0

    run(scenario, proxies=HERE, authorise_seconds=0.1)


def test_a_proxy_that_hangs_up_before_it_speaks_is_no_fault(run: Run) -> None:
    """A load balancer's health check."""

    async def scenario(world: World) -> None:
        client = await world.connect()
        await world.until(lambda: len(world.server._entrance._opening) == 1)
        client.writer.close()
        await world.until(lambda: not world.server._entrance._opening)
        assert world.server.counts.closed == {}
        assert world.server.counts.connections == 0

    run(scenario, proxies=HERE)


@pytest.mark.parametrize("header", [HEADER, version_2(FARM)], ids=["1", "2"])
def test_a_header_of_anybody_else_is_a_malformed_line(run: Run, header: bytes) -> None:
    async def scenario(world: World) -> None:
        client = await world.connect(header + b"\n")
        assert [answer["error"][0] for answer in await client.rest()] == [20]
        assert world.server.counts.closed == {"malformed": 1}
        assert connections_of(world, FARM) == 0

    run(scenario, proxies=ELSEWHERE)


def test_a_header_in_front_of_a_tls_handshake(run: Run, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        files = CertificateFiles(tmp_path)
        await world.listen(tls=files.load())
        client = await (await world.connect(HEADER, context=files.trusting())).work()
        (connection,) = world.server.connections
        assert connection.peer == "192.0.2.7:50000"
        assert await answered(client)

    run(scenario, proxies=HERE)


# Ports


def _listens_on_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


LOOPBACKS = ["127.0.0.1", *(["::1"] if _listens_on_ipv6() else [])]


@pytest.mark.parametrize("host", LOOPBACKS)
def test_several_ports_at_a_time(run: Run, host: str) -> None:
    async def scenario(world: World) -> None:
        first = await world.ready()
        await world.listen(host)
        second = await world.ready()
        assert await answered(first)
        assert await answered(second)
        world.server.stop_listening()
        with pytest.raises(OSError):  # noqa: PT011 - refused, in the words of the platform
            await world.connect()
        assert await answered(first)

    run(scenario)


@pytest.mark.parametrize(
    ("act", "present"),
    [
        (lambda client: None, True),
        (lambda client: client.sendall(b"x"), True),
        (lambda client: client.shutdown(socket.SHUT_WR), False),
        (lambda client: client.close(), False),
    ],
    ids=["waits", "has said something", "half closed", "closed"],
)
def test_an_arrival_knows_whether_it_is_still_there(
    act: Callable[[socket.socket], None], present: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        client = socket.create_connection(bound.getsockname())
        accepted, (host, port) = bound.accept()
        accepted.setblocking(False)
        act(client)
        arrival = Arrival(accepted, host, port, None)
        assert arrival.present() == present
        client.close()
        accepted.close()
