"""The gateway from its parts: nodes, spool, register, and miners over real sockets."""

import asyncio
import datetime as dt
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pool import found_blocks
from pool.config import ConfigError, Settings
from pool.embedded_chain import EmbeddedChain
from pool.gateway import Gateway
from pool.metrics import Metrics
from pool.node import Node
from pool.preflight import require_certificate
from pool.records import Found, Reject, Share
from pool.simulate import SimulatedMiner
from pool.spool import Spool
from register.licence import Act
from register.register import Register
from register.rules import Rules
from tests.machines import at_work
from tests.pool.fakes import FakeNode, down, until
from tests.pool.recorder_desk import desk, records_in, spooling
from tests.register_world import RULES, clerk_of, register_of, unknown_devices
from tests.stratum.fakes import ANY_HASH, sha256d

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@asynccontextmanager
async def serving(
    directory: Path,
    nodes: list[Node],
    start_difficulty: float,
    register: Register | None = None,
    rules: Rules = RULES,
) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway at which `alatau.s17` and `altai.s17` may mine, unless another register is given."""
    known = register or register_of("alatau", "altai")
    values: dict[str, Any] = {
        "data_dir": directory,
        "pool": {"name": "Pool", "bin": "940140000385", "chain": "regtest", "address": ADDRESS},
        "stratum": {
            "listen": "127.0.0.1:0",
            "start_difficulty": start_difficulty,
            "shares_per_minute": 600,
        },
    }
    settings = Settings(**values)
    async with spooling(directory) as spool:
        gateway = Gateway(settings, nodes, spool, 5, known, rules, Metrics())
        task = asyncio.create_task(gateway.run())
        try:
            await until(lambda: bool(gateway.server.addresses) or task.done())
            _, port = gateway.server.addresses[0]
            yield gateway, f"stratum+tcp://127.0.0.1:{port}"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_a_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "data_dir": tmp_path,
        "pool": {"name": "Pool", "bin": "940140000385", "chain": "regtest", "address": ADDRESS},
        "stratum": {"tls": {"certificate": tmp_path / "none.pem", "key": tmp_path / "none.key"}},
    }
    with pytest.raises(ConfigError, match=r"^stratum\.tls: .*none\.pem.* cannot be read.*PEM$"):
        Gateway(Settings(**values), [FakeNode()], cast("Spool", None), 5, Register(), RULES, Metrics())
    with pytest.raises(ConfigError, match=r"none\.pem"):
        require_certificate(Settings(**values))


async def test_a_gateway_that_cannot_listen_leaves_nothing_running(tmp_path: Path) -> None:
    """It is started again every few seconds, and takes its blocks up anew each time."""
    node = FakeNode(fault=down())
    async with desk(tmp_path / "earlier", ANY_HASH) as one:
        one.node.fault = down()
        await one.judged(one.wire.share()[0])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values: dict[str, Any] = {
            "data_dir": tmp_path / "earlier",
            "pool": {"name": "Pool", "bin": "940140000385", "chain": "regtest", "address": ADDRESS},
            "stratum": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"},
        }
        async with spooling(tmp_path) as spool:
            gateway = Gateway(Settings(**values), [node], spool, 5, Register(), RULES, Metrics())
            with pytest.raises(OSError, match="in use"):
                await gateway.run()
            assert not gateway.found_blocks._tasks


async def test_simulated_miners_on_the_embedded_chain_mine_blocks_that_consensus_accepts(
    tmp_path: Path,
) -> None:
    chain = EmbeddedChain(tmp_path / "chain", 1 << 244)
    async with serving(tmp_path, [chain], 2.0**-22) as (gateway, url):
        machines = [SimulatedMiner(url, "alatau.s17", 20_000), SimulatedMiner(url, "altai.s17", 20_000)]
        async with at_work(*machines):
            await until(
                lambda: gateway.book.current is not None and gateway.book.current.template.height > 3, 30
            )
            await until(lambda: all(machine.status.accepted >= 3 for machine in machines), 30)
        assert await chain.height() >= 3
        records = records_in(gateway.spool)
        shares = [record for record in records if isinstance(record, Share)]
        founds = {record.block_hash: record for record in records if isinstance(record, Found)}
        assert {share.miner_id for share in shares} == {1, 2}
        assert len(shares) >= sum(machine.status.accepted for machine in machines)
        for share in shares:
            assert int.from_bytes(sha256d(share.header), "little") <= int.from_bytes(share.target, "big")
        assert await chain.tip() in founds
        for block_hash, found in founds.items():
            assert (await chain.confirmations(block_hash) or 0) != 0
            assert found.reward_sat == 5_000_000_000
        assert not any(
            set(machine.status.rejected) - {"stale: a new block was found"} for machine in machines
        )
    await chain.close()


async def test_i6_a_simulated_miner_without_licence_is_told_why(tmp_path: Path) -> None:
    register = register_of("late", first=dt.date(2024, 1, 1), last=dt.date(2025, 1, 31))
    async with serving(tmp_path, [FakeNode()], 2.0**-22, register) as (gateway, url):
        late, stranger = SimulatedMiner(url, "late.s17", 1000), SimulatedMiner(url, "stranger", 1000)
        async with at_work(late, stranger):
            await until(lambda: bool(late.status.refusal and stranger.status.refusal))
        assert "L-late for digital mining activity ended on January 31, 2025" in late.status.refusal
        assert "not in the register" in stranger.status.refusal
        assert records_in(gateway.spool) == []
        refused = gateway.metrics.gateway.refused_authorisations
        assert set(refused) == {"unknown_account", "licence_ended"}
        (seen,) = gateway.sightings.drain()
        assert (seen.sighting.kind, seen.sighting.detail) == ("refused", "licence_ended")


def revoke(gateway: Gateway, account: str, rules: Rules = RULES) -> None:
    """A court takes the licence, and the gateway hears of it as it does from its follower."""
    now_us = time.time_ns() // 1000
    act = Act("revoked", "C-1", rules.day_of(now_us))
    clerk_of(gateway.register, now_us, rules).act_on_licence(f"L-{account}", act)
    gateway.register_changed([("licence", gateway.register.miner(account).id)])


async def test_i6_a_revoked_miner_is_refused_while_connected_and_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratum.workers.DISMISS_SECONDS", (0.5, 0.6))
    monkeypatch.setattr("stratum.server.REVIEWS", 1)
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        machine, other = SimulatedMiner(url, "alatau.s17", 5000), SimulatedMiner(url, "altai.s17", 5000)
        async with at_work(machine, other):
            await until(lambda: machine.status.accepted > 2)
            revoke(gateway, "alatau")
            await until(lambda: any("deprivation" in reason for reason in machine.status.rejected))
            accepted = machine.status.accepted
            await until(lambda: "deprivation" in machine.status.refusal)
            assert machine.status.accepted == accepted
            assert gateway.server.counts.closed == {"licence": 1}
            goes_on = other.status.accepted
            await until(lambda: other.status.accepted > goes_on)
            assert [
                one.session.workers.by_name.keys()
                for one in gateway.server.connections
                if one.session.working
            ] == [{"altai.s17"}]


async def test_o07_a_machine_that_is_no_unit_works_in_quarantine(tmp_path: Path) -> None:
    rules = unknown_devices("quarantine")
    async with serving(tmp_path, [FakeNode()], 2.0**-26, rules=rules) as (gateway, url):
        machine = SimulatedMiner(url, "alatau.rig99", 5000)
        async with at_work(machine):
            await until(lambda: machine.status.accepted > 3)
        kept = records_in(gateway.spool)
        assert len(kept) >= machine.status.accepted
        assert {type(record) for record in kept} == {Reject}
        (seen,) = gateway.sightings.drain()
        assert (seen.sighting.kind, seen.sighting.worker) == ("unregistered", "rig99")


async def test_o07_two_machines_of_one_name_are_a_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool.sightings.RETURN_MINUTES", 1)
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        twins = [SimulatedMiner(url, "alatau.s17", 5000), SimulatedMiner(url, "alatau.alatau-s17", 5000)]
        seen: Counter[str] = Counter()

        def duplicates() -> int:
            seen.update({one.sighting.detail: one.count for one in gateway.sightings.drain()})
            return seen["alatau-s17"]

        async with at_work(*twins):
            await until(lambda: duplicates() > 3)
        assert set(seen) == {"alatau-s17"}


async def test_a_gateway_takes_up_what_an_earlier_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block was written, then the power failed, and a torn write lies beside it (I9, I10)."""
    monkeypatch.setattr(found_blocks, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(found_blocks, "CLOSE_SECONDS", 0.2)
    node = FakeNode(fault=down())
    async with desk(tmp_path, ANY_HASH) as one:
        one.node.fault = down()
        await one.judged(one.wire.share()[0])
        (_, found) = records_in(one.spool)
    assert isinstance(found, Found)
    (kept,) = (tmp_path / "blocks").glob("*.json")
    kept.with_suffix(".spooled").unlink(missing_ok=True)
    (tmp_path / "blocks" / "00000009-torn.json").write_text('{"record": "{')
    (tmp_path / "blocks" / "00000009-torn.partial").write_text("{")
    async with serving(tmp_path, [node], 2.0**-26) as (gateway, _):
        await until(lambda: len(node.submitted) > 1)
        assert not kept.with_suffix(".answered").exists()
        node.fault = None
        await until(lambda: kept.with_suffix(".answered").exists() and kept.with_suffix(".spooled").exists())
        assert [record for record in records_in(gateway.spool) if isinstance(record, Found)] == [
            found,
            msgspec.structs.replace(found, credited=False),
        ]


async def test_a_stop_ends_connections_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        machine = SimulatedMiner(url, "alatau.s17", 50_000)
        async with at_work(machine):
            await until(lambda: machine.status.accepted > 5)
    assert gateway.server.counts.closed["shutdown"] <= 1
    async with spooling(tmp_path) as spool:
        shares = [record for record in records_in(spool) if isinstance(record, Share)]
        assert len(shares) >= machine.status.accepted
        assert len({share.header for share in shares}) == len(shares)


async def test_gauges_are_read_when_they_are_scraped(tmp_path: Path) -> None:
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        machine = SimulatedMiner(url, "alatau.s17", 5000)
        async with at_work(machine):
            await until(lambda: machine.status.accepted > 0)
            value: Callable[[str], float | None] = gateway.metrics.registry.get_sample_value
            list(gateway.metrics.registry.collect())
            assert value("dmpool_stratum_connections") == 1
            assert (value("dmpool_spool_depth") or 0) > 0
            assert value("dmpool_spool_failing") == 0
            assert (value("dmpool_job_age_seconds") or 0) > 0


@pytest.mark.parametrize("url", ["http://h:1", "stratum+tcp://h", "stratum+tcp://:3333", "h:3333", ""])
def test_a_simulated_miner_wants_a_stratum_url(url: str) -> None:
    with pytest.raises(ValueError, match="stratum"):
        SimulatedMiner(url, "a", 1)


async def test_a_simulated_miner_comes_back_when_the_pool_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool.simulate.RECONNECT_SECONDS", 0.02)
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        machine = SimulatedMiner(url, "alatau.s17", 5000)
        async with at_work(machine):
            await until(lambda: machine.status.accepted > 0)
            for connection in list(gateway.server.connections):
                connection.end("test")
            accepted = machine.status.accepted
            await until(lambda: machine.status.accepted > accepted + 1)
