"""What the entries of a log say taken together: each report and form once, in the order of their versions.

That a log only grows does not make it true. A pool could tell of one report twice, with other commitments,
and prove to a miner by the one what all others are denied by the other; or tell of two reports of one day as
version 1. Whoever reads the whole log sees it, and here is what looks.

Entries of kinds that are not known here, and what is no JSON, are passed over: they prove nothing.
"""

from __future__ import annotations

import json
from typing import Any, Final

from reporting.dmpool_verify import Check
from reporting.equality import MALFORMED, Broken, run_check, same, whole

NAME: Final = "each report and form is told once, in the order of versions"


class Story:
    """The entries of one log, read from the first on."""

    def __init__(self) -> None:
        self.check = Check(NAME, True, "none are told of")
        self._sequence: int | None = None
        """Of the newest report."""
        self._older = False
        """Whether the pool reported before it had a log, so that first versions may stand nowhere in it."""
        self._newest: dict[tuple[str, ...], tuple[int, str]] = {}
        """Version and hash of the newest report of a day, or form of a month."""
        self._told: dict[str, int] = {}
        """The hashes that were told, each with the index of its entry."""
        self._register: tuple[str, int] | None = None
        """The last day of which the register was told, and its events then."""

    def read(self, index: int, data: bytes) -> None:
        """Take in the next entry; `check` stays with the first that is wrong."""
        if self.check.passed:
            self.check = run_check(NAME, lambda one: self._read(index, one), data)

    def _read(self, index: int, data: bytes) -> str:
        try:
            entry = json.loads(data)
        except (ValueError, RecursionError):
            entry = None
        kind = entry.get("kind") if isinstance(entry, dict) else None
        try:
            if kind == "report":
                self._report(entry)
                self._version(index, ("report", entry["day"]), entry)
            elif kind == "form":
                self._version(index, ("form", entry["form"], entry["period"]), entry)
            elif kind == "register":
                self._day(entry)
        except Broken as broken:
            raise Broken(f"entry {index}, {kind}: {broken}") from None
        except MALFORMED as error:
            raise Broken(f"entry {index}, {kind}: {type(error).__name__}: {error}") from None
        days = sum(of[0] == "report" for of in self._newest)
        return f"{len(self._told)} reports and forms, the reports of {days} days"

    def _report(self, entry: dict[str, Any]) -> None:
        sequence = whole(entry, "sequence")
        if self._sequence is None:
            self._older = sequence > 1
        else:
            same("sequence, behind the report before it", sequence, self._sequence + 1)
        self._sequence = sequence

    def _version(self, index: int, of: tuple[str, ...], entry: dict[str, Any]) -> None:
        version, sha256, replaced = whole(entry, "version"), str(entry["sha256"]), entry["replaces_sha256"]
        if sha256 in self._told:
            raise Broken(f"{sha256} was told in entry {self._told[sha256]} already: each is told once")
        before = self._newest.get(of)
        if before is not None:
            same(f"version of {' '.join(of[1:])}", version, before[0] + 1)
            same("the version that it replaces", replaced, before[1])
        elif version != 1 and not self._older:
            raise Broken(f"version {version} of {' '.join(of[1:])}, and no version of it was told before")
        self._told[sha256], self._newest[of] = index, (version, sha256)

    def _day(self, entry: dict[str, Any]) -> None:
        day, events = str(entry["day"]), whole(entry, "events")
        if self._register is not None and (day <= self._register[0] or events < self._register[1]):
            raise Broken(f"{day} with {events} events stands behind {self._register[0]}, {self._register[1]}")
        self._register = day, events
