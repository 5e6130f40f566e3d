"""What a log tells must be one story: a report told twice proves to one what is denied to another (I7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reporting import commitment, miner_proof
from reporting.checkpoint import Checkpoint, LoggedProof
from reporting.daily import DayFacts, build
from reporting.log_check import check_log
from reporting.log_story import NAME, Story
from reporting.merkle import Tree, leaf_hash
from reporting.note import sign_note
from reporting.signing import sign
from tests.reporting.test_log_check import LOG, copy_of, failed
from tests.reporting.test_miner_proof import KEY, LOG_KEY, ORIGIN, leaf_of


def report(day: int, version: int, sequence: int, **changes: Any) -> dict[str, Any]:
    replaces = f"{day}{version - 1}" if version > 1 else None
    told = {"day": f"2026-11-{day}", "version": version, "sequence": sequence, "sha256": f"{day}{version}"}
    return {"kind": "report", **told, "replaces_sha256": replaces, **changes}


def form(period: str, version: int, **changes: Any) -> dict[str, Any]:
    replaces = f"{period}/{version - 1}" if version > 1 else None
    told = {"form": "form-1", "period": period, "version": version, "sha256": f"{period}/{version}"}
    return {"kind": "form", **told, "replaces_sha256": replaces, **changes}


def register(day: int, events: int) -> dict[str, Any]:
    return {"kind": "register", "day": f"2026-11-{day}", "events": events}


HONEST = [
    register(19, 3),
    report(20, 1, 1),
    register(20, 3),
    report(21, 1, 2),
    report(20, 2, 3),
    form("2026-10", 1),
    report(20, 3, 4),
    form("2026-10", 2),
    register(23, 9),
    {"kind": "key", "sha256": "201"},
]


def told(*entries: Any) -> tuple[bool, str]:
    story = Story()
    for index, entry in enumerate(entries):
        story.read(index, entry if isinstance(entry, bytes) else json.dumps(entry).encode())
    assert story.check.name == NAME
    return story.check.passed, story.check.detail


def test_an_honest_log_and_what_is_of_no_known_kind() -> None:
    assert told(*HONEST) == (True, "6 reports and forms, the reports of 2 days")
    assert told() == (True, "none are told of")
    assert told(b"", b"[1]", b"{}", b"\xff", b"[" * 99_999, b'{"kind":7}', *HONEST)[0]


def test_a_pool_that_is_older_than_its_log() -> None:
    """Its first versions stand nowhere; from its first report in the log on, all do."""
    assert told(report(20, 2, 41), report(19, 4, 42), report(19, 5, 43))[0]
    assert not told(report(20, 2, 41), report(19, 4, 43))[0]
    assert not told(report(20, 1, 1), report(19, 2, 2))[0]


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (report(20, 3, 5), "203 was told in entry 6 already"),
        (report(22, 1, 5, sha256="201"), "201 was told in entry 1 already"),
        (report(22, 1, 4), "sequence, behind the report before it: 4 is not 5"),
        (report(22, 1, 6), "sequence, behind the report before it: 6 is not 5"),
        (report(22, 1, True), "sequence is True; it must be an integer"),
        (report(21, 1, 5, sha256="x"), "version of 2026-11-21: 1 is not 2"),
        (report(21, 3, 5), "version of 2026-11-21: 3 is not 2"),
        (report(21, 2, 5, replaces_sha256="x"), "the version that it replaces: 'x' is not '211'"),
        (report(22, 2, 5), "version 2 of 2026-11-22, and no version of it was told before"),
        (form("2026-10", 2), "2026-10/2 was told in entry 7 already"),
        (form("2026-10", 2, sha256="x"), "version of form-1 2026-10: 2 is not 3"),
        (form("2026-09", 2), "no version of it was told before"),
        (register(23, 9), "2026-11-23 with 9 events stands behind 2026-11-23, 9"),
        (register(24, 8), "2026-11-24 with 8 events stands behind 2026-11-23, 9"),
        ({"kind": "report"}, "KeyError: 'sequence'"),
        ({**report(22, 1, 5), "day": [1]}, "TypeError: unhashable"),
    ],
)
def test_each_lie_is_named_with_its_entry(lie: dict[str, Any], said: str) -> None:
    passed, detail = told(*HONEST, lie, *HONEST)
    assert not passed
    assert detail.startswith(f"entry 10, {lie['kind']}: ")
    assert said in detail


def test_a_report_told_twice_proves_a_lie_to_a_miner_and_the_log_betrays_it(facts: DayFacts) -> None:
    """The first entry commits to a row that has less than the published one; the second is true."""
    envelope = sign(build(facts), [KEY])
    false = json.loads(json.dumps(envelope))
    row = false["report"]["miners"][1]
    row["credited_sat"] -= 1
    row["closing_sat"] -= 1
    root = commitment.miners_tree(false["report"]["miners"]).root
    sums = commitment.told_sums(commitment.MINER_SUMS, root.sums)
    false["report"]["commitments"]["miners"] |= {"root": root.hash.hex(), **sums}
    entries = [leaf_of({**false, "report_sha256": envelope["report_sha256"]}), leaf_of(envelope)]
    tree = Tree([leaf_hash(one) for one in entries])
    note = sign_note(Checkpoint(ORIGIN, tree.size, tree.root()).text(), [LOG_KEY])
    place = LoggedProof(0, tuple(tree.inclusion(0)), note)
    proof = miner_proof.encode(miner_proof.make(false, 2, facts.hours, entries[0], place))
    key = LOG_KEY.key
    assert [one for one in miner_proof.check(proof, str(key)) if not one.passed] == []
    assert failed(check_log((copy_of(entries) | {"checkpoint": note.encode()}).get, [key])) == [NAME]
    assert failed(check_log(copy_of(entries[1:]).get, [LOG.key])) == []
