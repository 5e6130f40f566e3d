"""`dmpool devices`: hardware units, one by one or in bulk (O-06, O-07)."""

from __future__ import annotations

import datetime as dt
from itertools import islice
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_options import ConfigOption
from pool.cli_tables import OutArgument, give, offer_import
from pool.cli_view import AsOfOption, Day, OnOption, SearchOption, View, found, look, show, show_facts, told
from pool.register_views import device_state
from register.clerk import Clerk
from register.device import Device
from register.tables import read_hashrate, write_hashrate

cli = typer.Typer(no_args_is_help=True, help="Hardware units of the state register.")

State = Literal["registered", "to_come", "excluded"]
PAGE: Final = 50
_KINDS: Final = ("miner", "device", "centre")

NumberArgument = Annotated[str, typer.Argument(help="Number in the state register.")]
AccountOption = Annotated[str | None, typer.Option("--account", help="Of one miner.")]
StateOption = Annotated[State | None, typer.Option("--state", help="On that day.")]
HashrateOption = Annotated[str | None, typer.Option("--nominal-ths", help="Nominal TH/s, like 95.5.")]
WattOption = Annotated[int | None, typer.Option("--nominal-w", help="Nominal power in watts.")]


@cli.command()
def add(
    number: NumberArgument,
    account: Annotated[str, typer.Option(help="Account of the miner that works with it.")],
    worker: Annotated[str, typer.Option(help="Worker name in its firmware: account.worker.")],
    manufacturer: Annotated[str, typer.Option()],
    model: Annotated[str, typer.Option()],
    serial: Annotated[str, typer.Option(help="Serial number.")],
    nominal_ths: Annotated[str, typer.Option(help="Nominal TH/s, like 95.5.")],
    nominal_w: Annotated[int, typer.Option(help="Nominal power in watts.")],
    owner_bin: Annotated[str, typer.Option(help="BIN or IIN of its owner.")],
    centre: Annotated[str, typer.Option(help="Code of the data centre where it stands.")],
    included_on: Day,
    reason: ReasonOption,
    place: Annotated[str, typer.Option(help="Hall, rack.")] = "",
    contract: Annotated[str, typer.Option(help="Number of the hosting contract (subtype II).")] = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a hardware unit; its work counts from 00:00 of the day on which it was included."""
    with mistakes():
        ghs = read_hashrate(nominal_ths)

    def work(clerk: Clerk) -> None:
        miner = clerk.register.miner(account)
        clerk.enter_device(
            Device(
                number,
                manufacturer,
                model,
                serial,
                worker,
                ghs,
                nominal_w,
                owner_bin,
                miner.id,
                centre,
                included_on.date(),
                place=place,
                contract=contract,
            )
        )

    change(config, token_file, reason, work)


@cli.command("set")
def set_(
    number: NumberArgument,
    reason: ReasonOption,
    worker: Annotated[str | None, typer.Option(help="Worker name.")] = None,
    manufacturer: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option()] = None,
    serial: Annotated[str | None, typer.Option(help="Serial number.")] = None,
    nominal_ths: HashrateOption = None,
    nominal_w: WattOption = None,
    owner_bin: Annotated[str | None, typer.Option(help="BIN or IIN of its owner.")] = None,
    centre: Annotated[str | None, typer.Option(help="Code of the data centre.")] = None,
    place: Annotated[str | None, typer.Option(help="Hall, rack.")] = None,
    contract: Annotated[str | None, typer.Option(help="Number of the hosting contract.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Change what is known of a hardware unit; what is not given stays."""
    with mistakes():
        ghs = None if nominal_ths is None else read_hashrate(nominal_ths)
    given: dict[str, Any] = {
        "worker": worker,
        "manufacturer": manufacturer,
        "model": model,
        "serial_number": serial,
        "nominal_ghs": ghs,
        "nominal_w": nominal_w,
        "owner_bin": owner_bin,
        "centre": centre,
        "place": place,
        "contract": contract,
    }
    change(config, token_file, reason, lambda clerk: _replace(clerk, number, given))


@cli.command()
def transfer(
    number: NumberArgument,
    account: Annotated[str, typer.Option(help="Account of the miner that works with it from now on.")],
    reason: ReasonOption,
    owner_bin: Annotated[str | None, typer.Option(help="BIN or IIN of its new owner.")] = None,
    worker: Annotated[str | None, typer.Option(help="New worker name.")] = None,
    centre: Annotated[str | None, typer.Option(help="Code of its new data centre.")] = None,
    place: Annotated[str | None, typer.Option(help="Hall, rack.")] = None,
    contract: Annotated[str | None, typer.Option(help="Number of the new hosting contract.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a hardware unit to another miner, at once."""

    def work(clerk: Clerk) -> None:
        given: dict[str, Any] = {
            "miner_id": clerk.register.miner(account).id,
            "owner_bin": owner_bin,
            "worker": worker,
            "centre": centre,
            "place": place,
            "contract": contract,
        }
        _replace(clerk, number, given)

    change(config, token_file, reason, work)


@cli.command()
def exclude(
    number: NumberArgument,
    on: OnOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A hardware unit leaves the state register."""
    change(config, token_file, reason, lambda clerk: clerk.exclude_device(number, on.date()))


def _replace(clerk: Clerk, number: str, given: dict[str, Any]) -> None:
    before = clerk.register.device(number)
    changes = {name: value for name, value in given.items() if value is not None}
    after = msgspec.structs.replace(before, **changes)
    if after != before:
        clerk.change_device(after)


@cli.command("list")
def list_(
    search: SearchOption = "",
    account: AccountOption = None,
    state: StateOption = None,
    everything: Annotated[bool, typer.Option("--all", help=f"More than {PAGE} rows.")] = False,
    as_of: AsOfOption = None,
    config: ConfigOption = None,
) -> None:
    """Hardware units by registry number, serial number, worker or model."""
    with mistakes():
        view = look(config, as_of, _KINDS)
        chosen = _select(view, search, account, state)
    rows = (
        (
            one.registry_number,
            f"{view.register.miners[one.miner_id].name}.{one.worker}",
            f"{one.manufacturer} {one.model}",
            one.serial_number,
            write_hashrate(one.nominal_ghs),
            one.centre,
            _shown(state_of(one, view.day)),
        )
        for one in islice(chosen, None if everything else PAGE)
    )
    show(("number", "worker", "model", "serial number", "TH/s", "centre", "state"), rows)
    if len(chosen) > PAGE and not everything:
        told(f"{PAGE} of {len(chosen)} hardware units; --all shows the others, --search finds one")
    else:
        told(f"{len(chosen)} hardware units")


@cli.command("show")
def show_(number: NumberArgument, as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """One hardware unit, whole."""
    with mistakes():
        view = look(config, as_of, _KINDS)
        one = view.register.device(number)
    miner = view.register.miners[one.miner_id]
    centre = view.register.centres.get(one.centre)
    show_facts(
        (
            ("registry number", one.registry_number),
            ("state", _shown(state_of(one, view.day))),
            ("included on", str(one.included_on)),
            ("excluded on", str(one.excluded_on or "")),
            ("worker", f"{miner.name}.{one.worker}"),
            ("miner", miner.title),
            ("manufacturer", one.manufacturer),
            ("model", one.model),
            ("serial number", one.serial_number),
            ("nominal", f"{write_hashrate(one.nominal_ghs)} TH/s, {one.nominal_w} W"),
            ("owner", one.owner_bin),
            ("data centre", f"{one.centre}, {centre.title}" if centre else one.centre),
            ("place", one.place),
            ("hosting contract", one.contract),
        )
    )


offer_import(cli, "device", "Enter or change hardware units of a file.")


@cli.command()
def export(
    file: OutArgument,
    search: SearchOption = "",
    account: AccountOption = None,
    state: StateOption = None,
    as_of: AsOfOption = None,
    config: ConfigOption = None,
) -> None:
    """Write hardware units to a file that `import` reads."""
    with mistakes():
        view = look(config, as_of, _KINDS)
        chosen = _select(view, search, account, state)
    give("device", file, chosen, view)


def state_of(device: Device, day: dt.date) -> State:
    """Whether a hardware unit is in the state register on a day."""
    state = device_state(device, day)
    return "to_come" if state == "not_yet" else state


def _shown(state: State) -> str:
    return state.replace("_", " ")


def _select(view: View, search: str, account: str | None, state: State | None) -> list[Device]:
    register = view.register
    held = register.devices.values() if account is None else register.devices_of(register.miner(account).id)
    return sorted(
        (
            one
            for one in held
            if found(search, one.registry_number, one.serial_number, one.worker, one.model)
            and (state is None or state_of(one, view.day) == state)
        ),
        key=lambda one: one.registry_number,
    )
