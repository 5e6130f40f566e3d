"""The life of the keys that sign reports: who may sign, and which signature counts.

A `KeyRing` is a list of events, each signed, each with the hash of the one before. A key that is introduced
signs its own introduction, so that nobody can enter a key that is another's; every key but an anchor is also
vouched for by one that is in force, so that whoever trusts the anchor can follow. Nothing else is trusted: a
ring is checked from its first event on whenever it is read, and one wrong event spoils all of it.

    introduced   a key that may sign from now on, beside others; `authorised_by` is None for an anchor
    rotated      the same, in place of the key that authorises it: that one may not sign from this instant on
    revoked      from `valid_to` on nothing that the key signs counts; what it signed before still does

When a signature was made is what the report says of itself. A thief with an old secret can date a report
back; what gives that away is not here but the log, in which the report stands behind the revocation
(docs/keys.md).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import rfc8785

from reporting.bip340 import ALGORITHM, is_signature, key_id, public_key_of, signed_by
from reporting.signing import Signer, signature_by

SCHEMA: Final = "dmpool-keys/1"
EVENT_SCHEMA: Final = "dmpool-key-event/1"
LARGEST_RING: Final = 4 * 1024 * 1024
"""Bytes of a published ring; an event takes about 1200."""
_REASON: Final = re.compile(r"[^\x00-\x1f\x7f]{1,500}")
_ENTRY: Final = ("event", "event_sha256", "signatures")
_SIGNATURE: Final = ("key_id", "public_key", "type", "value")
_EVENT: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        "schema": (str,),
        "seq": (int,),
        "previous": (str, type(None)),
        "at": (str,),
        "action": (str,),
        "key_id": (str,),
        "public_key": (str,),
        "algorithm": (str,),
        "valid_from": (str,),
        "valid_to": (str, type(None)),
        "authorised_by": (str, type(None)),
        "reason": (str,),
    }
)

Json = dict[str, Any]


class RingError(ValueError):
    """The list of keys does not hold, or cannot take an event. The message names the event and what is
    wrong."""


class Action(StrEnum):
    """What happened to a key."""

    INTRODUCED = "introduced"
    ROTATED = "rotated"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Key:
    """One key and what became of it; all instants are aware."""

    key_id: str
    public_key: str
    valid_from: dt.datetime
    authorised_by: str | None
    """The key that vouches for it; None for an anchor."""
    valid_to: dt.datetime | None = None
    """When another took its place; that instant is no longer its own."""
    replaced_by: str | None = None
    revoked_from: dt.datetime | None = None
    revoked_reason: str | None = None
    last_act: dt.datetime | None = None
    """When it last authorised another key."""

    def refusal(self, at: dt.datetime) -> str | None:
        """Why a signature made at an instant does not count, or None when it does."""
        if at < self.valid_from:
            return f"key {self.key_id} was not in force before {self.valid_from.isoformat()}"
        if self.revoked_from is not None and at >= self.revoked_from:
            since = self.revoked_from.isoformat()
            return f"key {self.key_id} was revoked from {since} on: {self.revoked_reason}"
        if self.valid_to is not None and at >= self.valid_to:
            return f"key {self.key_id} was replaced by {self.replaced_by} on {self.valid_to.isoformat()}"
        return None

    def document(self) -> Json:
        """The key as the published list sums it up."""
        return {
            "key_id": self.key_id,
            "public_key": self.public_key,
            "algorithm": ALGORITHM,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": None if self.valid_to is None else self.valid_to.isoformat(),
            "authorised_by": self.authorised_by,
            "replaced_by": self.replaced_by,
            "revoked_from": None if self.revoked_from is None else self.revoked_from.isoformat(),
            "revoked_reason": self.revoked_reason,
        }


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Events that hold, and the keys they speak of, in the order of their introduction."""

    entries: tuple[Json, ...] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Any]) -> KeyRing:
        """The ring of events as they are published; raises RingError at the first that does not hold."""
        ring = cls()
        for entry in entries:
            ring = ring.added(entry)
        return ring

    @property
    def head(self) -> str | None:
        """The hash of the newest event."""
        return self.entries[-1]["event_sha256"] if self.entries else None

    @property
    def newest_at(self) -> dt.datetime | None:
        """When the newest event was entered."""
        return dt.datetime.fromisoformat(self.entries[-1]["event"]["at"]) if self.entries else None

    def draft(
        self,
        action: Action,
        public_key: str,
        at: dt.datetime,
        reason: str,
        *,
        authorised_by: str | None,
        valid_from: dt.datetime | None = None,
        valid_to: dt.datetime | None = None,
    ) -> Json:
        """The next event, not signed; `at` is now, with Kazakhstan's offset.

        `valid_from` is for the first key alone, which may have signed before there was a list, and `valid_to`
        for a revocation: the instant from which on nothing counts, else `at`. Whether the event holds is said
        by `added`.
        """
        known = self.keys.get(key_id(public_key_of(public_key)))
        if action is Action.REVOKED:
            valid_from, valid_to = (known.valid_from if known else at), valid_to or at
        return {
            "schema": EVENT_SCHEMA,
            "seq": len(self.entries) + 1,
            "previous": self.head,
            "at": at.isoformat(),
            "action": action.value,
            "key_id": key_id(public_key_of(public_key)),
            "public_key": public_key.lower(),
            "algorithm": ALGORITHM,
            "valid_from": (valid_from or at).isoformat(),
            "valid_to": None if valid_to is None else valid_to.isoformat(),
            "authorised_by": authorised_by,
            "reason": reason,
        }

    def added(self, entry: Any) -> KeyRing:
        """The ring with one more event, as it is published; raises RingError when it does not hold."""
        event = _event_of(entry, len(self.entries) + 1)
        what = f"key event {event['seq']}"
        if event["previous"] != self.head:
            raise RingError(f"{what}: names {event['previous']} as the event before, which is {self.head}")
        at = _instant(what, event["at"])
        if self.newest_at is not None and at < self.newest_at:
            raise RingError(f"{what}: is dated {event['at']}, before the event before it; check the clock")
        if event["action"] == Action.REVOKED:
            changed = self._revoked(what, event, at)
        else:
            changed = self._introduced(what, event, at)
        self._check_signatures(what, entry, event)
        return KeyRing((*self.entries, entry), {**self.keys, **changed})

    def in_force(self, at: dt.datetime) -> list[Key]:
        """The keys that may sign at an instant, the eldest first."""
        return [key for key in self.keys.values() if key.refusal(at) is None]

    def reached_from(self, anchor: str) -> frozenset[str]:
        """The ids of the keys that one trusted public key leads to: itself, those it vouches for, and so on.

        Raises RingError when the ring does not know the anchor.
        """
        first = key_id(public_key_of(anchor))
        if first not in self.keys:
            raise RingError(f"the list of keys does not have the key {first} that you trust ({anchor})")
        reached = {first}
        for key in self.keys.values():  # a key stands behind the one that vouched for it
            if key.authorised_by in reached:
                reached.add(key.key_id)
        return frozenset(reached)

    def anchor_of(self, public_key: str) -> str:
        """The public key of the anchor that leads to a key; raises RingError when the key is not here."""
        name = key_id(public_key_of(public_key))
        if name not in self.keys:
            raise RingError(f"the list of keys does not have the key {name} ({public_key})")
        while (by := self.keys[name].authorised_by) is not None:
            name = by
        return self.keys[name].public_key

    def principal(self, at: dt.datetime) -> Key | None:
        """The key to show where one is asked for: the first one's successor, or else the eldest in force."""
        name = next(iter(self.keys), None)
        while name is not None and (key := self.keys[name]).refusal(at) is not None:
            name = key.replaced_by
        return self.keys[name] if name is not None else next(iter(self.in_force(at)), None)

    def refusal(self, name: str, at: dt.datetime, reached: frozenset[str]) -> str | None:
        """Why a signature by a key at an instant does not count for who trusts `reached`; None when it
        does."""
        if name not in self.keys:
            return f"key {name} is not in the list of keys"
        if name not in reached:
            return f"key {name} is in the list, but no key that you trust vouches for it"
        return self.keys[name].refusal(at)

    def document(self) -> Json:
        """The ring as it is published; `read_ring` reads it."""
        return {
            "schema": SCHEMA,
            "keys": [key.document() for key in self.keys.values()],
            "events": list(self.entries),
        }

    def _introduced(self, what: str, event: Json, at: dt.datetime) -> dict[str, Key]:
        name, by = event["key_id"], event["authorised_by"]
        if name in self.keys:
            raise RingError(f"{what}: key {name} is in the list already; a key is introduced once")
        valid_from = _instant(what, event["valid_from"])
        if event["valid_to"] is not None:
            raise RingError(f"{what}: a key ends by rotation or revocation, valid_to must be null")
        if valid_from > at or (valid_from < at and self.entries):
            raise RingError(f"{what}: valid_from is {event['valid_from']}; it must be {event['at']}")
        changed = {name: Key(name, event["public_key"], valid_from, by)}
        if event["action"] == Action.ROTATED and by is None:
            raise RingError(f"{what}: a rotation is authorised by the key it replaces; it names none")
        if by is not None:
            vouching = replace(self._acting(what, by, at), last_act=at)
            if event["action"] == Action.ROTATED:
                vouching = replace(vouching, valid_to=at, replaced_by=name)
            changed = {by: vouching, **changed}
        return changed

    def _revoked(self, what: str, event: Json, at: dt.datetime) -> dict[str, Key]:
        name, by = event["key_id"], event["authorised_by"]
        key = self.keys.get(name)
        if key is None:
            raise RingError(f"{what}: revokes key {name}, which is not in the list")
        if key.revoked_from is not None:
            raise RingError(f"{what}: key {name} is revoked already, from {key.revoked_from.isoformat()} on")
        if by is None:
            raise RingError(f"{what}: a revocation is authorised by a key in force; it names none")
        self._acting(what, by, at)
        if event["valid_from"] != key.valid_from.isoformat():
            raise RingError(f"{what}: valid_from of key {name} is {key.valid_from.isoformat()}")
        if event["valid_to"] is None:
            raise RingError(f"{what}: a revocation says from when on, valid_to is null")
        since = _instant(what, event["valid_to"])
        earliest = max(key.valid_from, key.last_act or key.valid_from)
        if not earliest <= since <= at:
            raise RingError(
                f"{what}: key {name} cannot be revoked from {event['valid_to']} on: choose an instant from "
                f"{earliest.isoformat()}, when it began or last vouched for another, to now"
            )
        return {name: replace(key, revoked_from=since, revoked_reason=event["reason"])}

    def _acting(self, what: str, name: str, at: dt.datetime) -> Key:
        """The key that authorises an event; it must be in force."""
        key = self.keys.get(name)
        if key is None:
            raise RingError(f"{what}: is authorised by key {name}, which is not in the list")
        refusal = key.refusal(at)
        if refusal is not None:
            raise RingError(f"{what}: is authorised by a key that may not: {refusal}")
        return key

    def _check_signatures(self, what: str, entry: Json, event: Json) -> None:
        wanted = {key.key_id: key.public_key for key in self.keys.values()}
        signing = [event["authorised_by"]]
        if event["action"] != Action.REVOKED:
            wanted[event["key_id"]] = event["public_key"]
            signing = [event["key_id"], *signing]
        expected = [(name, wanted[name]) for name in signing if name is not None]
        given = [(one["key_id"], one["public_key"]) for one in entry["signatures"]]
        if given != expected:
            must, did = (" and ".join(name for name, _ in names) for names in (expected, given))
            raise RingError(f"{what}: must be signed by {must}, in this order, and is by {did or 'nobody'}")
        digest = bytes.fromhex(entry["event_sha256"])
        for one in entry["signatures"]:
            if not signed_by(bytes.fromhex(one["public_key"]), digest, bytes.fromhex(one["value"])):
                raise RingError(f"{what}: key {one['key_id']} did not sign it")


def signed(event: Json, signers: Sequence[Signer]) -> Json:
    """A drafted event with the signatures it wants: of the new key and of the one that authorises it.

    `signers` may hold others too. Raises RingError when one that is wanted is not there, SigningError when it
    does not sign.
    """
    at_hand = {signer.key_id: signer for signer in signers}
    wanted = [event["authorised_by"]]
    if event["action"] != Action.REVOKED:
        wanted = [event["key_id"], *wanted]
    digest = _digest(event)
    signatures = []
    for name in wanted:
        if name is None:
            continue
        if name not in at_hand:
            raise RingError(
                f"key event {event['seq']}: key {name} must sign it and is not at hand; [signing] names "
                f"the sources"
            )
        signatures.append(signature_by(at_hand[name], digest))
    return {"event": event, "event_sha256": digest.hex(), "signatures": signatures}


def read_ring(data: bytes) -> KeyRing:
    """The ring that a pool publishes (JSON); raises RingError for anything that does not hold."""
    if len(data) > LARGEST_RING:
        raise RingError(f"{len(data)} bytes are no list of keys; one has {LARGEST_RING} at most")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RingError(f"the list of keys is no JSON: {error}") from None
    _members("the list of keys", told, ("events", "keys", "schema"))
    if told["schema"] != SCHEMA:
        raise RingError(f"the list of keys is of schema {told['schema']!r}; {SCHEMA!r} is read here")
    if not isinstance(told["events"], list):
        raise RingError("the list of keys has no list of events")
    ring = KeyRing.of(told["events"])
    if told["keys"] != ring.document()["keys"]:
        raise RingError("the list of keys sums up wrongly: `keys` is not what follows from `events`")
    return ring


def _event_of(entry: Any, seq: int) -> Json:
    """The event of an entry whose form, hash, key and signatures' form are right."""
    what = f"key event {seq}"
    _members(what, entry, _ENTRY)
    event = entry["event"]
    _members(what, event, tuple(_EVENT))
    for name, kinds in _EVENT.items():
        if type(event[name]) not in kinds:
            raise RingError(f"{what}: {name} is {str(event[name])[:80]!r}, of the wrong kind")
    for name, value in (("schema", EVENT_SCHEMA), ("seq", seq), ("algorithm", ALGORITHM)):
        if event[name] != value:
            raise RingError(f"{what}: {name} is {event[name]!r:.80}; it must be {value!r}")
    if event["action"] not in list(Action):
        raise RingError(f"{what}: {event['action'][:40]!r} is no action; there are {', '.join(Action)}")
    if not _REASON.fullmatch(event["reason"]):
        raise RingError(f"{what}: the reason must be 1 to 500 characters in one line")
    if entry["event_sha256"] != _digest(event).hex():
        raise RingError(f"{what}: event_sha256 is not the hash of the event: it was changed")
    try:
        name = key_id(public_key_of(event["public_key"]))
    except ValueError as error:
        raise RingError(f"{what}: {error}") from None
    if (event["key_id"], event["public_key"]) != (name, event["public_key"].lower()):
        raise RingError(f"{what}: key_id is {event['key_id'][:40]!r}, that of its public key is {name}")
    _check_form(what, entry["signatures"])
    return dict(event)


def _check_form(what: str, signatures: Any) -> None:
    """That signatures can be read; whether they are right is another question."""
    if not isinstance(signatures, list):
        raise RingError(f"{what}: has no list of signatures")
    for one in signatures:
        _members(what, one, _SIGNATURE)
        if one["type"] != ALGORITHM or not is_signature(one["value"]):
            raise RingError(f"{what}: a signature is of type {ALGORITHM} and has 128 lower-case hex digits")
        if not isinstance(one["key_id"], str) or not isinstance(one["public_key"], str):
            raise RingError(f"{what}: a signature names its key by two texts, key_id and public_key")


def _members(what: str, value: Any, names: Sequence[str]) -> None:
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        raise RingError(f"{what}: must be an object with {', '.join(sorted(names))} and nothing else")


def _instant(what: str, text: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at.isoformat() != text:
        raise RingError(f"{what}: {text[:40]!r} is no instant; one is written 2026-11-24T09:00:00+05:00")
    return at


def _digest(event: Json) -> bytes:
    try:
        return hashlib.sha256(rfc8785.dumps(event)).digest()
    except rfc8785.CanonicalizationError as error:
        raise RingError(f"key event: cannot be written by RFC 8785: {error}") from None
