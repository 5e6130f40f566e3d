"""`dmpool licences`: licences and what became of them, one by one or in bulk (O-03 to O-11).

What became of a licence is told by acts of the authorised body, or a court; they are added one by one.
`correct` is for what was entered wrongly, or taken back by who decided it.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_options import ConfigOption
from pool.cli_tables import OutArgument, give, offer_import
from pool.cli_view import (
    SUBTYPES,
    AsOfOption,
    Day,
    DayOption,
    LastDay,
    OnOption,
    SearchOption,
    View,
    found,
    look,
    show,
    show_facts,
    standing,
    told,
)
from register.clerk import Clerk
from register.licence import FOREVER_US, Act, ActKind, Licence, LicenceError, Status

cli = typer.Typer(no_args_is_help=True, help="Licences for digital mining.")

NumberArgument = Annotated[str, typer.Argument(help="Number of the licence.")]
DecisionOption = Annotated[str, typer.Option("--decision", help="Number of the decision.")]
CodeOption = Annotated[int, typer.Option("--reason-code", min=1, max=6, help="LAW art. 9 p. 4 sp. 1) to 6).")]
FromOption = Annotated[dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")]
UntilOption = Annotated[dt.datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="Last day.")]
ActOption = Annotated[str, typer.Option("--act", help="Number of the act.")]
CourtOption = Annotated[str, typer.Option("--court-act", help="Number of the court act (O-11).")]
StatusOption = Annotated[Status | None, typer.Option("--status", help="Where it stands.")]
EndingOption = Annotated[
    int | None, typer.Option("--ending", min=0, help="Ends by itself within so many days.")
]
SubtypeOption = Annotated[int, typer.Option(min=1, max=2, help="1: own data centre; 2: hosted hardware.")]
_KINDS = ("miner", "licence")


@cli.command()
def add(
    number: NumberArgument,
    miner: Annotated[str, typer.Option(help="Account.")],
    subtype: SubtypeOption,
    issued_on: Day,
    valid_from: Day,
    valid_to: LastDay,
    reason: ReasonOption,
    issuer: Annotated[str, typer.Option(help="Who issued it.")] = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a licence of a miner."""
    kind: Literal[1, 2] = 1 if subtype == 1 else 2

    def work(clerk: Clerk) -> None:
        holder = clerk.register.miner(miner)
        days = issued_on.date(), valid_from.date(), valid_to.date()
        clerk.enter_licence(Licence(number, holder.id, kind, *days, issuer=issuer))

    change(config, token_file, reason, work)


@cli.command()
def suspend(
    number: NumberArgument,
    decision: DecisionOption,
    reason_code: CodeOption,
    first: FromOption,
    until: UntilOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A licence is suspended, for one to six months; its miner stops at once (O-08, O-09)."""
    act = Act("suspended", decision, first.date(), reason_code, until.date())
    change(config, token_file, reason, lambda clerk: clerk.act_on_licence(number, act))


@cli.command()
def resume(
    number: NumberArgument,
    act: ActOption,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A suspended licence is resumed (O-10)."""
    _act(number, "resumed", act, on, config, token_file, reason)


@cli.command()
def end(
    number: NumberArgument,
    act: ActOption,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A licence ends before its term."""
    _act(number, "ended", act, on, config, token_file, reason)


@cli.command()
def revoke(
    number: NumberArgument,
    court_act: CourtOption,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A court deprives the miner of its licence (O-11)."""
    _act(number, "revoked", court_act, on, config, token_file, reason)


def _act(
    number: str,
    kind: ActKind,
    act: str,
    on: dt.datetime,
    config: Path | None,
    token_file: Path | None,
    reason: str,
) -> None:
    done = Act(kind, act, on.date())
    change(config, token_file, reason, lambda clerk: clerk.act_on_licence(number, done))


@cli.command()
def correct(
    number: NumberArgument,
    reason: ReasonOption,
    subtype: Annotated[int | None, typer.Option(min=1, max=2)] = None,
    issued_on: DayOption = None,
    valid_from: DayOption = None,
    valid_to: DayOption = None,
    issuer: Annotated[str | None, typer.Option(help="Who issued it.")] = None,
    without_act: Annotated[str | None, typer.Option(help="Number of an act that is taken out.")] = None,
    on: Annotated[
        dt.datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], help="Day of that act, where two bear its number."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A licence as it should have been entered; what is not given stays."""
    days = {"issued_on": issued_on, "valid_from": valid_from, "valid_to": valid_to}
    changes: dict[str, Any] = {name: day.date() for name, day in days.items() if day is not None}
    changes |= {
        name: value for name, value in {"subtype": subtype, "issuer": issuer}.items() if value is not None
    }

    def work(clerk: Clerk) -> None:
        if on is not None and without_act is None:
            raise LicenceError(f"licence {number}: --on is the day of an act; say which by --without-act")
        before = clerk.register.licence(number)
        acts = (
            before.acts if without_act is None else _without(before, without_act, on.date() if on else None)
        )
        after = msgspec.structs.replace(before, acts=acts, **changes)
        if after != before:
            clerk.correct_licence(after)

    change(config, token_file, reason, work)


def _without(licence: Licence, number: str, on: dt.date | None) -> tuple[Act, ...]:
    """The acts but the one of that number."""
    meant = [act for act in licence.acts if act.number == number and on in (None, act.on)]
    if not meant:
        day = f" of {on}" if on else ""
        raise LicenceError(
            f"licence {licence.number}: has no act {number}{day}; `licences show` tells its acts"
        )
    if len(meant) > 1:
        days = ", ".join(str(act.on) for act in meant)
        raise LicenceError(
            f"licence {licence.number}: has {len(meant)} acts {number}, of {days}; say by --on which is meant"
        )
    return tuple(act for act in licence.acts if act is not meant[0])


@cli.command("list")
def list_(
    status: StatusOption = None,
    ending: EndingOption = None,
    search: SearchOption = "",
    as_of: AsOfOption = None,
    config: ConfigOption = None,
) -> None:
    """Licences by number, account, legal name or BIN."""
    with mistakes():
        view = look(config, as_of, _KINDS)
    chosen = _select(view, search, status, ending)
    show(
        ("number", "account", "legal name", "subtype", "from", "to", "stands"),
        (
            (
                one.number,
                view.register.miners[one.miner_id].name,
                view.register.miners[one.miner_id].title,
                SUBTYPES[one.subtype],
                str(one.valid_from),
                str(one.valid_to),
                standing(one, view),
            )
            for one in chosen
        ),
    )
    told(f"{len(chosen)} licences")


@cli.command("show")
def show_(number: NumberArgument, as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """One licence and its whole life."""
    with mistakes():
        view = look(config, as_of, _KINDS)
        one = view.register.licence(number)
    miner = view.register.miners[one.miner_id]
    show_facts(
        (
            ("number", one.number),
            ("miner", f"{miner.name}, {miner.title}, {miner.bin}"),
            ("subtype", SUBTYPES[one.subtype]),
            ("issued on", str(one.issued_on)),
            ("issuer", one.issuer),
            ("term", f"{one.valid_from} to {one.valid_to}, both days included"),
            ("stands", standing(one, view)),
        )
    )
    show_phases([one], view)


def show_phases(licences: list[Licence], view: View) -> None:
    """The lives of licences."""
    rows = []
    for one in licences:
        for phase in one.phases(view.rules):
            act = phase.act
            suspended = act is not None and act.kind == "suspended"
            rows.append(
                (
                    one.number,
                    phase.status.value.replace("_", " "),
                    view.clock(phase.start_us) if phase.start_us else "",
                    view.clock(phase.end_us) if phase.end_us < FOREVER_US else "",
                    f"{act.kind} by {act.number}" if act else "",
                    str(act.reason_code) if act and suspended else "",
                )
            )
    show(("licence", "stands", "from", "before", "act", "ground"), rows)


offer_import(cli, "licence", "Enter licences of a file, or acts on them.")


@cli.command()
def export(
    file: OutArgument,
    status: StatusOption = None,
    ending: EndingOption = None,
    search: SearchOption = "",
    as_of: AsOfOption = None,
    config: ConfigOption = None,
) -> None:
    """Write licences to a file that `import` reads."""
    with mistakes():
        view = look(config, as_of, _KINDS)
    give("licence", file, _select(view, search, status, ending), view)


def _select(view: View, search: str, status: Status | None, ending: int | None) -> list[Licence]:
    chosen = []
    for one in view.register.licences.values():
        miner = view.register.miners[one.miner_id]
        stands = one.phase_at(view.at_us, view.rules).status
        over = stands in (Status.ENDED, Status.REVOKED)
        if (
            found(search, one.number, miner.name, miner.title, miner.bin)
            and (status is None or stands is status)
            and (ending is None or (not over and (one.last_day - view.day).days <= ending))
        ):
            chosen.append(one)
    return sorted(chosen, key=lambda one: (one.last_day, one.number))
