"""Takes the transparency log a step further: signs it when it has grown, publishes it, asks the witnesses.

The log's own key is Ed25519, in `data_dir/keys/log.key`, made when the log begins. Where the database has
checkpoints and the key is missing or another, nothing is signed: a second key would look like a second log.
Beside it each key that may sign reports signs, so that who has only that can check.

The ledger does this, on the machine where that key is; reading and serving need no key (`pool.log_files`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store, log_witness, report_keys, resources
from pool.clock import unix_microseconds
from pool.config import ConfigError, Settings
from pool.durable import write_durably
from pool.log_files import LogFiles, read_checkpoint
from pool.log_reader import LogReader
from pool.log_section import WitnessSection
from pool.log_signing import sign_checkpoint
from pool.log_store import LogError, Signed
from pool.log_witness import WitnessError
from pool.preflight import make_directory
from reporting.checkpoint import origin_of
from reporting.key_file import KeyFileError, read_or_make_secret, read_secret
from reporting.note import Bip340Signer, Ed25519Signer, Note, NoteError, NoteSigner, verified
from reporting.signing import SigningError

log = structlog.get_logger(__name__)

LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking a witness; `trouble` is empty where it cosigned."""

    witness: str
    trouble: str


def origin(settings: Settings) -> str:
    """The name of the pool's log."""
    return origin_of(settings.pool.bin, settings.pool.chain)


def log_key_file(settings: Settings) -> Path:
    """Where the key that signs the log is, or will be."""
    return settings.data_dir / "keys" / "log.key"


def log_vkey_file(settings: Settings) -> Path:
    """Where its public half is: for the web role, which needs no secret; copied where that runs apart."""
    return settings.data_dir / "keys" / "log.vkey"


class LogKeeper:
    """One pool's log."""

    def __init__(
        self, engine: AsyncEngine, settings: Settings, now_us: Callable[[], int] = unix_microseconds
    ) -> None:
        self.reader = LogReader()
        self.files = LogFiles(engine, settings.data_dir, self.reader)
        self.engine = engine
        self._settings = settings
        self._now_us = now_us
        self._origin = origin(settings)

    async def advance(self) -> tuple[Signed | None, list[Asked]]:
        """Sign the log as it stands if it has grown, publish it, ask the witnesses, publish what they said.

        Raises LogError, and what signing or the database raises; a witness's trouble is only told.
        """
        told = await asyncio.to_thread(read_checkpoint, self.files.directory)
        async with self.engine.begin() as connection:
            signers = await self._signers(connection)
            try:
                signed = await sign_checkpoint(
                    connection, self.reader, self._origin, signers, self._now_us(), told
                )
            except (SigningError, NoteError) as error:
                raise LogError(f"log: cannot be signed: {error}") from error
        if signed is None:
            return None, []
        await self.files.publish()
        await asyncio.to_thread(_tell, log_vkey_file(self._settings), str(signers[0].key))
        asked = await self._ask(signed)
        if any(not one.trouble for one in asked):
            await self.files.publish()
        return signed, asked

    async def replace_key(self, reason: str) -> str:
        """Make a new key in place of one that is lost, and tell so in the log; its vkey.

        Raises LogError where the key is there, none was ever used, or the reason is none.
        """
        if not 1 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
            raise LogError(f"reason: write it in one line of 1 to {LONGEST_REASON} characters")
        path = log_key_file(self._settings)
        if path.exists():
            raise LogError(f"{path}: the key is there; move the file away if it must not be used any more")
        async with self.engine.begin() as connection:
            await log_store.lock(connection)
            if await log_store.newest_checkpoint(connection) is None:
                raise LogError("log: no checkpoint was signed yet; its key is made by itself")
            key = Ed25519Signer(self._origin, _secret(path, new=True)).key
            body = {"vkey": str(key), "reason": reason}
            await log_store.append(connection, "log_key", body, self._now_us())
        return str(key)

    async def vkeys(self) -> list[str]:
        """The keys that a checkpoint would be signed with now, the log's own first."""
        async with self.engine.connect() as connection:
            return [str(signer.key) for signer in await self._signers(connection)]

    async def cosign(self, note: Note) -> list[str]:
        """Keep cosignatures that came by hand and publish them; the names of the witnesses."""
        keys = [one.key for one in self._settings.log.witnesses]
        async with self.engine.begin() as connection:
            names = await log_store.add_cosignatures(connection, note, keys, self._now_us())
        await self.files.publish()
        return names

    async def _signers(self, connection: AsyncConnection) -> list[NoteSigner]:
        key = await self._log_signer(connection)
        ring = await report_keys.read(connection)
        at = dt.datetime.fromtimestamp(self._now_us() / 1_000_000, dt.UTC)
        may = {one.key_id for one in ring.in_force(at)}
        reports = [one for one in resources.signers(self._settings) if not ring.entries or one.key_id in may]
        return [key, *(Bip340Signer(self._origin, one) for one in reports)]

    async def _log_signer(self, connection: AsyncConnection) -> Ed25519Signer:
        path = log_key_file(self._settings)
        last = await log_store.newest_checkpoint(connection)
        if last is not None and not path.exists():
            raise LogError(
                f"{path}: the log's key is missing; restore it from a backup, or copy it from the machine "
                f"that has it. If it is lost for good: `dmpool log key --replace REASON`"
            )
        signer = Ed25519Signer(self._origin, _secret(path, new=last is None))
        if last is not None and not _signed_by(last.note, signer):
            told = await log_store.newest_of(connection, "log_key")
            if told is None or json.loads(told)["vkey"] != str(signer.key):
                raise LogError(
                    f"{path}: this key did not sign the checkpoint of {last.checkpoint.size} leaves; restore "
                    f"the one that did"
                )
        return signer

    async def _ask(self, signed: Signed) -> list[Asked]:
        async with self.engine.connect() as connection:
            known = await log_store.cosigned(connection)
        waiting = [
            (one, known.get((one.key.name, one.key.key_id.hex()), 0))
            for one in self._settings.log.witnesses
            if one.url is not None
        ]
        size = signed.checkpoint.size
        timeout = aiohttp.ClientTimeout(total=log_witness.ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:

            async def ask_one(witness: WitnessSection, known: int) -> Asked:
                try:
                    signature = await log_witness.ask(
                        http, witness, signed.note, signed.checkpoint, self.reader.tree, known
                    )
                except WitnessError as error:
                    log.warning("log_witness_failed", witness=witness.name, reason=str(error))
                    return Asked(witness.name, str(error))
                note = Note(signed.note.text, (signature,))
                async with self.engine.begin() as connection:
                    await log_store.add_cosignatures(connection, note, [witness.key], self._now_us())
                return Asked(witness.name, "")

            return list(await asyncio.gather(*(ask_one(one, upto) for one, upto in waiting if upto < size)))


def _secret(path: Path, *, new: bool) -> bytes:
    make_directory(path.parent, mode=0o700)
    try:
        return read_or_make_secret(path, lambda: secrets.token_bytes(32)) if new else read_secret(path)
    except (KeyFileError, OSError) as error:
        raise ConfigError(f"data_dir: {error}") from error


def _tell(path: Path, vkey: str) -> None:
    line = f"{vkey}\n".encode()
    if not path.exists() or path.read_bytes() != line:
        write_durably(path, line)


def _signed_by(note: Note, signer: Ed25519Signer) -> bool:
    try:
        return bool(verified(note, [signer.key]))
    except NoteError:
        return False
