"""Checks a copy of the log, or a proof from it, with nothing but the keys: for whoever follows a pool.

The copy is a directory in the layout of C2SP tlog-tiles, read through a function. Every entry must have its
hash in a tile, every tile above must be made of those below, the root must be the signed one, and the log
must go on from any checkpoint that was kept: two signed ones that do not fit prove a rewritten past.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reporting.checkpoint import Checkpoint, LoggedProof, parse_checkpoint
from reporting.dmpool_verify import Check
from reporting.equality import Broken, run_check
from reporting.log_story import Story
from reporting.merkle import HASH_SIZE, ProofError, Tree, check_consistency, leaf_hash
from reporting.note import COSIGNATURE, Note, NoteError, VerifierKey, cosigned_at, parse_note, verified
from reporting.tiles import ENTRIES, WIDTH, Tile, parse_bundle, tile_bytes, tiles_of

Read = Callable[[str], bytes | None]
"""The file at a path below the log's address, or None."""


def check_log(read: Read, keys: Sequence[VerifierKey], old: Note | None = None) -> list[Check]:
    """The checks of a copy of a log; a checkpoint that is not signed ends the list.

    `keys` are the log's and those of witnesses whose cosignature is wanted; `old` is a checkpoint kept from
    an earlier look.
    """
    data = read("checkpoint")
    if data is None:
        return [Check("the checkpoint is there", False, "the file checkpoint is missing")]
    try:
        note = parse_note(data)
    except NoteError as error:
        return [Check("the checkpoint is a signed note", False, str(error))]
    checks = _check_note("the checkpoint", note, keys)
    if not checks[0].passed:
        return checks
    checkpoint = parse_checkpoint(note.text)
    try:
        tree, told = _read_entries(read, checkpoint.size)
    except ValueError as error:
        return [*checks, Check("every entry is there", False, str(error))]
    checks.append(Check("every entry is there", True, f"{tree.size} entries"))
    checks.append(run_check("every tile is made of what it stands for", lambda _: _tiles(read, tree), None))
    checks.append(run_check("the root is that of the entries", lambda _: _root(tree, checkpoint), None))
    checks.append(told)
    if old is not None:
        checks += _check_note("the old checkpoint", old, [key for key in keys if key.type != COSIGNATURE])
        name = "the log goes on from the old checkpoint"
        checks.append(run_check(name, lambda _: _continued(tree, checkpoint, old), None))
    return checks


def check_proof(proof: LoggedProof, keys: Sequence[VerifierKey]) -> list[Check]:
    """The checks of a proof that carries its entry along."""
    checks = _check_note("the checkpoint", proof.note, keys)
    name = "the entry is in the log"
    if checks[0].passed:
        checks.append(run_check(name, lambda _: _proven(proof), None))
    return checks


def _check_note(what: str, note: Note, keys: Sequence[VerifierKey]) -> list[Check]:
    log_keys = [key for key in keys if key.type != COSIGNATURE]
    witnesses = [key for key in keys if key.type == COSIGNATURE]
    checks = [run_check(f"{what} is signed by the log", lambda _: _signed(note, log_keys), None)]
    for key in witnesses if checks[0].passed else ():
        checks.append(run_check(f"{what} is cosigned by {key.name}", _cosigned, (note, key)))
    return checks


def _signed(note: Note, keys: Sequence[VerifierKey]) -> str:
    try:
        checkpoint = parse_checkpoint(note.text)
        found = verified(note, keys)
    except NoteError as error:
        raise Broken(str(error)) from error
    others = sorted({key.name for key, _ in found} - {checkpoint.origin})
    if others:
        raise Broken(f"it is of {checkpoint.origin}, and signed by {', '.join(others)}")
    return f"{checkpoint.origin}, {checkpoint.size} entries, root {checkpoint.root.hex()}"


def _cosigned(what: tuple[Note, VerifierKey]) -> str:
    note, key = what
    try:
        found = verified(note, [key])
    except NoteError as error:
        raise Broken(str(error)) from error
    return f"at unix time {cosigned_at(found[-1][1])}"


def _read_entries(read: Read, size: int) -> tuple[Tree, Check]:
    """The tree over all entries, and whether they agree with each other; ValueError where one is missing."""
    tree, story = Tree(), Story()
    for tile in tiles_of(size):
        if tile.level == ENTRIES:
            entries = parse_bundle(_tile(read, tile))
            if len(entries) < tile.width:
                raise ValueError(f"{tile.path}: has {len(entries)} entries, not {tile.width}")
            for one in entries[: tile.width]:
                story.read(tree.size, one)
                tree.append(leaf_hash(one))
    return tree, story.check


def _tiles(read: Read, tree: Tree) -> str:
    count = 0
    for tile in tiles_of(tree.size):
        if tile.level == ENTRIES:
            continue
        try:
            theirs = _tile(read, tile)[: tile.width * HASH_SIZE]
        except ValueError as error:
            raise Broken(str(error)) from error
        if theirs != tile_bytes(tree, tile):
            raise Broken(f"{tile.path}: its hashes are not those of the entries")
        count += 1
    return f"{count} tiles"


def _tile(read: Read, tile: Tile) -> bytes:
    """A tile; in place of a partial one that is gone, the full one."""
    data = read(tile.path)
    if data is None:
        data = read(Tile(tile.level, tile.index, WIDTH).path)
    if data is None:
        raise ValueError(f"{tile.path}: is missing")
    return data


def _root(tree: Tree, checkpoint: Checkpoint) -> str:
    if tree.root() != checkpoint.root:
        raise Broken(f"the entries have root {tree.root().hex()}, signed is {checkpoint.root.hex()}")
    return checkpoint.root.hex()


def _continued(tree: Tree, checkpoint: Checkpoint, old: Note) -> str:
    try:
        before = parse_checkpoint(old.text)
        if before.origin != checkpoint.origin:
            raise Broken(f"the old checkpoint is of another log, {before.origin}")
        proof = tree.consistency(before.size) if before.size <= tree.size else []
        check_consistency(before.size, before.root, checkpoint.size, checkpoint.root, proof)
    except (NoteError, ProofError) as error:
        raise Broken(f"{error}. Keep both checkpoints: signed, they prove it") from error
    return f"from {before.size} entries to {checkpoint.size}"


def _proven(proof: LoggedProof) -> str:
    if proof.data is None:
        raise Broken("the file does not carry the entry")
    try:
        checkpoint = proof.check(proof.data)
    except (NoteError, ProofError) as error:
        raise Broken(str(error)) from error
    return f"entry {proof.index} of {checkpoint.size}: {proof.data.decode('utf-8', 'replace')}"
