"""`dmpool reports verify`: runs the stand-alone verifier, and then the equalities that the builder kept.

What a stranger runs (`reporting/dmpool_verify.py`) and what the pool runs is the same code. Behind it come
the builder's own checks of the same report, written a second time and with more of the form in them: order
of rows, standing of licences, who the pool is. Reports of schema 1 and income forms are checked by these
alone, and a form also against the daily reports that stand beside it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from pool.cli_options import complain, console, tell_checks
from reporting.dmpool_verify import Check, examine
from reporting.equalities import FIRST_SCHEMA, MALFORMED, reconcile, run_check
from reporting.equalities_income import of_days
from reporting.income import SCHEMA as FORM_SCHEMA
from reporting.verify import read_report
from reporting.verify import verify as verify_by_the_builder

MANY = 3
"""Of so many files only what failed is told, and a line for the rest."""


def verify(
    files: Annotated[list[Path], typer.Argument(help="Report files, or directories of them.", exists=True)],
    public_key: Annotated[str, typer.Option("--key", help="The pool's public key, 64 hex digits.")],
    keys: Annotated[
        Path | None,
        typer.Option(exists=True, help="The pool's list of keys (GET /api/v1/keys); --key is its anchor."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(exists=True, help="A copy of the pool's log; its reports are these.")
    ] = None,
    old: Annotated[
        Path | None, typer.Option(exists=True, help="With --log: a checkpoint that you kept from earlier.")
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(exists=True, help="The .tlog-proof of the one report, in place of --log.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(exists=True, help="The archive as text, YYYY/MM/DD/HH.csv.gz.")
    ] = None,
) -> None:
    """Check reports and forms without trusting the pool; exits non-zero when anything is wrong."""
    try:
        found = {str(file): read_report(file) for one in files for file in _files_of(one)}
        apart = {name: data for name, data in found.items() if _schema(data) in (FIRST_SCHEMA, FORM_SCHEMA)}
        daily = {name: data for name, data in found.items() if name not in apart}
        ring = None if keys is None else read_report(keys)
        told = {name: verify_by_the_builder(data, public_key, ring) for name, data in apart.items()}
        _need_daily(daily, found, log or proof or archive)
        if daily:
            beside = {"keys": keys, "log": log, "old": old, "proof": proof, "archive": archive}
            told |= examine(daily, public_key, **beside)
    except (OSError, ValueError) as error:
        complain(str(error))
        raise SystemExit(2) from None
    for name, data in found.items():
        if all(check.passed for check in told[name]):
            told[name] = [*told[name], *_further(data, found.values())]
    _tell(told)


def _need_daily(daily: Collection[str], found: Collection[str], beside: Path | None) -> None:
    """Raises ValueError where nothing would be checked, or not what was asked for."""
    if not found:
        raise ValueError("there is no file to check")
    if beside is not None and not daily:
        raise ValueError(f"{beside}: nothing given is looked up there; only daily reports of schema 2 are")


def _further(data: bytes, found: Collection[bytes]) -> list[Check]:
    """What else the pool knows to check of a file whose own checks passed, with the others beside it."""
    document = json.loads(data)["report"]
    if document["schema"] == FORM_SCHEMA:
        others = [json.loads(one) for one in found if one is not data]
        name = "it has just the payments of the daily reports that it names"
        return [run_check(name, lambda form: of_days(form, others), document)] if others else []
    if document["schema"] == FIRST_SCHEMA:
        return []
    checks = reconcile(document)
    return [Check(f"as its builder has it, {one.name}", one.passed, one.detail) for one in checks]


def _files_of(place: Path) -> list[Path]:
    return sorted(place.glob("*.json")) if place.is_dir() else [place]


def _schema(data: bytes) -> object:
    try:
        return json.loads(data)["report"]["schema"]
    except MALFORMED:
        return None


def _tell(told: dict[str, list[Check]]) -> None:
    count = failed = 0
    for name, checks in told.items():
        wrong = [check for check in checks if not check.passed]
        count, failed = count + len(checks), failed + len(wrong)
        console.print(f"{name}:", markup=False, highlight=False, soft_wrap=True)
        tell_checks(wrong if len(told) > MANY and wrong else checks[: 1 if len(told) > MANY else None])
    if failed:
        complain(f"{failed} of {count} checks failed: do not trust these files")
        raise SystemExit(1)
    console.print(f"all {count} checks passed", markup=False)
