"""The gateway role: jobs, Stratum, share checks, block submission, spool.

Here the share path meets the disk: `ShareRecorder` is what the sessions record to. A share is counted, put
into the spool and answered when it is durable (I1); one in quarantine is put there as a reject, so that it is
counted and never paid (O-07). A block goes to the nodes before its share is looked at further (I9).
PostgreSQL is needed once in a gateway's life, for its number; after that a gateway starts and works without
it. The register is in memory; who keeps it up to date says `register_changed`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from prometheus_client import Histogram

import native
from pool.config import Settings
from pool.control import Control
from pool.found_blocks import FoundBlock, FoundBlocks
from pool.front_metrics import FrontCollector
from pool.gatekeeper import RegisterGatekeeper
from pool.metrics import Metrics
from pool.node import Node
from pool.preflight import require_certificate
from pool.records import Found, Reject, Share, Submitted
from pool.sightings import Sightings
from pool.spool import Acknowledged, Spool
from pool.telemetry import logs
from pool.work import Work
from register.gate import Gate
from register.register import Register
from register.rules import Rules
from stratum.difficulty import Difficulty
from stratum.extranonce import ExtranonceSource
from stratum.interfaces import Closed, Refused, Submitter, Worker
from stratum.job import CoinbaseTerms, Job, JobBook
from stratum.limits import TokenBucket
from stratum.server import Server
from stratum.subscriptions import Subscriptions

log = structlog.get_logger(__name__)

FULL = "the spool is full: its disk refuses commits"
SETTLE_SECONDS = 2.0
"""At a stop, how long the last shares may take to reach the disk before the connections end."""
QUARANTINE = "quarantine"
"""The reason of a share that was answered `true` and is not credited (O-07)."""
REMIND_SECONDS = 86_400.0
"""How often miners at work are shown what their accounts should know."""
STRANGERS_PER_SECOND = 5.0
STRANGERS_BURST = 500
"""Refused shares of unknown workers that are kept; what strangers send must not fill a disk."""
SAMPLE = 64
"""Of so many accepted shares, one is measured from its line to its answer."""


class _Stopwatch:
    """A session's answer that tells how long it took from the share's line, when it is written."""

    __slots__ = ("_at_us", "_seconds", "_session")

    def __init__(self, session: Submitter, at_us: int, seconds: Histogram) -> None:
        self._session = session
        self._at_us = at_us
        self._seconds = seconds

    def acknowledge(self, answer: bytes) -> None:
        """Pass the answer on, and look at the clock; a step of it back counts as no time."""
        self._session.acknowledge(answer)
        self._seconds.observe(max(time.time_ns() // 1000 - self._at_us, 0) / 1e6)


class ShareRecorder:
    """The sessions' recorder: counts, spools, and hands blocks over."""

    def __init__(
        self, spool: Spool, found_blocks: FoundBlocks, metrics: Metrics, sightings: Sightings
    ) -> None:
        self._spool = spool
        self._found_blocks = found_blocks
        self._counts = metrics.gateway
        self._blocks_found = metrics.blocks_found
        self._answer_seconds = metrics.answer_seconds
        self._unmeasured = 0
        """Shares to come that are not measured."""
        self._sightings = sightings
        self._strangers = TokenBucket(STRANGERS_PER_SECOND, STRANGERS_BURST)
        self._solved: Found | None = None
        """The block of the share that is being judged right now."""

    def solved(
        self,
        session: Submitter,
        worker: Worker | None,
        job: Job,
        header: bytes,
        block_hash: bytes,
        extranonce1: bytes,
        extranonce2: bytes,
    ) -> None:
        """Submit a block at once; its record follows behind its share."""
        self._record_block(credited=False)  # of an earlier share whose judging failed half-way
        template = job.template
        record = Found(
            at_us=time.time_ns() // 1000,
            miner_id=worker.miner_id if worker else 0,
            worker=worker.name if worker else "",
            height=template.height,
            block_hash=block_hash[::-1].hex(),
            previous_hash=template.previous_block[::-1].hex(),
            network_target=template.target.to_bytes(32, "big"),
            reward_sat=template.coinbase_value,
            fees_sat=template.fees,
            coinbase_txid=native.sha256d(job.coinbase(extranonce1, extranonce2))[::-1].hex(),
            credited=False,
        )
        block = FoundBlock(record, job.block(header, extranonce1, extranonce2))
        if self._found_blocks.found(block):
            self._solved = record
            self._blocks_found.inc()
            finder = worker.username if worker else ""
            log.info("block_found", block=record.block_hash, height=record.height, worker=finder)

    def require_room(self) -> None:
        """Raises Closed when the spool is full."""
        if self._spool.full:
            self._record_block(credited=False)
            raise Closed(FULL, "spool")

    def accepted(
        self,
        session: Submitter,
        worker: Worker,
        job: Job,
        share_difficulty: Difficulty,
        header: bytes,
        now_us: int,
        answer: bytes,
    ) -> None:
        """Spool a share; its answer leaves when it is durable (I1)."""
        if not worker.credited:
            self._quarantine(session, worker, job, share_difficulty, header, now_us, answer)
            return
        unit = worker.unit
        if unit is not None and unit.connection != worker.connection:
            self._sightings.moved(unit, worker, now_us)
        self._counts.accepted[session.device.name] += 1
        self._counts.work += share_difficulty.work
        answered: Acknowledged = session
        if self._unmeasured:
            self._unmeasured -= 1
        else:
            self._unmeasured = SAMPLE - 1
            answered = _Stopwatch(session, now_us, self._answer_seconds)
        self._spool.append(
            Share(now_us, worker.miner_id, worker.name, job.number, share_difficulty.target_bytes, header),
            answered,
            answer,
        )
        if self._solved is not None:
            solved_by_this = native.sha256d(header)[::-1].hex() == self._solved.block_hash
            self._record_block(credited=solved_by_this)

    def _quarantine(
        self,
        session: Submitter,
        worker: Worker,
        job: Job,
        share_difficulty: Difficulty,
        header: bytes,
        now_us: int,
        answer: bytes,
    ) -> None:
        """As durable as any other before it is answered; the ledger counts it, and pays nothing for it."""
        self._counts.rejected[QUARANTINE, session.device.name] += 1
        target = share_difficulty.target_bytes
        self._spool.append(
            Reject(now_us, worker.miner_id, worker.name, QUARANTINE, job.number, target, header),
            session,
            answer,
        )
        self._record_block(credited=False)

    def rejected(self, session: Submitter, refused: Refused) -> None:
        """Count a refused share, and keep what decides a dispute about it while there is room.

        Of those that come under no authorised name only so many are kept: they are nobody's to dispute.
        """
        self._counts.rejected[refused.reason.word, session.device.name] += 1
        self._record_block(credited=False)
        if (
            self._spool.full
            or not refused.kept
            or (refused.worker is None and not self._strangers.take(refused.now_us / 1e6))
        ):
            return
        worker, difficulty = refused.worker, refused.share_difficulty
        self._spool.append(
            Reject(
                at_us=refused.now_us,
                miner_id=worker.miner_id if worker else 0,
                worker=worker.name if worker else refused.username,
                reason=refused.reason.word,
                job=refused.job.number if refused.job else 0,
                target=difficulty.target_bytes if difficulty else b"",
                header=refused.header,
            )
        )

    def queue(self, session: Submitter, answer: bytes) -> None:
        """Keep an answer behind those of shares that wait for the disk; raises Closed when it is full."""
        if self._spool.full:
            raise Closed(FULL, "spool")
        self._spool.queue(session, answer)

    def recover(self, records: Sequence[Found]) -> None:
        """Spool the records of blocks that an earlier run could not."""
        for record in records:
            self._append_block(record)

    def _record_block(self, *, credited: bool) -> None:
        if self._solved is not None:
            record, self._solved = self._solved, None
            self._append_block(msgspec.structs.replace(record, credited=credited))

    def _append_block(self, record: Found) -> None:
        self._spool.append(record)
        self._spool.when_durable(lambda: self._found_blocks.spooled(record))


class ToldShares(ShareRecorder):
    """The same, and the log is told of each share: only where it is told of everything."""

    def accepted(
        self,
        session: Submitter,
        worker: Worker,
        job: Job,
        share_difficulty: Difficulty,
        header: bytes,
        now_us: int,
        answer: bytes,
    ) -> None:
        """Tell, and spool as ever."""
        log.debug(
            "share_accepted", worker=worker.username, job=job.id, difficulty=float(share_difficulty.value)
        )
        super().accepted(session, worker, job, share_difficulty, header, now_us, answer)

    def rejected(self, session: Submitter, refused: Refused) -> None:
        """Tell, and count as ever."""
        log.debug("share_rejected", worker=refused.username, reason=refused.reason.word)
        super().rejected(session, refused)


class Gateway:
    """One gateway, from its parts."""

    def __init__(
        self,
        settings: Settings,
        nodes: Sequence[Node],
        spool: Spool,
        number: int,
        register: Register,
        rules: Rules,
        metrics: Metrics,
    ) -> None:
        """`register` is kept up to date by the caller. Raises ConfigError for an unusable TLS certificate."""
        self.settings = settings
        self.metrics = metrics
        self.spool = spool
        self.number = number
        self.register = register
        self.gate = Gate(register, rules)
        self.sightings = Sightings(register, rules)
        self.gatekeeper = RegisterGatekeeper(
            self.gate, metrics.gateway.refused_authorisations, self.sightings, rules
        )
        self.found_blocks = FoundBlocks(
            Path(settings.data_dir) / "blocks",
            nodes,
            lambda node, verdict: metrics.block_verdicts.labels(node, verdict).inc(),
            lambda place: metrics.block_checks.labels(place).inc(),
            lambda block_hash, node: spool.append(Submitted(time.time_ns() // 1000, block_hash, node)),
            lambda node, seconds: metrics.block_submit_seconds.labels(node).observe(seconds),
        )
        recorder = ToldShares if logs.debugging() else ShareRecorder
        self.recorder = recorder(spool, self.found_blocks, metrics, self.sightings)
        # Job numbers go on from the clock, so that no job of this run repeats one of an earlier run.
        self.book = JobBook(int(time.time()) & 0xFFFFFFFF, int(settings.stratum.version_mask, 16))
        self.server = Server(
            book=self.book,
            gate=self.gatekeeper,
            recorder=self.recorder,
            policy=settings.stratum.policy,
            subscriptions=Subscriptions(ExtranonceSource(number)),
            devices=settings.stratum.devices,
            limits=settings.stratum.limits,
            ask_version=settings.stratum.ask_version,
        )
        self._certificate = require_certificate(settings)
        terms = CoinbaseTerms(script=settings.pool.script, tag=settings.pool.tag.encode())
        self.work = Work(
            nodes,
            self.book,
            terms,
            self.server.broadcast,
            metrics,
            settings.pool.chain if settings.stratum.empty_block_first else None,
        )
        self.control = Control(self.server, Path(settings.data_dir), settings.stratum.public_host)
        metrics.on_scrape(self._read_gauges)
        metrics.registry.register(FrontCollector(self.server, self._certificate))

    def register_changed(self, changed: Iterable[tuple[str, int]]) -> None:
        """Records have new versions: the kind of each, and the miner of a licence, else 0.

        Every share is judged by the new register from now on; connections on which nobody may work any more
        end within a minute (O-09).
        """
        self.gatekeeper.changed(changed)

    async def run(self) -> None:
        """Serve until cancelled; then end the connections and make durable what was accepted."""
        self.recorder.recover(self.found_blocks.recover())
        listen, tls = self.settings.stratum.listen, self.settings.stratum.tls
        try:
            await self.server.listen(listen.host, listen.port)
            if tls is not None:
                await self.server.listen(tls.listen.host, tls.listen.port, tls=self._certificate)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.work.run())
                tasks.create_task(self._remind())
        finally:
            self.server.stop_listening()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self.spool.settled()
            await self.server.close()
            await self.found_blocks.close()

    async def _remind(self) -> None:
        """Machines stay connected for weeks: what an account should be told is told each day."""
        while True:
            await asyncio.sleep(REMIND_SECONDS)
            await self.server.remind()

    def _read_gauges(self) -> None:
        self.metrics.spool_depth.set(self.spool.depth)
        self.metrics.spool_failing.set(self.spool.failing)
        self.metrics.spool_bytes.set(self.spool.size_bytes())
        oldest_us = self.spool.oldest_us()
        self.metrics.spool_age = 0.0 if oldest_us is None else max(time.time() - oldest_us / 1e6, 0.0)
        self.metrics.spool_oldest.set(self.metrics.spool_age)
        self.metrics.tell_unapplied()
