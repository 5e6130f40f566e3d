"""`dmpool pool`: what the law asks of the pool itself (O-20 to O-24).

Accreditation, sites, test protocols, and the other requirements of the accreditation Rules with the evidence
that they are met; of an evidence file the name and the SHA-256 are kept, the file stays where it is.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, cast

import typer

from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_options import ConfigOption
from pool.cli_view import AsOfOption, Day, DayOption, OnOption, look, show
from pool.config import ConfigError
from register.pool_data import SITE_ROLES, Accreditation, Requirement, Site, SiteRole, TestProtocol

cli = typer.Typer(no_args_is_help=True, help="The pool's own data: accreditation, sites, test protocols.")


@cli.command()
def accredit(
    number: Annotated[str, typer.Argument(help="Number of the accreditation.")],
    issued_on: Day,
    reason: ReasonOption,
    valid_to: DayOption = None,
    issuer: Annotated[str, typer.Option(help="Who gave it.")] = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter the pool's accreditation, or its last day."""
    accreditation = Accreditation(number, issued_on.date(), valid_to.date() if valid_to else None, issuer)
    change(config, token_file, reason, lambda clerk: clerk.put_accreditation(accreditation))


@cli.command()
def site(
    code: Annotated[str, typer.Argument(help="Short name of the site.")],
    address: Annotated[str, typer.Option()],
    role: Annotated[list[str], typer.Option(help=f"Of {', '.join(SITE_ROLES)}; give it once for each.")],
    reason: ReasonOption,
    country: Annotated[str, typer.Option(help="ISO 3166-1 alpha-2.")] = "KZ",
    closed_on: DayOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a place where parts of the pool's complex stand, or anew what is known of it (O-22)."""
    roles = tuple(cast("SiteRole", one) for one in role)  # the clerk looks at them
    made = Site(code, address, country, roles, closed_on.date() if closed_on else None)
    change(config, token_file, reason, lambda clerk: clerk.put_site(made))


@cli.command()
def protocol(
    number: Annotated[str, typer.Argument(help="Number of the test protocol.")],
    on: OnOption,
    laboratory: Annotated[str, typer.Option()],
    version: Annotated[str, typer.Option(help="Tested version, as `dmpool --version` said.")],
    reason: ReasonOption,
    digest: Annotated[str, typer.Option(help="Git commit or image digest of what was tested.")] = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a positive protocol of information-security tests (O-23)."""
    made = TestProtocol(number, on.date(), laboratory, version, digest)
    change(config, token_file, reason, lambda clerk: clerk.put_protocol(made))


@cli.command()
def requirement(
    code: Annotated[str, typer.Argument(help="Short name of the requirement.")],
    text: Annotated[str, typer.Option(help="What is required.")],
    source: Annotated[str, typer.Option(help="Where it is written.")],
    reason: ReasonOption,
    met_on: DayOption = None,
    evidence: Annotated[Path | None, typer.Option(help="File that shows that it is met.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter one more requirement of the accreditation Rules, or that it is met (O-24)."""
    with mistakes():
        name, sha256 = (evidence.name, _sha256(evidence)) if evidence else ("", "")
    made = Requirement(code, text, source, met_on.date() if met_on else None, name, sha256)
    change(config, token_file, reason, lambda clerk: clerk.put_requirement(made))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f'--evidence: "{path}": {error.strerror}; name a file that can be read') from error


@cli.command("show")
def show_(as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """All of the pool's own data."""
    with mistakes():
        view = look(config, as_of, ("accreditation", "site", "protocol", "requirement"))
    register = view.register
    show(
        ("number", "issued on", "last day", "issuer"),
        (
            (one.number, str(one.issued_on), str(one.valid_to or ""), one.issuer)
            for one in register.accreditations.values()
        ),
        "accreditation (O-20)",
    )
    show(
        ("code", "country", "address", "what stands there", "closed on"),
        (
            (one.code, one.country, one.address, ", ".join(one.roles), str(one.closed_on or ""))
            for one in register.sites.values()
        ),
        "sites (O-22)",
    )
    show(
        ("number", "on", "laboratory", "tested version", "digest"),
        (
            (one.number, str(one.on), one.laboratory, one.version, one.digest)
            for one in register.protocols.values()
        ),
        f"test protocols (O-23); running is version {version_of('dmpool')}",
    )
    show(
        ("code", "requirement", "source", "met on", "evidence", "SHA-256"),
        (
            (one.code, one.text, one.source, str(one.met_on or ""), one.evidence, one.evidence_sha256)
            for one in register.requirements.values()
        ),
        "requirements (O-24)",
    )
