"""From a node's block template to a job for miners, and from a solved job back to a block.

A job is immutable. Its number is part of the coinbase, so that two jobs never share a search space: not two
of one template, not one before and one after a restart. That is why a duplicate can only be a duplicate
within one job. The coinbase pays one address and stays under 250 bytes, which every firmware can hold
(peers: Q-21, Q-60).

Sources: BIP22/23 (template), BIP34 (height in coinbase), BIP141 (witness commitment), BIP320 (version bits).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from bitcoin.core.script import CScript
from bitcoin.core.serialize import VarIntSerializer

import native
from stratum.difficulty import network_exponent

EXTRANONCE1_SIZE = 4
EXTRANONCE2_SIZE = 8
COINBASE_LIMIT = 250
TAG_LIMIT = 40
NTIME_AHEAD = 7200
"""Seconds that a header may run ahead of the template's time: Bitcoin Core's MAX_FUTURE_BLOCK_TIME."""
JOBS_LIMIT = 2048
"""Jobs on one previous block that a share may name: over half an hour of them even when machines that ramp
up want a fresh one every second."""
RENEW_SECONDS = 1.25
"""Least time between two jobs that are the same work under another number. With the regular jobs it makes
less than one a second, so that numbers which start from the clock do not repeat after a restart."""
HEIGHTS_KEPT = 2
SIBLINGS_LIMIT = 4
"""Tips kept in all; more than HEIGHTS_KEPT only while the chain's tip flips between blocks of one height."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a node offers to be mined (BIP22), parsed. Hashes are in internal byte order."""

    height: int
    version: int
    previous_block: bytes
    bits: int
    target: int
    """The number a block's hash must not exceed."""
    coinbase_value: int
    """Satoshis that the coinbase may pay: subsidy and fees."""
    fees: int
    current_time: int
    min_time: int
    transactions: tuple[bytes, ...]
    """Raw, with witness, coinbase excluded."""
    txids: bytes
    """32 bytes for each transaction, in order."""
    witness_commitment: bytes
    """The scriptPubKey of the commitment output; empty when the template has none."""
    long_poll_id: str


@dataclass(frozen=True, slots=True)
class CoinbaseTerms:
    """What a pool puts in its coinbases: the script that is paid, and the tag that names the pool."""

    script: bytes
    tag: bytes


class Job:
    """One piece of work as sent to miners: the notify lines, and the C core that judges its shares."""

    __slots__ = (
        "branches",
        "ceiling",
        "coinbase1",
        "coinbase2",
        "core",
        "id",
        "notify",
        "notify_clean",
        "number",
        "seen",
        "stale",
        "template",
        "terms",
    )

    def __init__(
        self,
        number: int,
        template: Template,
        terms: CoinbaseTerms,
        version_mask: int,
        seen: native.SeenHashes,
        branches: bytes | None = None,
    ) -> None:
        self.number = number
        self.terms = terms
        self.id = f"{number:x}"
        self.template = template
        self.seen = seen
        """Hashes of the shares credited at this height, shared by its jobs."""
        self.stale = False
        """True once a later height has replaced it."""
        self.ceiling = network_exponent(template.target)
        """The highest exponent of share difficulty that is not harder than a block (I9)."""
        self.coinbase1, self.coinbase2 = coinbase_parts(number, template, terms)
        self.branches = native.merkle_branches(template.txids) if branches is None else branches
        version = template.version & 0xFFFFFFFF & ~version_mask
        self.core = native.Job(
            coinbase1=self.coinbase1,
            coinbase2=self.coinbase2,
            branches=self.branches,
            previous_block=template.previous_block,
            version=version,
            bits=template.bits,
            network_target=template.target.to_bytes(32, "big"),
            version_mask=version_mask,
            ntime_min=template.min_time,
            ntime_max=template.current_time + NTIME_AHEAD,
            extranonce2_size=EXTRANONCE2_SIZE,
        )
        line = notify_line(self, version)
        self.notify = line % b"false"
        self.notify_clean = line % b"true"

    def ntime_allowed(self, ntime: int, now: float) -> bool:
        """Whether a header may carry this time at `now`; the core knows only the time of the template."""
        latest = max(self.template.current_time, now) + NTIME_AHEAD
        return self.template.min_time <= ntime <= latest

    def coinbase(self, extranonce1: bytes, extranonce2: bytes) -> bytes:
        """The coinbase transaction without witness: the bytes whose hash is its txid."""
        return b"".join((self.coinbase1, extranonce1, extranonce2, self.coinbase2))

    def block(self, header: bytes, extranonce1: bytes, extranonce2: bytes) -> bytes:
        """The whole block, ready for `submitblock`."""
        coinbase = self.coinbase(extranonce1, extranonce2)
        if self.template.witness_commitment:
            coinbase = with_witness_reserved_value(coinbase)
        count = VarIntSerializer.serialize(1 + len(self.template.transactions))
        return b"".join((header, count, coinbase, *self.template.transactions))


def coinbase_parts(number: int, template: Template, terms: CoinbaseTerms) -> tuple[bytes, bytes]:
    """The coinbase before and after the extranonces; raises ValueError over COINBASE_LIMIT bytes."""
    extranonce_size = EXTRANONCE1_SIZE + EXTRANONCE2_SIZE
    script_head = b"".join(
        (
            bytes(CScript([template.height])),
            bytes(CScript([number.to_bytes(4, "big")])),
            bytes(CScript([terms.tag])) if terms.tag else b"",
            bytes([extranonce_size]),
        )
    )
    script_size = len(script_head) + extranonce_size
    before = b"".join(
        (
            (2).to_bytes(4, "little"),
            b"\x01" + bytes(32) + b"\xff\xff\xff\xff",
            bytes([script_size]),
            script_head,
        )
    )
    outputs = [(template.coinbase_value, terms.script)]
    if template.witness_commitment:
        outputs.append((0, template.witness_commitment))
    after = b"".join(
        (
            b"\xff\xff\xff\xff",
            bytes([len(outputs)]),
            *(value.to_bytes(8, "little") + bytes([len(script)]) + script for value, script in outputs),
            bytes(4),
        )
    )
    size = len(before) + extranonce_size + len(after)
    if size > COINBASE_LIMIT:
        raise ValueError(
            f"the coinbase would be {size} bytes, over the {COINBASE_LIMIT} that every firmware can hold: "
            f"shorten the pool tag {terms.tag!r}"
        )
    return before, after


def with_witness_reserved_value(coinbase: bytes) -> bytes:
    """The coinbase serialised with its witness (BIP144): marker, flag, and the 32 zero bytes of BIP141."""
    version, body, lock_time = coinbase[:4], coinbase[4:-4], coinbase[-4:]
    return b"".join((version, b"\x00\x01", body, b"\x01\x20", bytes(32), lock_time))


def notify_line(job: Job, version: int) -> bytes:
    """The `mining.notify` message with `%b` where clean_jobs goes."""
    template, branches = job.template, job.branches
    swapped = b"".join(template.previous_block[i : i + 4][::-1] for i in range(0, 32, 4)).hex()
    path = ",".join(f'"{branches[i : i + 32].hex()}"' for i in range(0, len(branches), 32))
    return (
        f'{{"id":null,"method":"mining.notify","params":["{job.id}","{swapped}",'
        f'"{job.coinbase1.hex()}","{job.coinbase2.hex()}",[{path}],'
        f'"{version:08x}","{template.bits:08x}","{template.current_time:08x}",'
    ).encode() + b"%b]}\n"


class _Tip:
    """The jobs on one previous block, what was credited on them, and their transactions, each kept once."""

    __slots__ = ("height", "jobs", "previous_block", "seen", "transactions")

    def __init__(self, height: int, previous_block: bytes) -> None:
        self.height = height
        self.previous_block = previous_block
        self.seen = native.SeenHashes()
        self.jobs: deque[Job] = deque()
        self.transactions: dict[bytes, bytes] = {}


class JobBook:
    """The jobs that a share may still name: those of the current height and of the one before."""

    def __init__(self, first_number: int, version_mask: int) -> None:
        self.version_mask = version_mask
        self.current: Job | None = None
        self._next_number = first_number
        self._jobs: dict[str, Job] = {}
        self._tips: list[_Tip] = []
        self._renewed_at = -RENEW_SECONDS

    @property
    def oldest_number(self) -> int:
        """The number of the oldest job that a share may name; 0 when there is none."""
        return self._tips[0].jobs[0].number if self._tips else 0

    def find(self, job_id: str) -> Job | None:
        """The job of that id, current or stale; None when it was never sent or is two heights old."""
        return self._jobs.get(job_id)

    def find_number(self, number: int) -> Job | None:
        """The same by the job's number."""
        return self._jobs.get(f"{number:x}")

    def add(self, template: Template, terms: CoinbaseTerms) -> tuple[Job, bool]:
        """Make the job of a template; True with it when it replaces the work of an older tip (clean_jobs)."""
        clean = not self._tips or self._tips[-1].previous_block != template.previous_block
        tip = _Tip(template.height, template.previous_block) if clean else self._tips[-1]
        once = tip.transactions
        template = replace(
            template, transactions=tuple(once.setdefault(raw, raw) for raw in template.transactions)
        )
        job = Job(self._next_number, template, terms, self.version_mask, tip.seen)
        if clean:
            self._open(tip)
        self._keep(job)
        return job, clean

    def may_renew(self, after: int, ticks: float) -> bool:
        """Whether `fresh` can be asked now: jobs that one miner alone wants are made once a second at most.

        Without that bound one that comes and goes would push the jobs of all others out of the book.
        """
        newer = self.current is not None and self.current.number > after
        return newer or not 0 <= ticks - self._renewed_at < RENEW_SECONDS

    def fresh(self, after: int, ticks: float) -> Job:
        """A job whose number is above `after`: the current one, or the same work under a new number.

        For a miner whose difficulty or search space changes between two regular jobs: it must see an id that
        it does not know (peers: Q-53, Q-73). All who need one at the same time share it. There must be a
        current job; see `may_renew` for when.
        """
        current = self.current
        if current is None:
            raise RuntimeError("no job was ever made; fresh() wants a current one")
        if current.number > after:
            return current
        job = Job(
            self._next_number,
            current.template,
            current.terms,
            self.version_mask,
            current.seen,
            current.branches,
        )
        self._renewed_at = ticks
        self._keep(job)
        return job

    def _keep(self, job: Job) -> None:
        self._next_number = (self._next_number + 1) & 0xFFFFFFFF
        jobs = self._tips[-1].jobs
        jobs.append(job)
        self._jobs[job.id] = job
        if len(jobs) > JOBS_LIMIT:
            del self._jobs[jobs.popleft().id]
        self.current = job

    def _open(self, newest: _Tip) -> None:
        """A new tip: the work of other heights is stale, that of a sibling block keeps its worth."""
        for tip in self._tips:
            for job in tip.jobs:
                job.stale = tip.height != newest.height
        self._tips.append(newest)
        heights = {tip.height for tip in self._tips}
        while len(heights) > HEIGHTS_KEPT or len(self._tips) > SIBLINGS_LIMIT:
            for job in self._tips.pop(0).jobs:
                del self._jobs[job.id]
            heights = {tip.height for tip in self._tips}
