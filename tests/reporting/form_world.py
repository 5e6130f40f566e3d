"""A month of payments, and the form that is made of it, in a line or two."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from register.pool_data import Accreditation
from register.rules import Row, Rules, load_rules
from reporting import income
from reporting.distribution import Distribution
from reporting.income import DailyReport, FormEdition, FormFacts, Payment

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
MONTH = income.month("2026-11")
MADE_US = RULES.day_bounds(dt.date(2026, 12, 3))[0]
FORM_1, FORM_2 = "order-166-2023", "mof-2026-02-20"
WALLET = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def day(number: int) -> dt.date:
    return dt.date(2026, 11, number)


def paid(number: int, miner_id: int = 1, on: int = 24, **changes: Any) -> Distribution:
    """The `number`th payment of a test: 0.01 bitcoin with 150 satoshis of commission."""
    made = Distribution(
        miner_id=miner_id,
        account=f"miner{miner_id}",
        name=f"ТОО «Өңір {miner_id}»",
        bin=f"94014000038{miner_id}",
        licence_number=f"KZ-{miner_id}",
        licence_issued_on=dt.date(2026, 1, 15),
        licence_subtype=1,
        licence_status="in_force",
        wallet_address=WALLET,
        purpose="wallet",
        exchange="",
        distributed_on=day(on),
        received_on=day(on),
        asset="Bitcoin",
        quantity_sat=1_000_000,
        commission_sat=150,
        txid=f"{number:064x}",
        vout=0,
        block_hash="0" * 64,
        block_height=100 + number,
    )
    return made._replace(**changes)


def reports_of(payments: Iterable[Distribution], days: Iterable[dt.date] = ()) -> list[DailyReport]:
    """What daily reports of schema 2 would tell."""
    told = list(payments)
    return [
        DailyReport(
            one,
            1,
            f"{one.toordinal():064x}",
            True,
            {
                (each.txid, each.vout): Payment(each.miner_id, each.quantity_sat, each.commission_sat)
                for each in told
                if each.distributed_on == one
            },
        )
        for one in days or MONTH.days()
    ]


def rule_of(form: str, rules: Rules = RULES) -> Row:
    return next(row for row in income.forms_of(rules, MONTH) if row.text("form") == form)


def facts_of(
    payments: Iterable[Distribution],
    form: str = FORM_1,
    *,
    daily: Iterable[DailyReport] | None = None,
    rules: Rules = RULES,
    edition: FormEdition = FormEdition(MADE_US, "0.1.0"),  # noqa: B008 - it never changes
) -> FormFacts:
    told = list(payments)
    return FormFacts(
        rule=rule_of(form, rules),
        rules=rules,
        period=MONTH,
        pool_name="ТОО «Пул»",
        pool_bin="940140000385",
        accreditation=Accreditation("A-12", dt.date(2026, 1, 10)),
        edition=edition,
        distributions=told,
        daily=reports_of(told) if daily is None else list(daily),
    )


def form_of(*payments: Distribution, form: str = FORM_1, rules: Rules = RULES) -> dict[str, Any]:
    return income.build(facts_of(payments, form, rules=rules))
