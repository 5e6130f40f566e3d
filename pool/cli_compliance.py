"""`dmpool compliance`: what a compliance officer should know today (`register.digest`).

For a past day it is made from the register as it stood at the end of that day, by the rules of that day.
"""

from __future__ import annotations

import datetime as dt
import json
from importlib.metadata import version
from typing import Annotated, Final

import msgspec
import typer
import uvloop

from pool import register_store, sale_watch
from pool.cli_actor import mistakes
from pool.cli_options import ConfigOption
from pool.cli_view import View, instant, show, told
from pool.config import Settings, load
from pool.resources import command_database, rules_of
from register.digest import Digest, Note, NoteKind, digest
from register.register import Register
from register.rules import Rules

cli = typer.Typer(no_args_is_help=True, help="What a compliance officer should know.")

TITLES: Final = {
    NoteKind.NOT_ACCREDITED: "no accreditation is in force (O-21)",
    NoteKind.ACCREDITATION_ENDING: "the accreditation ends soon (O-21)",
    NoteKind.SITE_ABROAD: "a site is not in Kazakhstan (O-22)",
    NoteKind.VERSION_NOT_TESTED: "the running version is not a tested one (O-23)",
    NoteKind.REQUIREMENT_UNMET: "a requirement is not met (O-24)",
    NoteKind.NO_OWN_CENTRE: "subtype I without a data centre of its own (O-05)",
    NoteKind.NOT_HOSTED: "subtype II with hardware that is not its own, or not hosted (O-06)",
    NoteKind.LICENCE_ENDING: "licence ends soon (O-04)",
    NoteKind.AWAITING_RESUMPTION: "licence awaits its resumption act (O-10)",
    NoteKind.SALE_SHORT: "short of the mandatory sale of the period that ended last (O-52)",
    NoteKind.SALE_BEHIND: "yet to sell in the period that ends this month (O-52)",
    NoteKind.ADDRESS_WAITING: "a payout address takes effect soon (O-31)",
    NoteKind.UNREGISTERED: "worker that is no hardware unit (O-07)",
    NoteKind.FOREIGN: "worker that is a hardware unit of another account (O-07)",
    NoteKind.DUPLICATE: "hardware unit in two sessions (O-07)",
    NoteKind.OVERRATE: "hardware unit faster than it can be (O-07)",
    NoteKind.REFUSED: "refused at the gate (O-03)",
}
"""Kinds of note whose own name says too little."""


@cli.command("digest")
def digest_(
    date: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day in Kazakhstan; else today.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    config: ConfigOption = None,
) -> None:
    """Licences that end soon, suspensions, unregistered and doubled hardware, and what else to see to."""
    settings = load(config)
    rules = rules_of(settings)
    with mistakes():
        made = uvloop.run(_digest(settings, rules, date.date() if date else None))
    if as_json:
        print(json.dumps(msgspec.to_builtins(made), ensure_ascii=False, indent=2))
        return
    view = View(Register(), rules, made.at_us)
    for kind in NoteKind:
        notes = made.of(kind)
        if notes:
            rows = [_row(note, view) for note in notes]
            title = f"{TITLES.get(kind, kind.value.replace('_', ' '))}: {len(notes)}"
            show(("account", "what", "from", "to", "more"), rows, title)
    told(f"{made.day}: {len(made.notes)} notes, from register event {made.seq}:{made.sha256}")


async def _digest(settings: Settings, rules: Rules, day: dt.date | None) -> Digest:
    now_us = instant(None, rules)
    today = rules.day_of(now_us)
    past = day is not None and day < today
    at_us = instant(str(day), rules) if day is not None and day != today else now_us
    async with command_database(settings) as engine:
        register = await register_store.read(engine, before_us=at_us + 1 if past else None)
        shown = day or today
        seen = await register_store.read_sightings(engine, shown, shown)
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            besides = sale_watch.notes(await sale_watch.watch(connection, rules, shown), shown)
    return digest(register, rules, at_us, seen, version("dmpool"), besides)


def _row(note: Note, view: View) -> tuple[str, ...]:
    more = [
        f"{note.days_left} days left" if note.days_left is not None else "",
        f"ground {note.reason_code}" if note.reason_code else "",
        f"{note.count} times" if note.last_us else "",
        f"{note.count} units" if note.count and not note.last_us else "",
        f"last {view.clock(note.last_us)}" if note.last_us else "",
        f"in effect from {view.clock(note.until_us)}" if note.until_us else "",
        f"asked for by {note.actor}" if note.actor else "",
        note.detail,
    ]
    return (
        note.account,
        note.subject,
        str(note.since or ""),
        str(note.until or ""),
        ", ".join(part for part in more if part),
    )
