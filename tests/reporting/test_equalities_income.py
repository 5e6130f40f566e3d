"""A signed form agrees with itself and with the daily reports that it names; each slip is found (O-41)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from reporting.equalities_income import FORM, of_days
from reporting.equality import Broken, run_check
from tests.reporting.form_world import FORM_2, MONTH, form_of, paid

TOLD = ("txid", "vout", "miner_id", "quantity_sat", "commission_sat")
PAYMENTS = (
    paid(1, on=1),
    paid(2, 2, on=1, purpose="exchange_deposit", exchange="X"),
    paid(3, on=1, vout=1, quantity_sat=1, commission_sat=0),
    paid(4, on=30, quantity_sat=2_099_999_999_999_999),
)


def days(form: dict[str, Any], payments: Any = PAYMENTS) -> list[dict[str, Any]]:
    return [
        {
            "report": {
                "report_date": named["day"],
                "distributions": [
                    {name: getattr(one, name) for name in TOLD}
                    for one in payments
                    if one.distributed_on.isoformat() == named["day"]
                ],
            },
            "report_sha256": named["sha256"],
        }
        for named in form["daily_reports"]
    ]


def failed(form: dict[str, Any]) -> list[str]:
    return [
        check.detail for check in (run_check(name, look, form) for name, look in FORM) if not check.passed
    ]


def test_a_form_agrees_with_itself_and_its_days() -> None:
    form = form_of(*PAYMENTS)
    assert failed(form) == failed(form_of()) == failed(form_of(*PAYMENTS, form=FORM_2)) == []
    assert of_days(form, days(form)) == "4 payments"


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def made(form: dict[str, Any]) -> None:
        at: Any = form
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            at = at[step]
        at[last] = value(at[last]) if callable(value) else value

    return made


@pytest.mark.parametrize(
    ("slip", "why"),
    [
        (change("rows.0.quantity", "0.01000000"), "what was received"),
        (change("rows.0.received.0.commission_quantity", "0.00000149"), "what was received"),
        (change("rows.1.quantity", "1e-2"), "no amount with 8 decimals"),
        (change("totals.quantity", "0.00000001"), "total quantity"),
        (change("totals.miners", 3), "miners"),
        (change("rows", lambda rows: rows[:-1]), "rows: 3 is not 2"),
        (change("rows", lambda rows: rows[::-1]), "numbers of the rows"),
        (change("rows.1.payments.0", f"{1:064x}:0"), "stands there twice"),
        (change("rows.2.distributed_on", "2026-12-01"), "is not of 2026-11"),
        (change("daily_reports", lambda all_: all_[1:]), "days of the month"),
        (change("version", 2), "submission number and version"),
        (change("addressees", lambda all_: all_[:1]), "addressees"),
        (change("columns", lambda all_: all_[:7]), "calls itself final and has no column quantity"),
        (change("last_day", "2026-11-29"), "first and last day"),
    ],
)
def test_a_slip_is_found(slip: Callable[[dict[str, Any]], None], why: str) -> None:
    form = copy.deepcopy(form_of(*PAYMENTS))
    slip(form)
    assert why in "; ".join(failed(form))


def test_the_rows_are_the_payments_of_the_days() -> None:
    form = form_of(*PAYMENTS)
    others = [
        ([], "is not at hand"),
        (days(form, PAYMENTS[1:]), "row 1: payments in the daily reports"),
        (days(form, (*PAYMENTS, paid(9, on=2))), "is in no row"),
        (days(form, (PAYMENTS[0]._replace(miner_id=2), *PAYMENTS[1:])), "row 1: day and miner"),
        (days(form, (PAYMENTS[0]._replace(quantity_sat=7), *PAYMENTS[1:])), "quantity and commission"),
        (days(form, (PAYMENTS[0]._replace(distributed_on=MONTH.days()[1]), *PAYMENTS[1:])), "day and miner"),
    ]
    for envelopes, why in others:
        with pytest.raises(Broken, match=why):
            of_days(form, envelopes)
    with pytest.raises(Broken, match="report of 2026-11-01"):
        of_days({**form, "daily_reports": [{**form["daily_reports"][0], "sha256": "0" * 64}]}, days(form))
