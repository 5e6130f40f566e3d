"""The accountants' annex to an income form, no part of it: what each row was worth in tenge (O-60 to O-63).

Each quantity has the official value of the day on which it was received, at the rate of the National Bank
for that day. A value or rate that is missing leaves the tenge of its row empty, and the totals that would
contain it, and is named in the notes; quantities are always there. Each day off on the way is a note. The
annex is computed from the signed form and the table of values, by the same integers every time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from register.rules import Rules
from reporting.daily_rows import bitcoin
from reporting.prices import ROUNDING, TENGE, Found, Missing, PriceTable, tenge, tiyn

SCHEMA: Final = "kz-dmp-income-annex/1"
_SATOSHIS: Final = 100_000_000
Json = dict[str, Any]


class _Value(NamedTuple):
    """Price and rate of a day; `notes` says what was passed or is missing."""

    price: Found | Missing
    rate: Found | Missing | None
    """None where the price is in tenge, or missing."""
    notes: tuple[Json, ...]

    @property
    def factors(self) -> tuple[Decimal, Decimal] | None:
        """Price and rate; None where one is missing."""
        if isinstance(self.price, Missing) or isinstance(self.rate, Missing):
            return None
        return self.price.quote.value, Decimal(1) if self.rate is None else self.rate.quote.value


class _Line(NamedTuple):
    """A row, with what its totals are summed from."""

    row: Json
    miner_id: int
    quantity_sat: int
    commission_sat: int
    amount_tiyn: int | None
    commission_tiyn: int | None


def annex(document: Mapping[str, Any], sha256: str, table: PriceTable, rules: Rules) -> Json:
    """The annex to a form (the `report` of its envelope) whose hash is `sha256`."""
    values: dict[tuple[str, dt.date], _Value] = {}
    lines = []
    for row in document["rows"]:
        for part in row["received"]:
            asset, day = row["asset"], dt.date.fromisoformat(part["on"])
            if (asset, day) not in values:
                values[asset, day] = _value(asset, day, table)
            lines.append(_line(row, part, values[asset, day]))
    days = sorted({day for _, day in values})
    acts = {row.effective_from: row for row in (rules.find("official_value", day) for day in days) if row}
    return {
        "schema": SCHEMA,
        "form": document["form"],
        "period": document["period"],
        "form_version": document["version"],
        "form_sha256": sha256,
        "form_final": document["final"],
        "pool": document["pool"],
        "currency": TENGE,
        "rounding": ROUNDING,
        "rules": [
            {"effective_from": since.isoformat(), "act": row.text("act"), "quotation": row.text("quotation")}
            | {"source": row.source, "confidence": row.confidence}
            for since, row in sorted(acts.items())
        ],
        "rows": [line.row for line in lines],
        "miners": _by_miner(lines),
        "totals": _sums(lines),
        "notes": _notes(values.values()),
    }


def _value(asset: str, day: dt.date, table: PriceTable) -> _Value:
    price, rate = table.find(asset, day), None
    notes = [_note(price, day)]
    if isinstance(price, Found) and price.quote.currency != TENGE:
        rate = table.find(price.quote.currency, day)
        notes.append(_note(rate, day))
    return _Value(price, rate, tuple(one for one in notes if one))


def _note(found: Found | Missing, day: dt.date) -> Json | None:
    """What is to be said of how a value was found for a day."""
    if isinstance(found, Missing):
        return {
            "what": "missing",
            "asset": found.asset,
            "day": day.isoformat(),
            "missing_on": found.day.isoformat(),
        }
    if not found.passed:
        return None
    used = found.quote.day.isoformat()
    return {"what": "day_off", "asset": found.quote.asset, "day": day.isoformat(), "used": used}


def _line(row: Json, part: Json, value: _Value) -> _Line:
    quantity, commission = _satoshis(part["quantity"]), _satoshis(part["commission_quantity"])
    factors = value.factors
    amount = tiyn(quantity, *factors) if factors else None
    fee = tiyn(commission, *factors) if factors else None
    price = value.price.quote if isinstance(value.price, Found) else None
    rate = value.rate.quote if isinstance(value.rate, Found) else None
    told = {
        "row_no": row["row_no"],
        "miner_id": row["miner_id"],
        "miner_name": row["miner_name"],
        "miner_bin": row["miner_bin"],
        "distributed_on": row["distributed_on"],
        "received_on": part["on"],
        "asset": row["asset"],
        "quantity": part["quantity"],
        "commission_quantity": part["commission_quantity"],
        "official_price": price and f"{price.value:f}",
        "price_date_used": price and price.day.isoformat(),
        "price_currency": price and price.currency,
        "fx_rate_to_kzt": rate and f"{rate.value:f}",
        "fx_date": rate and rate.day.isoformat(),
        "amount_kzt": None if amount is None else tenge(amount),
        "commission_kzt": None if fee is None else tenge(fee),
    }
    return _Line(told, row["miner_id"], quantity, commission, amount, fee)


def _satoshis(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole) * _SATOSHIS + int(rest)


def _by_miner(lines: Iterable[_Line]) -> list[Json]:
    of: dict[int, list[_Line]] = {}
    for line in lines:
        of.setdefault(line.miner_id, []).append(line)
    return [
        {
            "miner_id": miner_id,
            "miner_name": mine[-1].row["miner_name"],
            "miner_bin": mine[-1].row["miner_bin"],
        }
        | _sums(mine)
        for miner_id, mine in sorted(of.items())
    ]


def _sums(lines: Sequence[_Line]) -> Json:
    """Totals; the tenge are empty while one of their rows is."""
    return {
        "rows": len(lines),
        "rows_without_value": sum(line.amount_tiyn is None for line in lines),
        "quantity": bitcoin(sum(line.quantity_sat for line in lines)),
        "commission_quantity": bitcoin(sum(line.commission_sat for line in lines)),
        "amount_kzt": _total(line.amount_tiyn for line in lines),
        "commission_kzt": _total(line.commission_tiyn for line in lines),
    }


def _total(amounts: Iterable[int | None]) -> str | None:
    whole = 0
    for amount in amounts:
        if amount is None:
            return None
        whole += amount
    return tenge(whole)


def _notes(values: Iterable[_Value]) -> list[Json]:
    """What is missing first, then the days off, each once and in order."""
    notes = {tuple(sorted(note.items())): note for value in values for note in value.notes}
    return sorted(notes.values(), key=lambda one: (one["what"] != "missing", one["day"], one["asset"]))
