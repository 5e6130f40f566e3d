"""Every time series that a dmpool process can tell, by subject. docs/metrics.md is written from it.

Nothing is told that is not here: `pool.telemetry.instruments` makes all instruments and all families of
collectors from these descriptions.
"""

from __future__ import annotations

from typing import Final

from pool.telemetry.catalogue_front import FRONT, SHARES, SPOOL
from pool.telemetry.catalogue_ledger import ACCOUNTS, JOURNAL, LEDGER_SERIES, PAYOUTS
from pool.telemetry.catalogue_process import DATABASE, PROCESS, WEB_SERIES
from pool.telemetry.catalogue_told import INCOME, LOG, NOTICES, REGISTER, REPORTS, SALE
from pool.telemetry.catalogue_work import BLOCKS, JOBS, NODE
from pool.telemetry.series import Series, Subject

SUBJECTS: Final[tuple[Subject, ...]] = (
    *(JOBS, NODE, BLOCKS, SHARES, FRONT, SPOOL),
    *(LEDGER_SERIES, JOURNAL, PAYOUTS, ACCOUNTS),
    *(REGISTER, SALE, INCOME, REPORTS, LOG, NOTICES),
    *(DATABASE, PROCESS, WEB_SERIES),
)
CATALOGUE: Final[dict[str, Series]] = {one.name: one for subject in SUBJECTS for one in subject.series}


def series(name: str) -> Series:
    """The description of a series. Raises KeyError for a name that is not in the catalogue."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise KeyError(f"{name!r} is not in the catalogue of metrics; describe it there first") from None
