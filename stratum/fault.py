"""The reason and the words for a submit that cannot be credited for what it is.

A pure translation: what `native.Job.check` returned, and the fields as the miner sent them, to what the miner
is told. Each text names the field and its value, so that a technician sees what the firmware sent.
"""

from __future__ import annotations

import native
from stratum.job import EXTRANONCE2_SIZE
from stratum.messages import Reason
from stratum.workers import USERNAME_LIMIT

CLEAN = (native.MEETS_SHARE, native.MEETS_SHARE | native.MEETS_NETWORK)
"""The results of a check that is a share by everything the core knows."""


def fault(
    flags: int, extranonce2: str, ntime: str, nonce: str, version_bits: str | None, mask: int
) -> tuple[Reason, str]:
    """What is wrong with a submit whose check gave `flags`, which is not in CLEAN."""
    if flags == native.BAD_EXTRANONCE2:
        wanted = 2 * EXTRANONCE2_SIZE
        return Reason.MALFORMED, f"extranonce2 {extranonce2[:40]!r} is not {wanted} hex digits"
    if flags == native.BAD_NTIME:
        return Reason.MALFORMED, f"ntime {ntime[:16]!r} is not 8 hex digits"
    if flags == native.BAD_NONCE:
        return Reason.MALFORMED, f"nonce {nonce[:16]!r} is not 1 to 8 hex digits"
    if flags == native.BAD_VERSION:
        return Reason.MALFORMED, f"version bits {(version_bits or '')[:16]!r} are not 1 to 8 hex digits"
    if flags & native.NTIME_OUTSIDE:
        return Reason.NTIME, f"ntime {ntime} is outside the job's window"
    if flags & native.VERSION_OUTSIDE:
        return Reason.VERSION, f"version bits {version_bits} outside the mask {mask:08x}"
    return Reason.LOW_DIFFICULTY, "the hash is above the target of this job"


def without_job(subscribed: bool, authorised: bool, username: str, job_id: str) -> tuple[Reason, str]:
    """What is wrong with a submit that could not be checked, its job or its search space being unknown."""
    if not subscribed:
        return Reason.NOT_SUBSCRIBED, "subscribe first"
    if not authorised:
        return stranger(username)
    return Reason.UNKNOWN_JOB, f"job {job_id[:16]!r} not found"


def stranger(username: str) -> tuple[Reason, str]:
    """The submit comes under a name that was not let in on this connection."""
    return Reason.UNAUTHORISED, f"worker {username[:USERNAME_LIMIT]!r} is not authorised here"
