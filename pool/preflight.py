"""What is looked at before a process binds anything: its ports, its data directory, its nodes.

Each mistake that an operator must mend is a `ConfigError` with the key, the value and the remedy.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog

from pool.config import ConfigError, Listen, Settings
from pool.door_tls import door_certificate
from pool.node import Node, NodeError, NodeWrongChain
from register.register import Register
from register.rules import Rules, RulesError, load_rules
from stratum.tls import BadCertificate, TlsCertificate

log = structlog.get_logger(__name__)


class Role(Enum):
    """What a process does."""

    GATEWAY = "gateway"
    LEDGER = "ledger"
    WEB = "web"


ALL_ROLES = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running process can be reached, for the banner."""

    stratum: Listen | None
    stratum_tls: Listen | None
    web: Listen | None
    door: Listen | None
    metrics: Listen


def addresses_of(settings: Settings, roles: frozenset[Role]) -> Addresses:
    """What a process with these roles binds."""
    return Addresses(
        stratum=settings.stratum.listen if Role.GATEWAY in roles else None,
        stratum_tls=settings.stratum.tls.listen if settings.stratum.tls and Role.GATEWAY in roles else None,
        web=settings.web.listen if Role.WEB in roles else None,
        door=settings.door.tls.listen if settings.door.tls and Role.WEB in roles else None,
        metrics=settings.metrics.listen,
    )


def require_free(addresses: Addresses) -> None:
    """Each address must be bindable, before any is bound, and be another one than the others."""
    chosen: dict[int, str] = {}
    for key, listen in (
        ("stratum.listen", addresses.stratum),
        ("stratum.tls.listen", addresses.stratum_tls),
        ("web.listen", addresses.web),
        ("door.tls.listen", addresses.door),
        ("metrics.listen", addresses.metrics),
    ):
        if listen is None:
            continue
        if listen.port and listen.port in chosen:
            raise ConfigError(
                f'{key}: "{listen}": its port is that of {chosen[listen.port]}; choose another port'
            )
        chosen[listen.port] = key
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listen.host, listen.port))
            except OSError as error:
                remedy = (
                    "choose another port or stop what uses it"
                    if error.errno == errno.EADDRINUSE
                    else ("choose an address of this machine")
                )
                raise ConfigError(f'{key}: "{listen}": {error.strerror or error}; {remedy}') from error


def require_certificate(settings: Settings) -> TlsCertificate | None:
    """The TLS port's certificate, which must be usable; None without that port."""
    tls = settings.stratum.tls
    if tls is None:
        return None
    try:
        return TlsCertificate(tls.certificate, tls.key)
    except BadCertificate as error:
        raise ConfigError(f"stratum.tls: {error}; give a chain and its key, both PEM") from None


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make a directory with its parents, unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise ConfigError(
            f'data_dir: "{path}": {error.strerror}; give a directory that can be written'
        ) from error


def lock(data_dir: Path, roles: frozenset[Role], stack: ExitStack) -> None:
    """One process a role and data_dir: a spool and a chain have one owner."""
    make_directory(data_dir)
    try:
        for role in sorted(roles, key=lambda one: one.value):
            file = stack.enter_context((data_dir / f"{role.value}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f'data_dir: "{data_dir}": another dmpool works in it; stop it or give each its own'
        ) from None
    except OSError as error:
        raise ConfigError(
            f'data_dir: "{data_dir}": {error.strerror}; give a directory that can be written'
        ) from error


async def refuse_wrong_chain(nodes: Sequence[Node]) -> None:
    """A node on another chain is a mistake in the configuration; one that is away may come later."""
    for number, node in enumerate(nodes):
        try:
            await node.check()
        except NodeWrongChain as error:
            raise ConfigError(f"nodes.{number}.url: {error}") from error
        except NodeError as error:
            log.error("node_failed", node=node.name, reason=str(error), explained="waiting for it")


def read_rules(settings: Settings, now_us: int) -> Rules:
    """The rules of law that the configuration names; each must have a row of today."""
    try:
        rules = load_rules(settings.rules_file)
        rules.require(rules.day_of(now_us))
    except RulesError as error:
        raise ConfigError(f"rules_file: {error}") from None
    except OSError as error:
        raise ConfigError(
            f"rules_file: {settings.rules_file}: {error.strerror}; give the path of a rules file"
        ) from None
    return rules


def refuse_unaccredited(settings: Settings, rules: Rules, register: Register, now_us: int) -> None:
    """In production a pool without an accreditation in force takes no work (O-20, O-21)."""
    day = rules.day_of(now_us)
    if not settings.production or any(one.covers(day) for one in register.accreditations.values()):
        return
    raise ConfigError(
        f"register: the pool has no accreditation in force on {day}, and pool.chain is "
        f'"{settings.pool.chain}"; enter it with `dmpool pool accredit` (O-20)'
    )


def in_use(data_dir: Path, besides: frozenset[Role] = frozenset()) -> bool:
    """Whether a process has a role in this directory right now, besides those that the caller itself has."""
    for role in frozenset(Role) - besides:
        path = data_dir / f"{role.value}.lock"
        if not path.exists():
            continue
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


async def problems(settings: Settings, nodes: Sequence[Node]) -> list[str]:
    """Everything that would keep a pool with these settings from working, as lines for the operator."""
    found: list[str] = []
    try:
        require_free(addresses_of(settings, ALL_ROLES))
    except ConfigError as error:
        found.append(str(error))
    for require in (lambda: require_certificate(settings), lambda: door_certificate(settings.door)):
        try:
            require()
        except ConfigError as error:
            found.append(str(error))
    try:
        read_rules(settings, time.time_ns() // 1000)
    except ConfigError as error:
        found.append(str(error))
    if settings.nodes:
        for number, node in enumerate(nodes):
            try:
                await node.check()
            except NodeError as error:
                found.append(f"nodes.{number}.url: {error}")
    return found
