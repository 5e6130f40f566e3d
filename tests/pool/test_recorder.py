"""What is written down of shares and blocks: durable before it is answered, proven from the record alone."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from bitcoin.core import CBlock

from pool import spool as spool_module
from pool.records import Found, Reject, Share
from stratum.interfaces import Closed
from tests.pool.fakes import until
from tests.pool.recorder_desk import Desk, desk, records_in
from tests.stratum.fakes import ANY_HASH, EASY, NOW, sha256d, target_of, template


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
