"""The daily reports built once more in the replay, each from what was there when it was made.

A report is one snapshot of the database, and its `generated_at` was read a moment before that. Which batches
had come by then is not told to the microsecond: so it is built again after each thing that touches its day in
the minute around, and one of those states must give its bytes. The signature is checked, not made again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import rfc8785
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.archive_book import Line, row_of
from pool.audit_compare import Tally
from pool.clock import microseconds
from pool.report_facts import Facts, gather
from pool.tables import report
from register.rules import Rules
from reporting import daily
from reporting.daily import DayFacts, DoesNotReconcile, Edition, PoolFacts
from reporting.verify import verify

EARLY_US: Final = 5_000_000
LATE_US: Final = 60_000_000
"""How long before and after its `generated_at` a report's snapshot may have been taken."""
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
        self, connection: AsyncConnection, reports: list[Line], rules: Rules, public_key: str | None
    ) -> None:
        """`public_key` is what their signatures must be of; None: of the key that each names itself."""
        self.rebuilt = Tally("daily report")
        self.signatures = Tally("signature of a report")
        self._connection = connection
        self._rules = rules
        self._waiting: list[_Waiting] = []
        for line in reports:
            self._check(line, public_key)
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

    def _check(self, line: Line, public_key: str | None) -> None:
        data = envelope_of(line)
        key = public_key or json.loads(data)["signatures"][0]["public_key"]
        failed = [check for check in verify(data, key) if not check.passed]
        name = f"{line['day']} version {line['version']}"
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
            again = _rebuilt(one, facts, self._rules)
        except (DoesNotReconcile, ValueError) as error:
            one.last = (one.name, f"cannot be built: {error}", "was built")
            return False
        if rfc8785.dumps(again) == rfc8785.dumps(one.told):
            return True
        where, first, second = next(_apart("", again, one.told))
        one.last = (f"{one.name} at {where}", first[:_SHOWN], second[:_SHOWN])
        return False


def envelope_of(line: Line) -> bytes:
    """The bytes of a published report, as a book has them."""
    return bytes(row_of(report, line)["envelope"])


def _rebuilt(one: _Waiting, facts: Facts, rules: Rules) -> Any:
    """The report of these facts; what it says of itself and of the pool is taken from the one kept."""
    told = one.told
    return daily.build(
        DayFacts(
            day=one.day,
            generated_at_us=one.generated_at_us,
            software_version=told["software_version"],
            rules=rules,
            pool=PoolFacts(**told["pool"]),
            edition=Edition(
                sequence=told["sequence"],
                previous_sha256=told["previous_report_sha256"],
                version=told["version"],
                replaces_sha256=told["replaces_sha256"],
                correction_reason=told["correction_reason"],
            ),
            **{field.name: getattr(facts, field.name) for field in fields(facts)},
        )
    )


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
