"""What a person does to the keys that sign reports: enter one more, put one in another's place, revoke one.

Each act is one signed event in the list (`pool.report_keys`). A rotation to a new key in a file has steps
outside the database too, and may be killed between any two of them; done again, it goes on where it stopped:

    1. the new secret is written to `FILE.next`             (a `FILE.next` that is there is taken)
    2. the event is stored, signed by the old key and the new
    3. the old secret is linked to `FILE.KEYID`
    4. `FILE.next` takes the place of `FILE`                 (before, nothing but this is left to do)

Between 2 and 4 no report can be signed; who tries is told to do it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store, report_keys
from pool.clock import instant
from pool.durable import settle
from pool.key_sources import signers_of, sources_of
from pool.signing_section import SigningSection
from register.rules import Rules
from reporting.keyring import Action, KeyRing, RingError
from reporting.signing import Signer, load_or_create

NEXT: Final = ".next"


class Held(NamedTuple):
    """A key that is at hand, and its file if it is in one."""

    signer: Signer
    file: Path | None


class Done(NamedTuple):
    """What came of a rotation: which key signs from now on, and where the old secret still is."""

    key_id: str
    public_key: str
    replaced: str
    old_secret: Path | None


@dataclass(frozen=True, slots=True)
class Ceremony:
    """One person's acts; what raises RingError, KeyFileError or SigningError has changed nothing in the
    list."""

    engine: AsyncEngine
    rules: Rules
    section: SigningSection
    default: Path
    """The file of the key that signs where the section names none."""
    actor: str
    reason: str
    now_us: Callable[[], int]

    def held(self) -> list[Held]:
        """The keys of the configuration."""
        found = signers_of(self.section, self.default)
        files = [source.file for source in sources_of(self.section, self.default)]
        return [Held(*pair) for pair in zip(found, files, strict=True)]

    async def introduce(self, name: str, *, anchor: bool) -> str:
        """Enter a configured key beside the others; its public key.

        A key in force that is at hand vouches for it. An `anchor` stands for itself: those who trust the keys
        before will not trust it until they take it over, so it is refused while one could vouch.
        """
        held = self.held()
        chosen = _of(name, held)
        async with self.engine.begin() as connection:
            ring, at_us = await self._open(connection)
            vouching = [one for one in self._in_force(ring, held, at_us) if one.key_id != name]
            if anchor and vouching:
                raise RingError(
                    f"key {vouching[0].key_id} is at hand and in force: let it vouch, leave --anchor out"
                )
            if not anchor and not vouching:
                raise RingError(
                    f"no key in force is at hand to vouch for key {name}: restore one, or enter this one "
                    f"with --anchor and have everybody who verifies reports take its public key over"
                )
            by = None if anchor else vouching[0].key_id
            await self._add(connection, ring, at_us, Action.INTRODUCED, chosen, held, by)
        return chosen.signer.public_key

    async def rotate(self, old: str | None, new: str | None) -> Done:
        """Put a key in another's place; without `new`, one that is made now, in a file."""
        held = self.held()
        async with self.engine.connect() as connection:
            ring = await _begun_list(connection)
        begun = self._begun_before(ring, held, old, new)
        if begun is not None:
            return begun
        replaced = self._to_replace(ring, held, old, new)
        if new is not None:
            return await self._put_in_place(_of(new, held), replaced, held)
        if replaced.file is None:
            raise RingError(
                f"key {replaced.signer.key_id} is in no file, so that no new one can be made beside it: name "
                f"the key that takes its place in [signing] and by --new"
            )
        fresh = Held(load_or_create(_next(replaced.file)), replaced.file)
        done = await self._put_in_place(fresh, replaced, held)
        return done._replace(old_secret=_swap(replaced.file, replaced.signer.key_id))

    async def revoke(self, name: str, since_us: int | None) -> str:
        """Nothing that a key signs from an instant on (else from now on) counts; its public key.

        It is authorised by another key at hand, or where there is none by the key itself.
        """
        held = self.held()
        async with self.engine.begin() as connection:
            ring, at_us = await self._open(connection)
            if name not in ring.keys:
                raise RingError(f"key {name[:40]} is not in the list of keys; `dmpool keys list` shows all")
            may = sorted(self._in_force(ring, held, at_us), key=lambda one: one.key_id == name)
            if not may:
                raise RingError(
                    f"no key in force is at hand to authorise the revocation of key {name}: restore one, or "
                    f"enter a new one by `dmpool keys introduce --anchor` first"
                )
            event = ring.draft(
                Action.REVOKED,
                ring.keys[name].public_key,
                self.rules.local(at_us),
                self.reason,
                authorised_by=may[0].key_id,
                valid_to=None if since_us is None else self.rules.local(since_us),
            )
            await report_keys.add(connection, ring, event, may, self.actor)
        return ring.keys[name].public_key

    async def _open(self, connection: AsyncConnection) -> tuple[KeyRing, int]:
        """The ring under the log's lock, and the clock after it: what was signed before is dated before."""
        await log_store.lock(connection)
        return await _begun_list(connection), self.now_us()

    @staticmethod
    def _in_force(ring: KeyRing, held: Sequence[Held], at_us: int) -> list[Signer]:
        may = {key.key_id for key in ring.in_force(instant(at_us))}
        return [one.signer for one in held if one.signer.key_id in may]

    def _to_replace(self, ring: KeyRing, held: Sequence[Held], old: str | None, new: str | None) -> Held:
        if old is not None:
            return _of(old, held)
        names = [one.key_id for one in self._in_force(ring, held, self.now_us()) if one.key_id != new]
        if len(names) != 1:
            raise RingError(
                f"of the keys at hand {', '.join(names) or 'none'} may be replaced: name one by --old; "
                f"`dmpool keys list` shows all"
            )
        return _of(names[0], held)

    async def _put_in_place(self, fresh: Held, replaced: Held, held: Sequence[Held]) -> Done:
        async with self.engine.begin() as connection:
            ring, at_us = await self._open(connection)
            by = replaced.signer.key_id
            await self._add(connection, ring, at_us, Action.ROTATED, fresh, [*held, fresh], by)
        return Done(fresh.signer.key_id, fresh.signer.public_key, by, None)

    async def _add(
        self,
        connection: AsyncConnection,
        ring: KeyRing,
        at_us: int,
        action: Action,
        key: Held,
        held: Sequence[Held],
        by: str | None,
    ) -> None:
        at = self.rules.local(at_us)
        event = ring.draft(action, key.signer.public_key, at, self.reason, authorised_by=by)
        await report_keys.add(connection, ring, event, [one.signer for one in held], self.actor)

    @staticmethod
    def _begun_before(ring: KeyRing, held: Sequence[Held], old: str | None, new: str | None) -> Done | None:
        """What came of a rotation that was killed after its event was stored; now it is finished."""
        for key in ring.keys.values():
            if key.replaced_by is not None and key.replaced_by == new and old in (None, key.key_id):
                return Done(new, ring.keys[new].public_key, key.key_id, None)
        for one in held:
            if one.file is None or not _next(one.file).exists():
                continue
            fresh = load_or_create(_next(one.file))
            known = ring.keys.get(one.signer.key_id)
            if known is not None and known.replaced_by == fresh.key_id:
                kept = _swap(one.file, one.signer.key_id)
                return Done(fresh.key_id, fresh.public_key, one.signer.key_id, kept)
        return None


async def _begun_list(connection: AsyncConnection) -> KeyRing:
    ring = await report_keys.read(connection)
    if not ring.entries:
        raise RingError("there is no list of keys yet: it begins when the pool first runs or builds a report")
    return ring


def _of(name: str, held: Sequence[Held]) -> Held:
    for one in held:
        if one.signer.key_id == name:
            return one
    there = ", ".join(one.signer.key_id for one in held)
    raise RingError(f"key {name[:40]} is not at hand; [signing] names the sources of {there}")


def _next(file: Path) -> Path:
    return file.with_name(file.name + NEXT)


def _swap(file: Path, old: str) -> Path:
    """Steps 3 and 4; where the old secret is kept."""
    kept = file.with_name(f"{file.name}.{old}")
    with suppress(FileExistsError):
        os.link(file, kept)
    settle(_next(file), file)
    return kept
