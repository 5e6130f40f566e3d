"""The daily report: what it tells, and that it refuses to be built from facts that do not agree (I3)."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from payouts.block_state import NEXT, State
from payouts.journal import Entry, Posting, block_confirmed
from payouts.pplns import Split
from register.licence import Act, Licence
from reporting.daily import BlockEvent, DayFacts, DoesNotReconcile, Edition, MinerFacts, PoolFacts, build
from reporting.dmpool_verify import Report, canonical, parse
from reporting.equalities import reconcile
from reporting.standing import Version
from tests.campaign import extent
from tests.reporting.derived import numbers

HOUR = 3_600_000_000


def test_what_a_day_tells(facts: DayFacts) -> None:
    report = build(facts)
    assert report["report_date"] == "2026-11-20"
    assert report["day_start"] == "2026-11-20T00:00:00+05:00"
    assert report["day_end"] == "2026-11-21T00:00:00+05:00"
    assert (report["timezone"], report["day_complete"], report["elapsed_seconds"]) == ("+05:00", True, 86_400)
    assert report["generated_at"] == "2026-11-21T01:00:00.000000+05:00"
    first = report["miners"][0]
    assert (first["account"], first["name"], first["bin"]) == ("miner1", "ТОО «Қазына 1»", "940140000385")
    assert first["licence"]["valid_to"] == "2028-12-31"
    assert (first["accepted_shares"], first["rejected_shares"]) == (40, 3)
    assert first["rejected_by_reason"] == {"stale": 2, "low-difficulty": 1}
    assert first["work"] == str(2**70 + 1)
    assert first["average_hashrate"] == str((2**70 + 1) // 86_400)
    assert [(block["height"], block["state"]) for block in report["blocks"]] == [
        (800, "mature"),
        (801, "orphaned"),
        (802, "confirmed"),
        (803, "confirmed"),  # it matured at the first instant of the next day
        (804, "orphaned"),
        (805, "found"),
    ]
    assert report["totals"]["blocks_found"] == 3
    assert {row["rule"]: row["values"] for row in report["rules_in_force"]}["timezone"] == {
        "offset": "+05:00"
    }


def test_i3_what_the_miners_are_credited_is_what_the_blocks_gave(facts: DayFacts) -> None:
    parts = [block.split.amounts for block in facts.blocks]
    report = build(facts)
    for row in report["miners"]:
        part = [each.get(row["id"], 0) for each in parts]
        assert row["opening_sat"] == part[0] + part[1] + part[2]
        assert row["credited_sat"] == part[2] + part[3]
        assert row["matured_sat"] == part[0]
        assert row["reversed_sat"] + borne(report, row["id"]) == part[1] + part[2]
        kept = borne(report, row["id"]) - row["paid_sat"] + row["corrected_sat"]
        assert row["closing_sat"] == part[0] + part[2] + part[3] + kept
    assert [row["corrected_sat"] for row in report["miners"]] == [0, 0, 3]
    assert report["miners"][1]["paid_sat"] == 7 + 2  # what is on its way is still owed
    assets = report["journal"]["totals"]["assets"]
    rewards = [block.reward_sat for block in facts.blocks]
    paid = sum(row["paid_sat"] for row in report["miners"])
    assert assets["closing_sat"] == rewards[0] + rewards[2] + rewards[3] - paid - 2 * 1234
    assert report["commission"]["earned_sat"] == facts.blocks[0].split.commission


def test_an_unfinished_day_says_so_and_averages_over_what_has_passed(facts: DayFacts) -> None:
    start, _ = facts.rules.day_bounds(facts.day)
    report = build(replace(facts, generated_at_us=start + 10 * HOUR + 999_999))
    assert (report["day_complete"], report["elapsed_seconds"]) == (False, 36_000)
    assert report["miners"][1]["average_hashrate"] == str(12_345_678_901 // 36_000)
    with pytest.raises(DoesNotReconcile, match="before its day began"):
        build(replace(facts, generated_at_us=start - HOUR))


def test_a_report_built_later_differs_only_in_when_it_was_made(facts: DayFacts) -> None:
    soon, late = build(facts), build(replace(facts, generated_at_us=facts.generated_at_us + 5000 * HOUR))
    assert soon.pop("generated_at") != late.pop("generated_at")
    assert soon == late


def test_a_quiet_day_is_a_report_too(world: Callable[[], Any]) -> None:
    report = build(world().facts())
    assert report["blocks"] == report["journal"]["accounts"] == []
    assert report["totals"]["closing_sat"] == 0


def test_a_block_before_anybody_worked_is_all_commission(world: Callable[[], Any]) -> None:
    empty = world()
    start, _ = empty.facts().rules.day_bounds(empty.facts().day)
    empty.step(empty.find(start, 50, {}), State.CONFIRMED, start)
    report = build(empty.facts())
    assert report["blocks"][0]["window"] is None
    assert report["commission"]["immature_sat"] == 50


def test_the_long_day_of_2024(world: Callable[[], Any]) -> None:
    long_day = dt.date(2024, 2, 29)
    quiet = world().facts(long_day)
    report = build(replace(quiet, miners=[idle(each) for each in quiet.miners]))
    assert (report["timezone"], report["day_start"][-6:], report["day_end"][-6:]) == (
        "+06:00",
        "+06:00",
        "+05:00",
    )
    assert report["elapsed_seconds"] == 25 * 3600


def idle(each: MinerFacts) -> MinerFacts:
    """A miner that did nothing."""
    devices = replace(each.devices, active=0, unmatched=0)
    return replace(each, accepted=0, work=0, first_us=None, last_us=None, devices=devices)


def borne(report: dict[str, Any], miner_id: int) -> int:
    """What the pool bore that day of lost blocks that the miner had been paid."""
    return sum(
        row["amount_sat"]
        for block in report["blocks"]
        for event in block["history"]
        if event["state"] == "orphaned"
        for row in event.get("borne_by_pool", ())
        if row["miner_id"] == miner_id
    )


def off_by_one(balance: dict[str, int], account: str) -> dict[str, int]:
    return {**balance, account: balance.get(account, 0) + 1}


def stranger(balance: dict[str, int]) -> dict[str, int]:
    """Five satoshis owed to a miner of whom the report does not tell."""
    assets = "asset:coinbase:mature"
    return {**balance, "miner:9:payable": -5, assets: balance.get(assets, 0) + 5}


def wrong_facts(facts: DayFacts) -> dict[str, DayFacts]:
    """Facts with one thing wrong, by what the refusal must name."""
    block, entry, worker = facts.blocks[3], facts.entries[0], facts.miners[0]
    others = [each for each in facts.blocks if each is not block]
    amounts = dict(block.split.amounts)
    (one, two, *_) = entry.postings
    moved = (Posting(one.account, one.amount + 1), Posting(two.account, two.amount - 1), *entry.postings[2:])
    start, _ = facts.rules.day_bounds(facts.day)
    return {
        "closing balance of account miner:1:payable": replace(
            facts, closing=off_by_one(dict(facts.closing), "miner:1:payable")
        ),
        "closing balance of account asset:coinbase:mature": replace(
            facts, opening=off_by_one(dict(facts.opening), "asset:coinbase:mature")
        ),
        "closing balance of account": replace(
            facts, entries=[replace(entry, postings=moved), *facts.entries[1:]]
        ),
        "opening .* and out|closing balance": replace(facts, entries=facts.entries[1:]),
        "split of block": replace(
            facts,
            blocks=[
                *others,
                replace(
                    block,
                    split=replace(
                        block.split,
                        amounts={**amounts, 1: amounts[1] + 1, 2: amounts[2] - 1},
                    ),
                ),
            ],
        ),
        f"split of block {block.hash}": replace(
            facts, blocks=[*others, replace(block, reward_sat=block.reward_sat + 1)]
        ),
        r"the report does not tell of: \[3\] is not \[\]": replace(facts, miners=facts.miners[:2]),
        "account miner:9:payable belongs to nobody": replace(
            facts, opening=stranger(dict(facts.opening)), closing=stranger(dict(facts.closing))
        ),
        "every account moved as the day's blocks and other entries did": replace(facts, blocks=others),
        "every block's history|each block's history": replace(
            facts, blocks=[*others, replace(block, history=(BlockEvent(State.CONFIRMED, start),))]
        ),
        "is no step a block can take": replace(
            facts,
            blocks=[
                *others,
                replace(block, history=(block.history[0], BlockEvent(State.MATURE, start + 9 * HOUR))),
            ],
        ),
        "has work and has shares": replace(facts, miners=[replace(worker, accepted=0), *facts.miners[1:]]),
        "miners named once": replace(facts, miners=[*facts.miners, worker]),
        "sequence 1 and only it": replace(facts, edition=Edition(sequence=2, previous_sha256=None)),
        "version 1 and only it": replace(facts, edition=Edition(1, None, version=2)),
        "64 lower-case hex": replace(facts, edition=Edition(2, "ABC")),
        "it begins at 1": replace(facts, edition=Edition(0, "ab" * 32)),
    }


def test_i3_wrong_facts_are_refused_and_named(facts: DayFacts) -> None:
    for named, wrong in wrong_facts(facts).items():
        with pytest.raises(DoesNotReconcile, match=named) as caught:
            build(wrong)
        assert caught.value.equality
        assert caught.value.detail
        assert "no report is built until this holds" in str(caught.value)


def test_i6_work_without_a_licence_is_told_and_cannot_be_hidden(facts: DayFacts) -> None:
    """A gateway that was cut off may have let work in: the day is reported all the same, and says so."""
    worker = facts.miners[0]
    first = dt.date(2026, 1, 1)
    held = Licence("KZ-1", 1, 1, first, first, facts.day + dt.timedelta(days=1))
    ended = msgspec.structs.replace(held, valid_to=facts.day - dt.timedelta(days=1))
    suspended = msgspec.structs.replace(
        held, acts=(Act("suspended", "D-1", facts.day, 3, facts.day + dt.timedelta(days=60)),)
    )

    def under(licence: Licence | None) -> DayFacts:
        held = worker.held._replace(versions=[Version(licence)] if licence else [])
        return replace(facts, miners=[replace(worker, held=held), *facts.miners[1:]])

    for licence, said in ((ended, "ended"), (None, "none"), (suspended, "suspended")):
        report = build(under(licence))
        assert [row["worked_without_licence"] for row in report["miners"]] == [True, False, False]
        (told,) = (check for check in reconcile(report) if "worked without" in check.detail)
        assert told.passed
        assert "worked without a licence, as the report says: miner1" in told.detail
        report["miners"][0]["worked_without_licence"] = False
        failed = [check for check in reconcile(report) if not check.passed]
        assert f"worked, its licence {said}" in failed[0].detail
        assert [check.name for check in failed[1:]] == ["what the report commits to are its rows and sums"]


def test_i3_a_booking_without_a_block_is_refused(facts: DayFacts) -> None:
    invented = block_confirmed("ff" * 32, Split(0, {1: 7}, {1: 0}))
    closing = dict(facts.closing)
    for account, amount in invented.postings:
        closing[account] = closing.get(account, 0) + amount
    with pytest.raises(
        DoesNotReconcile, match="every account moved as the day's blocks and other entries did"
    ):
        build(replace(facts, entries=[*facts.entries, invented], closing=closing))


def test_i3_a_booking_to_the_wrong_miner_is_refused(facts: DayFacts) -> None:
    """Balanced entry, right sums, wrong person."""

    def swapped(account: str) -> str:
        names = {"miner:1:payable": "miner:2:payable", "miner:2:payable": "miner:1:payable"}
        return names.get(account, account)

    entry = facts.entries[0]
    wrong = Entry(
        entry.kind,
        entry.block_hash,
        entry.memo,
        tuple(Posting(swapped(a), amount) for a, amount in entry.postings),
    )
    closing = Counter(facts.closing)
    for each, sign in ((entry, -1), (wrong, 1)):
        for account, amount in each.postings:
            closing[account] += sign * amount
    with pytest.raises(
        DoesNotReconcile, match="every account moved as the day's blocks and other entries did"
    ):
        build(replace(facts, entries=[wrong, *facts.entries[1:]], closing=closing))


def test_a_pool_is_a_legal_entity() -> None:
    with pytest.raises(ValueError, match="O-20"):
        PoolFacts("x", "061211600012", "regtest", "a", 100)


@st.composite
def worlds(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Steps: which block, where to (by number), and how many hours after the step before."""
    return draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 20)), max_size=20))


@pytest.mark.campaign
@settings(max_examples=extent(25, 100))
@given(worlds())
def test_i3_any_history_reconciles_day_by_day_and_the_days_join(
    world: Callable[[], Any], steps: list[tuple[int, int, int]]
) -> None:
    lived = world()
    first_day = dt.date(2026, 11, 20)
    at_us, _ = lived.facts().rules.day_bounds(first_day)
    for which, choice, hours in steps:
        at_us += hours * HOUR
        if which >= len(lived.blocks):
            lived.find(at_us, 10_007 * (which + 1), {1: which + 1, 2: 3, 3: at_us % 13 + 1})
            continue
        following = sorted(NEXT[lived.blocks[which].history[-1].state])
        lived.step(which, following[choice % len(following)], at_us)
    owed: dict[int, int] = dict.fromkeys((1, 2, 3), 0)
    for later in range(20):
        quiet = lived.facts(first_day + dt.timedelta(days=later), sale=[], seen=[], hours=[])
        report = build(quiet)
        assert all(check.passed for check in reconcile(report))
        assert all(check.passed for check in Report(parse(canonical(report))).checks())
        assert {row["id"]: row["opening_sat"] for row in report["miners"]} == owed
        owed = {row["id"]: row["closing_sat"] for row in report["miners"]}
    final = Counter({1: 0, 2: 0, 3: 0})
    for block in lived.blocks:
        if block.history[-1].state in (State.CONFIRMED, State.MATURE):
            final.update(block.split.amounts)
    assert owed == dict(final)


def test_i3_every_number_of_a_report_that_follows_from_others_is_checked(facts: DayFacts) -> None:
    report = build(facts)
    clean = rfc8785.dumps(report)
    paths = numbers(report)
    assert len(paths) >= 180
    for path in paths:
        *way, last = path
        holder: Any = report
        for step in way:
            holder = holder[step]
        before = holder[last]
        if last == "payout_id" or (last == "size" and holder["first_slice"] == 1):
            continue  # told, not derived; likewise the size of a window that took all history there was
        for change in (1, -1):
            holder[last] = str(int(before) + change) if isinstance(before, str) else before + change
            assert not all(check.passed for check in reconcile(report)), path
        holder[last] = before
    assert rfc8785.dumps(report) == clean


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "kz-dmp-daily/3"),
        (("timezone",), "+06:00"),
        (("day_complete",), False),
        (("report_date",), "2026-11-19"),
        (("day_start",), "2026-11-19T00:00:00+05:00"),
        (("day_end",), "2026-11-22T00:00:00+05:00"),
        (("day_end",), "2026-11-21T00:00:00-11:00"),
        (("miners", 0, "rejected_by_reason"), {"stale": 4, "low-difficulty": -1}),
        (("generated_at",), "2026-11-20T12:00:00"),
        (("correction_reason",), "none"),
        (("blocks", 0, "state"), "confirmed"),
        (("blocks", 0, "history", 2, "state"), "orphaned"),
        (("blocks", 0, "history", 2, "at"), "2026-11-21T00:00:00.000000+05:00"),
        (("blocks", 0, "found_at"), "2026-11-19T04:00:00.000001+05:00"),
        (("blocks", 0, "window"), None),
        (("miners", 0, "licence", "number"), "KZ-9"),
        (("miners", 0, "licence", "standing"), []),
        (("miners", 0, "licence", "standing", 0, "status"), "suspended"),
        (("miners", 0, "licence", "standing", 0, "status"), "fine"),
        (("miners", 0, "licence", "standing", 0, "status"), "no_licence"),
        (("miners", 0, "licence", "standing", 0, "licence"), None),
        (("miners", 0, "licence", "standing", 0, "licence"), "KZ-9"),
        (("miners", 2, "licence", "standing", 0, "until"), "2026-11-20T23:00:00.000000+05:00"),
        (("miners", 0, "licence", "standing", 0, "from"), "2026-11-20T01:00:00.000000+05:00"),
        (("miners", 0, "licence", "standing", 0, "until"), "2026-11-20T23:00:00.000000+05:00"),
        (("miners", 0, "licence"), None),
        (("journal", "accounts", 0, "account"), "asset:coinbase:lost"),
        (("journal", "classes"), []),
        (("miners",), "none"),
        (("totals",), None),
        (("blocks", 0, "miners", 0, "miner_id"), 3),
        (("blocks", 4, "miners", 0, "miner_id"), 4),
        (("blocks", 5, "finder_miner_id"), 4),
        (("blocks", 0, "miners", 0, "amount_sat"), 4.5),
        (("commission", "closing_sat"), True),
    ],
)
def test_other_fields_that_follow_from_others_are_checked(
    facts: DayFacts, path: tuple[Any, ...], value: object
) -> None:
    report = build(facts)
    holder: Any = report
    for step in path[:-1]:
        holder = holder[step]
    assert holder[path[-1]] != value
    holder[path[-1]] = value
    failed = [check for check in reconcile(report) if not check.passed]
    assert failed
    assert all(check.detail for check in failed)


def test_i4_a_split_over_other_work_is_noticed(facts: DayFacts) -> None:
    report = build(facts)
    rows = report["blocks"][0]["miners"]
    rows[0]["work"], rows[1]["work"] = rows[1]["work"], rows[0]["work"]
    assert [check.name for check in reconcile(report) if not check.passed] == [
        "each block's division is that of the work in its window"
    ]
