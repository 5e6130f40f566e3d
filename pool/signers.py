"""Who signs a payout: somebody elsewhere, the node's wallet, or a program of the operator's.

A signer takes a PSBT and gives it back with signatures; it neither decides what is signed nor sends anything.
Where a person signs (a cold key, several keys), there is no signer here: the PSBT is exported and imported.

A program gets the PSBT in base64 on standard input and answers with the signed one on standard output. It is
started without a shell, gets none of our secrets but its environment, and has a time limit.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from pool.settlement_config import SettlementSection
from pool.wallet import Wallet

COMMAND_SECONDS: Final = 120.0
"""A program that takes longer is ended; a signer that asks a person is the signer "psbt"."""
_SHOWN: Final = 300
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]+")


class SignerError(Exception):
    """The signer did not sign; the text says what it said."""


class Signer(Protocol):
    """Signs a PSBT."""

    hands_out: bool
    """Whether the PSBT leaves this program and the node, so that somebody else may have signed it."""

    async def sign(self, psbt: str) -> str:
        """The same PSBT with signatures; raises SignerError or NodeError."""
        ...


class NodeSigner:
    """The keys are in the node's wallet."""

    hands_out = False

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet

    async def sign(self, psbt: str) -> str:
        """Ask the wallet."""
        return await self._wallet.sign(psbt)


class CommandSigner:
    """A program signs."""

    hands_out = True

    def __init__(self, command: Sequence[str], seconds: float = COMMAND_SECONDS) -> None:
        self._command = tuple(command)
        self._seconds = seconds

    async def sign(self, psbt: str) -> str:
        """Run the program once."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SignerError(
                f"signer {self._command[0]}: cannot be started ({error.strerror}); correct settlement.command"
            ) from None
        try:
            async with asyncio.timeout(self._seconds):
                out, complaints = await process.communicate(psbt.encode())
        except TimeoutError:
            raise SignerError(
                f"signer {self._command[0]}: did not answer within {self._seconds:g} s and was ended"
            ) from None
        finally:
            await _end(process)
        said = complaints.decode(errors="replace").strip()[-_SHOWN:]
        if process.returncode != 0:
            raise SignerError(
                f"signer {self._command[0]}: ended with code {process.returncode}: {said or 'without a word'}"
            )
        if not _BASE64.fullmatch(out):
            raise SignerError(
                f"signer {self._command[0]}: answered {out[:40]!r} and not a PSBT in base64; what it has to "
                f"say belongs on standard error"
            )
        return "".join(out.decode().split())


async def _end(process: asyncio.subprocess.Process) -> None:
    """The program and what it started, if it still runs."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def signer_of(section: SettlementSection, wallet: Wallet) -> Signer | None:
    """The signer of the configuration; None where a person signs."""
    match section.signer:
        case "psbt":
            return None
        case "node":
            return NodeSigner(wallet)
        case "command":
            return CommandSigner(section.command)
