"""Sum trees: the layout computed a second way, proofs that lead to the root, and sums that cannot cheat."""

import datetime as dt
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import commitment
from reporting.commitment import Node, Step, Tree, follow, join, leaf
from reporting.daily import DayFacts, DoesNotReconcile, build
from reporting.daily_facts import HourOfMiner
from reporting.equalities import reconcile

SALT = bytes(range(16))
LEAVES = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**200), st.integers(0, 9)))


def by_levels(leaves: list[tuple[bytes, tuple[int, ...]]]) -> tuple[bytes, tuple[int, ...]]:
    """The root computed level by level: neighbours are joined, and an odd last one goes up as it is."""
    level = sorted(leaves)
    while len(level) > 1:
        above = []
        for place in range(0, len(level), 2):
            pair = level[place : place + 2]
            if len(pair) == 1:
                above += pair
                continue
            text = b"\x01"
            for digest, sums in pair:
                text += digest + b"".join(one.to_bytes(32, "big") for one in sums)
            above.append(
                (hashlib.sha256(text).digest(), tuple(map(sum, zip(pair[0][1], pair[1][1], strict=True))))
            )
        level = above
    return level[0]


@given(LEAVES.filter(bool))
def test_every_leaf_leads_to_the_root_that_another_way_gives(given_: list[tuple[bytes, int, int]]) -> None:
    leaves = list({one[0]: Node(one[0], one[1:]) for one in given_}.values())
    tree = Tree(leaves, 2)
    assert tuple(tree.root) == by_levels([(one.hash, one.sums) for one in leaves])
    assert tree.root.sums == (sum(one.sums[0] for one in leaves), sum(one.sums[1] for one in leaves))
    for one in leaves:
        assert follow(one, tree.path(one)) == tree.root


@given(LEAVES.filter(lambda leaves: len({one[0] for one in leaves}) > 1), st.data())
def test_i2_a_sum_that_was_changed_on_the_way_leads_elsewhere(
    given_: list[tuple[bytes, int, int]], data: st.DataObject
) -> None:
    leaves = list({one[0]: Node(one[0], one[1:]) for one in given_}.values())
    tree = Tree(leaves, 2)
    one = data.draw(st.sampled_from(leaves))
    path = tree.path(one)
    place = data.draw(st.integers(0, len(path) - 1))
    side, sibling = path[place]
    for change in (1, -1):
        sums = (sibling.sums[0] + change, sibling.sums[1])
        wrong = [*path[:place], Step(side, Node(sibling.hash, sums)), *path[place + 1 :]]
        try:
            assert follow(one, wrong) != tree.root
        except ValueError:
            assert sums[0] < 0
    assert follow(Node(one.hash, (one.sums[0] + 1, one.sums[1])), path).hash != tree.root.hash


def test_a_leaf_is_salt_and_canonical_row() -> None:
    text = '{"a":"қ","b":1}'.encode()
    expected = hashlib.sha256(b"\x00" + SALT + text).digest()
    assert leaf(SALT, {"b": 1, "a": "қ"}, (5,)) == Node(expected, (5,))
    assert leaf(bytes(16), {"b": 1, "a": "қ"}, (5,)).hash != expected


@pytest.mark.parametrize("sums", [(-1,), (2**256,), (True,), (1.0,), ("1",)])
def test_i2_sums_are_whole_numbers_that_are_not_negative(sums: Any) -> None:
    with pytest.raises(ValueError, match="sums are whole numbers"):
        leaf(SALT, {}, sums)
    with pytest.raises(ValueError, match="sums are whole numbers"):
        join(Node(SALT * 2, sums), Node(SALT * 2, (1,)))


def test_sums_do_not_overflow_and_are_as_many_on_both_sides() -> None:
    with pytest.raises(ValueError, match="sums are whole numbers"):
        join(Node(SALT * 2, (2**255,)), Node(SALT * 2, (2**255,)))
    with pytest.raises(ValueError, match="2 sums on the left, 1 on the right"):
        join(Node(SALT * 2, (1, 2)), Node(SALT * 2, (1,)))
    with pytest.raises(ValueError, match="salt of 3 bytes"):
        leaf(b"abc", {}, ())
    with pytest.raises(ValueError, match="in the tree once"):
        Tree([Node(SALT * 2, (1,))] * 2, 1)


def test_a_tree_without_leaves() -> None:
    assert Tree([], 2).root == Node(hashlib.sha256().digest(), (0, 0))


def test_the_trees_of_a_report_computed_from_its_json_alone(facts: DayFacts) -> None:
    """With nothing of ours but json and hashlib, by the words of docs/report-schema.md."""
    report = json.loads(json.dumps(build(facts)))
    told = report["commitments"]

    def canonical(row: Any) -> bytes:
        return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    leaves = []
    for row in report["miners"]:
        salt = bytes.fromhex(row["salt"])
        hashed = hashlib.sha256(b"\0" + salt + canonical({k: v for k, v in row.items() if k != "salt"}))
        numbers = [
            row[k] for k in ("accepted_shares", "work", "credited_sat", "per_share_sat", "closing_sat")
        ]
        leaves.append((hashed.digest(), tuple(int(one) for one in numbers)))
    root, sums = by_levels(leaves)
    assert told["miners"] == {
        "root": root.hex(),
        "leaves": 3,
        "accepted_shares": sums[0],
        "work": str(sums[1]),
        "credited_sat": sums[2],
        "per_share_sat": sums[3],
        "closing_sat": sums[4],
    }
    salts = {row["id"]: bytes.fromhex(row["salt"]) for row in report["miners"]}
    for hour, given_ in zip(told["hours"], facts.hours, strict=True):
        leaves = []
        for id_, one in given_.miners.items():
            salt = hmac.new(salts[id_], hour["hour"].encode(), "sha256").digest()[:16]
            row = {"hour": hour["hour"], "miner_id": id_, **one._asdict()}
            hashed = hashlib.sha256(b"\0" + salt + canonical(row))
            leaves.append((hashed.digest(), (one.shares, int(one.work))))
        root, sums = by_levels(leaves)
        assert (hour["root"], hour["shares"], hour["work"]) == (root.hex(), sums[0], str(sums[1]))


def test_the_salt_is_of_day_and_miner_and_stays_when_a_day_is_told_again() -> None:
    day, secret = dt.date(2026, 11, 20), b"k" * 32
    salts = {
        commitment.row_salt(secret, day, 1),
        commitment.row_salt(secret, day, 2),
        commitment.row_salt(secret, day + dt.timedelta(days=1), 1),
        commitment.row_salt(b"l" * 32, day, 1),
    }
    assert len(salts) == 4
    assert commitment.row_salt(secret, day, 1) in salts


def test_an_hour_that_has_not_what_its_manifest_says_is_no_fact(facts: DayFacts) -> None:
    first, second = facts.hours
    with pytest.raises(DoesNotReconcile, match="has 38 shares"):
        build(replace(facts, hours=[replace(first, shares=first.shares + 1), second]))
    strangers = {**first.miners, 9: HourOfMiner(0, "0", None)}
    with pytest.raises(DoesNotReconcile, match=r"work of miners \[9\], who have no row"):
        build(replace(facts, hours=[replace(first, miners=strangers), second]))
    with pytest.raises(DoesNotReconcile, match="first batch, behind the hour before: 22 is not 21"):
        build(replace(facts, hours=[first, replace(second, first_batch=22, last_batch=22)]))
    with pytest.raises(DoesNotReconcile, match="work before it"):
        build(replace(facts, hours=[first, replace(second, work_before="7")]))
    with pytest.raises(DoesNotReconcile, match=r"stands behind|first batch, behind"):
        build(replace(facts, hours=[second, first]))
    with pytest.raises(DoesNotReconcile, match="does not begin in this day"):
        build(replace(facts, hours=[replace(first, hour="2026-11-19T18:00:00Z"), second]))


@pytest.mark.parametrize("change", ["root", "leaves", "file_sha256", "salt", "order"])
def test_what_is_committed_to_cannot_be_changed_alone(facts: DayFacts, change: str) -> None:
    report = build(facts)
    told = report["commitments"]
    match change:
        case "root":
            told["miners"]["root"] = "ab" * 32
        case "leaves":
            told["miners"]["leaves"] = 2
        case "file_sha256":
            told["hours"][0]["file_sha256"] = "AB" * 32
        case "salt":
            report["miners"][0]["salt"] = "00" * 16
        case "order":
            told["hours"].reverse()
    failed = [check.name for check in reconcile(report) if not check.passed]
    assert failed == ["what the report commits to are its rows and sums"]
