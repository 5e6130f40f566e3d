"""The stand-alone verifier against the rest of the program: two ways that must agree (I3, I4, I7)."""

from __future__ import annotations

import ast
import io
import json
import sys
import tokenize
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from payouts import pplns
from reporting import commitment, dmpool_verify
from reporting.daily import DayFacts, build
from reporting.dmpool_verify import (
    Check,
    Report,
    Trust,
    canonical,
    climb,
    divide,
    examine,
    leaf,
    parse,
    run_check,
    tree,
)
from reporting.keyring import Action, KeyRing, RingError
from reporting.merkle import Tree, leaf_hash
from reporting.signing import SigningKey, encode, sign
from tests.reporting.derived import numbers
from tests.reporting.keys import ANCHOR, SECOND, THIRD, event, hour, published

KEY = SigningKey(bytes.fromhex("b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef"))
ROUNDED = {"payout_id", "share_bps"}
"""Told and not derived; or changed by so little that rounding hides it."""


def failed(report: dict[str, Any]) -> list[Check]:
    return [check for check in Report(parse(canonical(report))).checks() if not check.passed]


def holder_of(report: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        report = report[step]
    return report


def test_it_is_short_and_wants_nothing_but_coincurve() -> None:
    source = Path(dmpool_verify.__file__).read_text()
    wanted = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    assert wanted - sys.stdlib_module_names == {"coincurve"}
    assert len(_code(source)) < 500


def _code(source: str) -> set[int]:
    """The numbers of lines that are neither blank nor comment nor docstring."""
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for one in tokenize.generate_tokens(io.StringIO(source).readline):
        if one.type not in nothing | {tokenize.ENDMARKER}:
            lines.update(range(one.start[0], one.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def test_a_report_passes(facts: DayFacts) -> None:
    told = examine({"one": encode(sign(build(facts), [KEY]))}, KEY.public_key)
    assert [(name, len(checks)) for name, checks in told.items()] == [("one", 9), ("all reports", 1)]
    assert all(check.passed and check.detail for checks in told.values() for check in checks)


def test_i3_every_number_that_follows_from_others_is_checked(facts: DayFacts) -> None:
    report = build(facts)
    assert failed(report) == []
    paths = [path for path in numbers(report) if path[-1] not in ROUNDED]
    assert len(paths) >= 180
    for path in paths:
        holder, last = holder_of(report, path), path[-1]
        before = holder[last]
        if last == "size" and holder["first_slice"] == 1:
            continue
        for change in (1, -1):
            holder[last] = str(int(before) + change) if isinstance(before, str) else before + change
            assert failed(report), path
        holder[last] = before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "kz-dmp-daily/1"),
        (("timezone",), "+06:00"),
        (("day_complete",), False),
        (("report_date",), "2026-11-19"),
        (("day_end",), "2026-11-22T00:00:00+05:00"),
        (("day_end",), "2026-11-21T00:00:00-11:00"),
        (("miners", 0, "rejected_by_reason"), {"stale": 4, "low-difficulty": -1}),
        (("generated_at",), "2026-11-20T12:00:00"),
        (("correction_reason",), "none"),
        (("blocks", 0, "state"), "confirmed"),
        (("blocks", 0, "status"), "pending"),
        (("blocks", 0, "history", 2, "state"), "orphaned"),
        (("blocks", 0, "history", 2, "at"), "2026-11-21T00:00:00.000000+05:00"),
        (("blocks", 0, "found_at"), "2026-11-19T04:00:00.000001+05:00"),
        (("blocks", 0, "window"), None),
        (("blocks", 0, "transaction_fees"), "nobody's"),
        (("blocks", 0, "miners", 0, "miner_id"), 3),
        (("blocks", 0, "miners", 0, "amount_sat"), 4.5),
        (("miners", 0, "licence"), None),
        (("miners", 0, "worked_without_licence"), True),
        (("miners", 0, "name"), "Somebody else"),
        (("miners", 0, "salt"), "00" * 16),
        (("journal", "accounts", 0, "account"), "asset:coinbase:lost"),
        (("journal", "accounts", 1, "account"), "miner:9:payable"),
        (("journal", "classes"), []),
        (("commission", "closing_sat"), True),
        (("miners",), "none"),
        (("totals",), None),
        (("distributions", 1, "quantity"), "0.00000008"),
        (("distributions", 1, "distribution_date"), "2026-11-19"),
        (("distributions", 1, "booked_on"), "2026-11-19"),
        (("distributions", 0, "payout_id"), 9),
        (("bookings_apart", 0, "counts_for"), "2026-11-20"),
        (("mandatory_sale", 0, "base"), "realised"),
        (("mandatory_sale", 0, "parts", 0, "licensors"), ["NBK"]),
        (("mandatory_sale", 0, "confirmations", 0, "quantity_sat"), 699),
        (("commitments", "miners", "root"), "00" * 32),
    ],
)
def test_other_fields_that_follow_from_others_are_checked(
    facts: DayFacts, path: tuple[Any, ...], value: object
) -> None:
    report = build(facts)
    holder = holder_of(report, path)
    assert holder[path[-1]] != value
    holder[path[-1]] = value
    looked = run_check(
        lambda: [check for check in Report(parse(json.dumps(report))).checks() if not check.passed]
    )
    assert looked.detail != "holds"


def test_what_was_paid_and_taken_back_on_one_day_is_told_apart(facts: DayFacts) -> None:
    """Left out together they would cancel out, and a payment that the chain lost would be told nowhere."""
    report = build(facts)
    rows = report["bookings_apart"]
    back = next(row for row in rows if row["what"] == "taken_back")
    report["bookings_apart"] = [row for row in rows if row["payout_id"] != back["payout_id"]]
    assert "payments told, and the journal's" in failed(report)[0].detail


def test_refusals_are_told_twice_alike(facts: DayFacts) -> None:
    refused = replace(facts.miners[1], rejected={"licence": 3})
    report = build(replace(facts, miners=[facts.miners[0], refused, facts.miners[2]]))
    assert failed(report) == []
    report["compliance"] = [row for row in report["compliance"] if row["kind"] != "shares_refused"]
    assert "shares refused by law" in failed(report)[0].detail


def test_i3_a_miner_with_a_number_in_other_digits_owns_nothing(facts: DayFacts) -> None:
    """In a row of the journal that no miner of the report has, money could hide."""
    report = json.loads(json.dumps(build(facts)).replace("miner:3:", "miner:\u0663:"))
    assert any("belongs to nobody" in check.detail for check in failed(report))


def test_i3_an_account_is_told_once(facts: DayFacts) -> None:
    """Of two rows of one account the next day would begin with the last alone."""
    report = build(facts)
    rows = report["journal"]["accounts"]
    rows.append({**rows[-1], "opening_sat": 0, "in_sat": 0, "out_sat": 0, "closing_sat": 0})
    assert "accounts named once each" in failed(report)[0].detail


def test_i3_the_pool_bears_what_left_the_chain_alone(facts: DayFacts) -> None:
    """At its first confirmation nobody was paid of a block, so all of it is the miners'."""
    report = build(facts)
    (block,) = (one for one in report["blocks"] if len(one["history"]) == 2 and one["state"] == "confirmed")
    block["history"][1]["borne_by_pool"] = [{"miner_id": 1, "amount_sat": 5}]
    assert "what the pool bears of it" in failed(report)[0].detail


@pytest.mark.parametrize(
    ("key", "value"), [("commission_bps", 10_001), ("commission_bps", -1), ("fees_sat", -1)]
)
def test_i4_terms_that_cannot_be_are_refused(facts: DayFacts, key: str, value: int) -> None:
    report = build(facts)
    report["blocks"][0][key] = value
    assert "its work or its terms cannot be" in failed(report)[0].detail


@pytest.mark.parametrize(("id_", "work"), [(1, "-5"), (1, "0"), ("1", "5"), (True, "5")])
def test_i4_work_that_cannot_be_is_refused(facts: DayFacts, id_: Any, work: str) -> None:
    report = build(facts)
    report["blocks"][0]["miners"][0].update(miner_id=id_, work=work)
    assert "its work or its terms cannot be" in failed(report)[0].detail


def test_i3_an_entry_of_another_kind_is_refused(facts: DayFacts) -> None:
    """Else one of kind "credited" would count as a block's reward."""
    report = build(facts)
    report["journal"]["entries"].append(
        {"kind": "credited_by_hand", "payout_id": None, "memo": "", "postings": []}
    )
    assert "entry credited_by_hand is of no known kind" in failed(report)[0].detail


def test_a_day_begins_at_midnight(facts: DayFacts) -> None:
    report = json.loads(json.dumps(build(facts)).replace("T00:00:00+05:00", "T00:30:00+05:00"))
    assert "day: " in failed(report)[0].detail


def test_o50_a_sale_counts_once(facts: DayFacts) -> None:
    report = build(facts)
    row = report["mandatory_sale"][0]
    row["parts"].append({**row["parts"][0], "mined_sat": 0})
    row["realised_sat"] *= 2
    row["sold_eligible_sat"] *= 2
    assert "stretches overlap" in failed(report)[0].detail


def test_nothing_or_what_has_no_place_ends_no_verifier(facts: DayFacts) -> None:
    assert examine({}, KEY.public_key) == {}
    report = build(facts)
    del report["sequence"]
    told = examine({"one": encode(sign(report, [KEY]))}, KEY.public_key)
    assert [check.passed for check in told["one"]][:2] == [True, False]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdz_09AZ", max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_i7_canonical_form_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)
    assert parse(canonical(value)) == value


@given(st.integers(0, 2**51), st.dictionaries(st.integers(1, 99), st.integers(1, 2**80), min_size=1))
def test_i2_i4_a_division_is_that_of_the_ledger(amount: int, work: dict[int, int]) -> None:
    assert divide(amount, work) == pplns.divide(amount, work)


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 2**64)), max_size=20, unique=True)
)
def test_a_sum_tree_is_that_of_the_report(rows: list[tuple[bytes, int]]) -> None:
    told = [(salt, {"work": str(work), "shares": work % 7}) for salt, work in rows]
    names = ("shares", "work")
    leaves = [commitment.leaf(salt, row, commitment.sums_of(row, names)) for salt, row in told]
    root = commitment.Tree(leaves, 2).root
    assert tree(sorted(leaf(row, salt, names) for salt, row in told), 2) == (root.hash, list(root.sums))


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=40), st.data())
def test_i7_the_logs_tree_and_its_proofs(entries: list[bytes], data: st.DataObject) -> None:
    log = Tree()
    for one in entries:
        log.append(leaf_hash(one))
    assert tree([(dmpool_verify.sha256(b"\0" + one), []) for one in entries])[0] == log.root()
    place = data.draw(st.integers(0, len(entries) - 1))
    path = log.inclusion(place)
    start = leaf_hash(entries[place])
    assert climb(start, place, len(entries), path) == log.root()
    for wrong in (path[:-1], [*path, bytes(32)], path[::-1]):
        if wrong != path:
            assert climb(start, place, len(entries), wrong) != log.root()


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(list(Action)),
        st.sampled_from([ANCHOR, SECOND, THIRD]),
        st.integers(0, 9),
        st.sampled_from([None, ANCHOR, SECOND, THIRD]),
    ),
    max_size=8,
)


@given(_ACTS)
def test_i7_whoever_may_sign_by_the_list_of_keys_may_sign_here(
    acts: list[tuple[Action, SigningKey, int, SigningKey | None]],
) -> None:
    """Any list that holds, and who may sign when by it; what does not hold is refused here too."""
    ring, at = KeyRing(), 0
    for action, key, later, by in [(Action.INTRODUCED, ANCHOR, 0, None), *acts]:
        at += later
        try:
            entry = event(ring, action, key, hour(at), by)
            added = ring.added(entry)
        except RingError:
            refused = rfc8785.dumps({"events": [*ring.entries, entry]})
            assert not run_check(Trust(ANCHOR.public_key).check_keys, refused).passed
            continue
        ring = added
    reached = ring.reached_from(ANCHOR.public_key)
    trust = Trust(ANCHOR.public_key)
    assert run_check(trust.check_keys, published(ring)).passed
    assert {key.id for key in trust.values()} == set(reached)
    digest = bytes(32)
    for signer in (ANCHOR, SECOND, THIRD):
        if signer.public_key in trust:
            for hours in range(-1, at + 2):
                key = trust[signer.public_key]
                at_hour = hour(hours).isoformat()
                looked = run_check(key.check, "it", digest, signer.sign(digest), at_hour)
                assert looked.passed == (ring.refusal(signer.key_id, hour(hours), reached) is None)


def test_a_key_that_is_none_is_refused() -> None:
    for text in ("", "00", "zz" * 32, "ff" * 32, "00" * 33):
        with pytest.raises(ValueError, match=r"64 hex digits|public key|could not be parsed"):
            Trust(text)
