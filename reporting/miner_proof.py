"""What a miner is given: a small file that proves that its own row is in the published totals of a day.

It has the miner's row of the report, the way from it to the root that the report commits to, the same for
each hour of the archive in which it worked, and the leaf of the transparency log that has those roots; with
that, the leaf's place in the log and a signed checkpoint. So it needs no other row of the report and tells
none: of others it has sums, of half of all miners, a quarter, and so on, and of one neighbour whom nobody
names.

The pool's signature is under the checkpoint and the report, not under this file: a file that holds together
is worth what the key is that it was checked with. `docs/report-schema.md` has the layout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import rfc8785

from reporting import commitment
from reporting.bip340 import public_key_of
from reporting.checkpoint import Checkpoint, LoggedProof, origin_of, parse_proof
from reporting.commitment import HOUR_SUMS, MINER_SUMS, Node, Step
from reporting.daily_facts import HourFacts, Json
from reporting.dmpool_verify import Check
from reporting.equality import MALFORMED, Broken, Object, run_check, same, whole
from reporting.merkle import ProofError
from reporting.note import BIP340, COSIGNATURE, NoteError, VerifierKey, parse_key, verifier_key

SCHEMA: Final = "kz-dmp-miner-proof/1"
LARGEST_FILE: Final = 4 * 1024 * 1024
_GIVEN: Final = ("credited_sat", "per_share_sat", "corrected_sat")


class NoProof(ValueError):
    """There is nothing to prove. The message says why."""


# Making one


def make(
    envelope: Object,
    miner_id: int,
    hours: Sequence[HourFacts],
    leaf: bytes,
    logged: LoggedProof | None,
) -> Json:
    """The proof of a miner's row; raises NoProof for a report of schema 1 and for a miner without a row.

    `envelope` is the signed report, `hours` the archive's of that day, `leaf` the data of the report's leaf
    in the log, `logged` its place there once a checkpoint with it was signed.
    """
    report = envelope["report"]
    day, told = report["report_date"], report.get("commitments")
    if told is None:
        raise NoProof(f"report of {day}: is of schema {report['schema']}, which commits to no rows")
    row = next((one for one in report["miners"] if one["id"] == miner_id), None)
    if row is None:
        raise NoProof(f"report of {day}: has no row of miner {miner_id}; it was entered later")
    tree = commitment.miners_tree(report["miners"])
    return {
        "schema": SCHEMA,
        "pool": {key: report["pool"][key] for key in ("name", "bin", "chain")},
        "report_date": day,
        "report_version": report["version"],
        "report_sha256": envelope["report_sha256"],
        "row": row,
        "path": [_step(one, MINER_SUMS) for one in tree.path(commitment.miner_leaf(row))],
        "hours": _hours(report, row, hours),
        "leaf": json.loads(leaf),
        "log": None if logged is None else logged.encode().decode(),
    }


def _hours(report: Object, row: Object, hours: Sequence[HourFacts]) -> list[Json]:
    salts = {one["id"]: one["salt"] for one in report["miners"]}
    by_name = {one.hour: one for one in hours}
    proven: list[Json] = []
    for told in report["commitments"]["hours"]:
        hour = by_name.get(told["hour"])
        if hour is None or hour.manifest_sha256 != told["manifest_sha256"]:
            raise NoProof(
                f"hour {told['hour']}: its manifest is not at hand as the report of {report['report_date']} "
                f"names it; `dmpool audit` says where archive and database differ"
            )
        rows = {
            id_: commitment.hour_row(hour.hour, id_, one.shares, one.work, one.digest)
            for id_, one in hour.miners.items()
        }
        mine = rows.get(row["id"])
        if mine is not None:
            tree = commitment.hour_tree(list(rows.values()), salts)
            path = tree.path(commitment.hour_leaf(mine, row["salt"]))
            kept = {key: value for key, value in mine.items() if key != "miner_id"}
            proven.append({**kept, "path": [_step(one, HOUR_SUMS) for one in path]})
    return proven


def _step(step: Step, names: Sequence[str]) -> Json:
    return {
        "side": step.side,
        "hash": step.sibling.hash.hex(),
        **commitment.told_sums(names, step.sibling.sums),
    }


def encode(proof: Mapping[str, Any]) -> bytes:
    """The bytes of a proof's file: its canonical form (RFC 8785)."""
    return rfc8785.dumps(dict(proof))


# Checking one


def check(data: bytes, key: str) -> list[Check]:
    """Checks a miner's proof; it is good when every check passed. What cannot be read ends the list.

    `key` is the pool's public key: 64 hex digits of a BIP340 key, or a key of the log as a vkey. Raises
    ValueError when it cannot be one.
    """
    by: Callable[[str], VerifierKey] = _key(key)
    name = "the file is a miner's proof in canonical form"
    try:
        proof = json.loads(data[: LARGEST_FILE + 1])
    except MALFORMED as error:
        return [Check(name, False, f"{type(error).__name__}: {error}")]
    first = run_check(name, lambda one: _form(data, one), proof)
    if not first.passed:
        return [first]
    looks: tuple[tuple[str, Callable[[Object], str]], ...] = (
        ("the row is the miner's day, and its money adds up", _row),
        ("the row is in the totals that the pool committed to", _in_totals),
        ("each hour's work is in the totals of that hour", _in_hours),
        ("the log's leaf tells of this report", _leaf),
        ("the leaf is in the log, under a checkpoint that the key signed", lambda one: _in_log(one, by)),
    )
    return [first, *(run_check(name, look, proof) for name, look in looks)]


def _key(text: str) -> Callable[[str], VerifierKey]:
    """The key as one that signs checkpoints of an origin; a witness's signs that a log grows, not whose."""
    if "+" in text:
        known = parse_key(text)
        if known.type == COSIGNATURE:
            raise ValueError(f"{known} is a witness's key; take the log's own, or the pool's public key")
        return lambda origin: known
    public_key = public_key_of(text)
    return lambda origin: verifier_key(origin, BIP340, public_key)


def _form(data: bytes, proof: Any) -> str:
    same("schema", proof["schema"], SCHEMA)
    if len(data) > LARGEST_FILE or rfc8785.dumps(proof) != data:
        raise Broken("written by RFC 8785, the same content gives other bytes: the file was changed")
    return f"{len(data)} bytes"


def _row(proof: Object) -> str:
    row = proof["row"]
    given = sum(whole(row, key) for key in _GIVEN)
    closing = whole(row, "opening_sat") + given - whole(row, "reversed_sat") - whole(row, "paid_sat")
    same("opening + given - reversed - paid and closing", closing, whole(row, "closing_sat"))
    return (
        f"{row['account']} on {proof['report_date']}: {row['accepted_shares']} shares, work {row['work']}, "
        f"{row['credited_sat'] + row['per_share_sat']} satoshis credited, {row['paid_sat']} paid, "
        f"{row['closing_sat']} owed at the end"
    )


def _in_totals(proof: Object) -> str:
    told = proof["leaf"]["commitments"]
    same("algorithm", told["algorithm"], commitment.ALGORITHM)
    start = commitment.miner_leaf(proof["row"])
    _arrives("the row", start, proof["path"], MINER_SUMS, told["miners"])
    return (
        f"one of {told['miners']['leaves']} miners; {told['miners']['credited_sat']} satoshis credited to all"
    )


def _in_hours(proof: Object) -> str:
    row, told = proof["row"], proof["leaf"]["commitments"]
    by_name = {one["hour"]: one for one in told["hours"]}
    names = [one["hour"] for one in proof["hours"]]
    same("hours named once each and in order", names, sorted(set(names)))
    for one in proof["hours"]:
        mine = commitment.hour_row(one["hour"], row["id"], one["shares"], one["work"], one["digest"])
        start = commitment.hour_leaf(mine, row["salt"])
        _arrives(f"hour {one['hour']}", start, one["path"], HOUR_SUMS, by_name[one["hour"]])
    shares = sum(one["shares"] for one in proof["hours"])
    return f"{shares} shares in {len(names)} of the {len(by_name)} hours that were closed"


def _arrives(what: str, start: Node, path: Sequence[Object], names: Sequence[str], told: Object) -> None:
    steps = [
        Step(one["side"], Node(bytes.fromhex(one["hash"]), commitment.sums_of(one, names))) for one in path
    ]
    for side, sibling in steps:
        if side not in ("left", "right") or len(sibling.hash) != commitment.HASH_BYTES:
            raise Broken(f"{what}: a step of its path is none")
    end = commitment.follow(start, steps)
    same(f"{what}: root", end.hash.hex(), told["root"])
    for name, value in commitment.told_sums(names, end.sums).items():
        same(f"{what}: {name} of all", value, told[name])


def _leaf(proof: Object) -> str:
    leaf = proof["leaf"]
    same("kind of leaf", leaf["kind"], "report")
    for key, of in (("day", "report_date"), ("version", "report_version"), ("sha256", "report_sha256")):
        same(f"{key} of the leaf", leaf[key], proof[of])
    return f"report of {leaf['day']}, version {leaf['version']}, sha256 {leaf['sha256']}"


def _in_log(proof: Object, key_of: Callable[[str], VerifierKey]) -> str:
    if proof["log"] is None:
        raise Broken(
            "no checkpoint with it was signed when this proof was made; ask for the proof again later"
        )
    origin = origin_of(proof["pool"]["bin"], proof["pool"]["chain"])
    try:
        logged = parse_proof(proof["log"].encode())
        checkpoint = logged.check(rfc8785.dumps(dict(proof["leaf"])))
        key = key_of(checkpoint.origin)
        same("name of the log", checkpoint.origin, origin)
        same("name of the key, and of the log", key.name, origin)
        signed = [one for one in logged.note.signatures if key.signed(one)]
        if not signed:
            raise Broken(f"the checkpoint of {checkpoint.size} leaves has no signature of the key")
        for one in signed:
            key.check(logged.note.text, one)
    except (ProofError, NoteError) as error:
        raise Broken(str(error)) from error
    return _place(logged, checkpoint)


def _place(logged: LoggedProof, checkpoint: Checkpoint) -> str:
    return f"leaf {logged.index} of {checkpoint.size} in {checkpoint.origin}"
