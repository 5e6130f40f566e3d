"""Checkpoints (C2SP tlog-checkpoint): which log, how many leaves, which root; and files that carry them.

A checkpoint is the text of a signed note (`reporting.note`). Beside it here are the two other texts of C2SP
that have one inside: the proof that a leaf is in a log, for whoever has no connection (tlog-proof), and the
question to a witness (tlog-witness).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from reporting.merkle import HASH_SIZE, check_inclusion, leaf_hash
from reporting.note import Note, NoteError, parse_note

PROOF_HEAD: Final = "c2sp.org/tlog-proof@v1"
PROOF_LINES: Final = 63
"""Hashes of a proof: a tree has fewer than 2**63 leaves."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """The state of a log."""

    origin: str
    """The log's name."""
    size: int
    root: bytes

    def text(self) -> str:
        """The text to be signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class LoggedProof:
    """That a leaf is in a log: its index, the proof, and the signed checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    note: Note
    data: bytes | None = None
    """The leaf itself, where the file carries it along as `extra`; to be believed only after `check`."""

    def encode(self) -> bytes:
        """The file `.tlog-proof`."""
        extra = "" if self.data is None else f"extra {_base64(self.data)}\n"
        lines = "".join(f"{_base64(one)}\n" for one in self.hashes)
        return f"{PROOF_HEAD}\n{extra}index {self.index}\n{lines}\n".encode() + self.note.encode()

    def check(self, data: bytes) -> Checkpoint:
        """That the leaf with this data is where the proof says; answers with the checkpoint.

        Its signatures are not looked at. Raises ProofError, or NoteError for a note that is no checkpoint.
        """
        checkpoint = parse_checkpoint(self.note.text)
        check_inclusion(leaf_hash(data), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def origin_of(bin_: str, chain: str) -> str:
    """The name of a pool's log: by its BIN, which it keeps whatever its address, and by the chain.

    With the chain, so that the log of a trial on regtest is never taken for the one on main.
    """
    return f"dmpool/{bin_}/{chain}"


def parse_checkpoint(text: str) -> Checkpoint:
    """A checkpoint of a note's text; NoteError for another text, or one with extension lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise NoteError("checkpoint: it must be three lines: origin, size and root")
    return Checkpoint(lines[0], _number("checkpoint: size", lines[1]), _hash("checkpoint: root", lines[2]))


def parse_proof(data: bytes) -> LoggedProof:
    """A file `.tlog-proof`; nothing is checked but its form. Raises NoteError."""
    head, blank, rest = data.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "replace").split("\n")
    if not blank or first != PROOF_HEAD:
        raise NoteError(f"proof: it must begin with {PROOF_HEAD} and have a checkpoint behind a blank line")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _bytes("proof: extra", lines.pop(0).removeprefix("extra "))
    word, _, number = (lines or [""])[0].partition(" ")
    if word != "index" or len(lines) > PROOF_LINES + 1:
        raise NoteError("proof: a line must have the index, with at most 63 hashes below it")
    hashes = tuple(_hash("proof", line) for line in lines[1:])
    return LoggedProof(_number("proof: index", number), hashes, parse_note(rest), extra)


def witness_request(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """What a witness is asked with at `add-checkpoint`: the size it knows, the proof from there, the note."""
    lines = "".join(f"{_base64(one)}\n" for one in proof)
    return f"old {old}\n{lines}\n".encode() + note


def _number(what: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NoteError(f"{what}: {text[:40]!r} is no number without leading zeros")
    return int(text)


def _hash(what: str, text: str) -> bytes:
    value = _bytes(what, text)
    if len(value) != HASH_SIZE:
        raise NoteError(f"{what}: {text[:60]!r} is no SHA-256")
    return value


def _bytes(what: str, text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value or _base64(value) != text:
        raise NoteError(f"{what}: {text[:60]!r} is no base64")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
