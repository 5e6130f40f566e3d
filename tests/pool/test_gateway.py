"""The gateway from its parts: shares into the spool, blocks to the nodes, miners over real sockets."""

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
from bitcoin.core import CBlock

from pool import found_blocks
from pool import spool as spool_module
from pool.config import ConfigError, Settings
from pool.embedded_chain import EmbeddedChain
from pool.found_blocks import FoundBlocks
from pool.gateway import Gateway, ShareRecorder
from pool.metrics import Metrics
from pool.node import Node
from pool.preflight import require_certificate
from pool.records import Found, Record, Reject, Share
from pool.sightings import Sightings
from pool.simulate import SimulatedMiner
from pool.spool import Spool
from register.licence import Act
from register.register import Register
from register.rules import Rules
from stratum.session import Closed
from tests.pool.fakes import FakeNode, down, until
from tests.register_world import RULES, clerk_of, register_of, unknown_devices
from tests.stratum.fakes import ANY_HASH, EASY, NOW, Wire, sha256d, target_of, template

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def records_in(spool: Spool) -> list[Record]:
    return [record for _, payload in spool.rows_after(0, 1 << 30) for record in _decode(payload)]


@asynccontextmanager
async def spooling(directory: Path) -> AsyncIterator[Spool]:
    spool = Spool(directory / "spool.db", asyncio.get_running_loop(), lambda seconds, records: None)
    try:
        yield spool
    finally:
        await spool.close()


# The recorder


class Desk:
    """A session on a recorder with a real spool and real files, and a fake node."""

    def __init__(self, spool: Spool, directory: Path) -> None:
        self.node = FakeNode()
        self.blocks = FoundBlocks(directory / "blocks", [self.node], lambda node, verdict: None)
        self.metrics = Metrics()
        self.sightings = Sightings(register_of(), RULES)
        self.recorder = ShareRecorder(spool, self.blocks, self.metrics, self.sightings)
        self.spool = spool
        self.wire = Wire(recorder=self.recorder)  # type: ignore[arg-type]

    async def judged(self, fields: list[Any], username: str = "alice.s17") -> dict[str, Any]:
        """Submit, and wait for the answer."""
        answers = self.wire.call("mining.submit", [username, *fields])
        await until(lambda: bool(answers) or bool(self.wire.written))
        (answer,) = answers or self.wire.read()
        return answer


@asynccontextmanager
async def desk(directory: Path, target: int) -> AsyncIterator[Desk]:
    async with spooling(directory) as spool:
        made = Desk(spool, directory)
        made.wire.new_job(template(target=target))
        made.wire.start()
        try:
            yield made
        finally:
            await made.blocks.close()


async def test_i1_an_accepted_share_is_in_the_spool_when_it_is_answered(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as one:
        fields, header = one.wire.share()
        assert (await one.judged(fields))["result"] is True
        (record,) = records_in(one.spool)
        assert record == Share(
            int(NOW * 1e6),
            sum(b"alice"),
            "s17",
            int(fields[0], 16),
            target_of(2.0**EASY).to_bytes(32, "big"),
            header,
        )
        assert int.from_bytes(sha256d(record.header), "little") <= int.from_bytes(record.target, "big"), (
            "I4: proven"
        )
        assert (one.metrics.gateway.accepted, one.metrics.gateway.work) == (
            Counter({"other": 1}),
            2**256 // (target_of(2.0**EASY) + 1),
        )


async def test_i1_while_the_spool_is_blocked_nothing_is_answered(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as one:
        one.spool._writer.execute("PRAGMA busy_timeout = 60000")
        one.spool._reader.execute("BEGIN IMMEDIATE")
        assert one.wire.call("mining.submit", ["alice.s17", *one.wire.share()[0]]) == []
        assert one.wire.call("mining.ping") == []
        await asyncio.sleep(0.1)
        assert one.wire.read() == []
        one.spool._reader.execute("ROLLBACK")
        await until(lambda: len(one.wire.written) == 2)
        assert [answer["result"] for answer in one.wire.read()] == [True, "pong"]


async def test_rejects_are_kept_with_their_reason_target_job_and_header(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as one:
        fields, header = one.wire.share()
        await one.judged(fields)
        assert (await one.judged(fields))["error"][0] == 22
        others, other_header = one.wire.share(first=5 << 20)
        assert (await one.judged(others, "mallory"))["error"][0] == 24
        assert (await one.judged(["77", *others[1:]]))["error"][0] == 21
        await until(lambda: len(records_in(one.spool)) == 4)
        job, target = int(fields[0], 16), target_of(2.0**EASY).to_bytes(32, "big")
        at, alice = int(NOW * 1e6), sum(b"alice")
        assert records_in(one.spool)[1:] == [
            Reject(at, alice, "s17", "duplicate", job, target, header),
            Reject(at, 0, "mallory", "unauthorised", job, target, other_header),
            Reject(at, alice, "s17", "job-not-found"),
        ]
        counted = {"duplicate": 1, "unauthorised": 1, "job-not-found": 1}
        assert one.metrics.gateway.rejected == Counter({(word, "other"): n for word, n in counted.items()})


async def test_i9_a_block_stands_behind_its_share_and_is_submitted(tmp_path: Path) -> None:
    async with desk(tmp_path, ANY_HASH) as one:
        fields, header = one.wire.share()
        assert (await one.judged(fields))["result"] is True
        share, found = records_in(one.spool)
        assert isinstance(share, Share)
        assert isinstance(found, Found)
        await until(lambda: bool(one.node.submitted))
        block = CBlock.deserialize(one.node.submitted[0])
        assert block.get_header().serialize() == header == share.header
        assert found.block_hash == sha256d(header)[::-1].hex()
        assert found.previous_hash == header[4:36][::-1].hex()
        assert found.coinbase_txid == block.vtx[0].GetTxid()[::-1].hex()
        assert found.reward_sat == sum(output.nValue for output in block.vtx[0].vout)
        assert (found.credited, found.miner_id, found.worker) == (True, share.miner_id, "s17")
        directory = tmp_path / "blocks"
        await until(
            lambda: {path.suffix for path in directory.iterdir()} == {".json", ".answered", ".spooled"}
        )


@pytest.mark.parametrize("why", ["stranger", "stale", "ntime"])
async def test_i9_a_block_of_a_refused_share_is_submitted_and_not_credited(tmp_path: Path, why: str) -> None:
    async with desk(tmp_path, ANY_HASH) as one:
        fields, header = one.wire.share(ntime=int(NOW) + 9000) if why == "ntime" else one.wire.share()
        if why == "stale":
            one.wire.new_job(template(800_001, target=1))
            one.wire.read()
        answer = await one.judged(fields, "mallory" if why == "stranger" else "alice.s17")
        assert answer["error"] is not None
        await until(lambda: bool(one.node.submitted and records_in(one.spool)))
        assert one.node.submitted[0][:80] == header
        found = records_in(one.spool)[0]
        assert isinstance(found, Found)
        assert not found.credited
        assert found.miner_id == (0 if why == "stranger" else sum(b"alice"))


async def test_a_block_submitted_twice_is_one_block(tmp_path: Path) -> None:
    async with desk(tmp_path, ANY_HASH) as one:
        fields, _ = one.wire.share()
        await one.judged(fields)
        assert (await one.judged(fields))["error"][0] == 22
        await until(lambda: len(records_in(one.spool)) == 3)
        assert [type(record) for record in records_in(one.spool)] == [Share, Found, Reject]
        await until(lambda: bool(one.node.submitted))
        assert len(one.node.submitted) == 1


async def test_i9_a_fault_between_the_block_and_its_verdict_does_not_credit_the_next_share(
    tmp_path: Path,
) -> None:
    network, goal = 1 << 252, target_of(2.0**EASY)
    async with desk(tmp_path, network) as one:
        block, header = one.wire.find(lambda value: value <= network)
        plain, _ = one.wire.find(lambda value: network < value <= goal)
        look = one.wire.gate.look
        one.wire.gate.generation += 1
        one.wire.gate.look = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            one.wire.call("mining.submit", ["alice.s17", *block])
        one.wire.gate.look = look  # type: ignore[method-assign]
        one.wire.gate.generation += 1
        assert (await one.judged(plain))["result"] is True
        share, found = records_in(one.spool)
        assert isinstance(share, Share)
        assert isinstance(found, Found)
        assert found.block_hash == sha256d(header)[::-1].hex()
        assert not found.credited, "the share in front of it is another one"
        await until(lambda: [raw[:80] for raw in one.node.submitted] == [header])


async def test_i9_a_block_whose_share_a_full_spool_refuses_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reward has to be booked, though the session ends and no other share may follow."""
    async with desk(tmp_path, ANY_HASH) as one:
        monkeypatch.setattr(spool_module, "WAITING_LIMIT", 0)
        with pytest.raises(Closed):
            one.wire.call("mining.submit", ["alice.s17", *one.wire.share()[0]])
        await until(lambda: bool(records_in(one.spool)))
        (found,) = records_in(one.spool)
        assert isinstance(found, Found)
        assert not found.credited


async def test_i9_a_block_that_was_never_judged_is_told_before_the_next_one(tmp_path: Path) -> None:
    async with desk(tmp_path, ANY_HASH) as one:
        first, second = one.wire.share(), one.wire.share(first=5 << 20)
        look = one.wire.gate.look
        one.wire.gate.generation += 1
        one.wire.gate.look = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            one.wire.call("mining.submit", ["alice.s17", *first[0]])
        one.wire.gate.look = look  # type: ignore[method-assign]
        one.wire.gate.generation += 1
        assert (await one.judged(second[0]))["result"] is True
        founds = [record for record in records_in(one.spool) if isinstance(record, Found)]
        assert [(found.block_hash, found.credited) for found in founds] == [
            (sha256d(first[1])[::-1].hex(), False),
            (sha256d(second[1])[::-1].hex(), True),
        ]


async def test_i10_refused_shares_do_not_fill_the_memory_while_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted; only what must not be lost waits for the disk."""
    monkeypatch.setattr(spool_module, "WAITING_LIMIT", 5)
    async with desk(tmp_path, 1) as one:
        one.spool._writer.execute("PRAGMA busy_timeout = 60000")
        one.spool._reader.execute("BEGIN IMMEDIATE")
        one.wire.call("mining.submit", ["alice.s17", *one.wire.share()[0]])
        bad = one.wire.share(first=5 << 20)[0]
        bad[0] = "fffffff0"
        with suppress(Closed):
            for _ in range(50):
                one.wire.call("mining.submit", ["alice.s17", *bad])
        assert len(one.spool._open.records) <= 6
        with suppress(Closed):
            for _ in range(50):
                one.wire.call("mining.ping")
        assert len(one.spool._open.answers) <= 6
        one.spool._reader.execute("ROLLBACK")
        await until(lambda: len(one.wire.written) > 1)
        assert one.wire.read()[0]["result"] is True


# Quarantine


def in_quarantine(one: Desk) -> None:
    """From now on alice's machine is no registered unit, and the rule of the day lets such ones in."""
    one.wire.gate.uncredited.add("alice.s17")
    one.wire.gate.generation += 1


async def test_i1_o07_a_share_in_quarantine_is_durable_when_it_is_answered_and_is_never_paid(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, 1) as one:
        in_quarantine(one)
        fields, header = one.wire.share()
        assert (await one.judged(fields))["result"] is True
        target = target_of(2.0**EASY).to_bytes(32, "big")
        kept = Reject(int(NOW * 1e6), sum(b"alice"), "s17", "quarantine", int(fields[0], 16), target, header)
        assert records_in(one.spool) == [kept]
        assert (await one.judged(fields))["error"][0] == 22, "it is judged like any other"
        counts = one.metrics.gateway
        assert counts.rejected == {("quarantine", "other"): 1, ("duplicate", "other"): 1}
        assert (counts.accepted, counts.work) == ({}, 0)


async def test_i1_o07_while_the_spool_is_blocked_no_share_in_quarantine_is_answered(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as one:
        in_quarantine(one)
        one.spool._writer.execute("PRAGMA busy_timeout = 60000")
        one.spool._reader.execute("BEGIN IMMEDIATE")
        assert one.wire.call("mining.submit", ["alice.s17", *one.wire.share()[0]]) == []
        await asyncio.sleep(0.1)
        assert one.wire.read() == []
        one.spool._reader.execute("ROLLBACK")
        await until(lambda: bool(one.wire.written))
        assert [answer["result"] for answer in one.wire.read()] == [True]
        assert len(records_in(one.spool)) == 1


async def test_i9_o07_a_block_of_a_share_in_quarantine_is_submitted_and_not_credited(tmp_path: Path) -> None:
    async with desk(tmp_path, ANY_HASH) as one:
        in_quarantine(one)
        fields, header = one.wire.share()
        assert (await one.judged(fields))["result"] is True
        reject, found = records_in(one.spool)
        assert isinstance(reject, Reject)
        assert isinstance(found, Found)
        assert (found.credited, found.miner_id, found.worker) == (False, sum(b"alice"), "s17")
        await until(lambda: [raw[:80] for raw in one.node.submitted] == [header])


async def test_o07_who_leaves_quarantine_is_credited_from_the_next_share_on(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as one:
        in_quarantine(one)
        await one.judged(one.wire.share()[0])
        one.wire.gate.uncredited.clear()
        one.wire.gate.generation += 1
        await one.judged(one.wire.share(first=5 << 20)[0])
        assert [type(record) for record in records_in(one.spool)] == [Reject, Share]


# Whole


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


@asynccontextmanager
async def mining(*machines: SimulatedMiner) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(machine.run()) for machine in machines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
        async with mining(*machines):
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
        async with mining(late, stranger):
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
        async with mining(machine, other):
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
        async with mining(machine):
            await until(lambda: machine.status.accepted > 3)
        kept = records_in(gateway.spool)
        assert len(kept) >= machine.status.accepted
        assert {type(record) for record in kept} == {Reject}
        (seen,) = gateway.sightings.drain()
        assert (seen.sighting.kind, seen.sighting.worker) == ("unregistered", "rig99")


async def test_o07_two_machines_of_one_name_are_a_duplicate(tmp_path: Path) -> None:
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        twins = [SimulatedMiner(url, "alatau.s17", 5000), SimulatedMiner(url, "alatau.alatau-s17", 5000)]
        seen: Counter[str] = Counter()

        def duplicates() -> int:
            seen.update({one.sighting.detail: one.count for one in gateway.sightings.drain()})
            return seen["alatau-s17"]

        async with mining(*twins):
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
        async with mining(machine):
            await until(lambda: machine.status.accepted > 5)
    assert gateway.server.counts.closed["shutdown"] <= 1
    async with spooling(tmp_path) as spool:
        shares = [record for record in records_in(spool) if isinstance(record, Share)]
        assert len(shares) >= machine.status.accepted
        assert len({share.header for share in shares}) == len(shares)


async def test_gauges_are_read_when_they_are_scraped(tmp_path: Path) -> None:
    async with serving(tmp_path, [FakeNode()], 2.0**-26) as (gateway, url):
        machine = SimulatedMiner(url, "alatau.s17", 5000)
        async with mining(machine):
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
        async with mining(machine):
            await until(lambda: machine.status.accepted > 0)
            for connection in list(gateway.server.connections):
                connection.end("test")
            accepted = machine.status.accepted
            await until(lambda: machine.status.accepted > accepted + 1)
