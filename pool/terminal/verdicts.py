"""What is wrong and what to do, from what the machines tell now. Pure.

The names and limits are those of the alarms (configs/alerts.yml), whose pages say more. A look has no
history: what an alarm sees only over time (a drop of the hashrate, a disk that fills) is not said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from pool.terminal.reading import Reading, Told
from pool.terminal.samples import Samples
from pool.terminal.words import duration

Level = Literal["critical", "warning", "info"]
NOT_TAKEN_SECONDS: Final = 600
ORDER: Final[tuple[Level, ...]] = ("critical", "warning", "info")


class Verdict(NamedTuple):
    """One thing that is wrong."""

    level: Level
    alarm: str
    """Its section in docs/operate/alarms.md; empty where there is none."""
    where: str
    what: str
    do: str


class _Rule(NamedTuple):
    """A number beyond its limits is wrong."""

    level: Level
    alarm: str
    value: Callable[[Samples], float | None]
    wrong: Callable[[float], bool]
    what: Callable[[float], str]
    do: str


def _greatest(name: str, **labels: str) -> Callable[[Samples], float | None]:
    return lambda samples: samples.max(name, **labels)


def _least(name: str, **labels: str) -> Callable[[Samples], float | None]:
    return lambda samples: samples.min(name, **labels)


def _over(limit: float) -> Callable[[float], bool]:
    return lambda value: value > limit


def _is(wanted: float) -> Callable[[float], bool]:
    return lambda value: value == wanted


def _offset(samples: Samples) -> float | None:
    found = [abs(value) for _, value in samples.of("dmpool_clock_offset_seconds")]
    return max(found) if found else None


def _free(samples: Samples) -> float | None:
    free, size = samples.min("dmpool_disk_free_bytes"), samples.max("dmpool_disk_size_bytes")
    return None if free is None or not size else free / size


_RULES: Final = (
    _Rule(
        "critical", "NoJob", _greatest("dmpool_job_age_seconds"), _over(60),
        lambda age: f"the newest job is {duration(age)} old: miners work on an old block",
        "look at the nodes below, and at the gateway's log",
    ),
    _Rule(
        "critical", "TipsDiverge", _greatest("dmpool_node_tips_diverged_seconds"), _over(120),
        lambda age: f"the nodes have had different best blocks for {duration(age)}",
        "bitcoin-cli getchaintips on each: which one is behind, or alone?",
    ),
    _Rule(
        "critical", "NodeWouldRefuseBlocks", _least("dmpool_job_proposal_ok"), _is(0),
        lambda _: "a node would refuse a block of the pool's jobs",
        "the log: node_would_refuse_blocks; compare versions of node, pool",
    ),
    _Rule(
        "critical", "SpoolFails", _greatest("dmpool_spool_failing"), _is(1),
        lambda _: "shares cannot be written: miners get no answer",
        "free space in data_dir, or look at the disk; see the log",
    ),
    _Rule(
        "warning", "SpoolNotDraining", _greatest("dmpool_spool_oldest_seconds"), _over(120),
        lambda age: f"the oldest share has waited {duration(age)} for PostgreSQL; nothing is lost",
        "see PostgreSQL, then the gateway's log",
    ),
    _Rule(
        "critical", "DatabaseDown", _least("dmpool_database_up"), _is(0),
        lambda _: "PostgreSQL does not answer this process",
        "systemctl status postgresql; shares wait in the spool meanwhile",
    ),
    _Rule(
        "warning", "AcknowledgedNotApplied", _greatest("dmpool_unapplied_oldest_seconds"), _over(300),
        lambda age: f"a share acknowledged {duration(age)} ago is not in the ledger yet",
        "see the spool and the ledger",
    ),
    _Rule(
        "critical", "JournalDoesNotBalance", _least("dmpool_journal_balanced"), _is(0),
        lambda _: "the journal does not balance",
        "pay nothing; dmpool ledger trial-balance, then dmpool audit",
    ),
    _Rule(
        "critical", "ReportBlocked", _greatest("dmpool_report_blocked"), _is(1),
        lambda _: "a daily report cannot be built",
        "the ledger's log says why; dmpool reports build DAY tries it",
    ),
    _Rule(
        "warning", "ReportLate", _greatest("dmpool_report_behind_seconds"), _over(7200),
        lambda age: f"a day could have been reported for {duration(age)}",
        "see the ledger's lag and the archive",
    ),
    _Rule(
        "critical", "ReportNotVerified", _least("dmpool_report_verified"), _is(0),
        lambda _: "the newest report does not verify",
        "dmpool reports verify; touch nothing before you know why",
    ),
    _Rule(
        "critical", "PayoutProblem", _greatest("dmpool_payout_problems"), _over(0),
        lambda count: f"{count:.0f} payouts wait for something that is wrong",
        "dmpool payouts status",
    ),
    _Rule(
        "critical", "LicenceEnforcementOff", _greatest("dmpool_licence_enforcement", mode="monitor"), _is(1),
        lambda _: "the rules in force do not refuse unknown devices",
        "rules_file, unknown_device: set it back",
    ),
    _Rule(
        "critical", "DiskFills", _free, lambda free: free < 0.05,
        lambda free: f"{free:.1%} of data_dir's disk are free",
        "make room: without it no share can be written",
    ),
    _Rule(
        "warning", "DiskFills", _free, lambda free: 0.05 <= free < 0.15,
        lambda free: f"{free:.1%} of data_dir's disk are free",
        "make room",
    ),
    _Rule(
        "warning", "ClockOff", _offset, _over(5),
        lambda off: f"this clock is {off:.1f} s off",
        "chronyc tracking; mend NTP",
    ),
    _Rule(
        "warning", "TaskRestarts", _least("dmpool_task_up"), _is(0),
        lambda _: "a part of the process is down and is started again",
        "the log has its exception",
    ),
    _Rule(
        "warning", "NoticesNotDelivered", _greatest("dmpool_notice_oldest_seconds"), _over(900),
        lambda age: f"a notice has waited {duration(age)} to be sent",
        "dmpool notices list --open",
    ),
)  # fmt: skip


def verdicts(look: Reading, rejects: Callable[[Told], float | None]) -> list[Verdict]:
    """All of them, the worst first; `rejects` is a target's part of rejected shares of late."""
    found = [one for told in look.targets for one in _of_target(told, rejects(told))]
    found += _of_all(look.targets)
    found += _of_blocks(look)
    return sorted(found, key=lambda one: ORDER.index(one.level))


def _of_target(told: Told, rejected: float | None) -> Iterator[Verdict]:
    where = str(told.target)
    if told.samples is None:
        do = "is it running? systemctl status 'dmpool*'; is it metrics.listen?"
        yield Verdict("critical", "TargetDown", where, told.trouble, do)
        return
    if told.ready is not None:
        for role, state in told.ready.roles.items():
            for reason in state.reasons:
                yield Verdict(
                    "critical", "", where, f"{role} is not ready: {reason}", "see below, and the log"
                )
    samples = told.samples
    for rule in _RULES:
        value = rule.value(samples)
        if value is not None and rule.wrong(value):
            yield Verdict(rule.level, rule.alarm, where, rule.what(value), rule.do)
    yield from _of_nodes(samples, where)
    yield from _of_certificates(samples, where, told.at)
    if rejected is not None and rejected > 0.02:
        level: Level = "critical" if rejected > 0.1 else "warning"
        do = "by reason: the gateways page, key g; stale: job age; low difficulty: one firmware?"
        yield Verdict(level, "RejectsHigh", where, f"{rejected:.1%} of shares are rejected", do)


def _of_nodes(samples: Samples, where: str) -> Iterator[Verdict]:
    up = samples.by("dmpool_node_up", "node")
    down = sorted(name for name, value in up.items() if value == 0)
    if down:
        level: Level = "critical" if len(down) == len(up) else "warning"
        do = "is bitcoind running and in sync? bitcoin-cli getblockchaininfo"
        yield Verdict(level, "NodeDown", where, f"node {', '.join(down)} does not answer", do)


def _of_certificates(samples: Samples, where: str, now: float) -> Iterator[Verdict]:
    ends = [
        value
        for name in (
            "dmpool_stratum_certificate_end_timestamp_seconds",
            "dmpool_door_certificate_end_timestamp_seconds",
        )
        if (value := samples.min(name)) is not None
    ]
    left = min(ends, default=now + 1e9) - now
    if left < 14 * 86_400:
        level: Level = "critical" if left < 2 * 86_400 else "warning"
        what = f"a certificate ends in {duration(left)}" if left > 0 else "a certificate has ended"
        yield Verdict(level, "CertificateEnds", where, what, "renew it; it is taken without a restart")


def _of_all(targets: Iterable[Told]) -> Sequence[Verdict]:
    """Of all ledgers together one must be active."""
    active = [
        value
        for told in targets
        if told.samples is not None and (value := told.samples.max("dmpool_ledger_active")) is not None
    ]
    if not active or max(active) > 0:
        return []
    do = "the ledger's log says what it waits for; another may be active elsewhere: add its --target"
    return [Verdict("critical", "NoActiveLedger", "all", "no ledger that was asked is active", do)]


def _of_blocks(look: Reading) -> Iterator[Verdict]:
    """A block that no node has taken for long; for a moment every block is one."""
    for block in look.books.blocks if look.books is not None else ():
        age = look.at - block.found_us / 1e6
        if block.state == "found" and age > NOT_TAKEN_SECONDS:
            what = f"block {block.height} was found {duration(age)} ago and no node has taken it"
            yield Verdict("critical", "BlockNotSubmitted", "all", what, "the gateway's log: block_submitted")
