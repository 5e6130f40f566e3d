"""The daily reports built once more in the replay, each from what was there when it was made.

A report is one snapshot of the database, and its `generated_at` was read a moment before that. Which batches
had come by then is not told to the microsecond: so it is built again after each thing that touches its day in
the minute around, and one of those states must give its bytes. The signature is checked, not made again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import rfc8785
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import archive_file
from pool.archive_book import Line, row_of
from pool.archive_file import ArchiveError
from pool.audit_compare import Tally
from pool.clock import microseconds
from pool.report_facts import Facts, gather, hour_facts
from pool.reports import as_told
from pool.tables import report
from register.rules import Rules
from reporting import daily
from reporting.daily_compliance import SEEN
from reporting.daily_facts import (
    DayFacts,
    DoesNotReconcile,
    Edition,
    HourFacts,
    MinerFacts,
    Paid,
    PoolFacts,
    Software,
)
from reporting.equalities import SCHEMA
from reporting.keyring import KeyRing, RingError
from reporting.signing import encode
from reporting.verify import verify

EARLY_US: Final = 5_000_000
LATE_US: Final = 60_000_000
"""How long before and after its `generated_at` a report's snapshot may have been taken."""
_NO_SALT: Final = "00" * 16
_NO_DIGEST: Final = "00" * 32
"""Of reports that tell none."""
_SHOWN: Final = 200
"""Characters of a value that a difference shows."""


@dataclass(slots=True)
class _Waiting:
    """A report that no state has given yet."""

    day: dt.date
    name: str
    told: Any
    generated_at_us: int
    bounds: tuple[int, int]
    fresh: bool = True
    """Whether its day was touched since it was last tried."""
    last: tuple[str, str, str] = ("", "", "")


class Desk:
    """Builds the reports of a period as the replay passes the moments at which they were made."""

    def __init__(
        self,
        connection: AsyncConnection,
        reports: list[Line],
        rules: Rules,
        public_key: str | None,
        keys: KeyRing,
        archive: Path,
    ) -> None:
        """`keys` are what their signatures must be of, and `public_key` one that must be among them.

        Without a list they must be of `public_key`, and without that of the key that each names itself.
        """
        self.rebuilt = Tally("daily report")
        self.signatures = Tally("signature of a report")
        self._connection = connection
        self._rules = rules
        self._archive = archive
        self._waiting: list[_Waiting] = []
        for line in reports:
            self._check(line, public_key, keys)
            told = json.loads(envelope_of(line))["report"]
            day = dt.date.fromisoformat(line["day"])
            self._waiting.append(
                _Waiting(
                    day,
                    f"{day} version {line['version']}",
                    told,
                    microseconds(dt.datetime.fromisoformat(told["generated_at"])),
                    rules.day_bounds(day),
                )
            )

    def _check(self, line: Line, public_key: str | None, keys: KeyRing) -> None:
        data = envelope_of(line)
        key = public_key or json.loads(data)["signatures"][0]["public_key"]
        name = f"{line['day']} version {line['version']}"
        try:
            anchor, ring = (keys.anchor_of(key), encode(keys.document())) if keys.entries else (key, None)
        except RingError as error:
            self.signatures.differs(name, "a report that verifies", str(error))
            return
        failed = [check for check in verify(data, anchor, ring) if not check.passed]
        if failed:
            self.signatures.differs(name, "a report that verifies", f"{failed[0].name}: {failed[0].detail}")
        else:
            self.signatures.agree += 1

    async def before(self, at_us: int) -> None:
        """Something is about to happen at an instant: try what may have been made before it."""
        for one in list(self._waiting):
            if one.generated_at_us - EARLY_US >= at_us:
                continue
            if one.fresh and await self._tried(one):
                self.rebuilt.agree += 1
                self._waiting.remove(one)
            elif one.generated_at_us + LATE_US < at_us:
                self.rebuilt.differs(*one.last)
                self._waiting.remove(one)

    def touched(self, instants: Sequence[int]) -> None:
        """Something has happened that belongs to these instants."""
        for one in self._waiting:
            if not one.fresh:
                one.fresh = any(one.bounds[0] <= at_us < one.bounds[1] for at_us in instants)

    async def finish(self) -> None:
        """Nothing more happens."""
        await self.before(2**62)

    async def _tried(self, one: _Waiting) -> bool:
        one.fresh = False
        try:
            async with self._connection.begin():
                facts = await gather(self._connection, one.day, self._rules)
            again = self._rebuilt(one, self._completed(facts, one.told))
        except (DoesNotReconcile, ValueError, LookupError) as error:
            one.last = (one.name, f"cannot be built: {error}", "was built")
            return False
        if rfc8785.dumps(again) == rfc8785.dumps(one.told):
            return True
        where, first, second = next(_apart("", again, one.told))
        one.last = (f"{one.name} at {where}", first[:_SHOWN], second[:_SHOWN])
        return False

    def _rebuilt(self, one: _Waiting, facts: Facts) -> Any:
        """The report of these facts, in its schema.

        Taken from the one kept is what it says of itself, of the pool and of the program, and what the
        archive does not have: what gateways saw, sales, the salts, and the days of credits of before the
        replay.
        """
        told = one.told
        salts = {row["id"]: row.get("salt", _NO_SALT) for row in told["miners"]}
        again = daily.build(
            DayFacts(
                day=one.day,
                generated_at_us=one.generated_at_us,
                software=Software(told["software_version"], told.get("software_digest", _NO_DIGEST)),
                rules=self._rules,
                pool=PoolFacts(**{key.name: told["pool"][key.name] for key in fields(PoolFacts)}),
                edition=Edition(
                    sequence=told["sequence"],
                    previous_sha256=told["previous_report_sha256"],
                    version=told["version"],
                    replaces_sha256=told["replaces_sha256"],
                    correction_reason=told["correction_reason"],
                ),
                salts={each.held.miner.id: salts.get(each.held.miner.id, _NO_SALT) for each in facts.miners},
                **{field.name: getattr(facts, field.name) for field in fields(facts)},
            )
        )
        return as_told(again, told)

    def _completed(self, facts: Facts, told: Any) -> Facts:
        """The facts with what the archive has in its hours, and with what only the report has."""
        if told["schema"] != SCHEMA:
            return facts
        rows = {row["id"]: row for row in told["miners"]}
        credited = {(row["txid"], row["vout"]): row["credited_on"] for row in told["distributions"]}
        return replace(
            facts,
            miners=[_known_of(one, rows.get(one.held.miner.id)) for one in facts.miners],
            paid=[_dated(one, credited) for one in facts.paid],
            sale=told["mandatory_sale"],
            seen=[row for row in told["compliance"] if row["kind"] in SEEN.values()],
            hours=[self._hour(row) for row in told["commitments"]["hours"]],
            hours_complete=told["commitments"]["hours_complete"],
        )

    def _hour(self, row: Any) -> HourFacts:
        """An hour that a report commits to, as the archive has it; raises ValueError for another one."""
        place = archive_file.paths_of(self._archive, microseconds(dt.datetime.fromisoformat(row["hour"])))
        try:
            content = place.manifest.read_bytes()
            return hour_facts(content, hashlib.sha256(content).hexdigest())
        except (OSError, ArchiveError) as error:
            raise ValueError(f"hour {row['hour']}: {error}") from error


def envelope_of(line: Line) -> bytes:
    """The bytes of a published report, as a book has them."""
    return bytes(row_of(report, line)["envelope"])


def _known_of(one: MinerFacts, row: Any) -> MinerFacts:
    """Which units worked was not kept of all days; a database of an audit does not know of which."""
    if row is None or row["devices_active"] is not None:
        return one
    return replace(one, devices=replace(one.devices, active=None, unmatched=None))


def _dated(one: Paid, credited: Mapping[tuple[str, int], str | None]) -> Paid:
    """With the day of credit that was told: the entries of before the replay are not in it."""
    day = credited.get((one.distribution.txid, one.distribution.vout))
    return one._replace(credited_on=None if day is None else dt.date.fromisoformat(day))


def _apart(where: str, rebuilt: Any, kept: Any) -> Any:
    """The places at which two documents differ."""
    if isinstance(rebuilt, dict) and isinstance(kept, dict):
        for key in sorted(rebuilt.keys() | kept.keys()):
            if rebuilt.get(key) != kept.get(key):
                yield from _apart(f"{where}.{key}".lstrip("."), rebuilt.get(key), kept.get(key))
    elif isinstance(rebuilt, list) and isinstance(kept, list) and len(rebuilt) == len(kept):
        for number, (one, other) in enumerate(zip(rebuilt, kept, strict=True)):
            if one != other:
                yield from _apart(f"{where}[{number}]", one, other)
    else:
        yield where, json.dumps(rebuilt, ensure_ascii=False), json.dumps(kept, ensure_ascii=False)
