"""Prometheus metrics of a process, by Prometheus naming conventions, without per-worker series.

The share path counts in plain integers (`GatewayCounts`), which a collector reads when it is scraped; what
happens a few times a second is observed directly. Served on its own address.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pool.config import Listen
from stratum.device_class import UNKNOWN

disable_created_metrics()  # type: ignore[no-untyped-call]

FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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


class Metrics:
    """Every instrument of the process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reader = _Reader()
        self.registry.register(self._reader)  # first, so that it sets the gauges that follow
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.gateway = GatewayCounts()
        self.job_age = self._gauge("dmpool_job_age_seconds", "Seconds since the newest job was sent.")
        self.job_height = self._gauge("dmpool_job_height", "Block height of the newest job.")
        self.jobs = self._counter("dmpool_jobs", "Jobs sent, by whether they replaced older work.", "clean")
        self.template_seconds = self._histogram(
            "dmpool_template_seconds", "Time a node took to answer with a block template.", "node"
        )
        self.broadcast_seconds = self._histogram(
            "dmpool_job_broadcast_seconds", "From the first signal of a new block to the last socket write."
        )
        self.full_job_seconds = self._histogram(
            "dmpool_full_job_broadcast_seconds",
            "From the first signal of a new block to the last socket write of its first full job.",
        )
        self.empty_jobs = self._counter("dmpool_empty_jobs", "Jobs without transactions, sent ahead.")
        self.proposal_ok = self._gauge(
            "dmpool_job_proposal_ok", "1 when the node would take a block of the pool's jobs (BIP23).", "node"
        )
        self.node_up = self._gauge("dmpool_node_up", "1 when the node last answered, else 0.", "node")
        self.spool_depth = self._gauge("dmpool_spool_depth", "Spool rows that PostgreSQL has not confirmed.")
        self.spool_failing = self._gauge("dmpool_spool_failing", "1 while commits fail and miners wait.")
        self.commit_seconds = self._histogram(
            "dmpool_spool_commit_seconds", "Time from the sealing of a group commit to its fsync."
        )
        self.commit_records = self._counter("dmpool_spool_records", "Records made durable.")
        self.database_up = self._gauge("dmpool_database_up", "1 when PostgreSQL took the last batch, else 0.")
        self.blocks_found = self._counter("dmpool_blocks_found", "Blocks found by this gateway.")
        self.block_verdicts = self._counter(
            "dmpool_block_submissions", "Answers of nodes to submitted blocks.", "node", "verdict"
        )
        self.block_checks = self._counter(
            "dmpool_block_checks", "Own blocks looked up after they were sent, by where they were.", "place"
        )
        self.ledger_active = self._gauge("dmpool_ledger_active", "1 when this process is the active ledger.")
        self.ledger_waiting = self._gauge(
            "dmpool_ledger_batches_waiting", "Batches in PostgreSQL that the ledger has not taken."
        )
        self.blocks = self._gauge("dmpool_blocks", "Blocks in the ledger, by state.", "state")
        self.liability = self._gauge(
            "dmpool_liability_satoshis", "What the pool owes its miners, by maturity.", "state"
        )
        self.journal = self._gauge(
            "dmpool_journal_satoshis", "Balances of the journal's accounts, by class of account.", "account"
        )
        self.journal_balanced = self._gauge(
            "dmpool_journal_balanced", "1 when all accounts of the journal sum to zero."
        )
        self.held_sat = self._gauge("dmpool_held_satoshis", "Payable and not paid, by reason.", "reason")
        self.held_miners = self._gauge("dmpool_held_miners", "Miners that are not paid, by reason.", "reason")
        self.payouts = self._gauge("dmpool_payouts", "Payout transactions, by state.", "state")
        self.payouts_sat = self._gauge("dmpool_payouts_satoshis", "What payouts pay, by state.", "state")
        self.payout_oldest = self._gauge(
            "dmpool_payout_oldest_seconds", "Age of the oldest payout in a state that must pass.", "state"
        )
        self.payouts_in_flight = self._gauge(
            "dmpool_payouts_in_flight_satoshis",
            "Sent and not confirmed, with fees: out of the wallet already.",
        )
        self.payout_problems = self._gauge(
            "dmpool_payout_problems", "Payouts under way that wait for something that is wrong."
        )
        self.settler_up = self._gauge(
            "dmpool_settler_up", "1 when the last look at the payouts was made, else 0."
        )
        self.wallet_sat = self._gauge(
            "dmpool_wallet_satoshis", "Coins of the pool's wallet as its node tells them, by kind.", "kind"
        )
        self.archive_behind = self._gauge(
            "dmpool_archive_behind_seconds",
            "How long the oldest hour of work that is over and not in the archive has waited.",
        )
        self.report_behind = self._gauge(
            "dmpool_report_behind_seconds",
            "How long the oldest day that is over and has no report has waited for it.",
        )
        self.report_blocked = self._gauge(
            "dmpool_report_blocked", "1 when that report cannot be built: the ledger's log says why."
        )
        self.registry.register(_ShareCollector(self.gateway))

    def on_scrape(self, read: Callable[[], None]) -> None:
        """Call `read` before each scrape, to set gauges that nobody pushes."""
        self._reader.reads.append(read)

    def serve(self, listen: Listen) -> tuple[WSGIServer, threading.Thread]:
        """Serve /metrics in a thread. Raises OSError when the port is taken."""
        return start_http_server(listen.port, addr=listen.host, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=FAST, registry=self.registry)


class _ShareCollector(Collector):
    """Turns the share path's integers into series."""

    def __init__(self, counts: GatewayCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        shares = CounterMetricFamily(
            "dmpool_shares", "Shares judged, by verdict and device class.", labels=["verdict", "device_class"]
        )
        for device, count in list(self._counts.accepted.items()) or [(UNKNOWN.name, 0)]:
            shares.add_metric(["accepted", device], count)
        for (reason, device), count in list(self._counts.rejected.items()):
            shares.add_metric([reason, device], count)
        yield shares
        yield CounterMetricFamily(
            "dmpool_work_hashes", "Expected hashes of the accepted shares.", value=float(self._counts.work)
        )
        yield CounterMetricFamily(
            "dmpool_batches_forwarded", "Batches that PostgreSQL has taken.", value=self._counts.batches
        )
        refused = CounterMetricFamily(
            "dmpool_authorisations_refused", "Workers that were not let in, by kind.", labels=["kind"]
        )
        for kind, count in list(self._counts.refused_authorisations.items()):
            refused.add_metric([kind], count)
        yield refused


class _Reader(Collector):
    """Runs functions at each scrape; has no series of its own, only sets the gauges of others."""

    def __init__(self) -> None:
        self.reads: list[Callable[[], None]] = []

    def collect(self) -> Iterator[Metric]:
        """Nothing; the functions have set the gauges."""
        for read in self.reads:
            read()
        return iter(())
