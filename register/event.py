"""The register's event log: every change of a record, by whom and why, chained by hashes.

An event carries the record whole, as it stands from then on, so that the log is the register: its state at
any instant is the newest event of each record before it. Nothing is overwritten; a correction is a new event.

The hash of an event is the SHA-256 of its canonical JSON (RFC 8785) without the hash itself, and each event
carries the hash of the one before (regulation.md 2.3): who keeps one hash can tell that nothing older has
changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

FIRST = "0" * 64
"""What the first event carries in place of the hash of one before it."""

_encode = msgspec.json.Encoder(order="sorted").encode


class ChainError(ValueError):
    """The log does not hold together. The message names the event and what is wrong with it."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One change of one record."""

    seq: int
    """1, 2, 3 and on, without a gap."""
    at_us: int
    """Unix microseconds; later than the event before."""
    actor: str
    role: str
    reason: str
    kind: str
    """The kind of record: `register.records` names them."""
    key: str
    """Which record of its kind."""
    action: str
    """What was done: entered, changed, suspended and so on."""
    body: str
    """The record from now on, as canonical JSON."""
    previous: str
    """Hash of the event before, hex."""
    sha256: str
    """Hash of this one, hex."""


def canonical(record: msgspec.Struct) -> str:
    """A record as canonical JSON. Records hold no floats and only printable text, so RFC 8785 is met."""
    return _encode(record).decode()


def hash_of(event: Event) -> str:
    """The hash that an event must carry."""
    content = {
        "seq": event.seq,
        "at_us": event.at_us,
        "actor": event.actor,
        "role": event.role,
        "reason": event.reason,
        "kind": event.kind,
        "key": event.key,
        "action": event.action,
        "body": msgspec.Raw(event.body.encode()),
        "previous": event.previous,
    }
    return hashlib.sha256(_encode(content)).hexdigest()


def sealed(event: Event) -> Event:
    """The same event with its hash."""
    return msgspec.structs.replace(event, sha256=hash_of(event))


def verify(
    events: Iterable[Event], after: tuple[int, str, int] = (0, FIRST, 0), what: str = "register event"
) -> tuple[int, str, int]:
    """Number, hash and time of the last of consecutive events; raises ChainError at the first that lies.

    `after` is the same of the event before the first; `what` is how a message calls an event.
    """
    seq, sha256, at_us = after
    for event in events:
        where = f"{what} {event.seq}"
        if event.seq != seq + 1:
            raise ChainError(f"{where}: stands where event {seq + 1} belongs; events are missing or doubled")
        if event.previous != sha256:
            raise ChainError(f"{where}: names {event.previous} as the one before, which is {sha256}")
        if hash_of(event) != event.sha256:
            raise ChainError(f"{where}: its content does not have the hash {event.sha256} that it carries")
        if event.at_us <= at_us:
            raise ChainError(f"{where}: is not later than the one before it")
        seq, sha256, at_us = event.seq, event.sha256, event.at_us
    return seq, sha256, at_us
