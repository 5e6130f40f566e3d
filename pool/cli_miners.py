"""`dmpool miners`: the register of licensed miners, by hand."""

from __future__ import annotations

import datetime as dt
import time
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from pool import register_store
from pool.cli_options import ConfigOption, complain, console
from pool.config import Settings, load
from pool.resources import RULES_FILE, command_database
from register.licence import Licence
from register.miner import Miner, MinerError
from register.rules import load_rules

cli = typer.Typer(no_args_is_help=True, help="The register of licensed miners.")

Day = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"])]


@cli.command()
def add(
    name: Annotated[str, typer.Argument(help="Account, as in the firmware: account.worker.")],
    title: Annotated[str, typer.Option(help="Legal name.")],
    bin_number: Annotated[str, typer.Option("--bin", help="BIN or IIN, 12 digits.")],
    licence: Annotated[str, typer.Option(help="Number of the licence.")],
    subtype: Annotated[int, typer.Option(min=1, max=2, help="1: own data centre; 2: hosted hardware.")],
    valid_from: Day,
    valid_to: Day,
    address: Annotated[str, typer.Option(help="Payout address on the pool's chain.")],
    config: ConfigOption = None,
) -> None:
    """Enter a licensed miner. Gateways let it in within seconds."""
    settings = load(config)

    async def enter() -> Miner:
        async with command_database(settings) as engine:
            return await register_store.add_miner(
                engine,
                load_rules(RULES_FILE),
                settings.pool.chain,
                name=name,
                title=title,
                bin_number=bin_number,
                licence_held=Licence(licence, 1 if subtype == 1 else 2, valid_from.date(), valid_to.date()),
                address=address,
            )

    try:
        miner = uvloop.run(enter())
    except ValueError as error:
        complain(str(error))
        raise SystemExit(2) from None
    console.print(f"miner {miner.name} entered with id {miner.id}", markup=False)


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All miners with their licences."""
    miners = uvloop.run(_read(load(config)))
    rules = load_rules(RULES_FILE)
    now_us = time.time_ns() // 1000
    table = Table("account", "legal name", "BIN/IIN", "licence", "subtype", "from", "to", "in force")
    for miner in miners:
        held = miner.licence
        start, end = held.in_force(rules)
        table.add_row(
            miner.name,
            miner.title,
            miner.bin,
            held.number,
            "I" if held.subtype == 1 else "II",
            str(held.valid_from),
            str(held.valid_to),
            "yes" if start <= now_us < end else "no",
        )
    console.print(table)


@cli.command()
def show(name: Annotated[str, typer.Argument(help="Account.")], config: ConfigOption = None) -> None:
    """One miner, whole."""
    settings = load(config)

    async def read() -> Miner:
        async with command_database(settings) as engine:
            return await register_store.show_miner(engine, name)

    try:
        miner = uvloop.run(read())
    except MinerError as error:
        complain(str(error))
        raise SystemExit(2) from None
    table = Table(show_header=False)
    for label, value in (
        ("account", miner.name),
        ("id", str(miner.id)),
        ("legal name", miner.title),
        ("BIN/IIN", f"{miner.bin} ({miner.kind.value.replace('_', ' ')})"),
        ("licence", f"{miner.licence.number}, subtype {'I' * miner.licence.subtype}"),
        ("in force", f"{miner.licence.valid_from} to {miner.licence.valid_to}, both days included"),
        ("payout address", miner.payout_address),
    ):
        table.add_row(label, value)
    console.print(table)


async def _read(settings: Settings) -> list[Miner]:
    async with command_database(settings) as engine:
        return await register_store.list_miners(engine)
