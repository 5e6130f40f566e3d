"""Where the keys are that sign reports: a file, the environment, or a program that keeps the secret itself.

A program is started without a shell for each signature. It gets the digest in hex and a newline on standard
input, and answers on standard output with the signature in hex; it has a time limit, and more than that
answer is not read. What it says on standard error is thrown away, and its arguments are not told: either may
hold a PIN.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pool.signing_section import KeySection, SigningSection
from pool.telemetry.concealed import conceal
from reporting.bip340 import ALGORITHM, key_id
from reporting.key_file import KeyFileError
from reporting.signing import Signer, SigningError, SigningKey, load_or_create

COMMAND_SECONDS: Final = 30.0
"""A program that takes longer is ended."""
_SECRET: Final = re.compile(r"[0-9a-f]{64}")
_ANSWER: Final = re.compile(rb"\s*([0-9a-fA-F]{128})\s*")
_LONGEST_ANSWER: Final = 1024
"""Bytes; a signature has 128."""


class CommandSigner:
    """A key whose secret a program keeps: an HSM, a vault, a machine behind a wire."""

    algorithm: Final = ALGORITHM

    def __init__(self, command: Sequence[str], public_key: str, seconds: float = COMMAND_SECONDS) -> None:
        self.public_key: Final = public_key
        self.key_id: Final = key_id(bytes.fromhex(public_key))
        self._command = tuple(command)
        self._seconds = seconds

    def sign(self, digest: bytes) -> bytes:
        """Ask the program once, and wait for it; raises SigningError."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, without a shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such command line"
            raise self._failed(f"cannot be started ({reason})") from None
        try:
            answer = self._answer(process, digest)
        finally:
            _end(process)
        found = _ANSWER.fullmatch(answer)
        if found is None:
            raise self._failed(f"answered {len(answer)} bytes that are no signature of 128 hex digits")
        return bytes.fromhex(found.group(1).decode())

    def _answer(self, process: subprocess.Popen[bytes], digest: bytes) -> bytes:
        until = time.monotonic() + self._seconds
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):
            process.stdin.write(digest.hex().encode() + b"\n")
            process.stdin.close()
        answer = b""
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while len(answer) <= _LONGEST_ANSWER:
                if not ready.select(max(0.0, until - time.monotonic())):
                    raise self._failed(f"did not answer within {self._seconds:g} s and was ended")
                piece = os.read(process.stdout.fileno(), _LONGEST_ANSWER)
                if not piece:
                    break
                answer += piece
            else:
                raise self._failed(f"answered more than {_LONGEST_ANSWER} bytes and was ended")
        try:
            code = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {self._seconds:g} s and was ended") from None
        if code != 0:
            raise self._failed(f"ended with code {code}")
        return answer

    def _failed(self, what: str) -> SigningError:
        return SigningError(
            f"key {self.key_id}: {self._command[0]}: {what}; try it by hand, with 64 hex digits to read"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program and all that it started, unless it ended by itself."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def signers_of(section: SigningSection, default: Path) -> list[Signer]:
    """The keys of the configuration, or the one in the `default` file. A file that is not there is made.

    Raises KeyFileError naming the key of the configuration that is wrong.
    """
    found: list[Signer] = []
    for number, source in enumerate(sources_of(section, default)):
        where = f"signing.keys.{number}" if section.keys else "data_dir"
        try:
            one = _signer(source)
        except (KeyFileError, OSError) as error:
            raise KeyFileError(f"{where}: {error}") from None
        if one.key_id in [other.key_id for other in found]:
            raise KeyFileError(f"{where}: key {one.key_id} is named twice; remove one of its sources")
        found.append(one)
    return found


def sources_of(section: SigningSection, default: Path) -> tuple[KeySection, ...]:
    """Where the keys are, as configured or by default."""
    return section.keys or (KeySection(file=default),)


def _signer(source: KeySection) -> Signer:
    if source.file is not None:
        source.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return load_or_create(source.file)
    if source.public_key is not None:
        return CommandSigner(source.command, source.public_key)
    secret = os.environ.get(source.environment or "", "")
    if not _SECRET.fullmatch(secret):
        raise KeyFileError(
            f"environment variable {source.environment} does not hold 64 lower-case hex digits; set it where "
            f"dmpool is started"
        )
    conceal(secret)
    return SigningKey(bytes.fromhex(secret))
