"""What schema 2 of the daily report has beside schema 1: who the pool is, hardware, payments, compliance."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from register.pool_data import Accreditation
from reporting.daily import DayFacts, DoesNotReconcile, build
from reporting.daily_facts import Apart, Devices, Software
from reporting.daily_first import in_first_schema
from reporting.daily_rows import bitcoin
from reporting.equalities import FIRST_SCHEMA, reconcile

HOUR = 3_600_000_000


def failed(report: dict[str, Any]) -> list[str]:
    return [check.name for check in reconcile(report) if not check.passed]


def test_who_the_pool_is_and_whom_it_tells(facts: DayFacts) -> None:
    """O-20 to O-23, O-40, Q-09."""
    report = build(facts)
    assert report["report_id"] == "kz-dmp-daily:940140000385:2026-11-20:1"
    pool = report["pool"]
    assert pool["accreditation"] == {
        "number": "A-1",
        "issued_on": "2026-01-01",
        "valid_to": None,
        "issuer": "the ministry",
    }
    assert [(site["code"], site["roles"]) for site in pool["sites"]] == [
        ("b", ["backup"]),
        ("z", ["database", "node"]),
    ]
    assert pool["security_test_protocol"]["number"] == "P-1"
    assert pool["security_test_protocol"]["covers_running_version"] is True
    other = build(replace(facts, software=Software("0.1.0", "00" * 32)))
    assert other["pool"]["security_test_protocol"]["covers_running_version"] is False
    assert [one["role"] for one in report["addressees"]] == ["authorised_body", "tax_authority"]
    assert report["addressees"][0]["name_kk"].startswith("Қазақстан Республикасының Жасанды интеллект")
    assert [one["form"] for one in report["form_versions"]] == ["order-166-2023", "mof-2026-02-20"]
    assert report["register"] == {"events": 43, "seq": 51, "sha256": "ab" * 32}


def test_on_the_day_itself_it_is_the_body_and_the_accreditation_of_then(facts: DayFacts) -> None:
    early = replace(facts, day=dt.date(2025, 6, 1), generated_at_us=facts.generated_at_us)
    quiet: dict[str, Any] = {"miners": [], "blocks": [], "paid": [], "apart": [], "sale": [], "seen": []}
    money: dict[str, Any] = {"opening": {}, "entries": [], "closing": {}, "hours": []}
    report = build(replace(early, **quiet, **money))
    assert report["pool"]["accreditation"]["number"] == "A-0"
    assert report["pool"]["security_test_protocol"] is None
    assert "Digital Development" in report["addressees"][0]["name"]
    assert [one["form"] for one in report["form_versions"]] == ["order-166-2023"]
    none = replace(early.register, accreditations=[Accreditation("A", dt.date(2026, 1, 1))], sites=[])
    report = build(replace(early, **quiet, **money, register=none))
    assert (report["pool"]["accreditation"], report["pool"]["sites"]) == (None, [])


def test_o44_what_each_miner_worked_with(facts: DayFacts) -> None:
    first, second, third = build(facts)["miners"]
    assert (first["devices_registered"], first["devices_active"], first["workers_unmatched"]) == (9, 4, 1)
    assert first["data_centre_ids"] == ["a-hall", "b-hall"]
    assert first["first_share_at"] == "2026-11-20T00:00:00.000000+05:00"
    assert first["last_share_at"] == "2026-11-20T23:59:59.999999+05:00"
    assert second["first_share_at"] == second["last_share_at"] == "2026-11-20T00:00:00.000005+05:00"
    assert (third["first_share_at"], third["last_share_at"]) == (None, None)
    totals = build(facts)["totals"]
    assert (totals["devices_registered"], totals["devices_active"]) == (12, 5)


def test_days_of_which_the_names_were_not_kept_say_so(facts: DayFacts) -> None:
    unknown = [
        replace(one, devices=replace(one.devices, active=None, unmatched=None)) for one in facts.miners
    ]
    report = build(replace(facts, miners=unknown))
    assert report["totals"]["devices_active"] is None
    assert [row["workers_unmatched"] for row in report["miners"]] == [None] * 3
    report["totals"]["devices_active"] = 0
    assert failed(report) == ["shares were found by somebody, on this day"]


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        (Devices(3, 4, 0, ("c",)), "4 units worked, 3 are registered"),
        (Devices(3, 0, 0, ("c",)), "has shares and somebody who found them"),
        (Devices(0, 0, 1, ("c",)), "has units and has them somewhere"),
        (Devices(1, 1, None, ("c",)), "unmatched"),
    ],
)
def test_hardware_that_cannot_be_is_refused(facts: DayFacts, devices: Devices, named: str) -> None:
    miners = [replace(facts.miners[0], devices=devices), *facts.miners[1:]]
    with pytest.raises(DoesNotReconcile, match=named):
        build(replace(facts, miners=miners))


def test_shares_of_another_day_are_refused(facts: DayFacts) -> None:
    start, end = facts.rules.day_bounds(facts.day)
    for first, last in ((start - 1, end - 1), (start, end), (end - 1, start)):
        miners = [replace(facts.miners[0], first_us=first, last_us=last), *facts.miners[1:]]
        with pytest.raises(DoesNotReconcile, match="are not of this day"):
            build(replace(facts, miners=miners))


# Payments


def test_o32_the_payments_of_a_day_as_the_form_has_them(facts: DayFacts) -> None:
    report = build(facts)
    assert [
        (row["row_no"], row["miner_id"], row["payout_id"], row["booked_on"])
        for row in report["distributions"]
    ] == [
        (1, 1, 1, "2026-11-20"),
        (2, 2, 1, "2026-11-20"),
        (3, 2, 2, "2026-11-21"),  # heard of after midnight
    ]
    second = report["distributions"][1]
    assert (second["quantity_sat"], second["quantity"]) == (7, "0.00000007")
    assert second["gross_sat"] == second["quantity_sat"] + second["commission_sat"]
    assert (second["name"], second["licence_number"], second["licence_issued_on"]) == (
        "ТОО «Қазына 2»",
        "KZ-2",
        "2026-01-01",
    )
    assert second["distribution_date"] == second["received_on"] == "2026-11-20"
    assert second["credited_on"] == "2026-11-19"
    assert [
        (row["what"], row["payout_id"], row["miner_id"], row["quantity_sat"], row["counts_for"])
        for row in report["bookings_apart"]
    ] == [
        ("paid", 3, 2, 2, "2026-11-19"),
        ("paid", 3, 3, 1, "2026-11-19"),
        ("paid", 4, 2, 4, None),
        ("taken_back", 4, 2, 4, "2026-11-20"),
    ]
    paid = {row["id"]: row["paid_sat"] for row in report["miners"]}
    assert (paid[2], paid[3]) == (7 + 2 + 4 - 4, 1)
    assert report["totals"]["distributed_sat"] == paid[1] + 7 + 9
    assert report["totals"]["distributed"] == bitcoin(paid[1] + 16)


def test_i3_a_payment_that_is_not_told_or_not_booked_is_refused(facts: DayFacts) -> None:
    booked = "every payment that the journal booked on this day is told"
    wrong: list[DayFacts] = [
        replace(facts, paid=facts.paid[1:]),
        replace(facts, apart=facts.apart[1:]),
        replace(facts, apart=[*facts.apart, Apart("paid", 9, 1, 5, None)]),
        replace(facts, apart=[facts.apart[0]._replace(quantity_sat=3), *facts.apart[1:]]),
        replace(facts, apart=[facts.apart[0]._replace(miner_id=3), *facts.apart[1:]]),
        replace(facts, paid=[facts.paid[0]._replace(payout_id=3), *facts.paid[1:]]),
        replace(facts, paid=[facts.paid[0]._replace(booked_on=dt.date(2026, 11, 19)), *facts.paid[1:]]),
        replace(facts, apart=[facts.apart[0]._replace(counts_for=facts.day), *facts.apart[1:]]),
    ]
    for one in wrong:
        with pytest.raises(DoesNotReconcile) as refused:
            build(one)
        assert refused.value.equality == booked


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("quantity", "0.00000008"),
        ("commission_quantity", "0.1"),
        ("gross_sat", 8),
        ("row_no", 3),
        ("distribution_date", "2026-11-19"),
        ("account", "miner1"),
        ("miner_id", 9),
        ("purpose", "gift"),
        ("txid", "00"),
        ("commission_asset", "Dogecoin"),
        ("booked_on", "yesterday"),
    ],
)
def test_a_payment_that_contradicts_itself_is_seen(facts: DayFacts, change: str, value: object) -> None:
    report = build(facts)
    report["distributions"][1][change] = value
    assert "the distributions are of this day, and their amounts agree" in failed(report)


def test_amounts_in_bitcoin() -> None:
    amounts = [0, 1, 99_999_999, 100_000_000, 123_456_789_012, 2_100_000_000_000_000, -5]
    assert [bitcoin(one) for one in amounts] == [
        *("0.00000000", "0.00000001", "0.99999999", "1.00000000", "1234.56789012"),
        *("21000000.00000000", "-0.00000005"),
    ]


# Sale and compliance


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sold_eligible_sat",), 701),
        (("share_of_mined_bps",), 7000),
        (("share_of_realised_bps",), None),
        (("shortfall_sat",), 0),
        (("shortfall_of_realised_sat",), 1),
        (("base",), "realised"),
        (("rule_share_bps",), 5000),
        (("parts", 0, "share_bps"), 5000),
        (("parts", 0, "licensors"), ["NBK"]),
        (("confirmations", 0, "eligible"), False),
        (("confirmations", 0, "quantity_sat"), 699),
        (("confirmations", 0, "sold_on"), "2026-12-01"),
        (("confirmations", 1, "licence"), "L"),
        (("miner_id",), 9),
        (("delivered_sat",), 1002),
    ],
)
def test_o50_a_sale_row_that_does_not_follow_is_seen(
    facts: DayFacts, path: tuple[Any, ...], value: object
) -> None:
    report = build(facts)
    holder: Any = report["mandatory_sale"][0]
    for step in path[:-1]:
        holder = holder[step]
    assert holder[path[-1]] != value
    if path[-1] == "licence":
        holder["licensor"] = "AFSA"
    holder[path[-1]] = value
    assert failed(report) == ["what had to be sold follows from what was mined and sold"]


def test_o03_o08_o12_what_is_told_of_the_law(facts: DayFacts) -> None:
    refused = replace(facts.miners[1], rejected={"licence": 3, "stale": 1, "quarantine": 2})
    report = build(replace(facts, miners=[facts.miners[0], refused, facts.miners[2]]))
    told = [
        (row["kind"], row["miner_id"], row.get("action") or row.get("reason", ""), row.get("count"))
        for row in report["compliance"]
    ]
    assert told == [
        ("address", 2, "entered", None),
        ("address", 3, "in_effect", None),
        ("authorisation_refused", 3, "no_licence", 5),
        ("devices", 1, "entered", 40),
        ("devices", 1, "excluded", 1),
        ("licence_act", 3, "suspended", None),
        ("overrate_device", 1, "", 1),
        ("shares_refused", 2, "quarantine", 2),
        ("shares_refused", 2, "licence", 3),
    ]
    act = next(row for row in report["compliance"] if row["kind"] == "licence_act")
    assert (act["act_number"], act["act_on"], act["until"], act["reason_code"]) == (
        "D-7",
        "2026-11-29",
        "2027-01-19",
        3,
    )
    seen = next(row for row in report["compliance"] if row["kind"] == "authorisation_refused")
    assert (seen["workers"], seen["at"][11:26], seen["last_at"][11:26]) == (
        2,
        "00:00:00.000003",
        "00:00:00.000090",
    )
    assert "rig1" not in str(report["compliance"])


def test_what_is_told_of_the_law_cannot_be_changed_alone(facts: DayFacts) -> None:
    refused = replace(facts.miners[1], rejected={"licence": 3})
    report = build(replace(facts, miners=[facts.miners[0], refused, facts.miners[2]]))
    name = ["what is told of refusals and acts agrees with the miners"]
    rows = report["compliance"]
    changes: list[list[dict[str, Any]]] = [
        rows[:-1],
        rows[::-1],
        [*rows, {**rows[-1], "kind": "gossip"}],
        [*rows[:-1], {**rows[-1], "count": 4}],
        [*rows[:-1], {**rows[-1], "account": "miner3"}],
        [{**row, "count": 1} if row["kind"] == "authorisation_refused" else row for row in rows],
    ]
    for changed in changes:
        assert failed({**report, "compliance": changed}) == name


# The first schema


def test_i7_the_report_of_schema_1_is_that_of_schema_2_without_what_came_later(facts: DayFacts) -> None:
    report = build(facts)
    before = copy.deepcopy(report)
    first = in_first_schema(report)
    assert report == before
    assert first["schema"] == FIRST_SCHEMA
    assert failed(first) == []
    assert len(reconcile(first)) == 12
    assert sorted(first["miners"][0]) == sorted(
        (
            *("id", "account", "name", "bin", "kind", "licence", "worked_without_licence", "payout_address"),
            *("accepted_shares", "rejected_shares", "rejected_by_reason", "work", "average_hashrate"),
            *("opening_sat", "credited_sat", "matured_sat", "reversed_sat", "per_share_sat", "paid_sat"),
            *("corrected_sat", "closing_sat"),
        )
    )
    assert sorted(first["pool"]) == ["address", "bin", "chain", "commission_bps", "name"]
    assert "multiple" not in first["blocks"][0]["window"]
    first["totals"]["work"] = "1"
    assert failed(first) == [
        "the hashrates are work over the seconds of the day in Kazakhstan",
        "the totals are the sums of the rows",
    ]
