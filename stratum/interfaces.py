"""What a session takes from outside: who may mine, and where shares go.

Small protocols that the roof implements with a register and a disk, and tests with a few lines. The session
asks them and knows nothing else of the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stratum.device_class import DeviceClass
from stratum.difficulty import Difficulty
from stratum.job import Job
from stratum.messages import Reason


@dataclass(slots=True, weakref_slot=True)
class Unit:
    """One machine, as all connections of a gateway see it; kept by those who work as it."""

    number: str
    """By which it is known."""
    connection: int = 0
    """Over which its last credited share came; 0 before the first."""
    left: tuple[int, ...] = ()
    """Connections that it worked over before that, the last one first."""
    hour: int = 0
    """Clock hour of its last return to an older connection, since 1970."""
    minutes: int = 0
    """A bit for each minute of that hour with such a return."""


@dataclass(slots=True)
class Worker:
    """A name that was let in: whose work it is, and in which span of time it may work (I6)."""

    username: str
    miner_id: int
    name: str
    valid_from_us: int
    valid_until_us: int
    account: str
    """The licensed miner's account, however the name was spelt."""
    credited: bool = True
    """False in quarantine: its shares are answered like all others, and nothing is owed for them."""
    unit: Unit | None = None
    """None for a name that is no known machine and works all the same."""
    generation: int = 0
    """What the gatekeeper knew when it said all this."""
    connection: int = 0
    """Over which it works; no two connections have the same."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A name that is not let in, or may not work any more."""

    text: str
    """The reason, as the miner is told."""
    known: bool = False
    """The pool knows who that is: no stranger, and no offence of its address."""
    misnamed: bool = False
    """The pool knows the account and not the machine; no offence while an address has few of them."""
    word: str = ""
    """The reason in a word, for the log."""


class Gatekeeper(Protocol):
    """Knows who may mine."""

    generation: int
    """Grows with every change of what the gatekeeper knows."""

    def admit(self, username: str, now_us: int) -> Worker | Denied:
        """A name asks to be let in."""
        ...

    def look(self, username: str, now_us: int) -> Worker | Denied:
        """The same of a name that was let in before; it counts nowhere."""
        ...

    def notices_for(self, username: str, now_us: int) -> Sequence[str]:
        """What the miner behind a name should be told: a licence that ends soon, say."""
        ...


class Submitter(Protocol):
    """What a recorder needs of the session that a share came from."""

    device: DeviceClass

    def acknowledge(self, answer: bytes) -> None:
        """The answer may leave now: its share is durable, or it queued behind one that is."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """A share that was refused, with what a dispute about it needs."""

    username: str
    """As it was sent, cut to a sane length."""
    worker: Worker | None
    reason: Reason
    now_us: int
    kept: bool
    """False when the connection has had more refused than are kept: count it, and no more."""
    job: Job | None = None
    """None when the share named none that we know; likewise the rest."""
    share_difficulty: Difficulty | None = None
    header: bytes = b""


class Closed(Exception):
    """The session is over; the connection is to be closed once what was written has left."""

    def __init__(self, text: str, kind: str = "malformed") -> None:
        super().__init__(text)
        self.kind = kind
        """"malformed", "refused" (a stranger's doing), "licence" (a known miner's) or "spool" (ours)."""


class Recorder(Protocol):
    """Takes what the session has judged."""

    def solved(
        self,
        session: Submitter,
        worker: Worker | None,
        job: Job,
        header: bytes,
        block_hash: bytes,
        extranonce1: bytes,
        extranonce2: bytes,
    ) -> None:
        """A block. Called before any other verdict on the share (I9)."""
        ...

    def require_room(self) -> None:
        """Called before a share counts as seen. Raises Closed when no share can be taken."""
        ...

    def accepted(
        self,
        session: Submitter,
        worker: Worker,
        job: Job,
        share_difficulty: Difficulty,
        header: bytes,
        now_us: int,
        answer: bytes,
    ) -> None:
        """A share to credit, or to keep uncredited if its worker is in quarantine.

        Calls `session.acknowledge(answer)` when, and only when, it is durable (I1).
        """
        ...

    def rejected(self, session: Submitter, refused: Refused) -> None:
        """A share that was refused."""
        ...

    def queue(self, session: Submitter, answer: bytes) -> None:
        """Calls `session.acknowledge(answer)` after everything that was given earlier for this session."""
        ...
