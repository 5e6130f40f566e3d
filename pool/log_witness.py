"""Asking a witness for its cosignature (C2SP tlog-witness, `add-checkpoint`).

A witness remembers the last checkpoint that it cosigned, and wants a proof that the new one goes on from it.
It is somebody else's server: what it answers is bounded in time and size, and believed only as far as its key
signed it. Whatever goes wrong is one witness's affair.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import aiohttp

from pool.log_section import WitnessSection
from reporting.checkpoint import Checkpoint, witness_request
from reporting.merkle import Tree
from reporting.note import Note, NoteError, Signature, parse_signatures

ANSWER_SECONDS: Final = 10.0
ANSWER_LIMIT: Final = 64 * 1024
_OLD_SIZE: Final = "text/x.tlog.size"
_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n?")


class WitnessError(Exception):
    """No cosignature came. The message says what did."""


async def ask(
    http: aiohttp.ClientSession,
    witness: WitnessSection,
    note: Note,
    checkpoint: Checkpoint,
    tree: Tree,
    known: int,
) -> Signature:
    """The witness's cosignature of a checkpoint, checked.

    `known` is the size that it cosigned last, as far as we know; where it says another, it is asked once more
    from there. Raises WitnessError.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status, kind, body = await _post(http, witness, note, tree, checkpoint.size, known)
            if status == 409 and kind == _OLD_SIZE:
                theirs = _their_size(body, checkpoint.size)
                status, kind, body = await _post(http, witness, note, tree, checkpoint.size, theirs)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # of a name that is none
        raise WitnessError(f"does not answer: {str(error) or type(error).__name__}") from error
    if status == 409:
        raise WitnessError(
            "has seen another tree of this log: the past was rewritten, or somebody else signs"
        )
    if status != 200:
        raise WitnessError(f"refuses with status {status}: {body[:200]!r}")
    return _cosignature(witness, note, body)


async def _post(
    http: aiohttp.ClientSession, witness: WitnessSection, note: Note, tree: Tree, size: int, old: int
) -> tuple[int, str, str]:
    body = witness_request(old, tree.consistency(old, size), note.encode())
    url = f"{str(witness.url).rstrip('/')}/add-checkpoint"
    async with http.post(url, data=body, allow_redirects=False) as answer:
        data = await answer.content.read(ANSWER_LIMIT)
        while len(data) < ANSWER_LIMIT and (more := await answer.content.read(ANSWER_LIMIT - len(data))):
            data += more
        return answer.status, answer.content_type, data.decode("utf-8", "replace")


def _their_size(body: str, ours: int) -> int:
    found = _SIZE.fullmatch(body)
    if found is None:
        raise WitnessError(f"says that it knows another size, and not which: {body[:40]!r}")
    theirs = int(found[1])
    if theirs > ours:
        raise WitnessError(
            f"has cosigned a tree of {theirs} leaves of this log, which has {ours}: the database was "
            f"restored from an older backup, or somebody else signs with the log's key"
        )
    return theirs


def _cosignature(witness: WitnessSection, note: Note, body: str) -> Signature:
    key = witness.key
    try:
        mine = [one for one in parse_signatures(body) if key.signed(one)]
        for one in mine:
            key.check(note.text, one)
    except NoteError as error:
        raise WitnessError(f"answers with what is no cosignature: {error}") from error
    if not mine:
        raise WitnessError(f"answers without a cosignature of {key}")
    return mine[0]
