"""Rows of a file become changes of the register: entered, changed, or the same as before.

A row whose record is there already changes it, and writes nothing when nothing differs. A bad row is told
with its line, the column where one is to blame, and the reason, and leaves no trace; whether the good ones
are stored then is the caller's to say. What waits for a second pair of eyes already is not proposed again.

A file is read first, by itself (`prepare`), so that nobody who wants to change the register waits for that;
only then are its rows written (`take_in`). A file with ten thousand bad rows is given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pool.spreadsheet import Row, Sheet
from register.address import one_spelling
from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.licence import Act, Licence, LicenceError
from register.miner import Miner
from register.payout_address import PayoutAddress, PayoutAddressError
from register.proposal import needs_second
from register.records import decode
from register.register import Register
from register.tables import NOTES, WALLET, BadCell, BadRow, Table, complete, read_heading, read_row

EVERY: Final = 500
"""Rows between two words about progress."""
BAD_LIMIT: Final = 10_000
"""With so many bad rows a file is given up."""


class BadLine(NamedTuple):
    """One reason why a row was not taken."""

    row: Row
    column: str
    reason: str


class Ready(NamedTuple):
    """A row whose cells are good by themselves."""

    row: Row
    fields: dict[str, Any]


class Prepared(NamedTuple):
    """A file that was read whole."""

    heading: list[str]
    rows: list[Ready]
    bad: list[BadLine]


class Outcome(NamedTuple):
    """What came of a file: how many rows were `entered`, `changed`, `same` or `bad`, and why the last."""

    counts: Counter[str]
    bad: list[BadLine]


class TooManyBadError(ValueError):
    """The file was given up; `bad` are those rows that were looked at."""

    def __init__(self, text: str, heading: list[str], bad: list[BadLine]) -> None:
        super().__init__(text)
        self.heading = heading
        self.bad = bad


def prepare(table: Table, sheet: Sheet, register: Register, progress: Callable[[int], object]) -> Prepared:
    """Read a file; `register` has the miners. Raises HeadingError, SpreadsheetError or TooManyBadError."""
    heading = read_heading(table, sheet.heading.cells)
    noted = [index for index, cell in enumerate(sheet.heading.cells) if cell.strip().lower() in NOTES]
    ready: list[Ready] = []
    bad = BadRows(sheet.heading.cells)
    lines: dict[Any, int] = {}
    for number, row in enumerate(sheet.rows, 1):
        if noted and not any(cell for index, cell in enumerate(row.cells) if index not in noted):
            continue  # a further reason of the bad row above
        try:
            fields = read_row(heading, row.cells, register)
            _refuse_second(table.key, lines.setdefault(fields[table.columns[0].field], row.line), row.line)
            ready.append(Ready(row, fields))
        except ValueError as error:
            bad.add(row, error)
        if number % EVERY == 0:
            progress(number)
    return Prepared(sheet.heading.cells, ready, bad.reasons)


def take_in(
    clerk: Clerk, terms: Terms, table: Table, prepared: Prepared, progress: Callable[[int], object]
) -> Outcome:
    """Write all good rows; raises TooManyBadError."""
    counts: Counter[str] = Counter()
    bad = BadRows(prepared.heading, prepared.bad)
    write = _Writer(clerk, terms, table)
    for number, (row, fields) in enumerate(prepared.rows, 1):
        try:
            counts[write(fields)] += 1
        except ValueError as error:
            bad.add(row, error)
        if number % EVERY == 0:
            progress(number)
    counts["bad"] = bad.count
    return Outcome(counts, sorted(bad.reasons, key=lambda one: one.row.line))


class BadRows:
    """Bad rows with their reasons; raises TooManyBadError when they are too many."""

    def __init__(self, heading: list[str], before: Sequence[BadLine] = ()) -> None:
        self._heading = heading
        self.reasons = list(before)
        self.count = len({one.row.line for one in before})

    def add(self, row: Row, error: ValueError) -> None:
        self.count += 1
        cells = error.cells if isinstance(error, BadRow) else [BadCell("", str(error))]
        self.reasons += [BadLine(row, cell.column, cell.reason) for cell in cells]
        if self.count >= BAD_LIMIT:
            first = self.reasons[0]
            raise TooManyBadError(
                f"line {row.line}: {BAD_LIMIT} rows are bad by here and the rest was not looked at; is this "
                f"the right table? The first: line {first.row.line}: {first.column}: {first.reason}",
                self._heading,
                self.reasons,
            )


def _refuse_second(key: str, first: int, line: int) -> None:
    if first != line:
        raise BadRow([BadCell(key, f"stands on line {first} already; keep one of them")])


def bad_rows(heading: Sequence[str], bad: Sequence[BadLine]) -> tuple[list[str], Iterator[list[str]]]:
    """Heading and rows of the file of bad rows: a row's cells stand once, behind the first of its reasons."""
    kept = [index for index, cell in enumerate(heading) if cell.strip().lower() not in NOTES]

    def rows() -> Iterator[list[str]]:
        line = 0
        for one in bad:
            cells = one.row.cells if one.row.line != line else []
            line = one.row.line
            own = [cells[index] if index < len(cells) else "" for index in kept]
            yield [str(line), one.column, one.reason, *own, *cells[len(heading) :]]

    return [*NOTES, *(heading[index] for index in kept)], rows()


class _Writer:
    """Writes the records of one table; returns what became of each."""

    def __init__(self, clerk: Clerk, terms: Terms, table: Table) -> None:
        self._clerk = clerk
        self._terms = terms
        self._table = table
        self._write: Callable[[dict[str, Any]], str] = {
            "device": self._device,
            "centre": self._centre,
            "licence": self._licence,
            "miner": self._miner,
        }[table.kind]

    def __call__(self, fields: dict[str, Any]) -> str:
        return self._write(fields)

    @property
    def _register(self) -> Register:
        return self._clerk.register

    def _device(self, fields: dict[str, Any]) -> str:
        before = self._register.devices.get(fields["registry_number"])
        after: Device = complete(self._table, fields, before)
        if after == before:
            return "same"
        if before is None:
            self._clerk.enter_device(after)
            return "entered"
        if after.excluded_on and after == msgspec.structs.replace(before, excluded_on=after.excluded_on):
            self._clerk.exclude_device(after.registry_number, after.excluded_on)
        else:
            self._clerk.change_device(after)
        return "changed"

    def _centre(self, fields: dict[str, Any]) -> str:
        before = self._register.centres.get(fields["code"])
        after: Centre = complete(self._table, fields, before)
        if after == before:
            return "same"
        if before is None:
            self._clerk.enter_centre(after)
            return "entered"
        self._clerk.change_centre(after)
        return "changed"

    def _licence(self, fields: dict[str, Any]) -> str:
        """A licence, or other data of one, and further acts; looked at whole before anything is written."""
        before = self._register.licences.get(fields["number"])
        after: Licence = complete(self._table, fields, before)
        known = before.acts if before is not None else ()
        if _bare(after).acts[: len(known)] != tuple(_heard_of_never(act) for act in known):
            raise LicenceError(
                f"licence {after.number}: has {len(known)} acts in the register, which stay and stand first; "
                f"one that was wrong is taken out by `dmpool licences correct`"
            )
        kept, acts = msgspec.structs.replace(after, acts=known), after.acts[len(known) :]
        steps = ["entered"] if before is None else ["changed"] if kept != before else []
        steps += [act.kind for act in acts]
        if not steps or any(_bare(one) == _bare(after) for one in self._waiting("licence")):
            return "same"
        if any(needs_second("licence", step, self._terms.four_eyes) for step in steps[:-1]):
            raise LicenceError(
                f"licence {after.number}: needs a second compliance officer first; leave out the acts that "
                f"follow until then"
            )
        shown = kept
        for act in acts:
            shown = shown.with_act(act, self._terms.rules)
        if before is None:
            self._clerk.enter_licence(kept)
        elif kept != before:
            self._clerk.correct_licence(kept)
        for act in acts:
            self._clerk.act_on_licence(after.number, act)
        return "entered" if before is None else "changed"

    def _miner(self, fields: dict[str, Any]) -> str:
        """A miner and its wallet; the wallet is looked at before the miner is written."""
        before = self._register.find_miner(fields["name"])
        after: Miner = complete(self._table, fields, before)
        wallet = PayoutAddress(after.id, 0, "wallet", one_spelling(fields.get(WALLET, "")), 0)
        new_wallet = bool(wallet.address) and not self._holds(wallet)
        if new_wallet:
            wallet.check(self._terms.chain, ())
            if self._holder(wallet.address) is not None:
                raise PayoutAddressError(f"address {wallet.address}: another miner has it; give another one")
        if before is None:
            after = self._clerk.enter_miner(after)
        elif after != before:
            self._clerk.change_miner(after)
        if new_wallet:
            self._clerk.enter_address(msgspec.structs.replace(wallet, miner_id=after.id))
        if before is None:
            return "entered"
        return "changed" if new_wallet or after != before else "same"

    def _holds(self, wallet: PayoutAddress) -> bool:
        held = self._holder(wallet.address)
        if held is not None:
            return held.miner_id == wallet.miner_id and held.purpose == "wallet"
        return any(
            one.miner_id == wallet.miner_id and one.address == wallet.address
            for one in self._waiting("address")
        )

    def _holder(self, address: str) -> PayoutAddress | None:
        used = (one for one in self._register.addresses.values() if one.withdrawn_us is None)
        return next((one for one in used if one.address == address), None)

    def _waiting(self, kind: str) -> Iterator[Any]:
        for one in self._register.proposals.values():
            if one.state == "waiting" and one.kind == kind:
                yield decode(kind, one.body)


def _bare(licence: Licence) -> Licence:
    return msgspec.structs.replace(licence, acts=tuple(_heard_of_never(act) for act in licence.acts))


def _heard_of_never(act: Act) -> Act:
    """The act as a file has it: without when the register heard of it."""
    return msgspec.structs.replace(act, entered_us=0)
