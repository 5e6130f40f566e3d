"""The role of the ledger: the ledger itself, and the tasks that work beside it.

Archive, log, reports and notices work where the ledger is active and rest where it stands by; the readers for
metrics and the settler, which has a lock of its own, run beside every one. Each is a task that is started
again by itself, so that none takes another down.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pool.archive import Archive
from pool.clock import unix_microseconds
from pool.compliance import Compliance
from pool.database import migrate
from pool.key_task import first_key
from pool.ledger import Ledger
from pool.live_register import LiveRegister
from pool.log_keeper import LogKeeper
from pool.log_task import LogTask
from pool.notices.desk import NoticeDesk
from pool.notices.metrics import NoticeMetrics
from pool.process import Process
from pool.report_keeper import ReportKeeper
from pool.resources import publisher, terms_of, until_available
from pool.settlement_setup import settler_of, settler_task
from pool.telemetry.readers import readers
from pool.telemetry.readiness import ledger_condition


def start_ledger(process: Process, live: LiveRegister) -> list[asyncio.Task[None]]:
    """The ledger, what works beside it, and those who read for its metrics."""
    ledger, compliance = new_ledger(process)
    process.health.watch("ledger", partial(ledger_condition, ledger, process.watch.answers))
    works = {
        "ledger": lambda: run_ledger(process, ledger),
        "report key": lambda: first_key(process.settings, process.rules, process.engine),
        "compliance": compliance.run,
        "archive": _new_archive(process, ledger).run,
        "log": _new_log(process, ledger).run,
        "reports": _new_reports(process, ledger).run,
        "notices": _new_notices(process, live, ledger).run,
        **readers(process.metrics, process.engine, live, process.settings, process.rules),
    }
    if process.settings.settlement is not None:
        works["settler"] = lambda: _settler(process)
    return [process.supervise(name, work) for name, work in works.items()]


def new_ledger(process: Process) -> tuple[Ledger, Compliance]:
    terms = terms_of(process.settings, process.rules)
    compliance = Compliance(process.engine, terms, lambda: ledger.active)
    ledger = Ledger(
        process.engine,
        process.nodes,
        process.rules,
        process.settings.pool.dated_terms,
        taken=compliance.taken,
        measured=process.metrics.batch_taken,
    )

    def read() -> None:
        process.metrics.ledger_active.set(ledger.active)
        process.metrics.tell_unapplied()

    process.metrics.on_scrape(read)
    return ledger, compliance


def _new_archive(process: Process, ledger: Ledger) -> Archive:
    return Archive(
        process.engine,
        process.settings.data_dir / "archive",
        process.settings.pool.dated_terms,
        process.rules,
        active=lambda: ledger.active,
    )


def _new_log(process: Process, ledger: Ledger) -> LogTask:
    keeper = LogKeeper(process.engine, process.settings)
    return LogTask(keeper, process.engine, process.rules, lambda: ledger.active)


def _new_reports(process: Process, ledger: Ledger) -> ReportKeeper:
    keeper = ReportKeeper(
        process.engine,
        process.rules,
        lambda day: publisher(process.settings, process.rules, day),
        lambda: ledger.active,
        built=process.metrics.report_was_built,
    )

    def read() -> None:
        process.metrics.report_behind.set(keeper.state.behind_seconds)
        process.metrics.report_blocked.set(keeper.state.blocked)

    process.metrics.on_scrape(read)
    return keeper


def _new_notices(process: Process, live: LiveRegister, ledger: Ledger) -> NoticeDesk:
    settings = process.settings
    desk = NoticeDesk(
        process.engine,
        live,
        process.rules,
        settings.notices.channels,
        pool=settings.pool.name,
        signed_by_hand=settings.settlement is not None and settings.settlement.signer == "psbt",
        active=lambda: ledger.active,
    )
    process.metrics.registry.register(NoticeMetrics(desk.numbers, unix_microseconds))
    return desk


async def run_ledger(process: Process, ledger: Ledger) -> None:
    await until_available(lambda: migrate(process.engine))
    await ledger.run()


async def _settler(process: Process) -> None:
    await until_available(lambda: migrate(process.engine))
    settler = settler_of(process.settings, process.rules, process.engine, process.nodes)
    await settler_task(settler, process.metrics, production=process.settings.production).run()
