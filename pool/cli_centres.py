"""`dmpool centres`: data centres, one by one or in bulk (O-01, O-05)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import typer

from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_options import ConfigOption
from pool.cli_tables import OutArgument, give, offer_import
from pool.cli_view import AsOfOption, SearchOption, View, found, look, show, show_facts
from register.centre import Centre
from register.clerk import Clerk

cli = typer.Typer(no_args_is_help=True, help="Data centres where hardware stands.")

LegalBasis = Literal["ownership", "lease", "other"]
CodeArgument = Annotated[str, typer.Argument(help="Short, unique; stands in lists of hardware.")]


@cli.command()
def add(
    code: CodeArgument,
    title: Annotated[str, typer.Option()],
    address: Annotated[str, typer.Option()],
    holder_bin: Annotated[str, typer.Option(help="BIN or IIN of who has the centre.")],
    holder_title: Annotated[str, typer.Option(help="Legal name of who has it.")],
    legal_basis: Annotated[LegalBasis, typer.Option(help="By which it is held.")],
    document: Annotated[str, typer.Option(help="Number and date of the document behind that.")],
    reason: ReasonOption,
    declared_power_kw: Annotated[int, typer.Option(help="Declared power.")] = 0,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a data centre."""
    centre = Centre(code, title, address, holder_bin, holder_title, legal_basis, document, declared_power_kw)
    change(config, token_file, reason, lambda clerk: clerk.enter_centre(centre))


@cli.command("set")
def set_(
    code: CodeArgument,
    reason: ReasonOption,
    title: Annotated[str | None, typer.Option()] = None,
    address: Annotated[str | None, typer.Option()] = None,
    holder_bin: Annotated[str | None, typer.Option(help="BIN or IIN of who has the centre.")] = None,
    holder_title: Annotated[str | None, typer.Option(help="Legal name of who has it.")] = None,
    legal_basis: Annotated[LegalBasis | None, typer.Option(help="By which it is held.")] = None,
    document: Annotated[str | None, typer.Option(help="Number and date of the document.")] = None,
    declared_power_kw: Annotated[int | None, typer.Option(help="Declared power.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Change what is known of a data centre; what is not given stays."""
    given: dict[str, Any] = {
        "title": title,
        "address": address,
        "holder_bin": holder_bin,
        "holder_title": holder_title,
        "legal_basis": legal_basis,
        "document": document,
        "declared_power_kw": declared_power_kw,
    }

    def work(clerk: Clerk) -> None:
        before = clerk.register.centre(code)
        after = msgspec.structs.replace(
            before, **{name: value for name, value in given.items() if value is not None}
        )
        if after != before:
            clerk.change_centre(after)

    change(config, token_file, reason, work)


@cli.command("list")
def list_(search: SearchOption = "", as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """Data centres by code, title, address or holder."""
    with mistakes():
        view = look(config, as_of, ("centre", "device"))
    counts: dict[str, int] = {}
    for device in view.register.devices.values():
        counts[device.centre] = counts.get(device.centre, 0) + 1
    show(
        ("code", "title", "address", "holder", "basis", "kW", "units"),
        (
            (
                one.code,
                one.title,
                one.address,
                f"{one.holder_title}, {one.holder_bin}",
                one.legal_basis,
                str(one.declared_power_kw or ""),
                str(counts.get(one.code, 0)),
            )
            for one in _select(view, search)
        ),
    )


@cli.command("show")
def show_(code: CodeArgument, as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """One data centre, whole."""
    with mistakes():
        view = look(config, as_of, ("centre", "device"))
        one = view.register.centre(code)
    units = sum(device.centre == code for device in view.register.devices.values())
    show_facts(
        (
            ("code", one.code),
            ("title", one.title),
            ("address", one.address),
            ("holder", f"{one.holder_title}, {one.holder_bin}"),
            ("legal basis", f"{one.legal_basis}: {one.document}"),
            ("declared power", f"{one.declared_power_kw} kW" if one.declared_power_kw else ""),
            ("hardware units", str(units)),
        )
    )


offer_import(cli, "centre", "Enter or change data centres of a file.")


@cli.command()
def export(
    file: OutArgument, search: SearchOption = "", as_of: AsOfOption = None, config: ConfigOption = None
) -> None:
    """Write data centres to a file that `import` reads."""
    with mistakes():
        view = look(config, as_of, ("centre",))
    give("centre", file, _select(view, search), view)


def _select(view: View, search: str) -> list[Centre]:
    return sorted(
        (
            one
            for one in view.register.centres.values()
            if found(search, one.code, one.title, one.address, one.holder_bin, one.holder_title)
        ),
        key=lambda one: one.code,
    )
