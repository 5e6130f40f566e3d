"""What each role says of itself when it is asked whether it can serve.

A gateway needs no PostgreSQL to serve miners (I1), so that one that is away is a note there and a reason in
the other roles. All is read from what is known anyway, from any thread.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Final

from pool.gateway import Gateway
from pool.ledger import Ledger
from pool.telemetry.health import STARTING, Condition

JOB_SECONDS: Final = 60.0
"""A job that is older is no work that miners should be sent to."""
LEDGER_SECONDS: Final = 60.0
AWAY: Final = "PostgreSQL does not answer"
DEAF: Final = "does not listen"

Answers = Callable[[], bool | None]
"""Whether PostgreSQL answered when it was asked last; None before that."""


def gateway_condition(gateway: Gateway, answers: Answers) -> Condition:
    """Can miners be sent here?"""
    reasons = []
    if gateway.control.draining:
        reasons.append("drains: miners are sent to another gateway")
    elif not gateway.server.addresses:
        reasons.append(DEAF)
    job_at = gateway.work.job_at
    if job_at is None:
        reasons.append("has no job yet: no node gives work")
    elif (age := (dt.datetime.now(dt.UTC) - job_at).total_seconds()) > JOB_SECONDS:
        reasons.append(f"its newest job is {age:.0f} s old: no node gives work")
    if gateway.spool.failing:
        reasons.append("its spool cannot be written: look at the disk of data_dir")
    notes = (f"{AWAY}; shares wait in the spool",) if answers() is False else ()
    return Condition(tuple(reasons), notes)


def ledger_condition(ledger: Ledger, answers: Answers) -> Condition:
    """Does it work, or stand by?"""
    if ledger.outage or answers() is False:
        return Condition((AWAY,))
    if ledger.standing_by:
        return Condition(notes=("stands by: another ledger is active",))
    if not ledger.active:
        return Condition(("is not at work: it starts, or the log says why it stopped",))
    silent = time.time() - ledger.last_ok_at if ledger.last_ok_at is not None else 0.0
    if silent > LEDGER_SECONDS:
        return Condition((f"has not got on for {silent:.0f} s",))
    return Condition()


def web_condition(listens: bool, answers: Answers) -> Condition:
    """Can it be asked, and show anything?"""
    if not listens:
        return Condition((DEAF,))
    match answers():
        case True:
            return Condition()
        case None:
            return Condition((STARTING,))
    return Condition((AWAY,))
