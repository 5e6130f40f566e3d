"""`dmpool log`: the transparency log, shown, published, proven, cosigned and verified.

`verify` is for outsiders: it needs a copy of the log's files, or a proof from it, and the keys; neither
configuration nor database.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvloop

from pool import log_store
from pool.cli_options import ConfigOption, complain, tell_checks
from pool.cli_view import show as show_table
from pool.cli_view import show_facts, told
from pool.config import ConfigError, Settings, load
from pool.log_files import read_checkpoint
from pool.log_keeper import LogKeeper, origin
from pool.log_store import LogError, Signed
from pool.reading import DatabaseAway
from pool.resources import command_database, rules_of
from register.rules import Rules
from reporting.checkpoint import LoggedProof, parse_checkpoint, parse_proof
from reporting.keyring import RingError
from reporting.log_check import check_log, check_proof
from reporting.note import BIP340, NoteError, VerifierKey, parse_key, parse_note, verifier_key

cli = typer.Typer(no_args_is_help=True, help="The transparency log: what was published, for good.")

_Result = TypeVar("_Result")


@cli.command()
def show(config: ConfigOption = None) -> None:
    """The log as it stands: its size and root, what is published, who witnessed it."""
    settings = load(config)
    rules = rules_of(settings)

    async def look(keeper: LogKeeper) -> tuple[int, Signed | None, dict[tuple[str, str], int]]:
        async with keeper.engine.connect() as connection:
            return (
                await log_store.size(connection),
                await log_store.newest_checkpoint(connection),
                await log_store.cosigned(connection),
            )

    leaves, signed, cosigned = _with_keeper(settings, look)
    published = read_checkpoint(settings.data_dir / "log")
    show_facts(
        [
            ("log", origin(settings)),
            ("entries", str(leaves)),
            *_told_of(signed, rules),
            ("published here", "nothing" if published is None else f"{published.size} entries"),
        ]
    )
    witnesses = [(one, (one.key.name, one.key.key_id.hex())) for one in settings.log.witnesses]
    show_table(
        ("witness", "key", "address", "cosigned"),
        [
            (one.name, f"{key[0]} {key[1]}", one.url or "by hand", str(cosigned.get(key, 0)))
            for one, key in witnesses
        ],
        title="Witnesses",
    )


def _told_of(signed: Signed | None, rules: Rules) -> list[tuple[str, str]]:
    if signed is None:
        return [("signed", "nothing")]
    at = rules.local(signed.signed_us)
    return [
        ("signed", f"{signed.checkpoint.size} entries, {at:%Y-%m-%d %H:%M:%S}"),
        ("root", signed.checkpoint.root.hex()),
    ]


@cli.command()
def publish(config: ConfigOption = None) -> None:
    """Sign the log if it has grown, write its files, ask the witnesses. The ledger does it by itself."""
    signed, asked = _with_keeper(load(config), lambda keeper: keeper.advance())
    if signed is None:
        told("the log has no entries yet")
        return
    told(f"{signed.checkpoint.size} entries, root {signed.checkpoint.root.hex()}")
    for one in asked:
        told(f"{one.witness}: {one.trouble or 'cosigned'}")


@cli.command()
def prove(
    index: Annotated[int, typer.Argument(min=0, help="Of the entry, from 0.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here; else to standard output.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """A file that proves one entry to whoever has the log's key (C2SP tlog-proof), with the entry in it."""

    async def build(keeper: LogKeeper) -> LoggedProof:
        async with keeper.engine.connect() as connection:
            entry = next(iter(await log_store.entries(connection, index, 1)), None)
            proof = await keeper.reader.proof(connection, index, entry)
            if proof is None:
                signed = await log_store.newest_checkpoint(connection)
                size = 0 if signed is None else signed.checkpoint.size
                raise LogError(f"log entry {index}: there is no such entry among the {size} that are signed")
        return proof

    data = _with_keeper(load(config), build).encode()
    if out is None:
        sys.stdout.buffer.write(data)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigError(f'--out: "{out}": {error.strerror}; name a file that can be written') from error


@cli.command()
def key(
    config: ConfigOption = None,
    replace: Annotated[
        str | None,
        typer.Option("--replace", metavar="REASON", help="The log's key is lost: make another, and say why."),
    ] = None,
) -> None:
    """The keys that checkpoints are verified with (vkeys): the log's own, and those that sign reports."""
    settings = load(config)
    if replace is not None:
        print(_with_keeper(settings, lambda keeper: keeper.replace_key(replace)))
        return
    for vkey in _with_keeper(settings, lambda keeper: keeper.vkeys()):
        print(vkey)


@cli.command()
def cosign(
    file: Annotated[Path, typer.Argument(help="A checkpoint of this log with the lines of witnesses.")],
    config: ConfigOption = None,
) -> None:
    """Take in what a witness cosigned elsewhere; only one that [[log.witnesses]] names."""
    settings = load(config)
    try:
        note = parse_note(file.read_bytes())
    except (OSError, NoteError) as error:
        complain(f"{file}: {error}")
        raise SystemExit(2) from None
    names = _with_keeper(settings, lambda keeper: keeper.cosign(note))
    told(f"cosigned by {', '.join(names)}")


@cli.command()
def verify(
    path: Annotated[Path, typer.Argument(help="Directory with a copy of the log, or a .tlog-proof file.")],
    keys: Annotated[
        list[str],
        typer.Option(
            "--key", help="vkey of the log or of a witness, or the key of reports in hex; repeat it."
        ),
    ],
    old: Annotated[
        Path | None,
        typer.Option("--old", help="A checkpoint kept from an earlier look: the log must go on from it."),
    ] = None,
) -> None:
    """Check a copy of the log, or a proof, without trusting the pool; exits non-zero when one check fails."""
    try:
        if path.is_dir():
            note = parse_note((path / "checkpoint").read_bytes())
            earlier = None if old is None else parse_note(old.read_bytes())
            checks = check_log(_reader(path), _keys(keys, note.text), earlier)
        else:
            proof = parse_proof(path.read_bytes())
            checks = check_proof(proof, _keys(keys, proof.note.text))
    except (OSError, NoteError) as error:
        complain(f"{path}: {error}")
        raise SystemExit(2) from None
    failed = tell_checks(checks)
    if failed:
        complain(f"{path}: {failed} of {len(checks)} checks failed: do not trust this log")
        raise SystemExit(1)


def _keys(texts: list[str], text: str) -> list[VerifierKey]:
    name = parse_checkpoint(text).origin
    return [_key(one, name) for one in texts]


def _key(text: str, name: str) -> VerifierKey:
    """A vkey, or the 64 hex digits of a key that signs reports, under the log's name."""
    try:
        return verifier_key(name, BIP340, bytes.fromhex(text))
    except ValueError:
        return parse_key(text)


def _reader(directory: Path) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        try:
            return (directory / path).read_bytes()
        except FileNotFoundError:
            return None

    return read


def _with_keeper(settings: Settings, work: Callable[[LogKeeper], Awaitable[_Result]]) -> _Result:
    async def run() -> _Result:
        async with command_database(settings) as engine:
            return await work(LogKeeper(engine, settings))

    try:
        return uvloop.run(run())
    except (LogError, NoteError, RingError, DatabaseAway, OSError) as error:
        complain(str(error))
        raise SystemExit(1) from None
