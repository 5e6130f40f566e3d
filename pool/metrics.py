"""Prometheus metrics of a process: its instruments, made from the catalogue (`pool.telemetry.catalogue`).

The share path counts in plain integers (`GatewayCounts`), which a collector reads when it is scraped; what
happens a few times a second is observed directly. Only the series of the process's roles are told.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog
from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool.telemetry.instruments import Instruments, counter_family, filled
from pool.telemetry.series import EVERY, RoleName
from stratum.device_class import UNKNOWN
from stratum.difficulty import DIFFICULTY_1_TARGET, work_of
from stratum.job import Template

log = structlog.get_logger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class GatewayCounts:
    """What the share path counts."""

    accepted: Counts[str] = field(default_factory=Counts)
    """By device class."""
    work: int = 0
    """Expected hashes of the accepted shares."""
    rejected: Counts[tuple[str, str]] = field(default_factory=Counts)
    """By the word of the reason and device class."""
    refused_authorisations: Counts[str] = field(default_factory=Counts)
    batches: int = 0
    """Batches that PostgreSQL has taken."""
    forward_failures: int = 0
    """Batches that it has not."""
    block_work: int = 0
    """Expected hashes of a block of the newest job; 0 before there is one."""
    _expected: float = 0.0
    _work_before: int = 0

    @property
    def blocks_expected(self) -> float:
        """Blocks that the accepted work finds on average, each share at the difficulty of its time."""
        if not self.block_work:
            return self._expected
        return self._expected + (self.work - self._work_before) / self.block_work

    def set_block_work(self, work: int) -> None:
        """A new job, of which a block takes so many hashes; what was done so far counts by the last one's."""
        if work != self.block_work:
            self._expected, self._work_before, self.block_work = self.blocks_expected, self.work, work


class Backlog:
    """Since when the oldest batch waits for the ledger, as PostgreSQL told it last."""

    def __init__(self) -> None:
        self.known = False
        self._since: float | None = None

    def heard(self, received_at: dt.datetime | None) -> None:
        """The oldest that waits came then; None: none waits."""
        self._since = None if received_at is None else received_at.timestamp()
        self.known = True

    def age(self) -> float:
        """Seconds until now; it grows on while PostgreSQL is away, since nothing is taken then."""
        return 0.0 if self._since is None else max(time.time() - self._since, 0.0)


class Metrics:
    """Every instrument of the process, in a registry of its own."""

    def __init__(self, roles: Iterable[RoleName] = EVERY) -> None:
        self.registry = CollectorRegistry()
        self.roles = frozenset(roles)
        self._reader = _Reader()
        self.registry.register(self._reader)  # first, so that it sets the gauges that follow
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.gateway = GatewayCounts()
        self.backlog = Backlog()
        self.spool_age = 0.0
        """Of the oldest record in the spool; 0 where there is none."""
        self.make = make = Instruments(self.registry, self.roles)
        self._make_jobs(make)
        self._make_nodes(make)
        self._make_shares(make)
        self._make_ledger(make)
        self._make_payouts(make)
        self._make_web(make)
        if "gateway" in self.roles:
            self.registry.register(_ShareCollector(self.gateway))

    def _make_jobs(self, make: Instruments) -> None:
        self.job_age = make.gauge("dmpool_job_age_seconds")
        self.job_height = make.gauge("dmpool_job_height")
        self.job_transactions = make.gauge("dmpool_job_transactions")
        self.job_reward = make.gauge("dmpool_job_reward_satoshis")
        self.network_difficulty = make.gauge("dmpool_network_difficulty")
        self.jobs = make.counter("dmpool_jobs_total")
        self.jobs_repeated = make.counter("dmpool_jobs_repeated_total")
        self.empty_jobs = make.counter("dmpool_empty_jobs_total")
        self.broadcast_seconds = make.histogram("dmpool_job_broadcast_seconds")
        self.full_job_seconds = make.histogram("dmpool_full_job_broadcast_seconds")
        self.blocks_found = make.counter("dmpool_blocks_found_total")
        self.block_submit_seconds = make.histogram("dmpool_block_submit_seconds")
        self.block_verdicts = make.counter("dmpool_block_submissions_total")
        self.block_checks = make.counter("dmpool_block_checks_total")

    def _make_nodes(self, make: Instruments) -> None:
        self.node_up = make.gauge("dmpool_node_up")
        self.node_in_use = make.gauge("dmpool_node_in_use")
        self.template_seconds = make.histogram("dmpool_template_seconds")
        self.template_age = make.gauge("dmpool_node_template_age_seconds")
        self.proposal_ok = make.gauge("dmpool_job_proposal_ok")
        self.clock_offset = make.gauge("dmpool_clock_offset_seconds")

    def _make_shares(self, make: Instruments) -> None:
        self.answer_seconds = make.histogram("dmpool_share_answer_seconds")
        self.spool_depth = make.gauge("dmpool_spool_depth")
        self.spool_oldest = make.gauge("dmpool_spool_oldest_seconds")
        self.spool_bytes = make.gauge("dmpool_spool_bytes")
        self.spool_failing = make.gauge("dmpool_spool_failing")
        self.commit_seconds = make.histogram("dmpool_spool_commit_seconds")
        self.commit_records = make.counter("dmpool_spool_records_total")
        self.forward_seconds = make.histogram("dmpool_forward_seconds")
        self.unapplied_oldest = make.gauge("dmpool_unapplied_oldest_seconds")
        self.database_up = make.gauge("dmpool_database_up")

    def _make_ledger(self, make: Instruments) -> None:
        self.ledger_active = make.gauge("dmpool_ledger_active")
        self.ledger_waiting = make.gauge("dmpool_ledger_batches_waiting")
        self.ledger_lag = make.gauge("dmpool_ledger_lag_seconds")
        self.batches_applied = make.counter("dmpool_ledger_batches_applied_total")
        self.batch_seconds = make.histogram("dmpool_ledger_batch_seconds")
        self.blocks = make.gauge("dmpool_blocks")
        self.liability = make.gauge("dmpool_liability_satoshis")
        self.journal = make.gauge("dmpool_journal_satoshis")
        self.journal_balanced = make.gauge("dmpool_journal_balanced")
        self.archive_behind = make.gauge("dmpool_archive_behind_seconds")
        self.report_behind = make.gauge("dmpool_report_behind_seconds")
        self.report_blocked = make.gauge("dmpool_report_blocked")
        self.reports_built = make.counter("dmpool_reports_built_total")
        self.report_build_seconds = make.gauge("dmpool_report_build_seconds")

    def _make_payouts(self, make: Instruments) -> None:
        self.held_sat = make.gauge("dmpool_held_satoshis")
        self.held_miners = make.gauge("dmpool_held_miners")
        self.payouts = make.gauge("dmpool_payouts")
        self.payouts_sat = make.gauge("dmpool_payouts_satoshis")
        self.payout_oldest = make.gauge("dmpool_payout_oldest_seconds")
        self.payouts_in_flight = make.gauge("dmpool_payouts_in_flight_satoshis")
        self.payout_problems = make.gauge("dmpool_payout_problems")
        self.settler_up = make.gauge("dmpool_settler_up")
        self.wallet_sat = make.gauge("dmpool_wallet_satoshis")

    def report_was_built(self, seconds: float) -> None:
        """This process has built a report."""
        self.reports_built.inc()
        self.report_build_seconds.set(seconds)

    def batch_taken(self, seconds: float) -> None:
        """The ledger has taken a batch."""
        self.batches_applied.inc()
        self.batch_seconds.observe(seconds)

    def tell_unapplied(self) -> None:
        """How old the oldest share is that may not be in the books: in the spool, or before the ledger."""
        if self.backlog.known:
            self.ledger_lag.set(self.backlog.age())
        self.unapplied_oldest.set(max(self.spool_age, self.backlog.age()))

    def tell_job(self, template: Template) -> None:
        """A job was sent."""
        self.job_height.set(template.height)
        self.job_transactions.set(len(template.transactions))
        self.job_reward.set(template.coinbase_value)
        self.network_difficulty.set(DIFFICULTY_1_TARGET / template.target)
        self.gateway.set_block_work(work_of(template.target))

    def tell_node_clock(self, template: Template, now: float) -> None:
        """A template was given at `now` by our clock; one that is dated by its chain tells no time."""
        if template.current_time > template.min_time:
            told = template.current_time + 0.5  # whole seconds, cut off
            self.clock_offset.labels("node").set(now - told)

    def _make_web(self, make: Instruments) -> None:
        self.http_requests = make.counter("dmpool_http_requests_total")
        self.http_seconds = make.histogram("dmpool_http_request_seconds")
        self.http_streams = make.gauge("dmpool_http_streams")
        self.door_limited = make.counter("dmpool_door_limited_total")
        self.door_certificate_end = make.gauge("dmpool_door_certificate_end_timestamp_seconds")

    def on_scrape(self, read: Callable[[], None]) -> None:
        """Call `read` before each scrape, to set gauges that nobody pushes."""
        self._reader.reads.append(read)


class _ShareCollector(Collector):
    """Turns the share path's integers into series."""

    def __init__(self, counts: GatewayCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        counts = self._counts
        shares = counter_family("dmpool_shares_total")
        for device, count in list(counts.accepted.items()) or [(UNKNOWN.name, 0)]:
            shares.add_metric(["accepted", device], count)
        for (reason, device), count in list(counts.rejected.items()):
            shares.add_metric([reason, device], count)
        yield shares
        yield counter_family("dmpool_work_hashes_total", float(counts.work))
        yield counter_family("dmpool_blocks_expected_total", counts.blocks_expected)
        yield counter_family("dmpool_batches_forwarded_total", counts.batches)
        yield counter_family("dmpool_forward_failures_total", counts.forward_failures)
        refused = dict(counts.refused_authorisations)
        yield filled(counter_family("dmpool_authorisations_refused_total"), refused)


class _Reader(Collector):
    """Runs functions at each scrape; has no series of its own, only sets the gauges of others."""

    def __init__(self) -> None:
        self.reads: list[Callable[[], None]] = []

    def collect(self) -> Iterator[Metric]:
        """Nothing; the functions have set the gauges. One that fails takes no other series with it."""
        for read in self.reads:
            try:
                read()
            except Exception:
                log.exception("metrics_unread")
        return iter(())
