"""`dmpool miners`: the register of licensed miners, by hand and in bulk (O-02, O-31).

A miner is its account, legal name, BIN or IIN, language, contacts and payout threshold. Licences, hardware
and data centres have commands of their own; `show` brings together what the register knows of one miner, and
`suspend`, `resume` and `revoke` act on the licence that it has now.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
import uvloop

from pool import register_store
from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_devices import state_of
from pool.cli_licences import (
    ActOption,
    CodeOption,
    CourtOption,
    DecisionOption,
    FromOption,
    UntilOption,
    show_phases,
)
from pool.cli_options import ConfigOption
from pool.cli_tables import OutArgument, give, offer_import
from pool.cli_view import (
    SUBTYPES,
    AsOfOption,
    OnOption,
    SearchOption,
    View,
    calendar_day,
    found,
    look,
    show,
    show_events,
    show_facts,
    standing,
    told,
)
from pool.config import Settings, load
from pool.resources import command_database, rules_of
from register.clerk import Clerk
from register.event import Event
from register.licence import Act, LicenceError
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import token_hash
from register.tables import read_contact

cli = typer.Typer(no_args_is_help=True, help="The register of licensed miners.")

EVENTS_SHOWN: Final = 10
_TOKEN_BYTES: Final = 32
_KINDS: Final = ("miner", "licence", "address")
AccountArgument = Annotated[str, typer.Argument(metavar="NAME", help="Account, as in account.worker.")]
LanguageOption = Annotated[Literal["en", "ru", "kk"], typer.Option(help="Of what the miner is told.")]
ContactOption = Annotated[
    list[str] | None, typer.Option("--contact", help='"name;email;phone"; give it once for each.')
]


@cli.command()
def add(
    name: AccountArgument,
    title: Annotated[str, typer.Option(help="Legal name.")],
    bin_number: Annotated[str, typer.Option("--bin", help="BIN or IIN, 12 digits.")],
    reason: ReasonOption,
    language: LanguageOption = "en",
    contact: ContactOption = None,
    payout_threshold: Annotated[
        int, typer.Option(help="Satoshis from which it is paid; 0: as the pool has it.")
    ] = 0,
    address: Annotated[str | None, typer.Option(help="Wallet on the pool's chain.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a miner. It may mine once it has a licence and a hardware unit."""
    with mistakes():
        contacts = tuple(read_contact(one) for one in contact or ())

    def work(clerk: Clerk) -> None:
        miner = clerk.enter_miner(Miner(0, name, title, bin_number, language, contacts, payout_threshold))
        if address is not None:
            clerk.enter_address(PayoutAddress(miner.id, 0, "wallet", address, 0))

    change(config, token_file, reason, work)


@cli.command("set")
def set_(
    name: AccountArgument,
    reason: ReasonOption,
    title: Annotated[str | None, typer.Option(help="Legal name.")] = None,
    bin_number: Annotated[str | None, typer.Option("--bin", help="BIN or IIN, 12 digits.")] = None,
    language: Annotated[
        Literal["en", "ru", "kk"] | None, typer.Option(help="Of what the miner is told.")
    ] = None,
    contact: Annotated[
        list[str] | None,
        typer.Option("--contact", help='"name;email;phone"; replaces all contacts, "" leaves none.'),
    ] = None,
    payout_threshold: Annotated[
        int | None, typer.Option(help="Satoshis from which it is paid; 0: as the pool has it.")
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Change what is known of a miner; what is not given stays."""
    given: dict[str, Any] = {
        "title": title,
        "bin": bin_number,
        "language": language,
        "payout_threshold_sat": payout_threshold,
    }
    if contact:
        with mistakes():
            given["contacts"] = tuple(read_contact(one) for one in contact if one)

    def work(clerk: Clerk) -> None:
        before = clerk.register.miner(name)
        changes = {key: value for key, value in given.items() if value is not None}
        after = msgspec.structs.replace(before, **changes)
        if after != before:
            clerk.change_miner(after)

    change(config, token_file, reason, work)


@cli.command()
def token(
    name: AccountArgument,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a token that opens the miner's statements; the one before is no longer good."""
    made = secrets.token_urlsafe(_TOKEN_BYTES)

    def work(clerk: Clerk) -> None:
        miner = clerk.register.miner(name)
        clerk.change_miner(msgspec.structs.replace(miner, statement_token_sha256=token_hash(made)))

    change(config, token_file, reason, work, aside=True)
    told(
        f"token of {name} for /miners/{name} and its statements, shown once; hand it to the miner alone:",
        aside=True,
    )
    print(made)


@cli.command("address")
def address_(
    name: AccountArgument,
    address: Annotated[str, typer.Argument(help="Address on the pool's chain.")],
    reason: ReasonOption,
    exchange: Annotated[
        str, typer.Option(help="Name of the exchange, for a deposit address; else it is a wallet.")
    ] = "",
    licensor: Annotated[str, typer.Option(help="Who licensed the exchange: AFSA or NBK.")] = "",
    exchange_licence: Annotated[str, typer.Option(help="Number of the exchange's licence.")] = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a payout address; a later one takes effect after the waiting period."""
    purpose: Literal["wallet", "exchange_deposit"] = "exchange_deposit" if exchange else "wallet"

    def work(clerk: Clerk) -> PayoutAddress | None:
        miner = clerk.register.miner(name)
        new = clerk.enter_address(
            PayoutAddress(miner.id, 0, purpose, address, 0, exchange, licensor, exchange_licence)
        )
        return clerk.register.addresses.get(new.key)  # None while it is only proposed

    entered = change(config, token_file, reason, work)
    if entered is not None and entered.effective_us > time.time_ns() // 1000:
        told(f"payments go there from {rules_of(load(config)).local(entered.effective_us):%Y-%m-%d %H:%M} on")


@cli.command()
def withdraw_address(
    key: Annotated[str, typer.Argument(help="As `dmpool miners show` has it, like 3.2.")],
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Withdraw an address: one that waits, or one that another has taken over from."""
    change(config, token_file, reason, lambda clerk: clerk.withdraw_address(key))


@cli.command()
def suspend(
    name: AccountArgument,
    decision: DecisionOption,
    reason_code: CodeOption,
    first: FromOption,
    until: UntilOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """The licence that the miner has now is suspended (O-08, O-09)."""
    act = Act("suspended", decision, first.date(), reason_code, until.date())
    _act(name, act, config, token_file, reason)


@cli.command()
def resume(
    name: AccountArgument,
    act: ActOption,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """The suspended licence of the miner is resumed (O-10)."""
    _act(name, Act("resumed", act, on.date()), config, token_file, reason)


@cli.command()
def revoke(
    name: AccountArgument,
    court_act: CourtOption,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A court deprives the miner of the licence that it has now (O-11)."""
    _act(name, Act("revoked", court_act, on.date()), config, token_file, reason)


def _act(name: str, act: Act, config: Path | None, token_file: Path | None, reason: str) -> None:
    rules = rules_of(load(config))
    with mistakes():
        start_us = rules.day_bounds(calendar_day(act.on))[0]

    def work(clerk: Clerk) -> None:
        miner = clerk.register.miner(name)
        held = clerk.register.standing(miner, start_us, rules).licence
        if held is None:
            raise LicenceError(f"miner {name}: has no licence; enter one by `dmpool licences add`")
        clerk.act_on_licence(held.number, act)

    change(config, token_file, reason, work)


@cli.command("list")
def list_(search: SearchOption = "", as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """Miners by account, legal name or BIN, with the licence that counts."""
    with mistakes():
        view = look(config, as_of, _KINDS)
    chosen = _select(view, search)
    show_miners(chosen, view)
    told(f"{len(chosen)} miners")


def show_miners(miners: list[Miner], view: View) -> None:
    """Miners with their standing."""
    rows = []
    for miner in miners:
        _, licence, wallet = view.register.standing(miner, view.at_us, view.rules)
        rows.append(
            (
                miner.name,
                miner.title,
                miner.bin,
                f"{licence.number} ({SUBTYPES[licence.subtype]})" if licence else "",
                str(licence.valid_to) if licence else "",
                standing(licence, view),
                "yes" if wallet else "no",
            )
        )
    show(("account", "legal name", "BIN/IIN", "licence", "until", "stands", "wallet"), rows)


@cli.command("show")
def show_(name: AccountArgument, as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """All that the register knows of one miner."""
    with mistakes():
        view = look(config, as_of)
        miner = view.register.miner(name)
    _, licence, wallet = view.register.standing(miner, view.at_us, view.rules)
    centres = [one for one in view.register.centres.values() if one.holder_bin == miner.bin]
    show_facts(
        [
            ("account", miner.name),
            ("id", str(miner.id)),
            ("legal name", miner.title),
            ("BIN/IIN", f"{miner.bin} ({miner.kind.value.replace('_', ' ')})"),
            ("language", miner.language),
            *(
                ("contact", ", ".join(filter(None, (one.name, one.email, one.phone))))
                for one in miner.contacts
            ),
            ("stands", standing(licence, view)),
            ("paid to", wallet.address if wallet else "no wallet in effect"),
            ("paid from", _threshold(miner)),
            ("hardware units", _count_units(miner, view)),
            *(("data centre", f"{one.code}, {one.title}, {one.address}") for one in centres),
        ]
    )
    licences = sorted(view.register.licences_of(miner.id), key=lambda one: one.valid_from)
    if licences:
        show_phases(licences, view)
    _show_addresses(miner, view)
    show_events(uvloop.run(_latest(load(config), miner, view)), view)


def _threshold(miner: Miner) -> str:
    own = miner.payout_threshold_sat
    return f"{own:,} satoshis" if own else "the pool's threshold"


def _count_units(miner: Miner, view: View) -> str:
    counts: dict[str, int] = {}
    for device in view.register.devices_of(miner.id):
        state = state_of(device, view.day).replace("_", " ")
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _show_addresses(miner: Miner, view: View) -> None:
    held = sorted(view.register.addresses_of(miner.id), key=lambda one: one.number)
    if not held:
        return
    rows = []
    for one in held:
        over = one.withdrawn_us is not None and one.withdrawn_us <= view.at_us
        to = one.purpose.replace("_", " ") + (f", {one.exchange} ({one.licensor})" if one.exchange else "")
        until = view.clock(one.withdrawn_us) if over and one.withdrawn_us is not None else ""
        rows.append((one.key, one.address, to, view.clock(one.effective_us), until))
    show(("key", "address", "for", "in effect from", "withdrawn"), rows)


async def _latest(settings: Settings, miner: Miner, view: View) -> list[Event]:
    """The newest events of the miner, its licences and its addresses; hardware is told by `register log`."""
    keys = [("miner", str(miner.id))]
    keys += [("licence", one.number) for one in view.register.licences_of(miner.id)]
    keys += [("address", one.key) for one in view.register.addresses_of(miner.id)]
    async with command_database(settings) as engine:
        all_ = [
            event
            for kind, key in keys
            for event in await register_store.history(engine, kind, key)
            if event.at_us <= view.at_us
        ]
    return sorted(all_, key=lambda event: event.seq)[-EVENTS_SHOWN:]


offer_import(cli, "miner", "Enter or change miners of a file.")


@cli.command()
def export(
    file: OutArgument, search: SearchOption = "", as_of: AsOfOption = None, config: ConfigOption = None
) -> None:
    """Write miners to a file that `import` reads."""
    with mistakes():
        view = look(config, as_of, _KINDS)
    give("miner", file, _select(view, search), view)


def _select(view: View, search: str) -> list[Miner]:
    return [
        one for _, one in sorted(view.register.miners.items()) if found(search, one.name, one.title, one.bin)
    ]
