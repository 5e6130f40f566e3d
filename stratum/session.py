"""The Stratum V1 session of one connection: a state machine without I/O.

Rules of this file. Everything that changes the state of a session lives here. No socket, no clock, no disk:
lines come in through `receive`, jobs through `offer`, the time with each of them; bytes go out through the
`write` that was given. Who may mine is asked of a `Gatekeeper`; shares go to a `Recorder`, which must make an
accepted share durable before it calls `acknowledge` with the answer (invariant I1). Answers leave in the
order of the requests: while a share waits for the disk, later answers queue behind it in the recorder.

A share is judged, and credited, by the difficulty that its job was sent with. Whether it solves a block is
looked at before everything else (I9).

Sources: Stratum V1 as the firmwares speak it (peers, section 3), BIP310 (configure, version rolling).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import native
from stratum import messages
from stratum.difficulty import Difficulty, difficulty, exponent_at_least, exponent_at_most, network_exponent
from stratum.interfaces import Gatekeeper, Recorder, Worker
from stratum.job import EXTRANONCE2_SIZE, Job, JobBook
from stratum.messages import Reason, Request
from stratum.vardiff import DifficultyPolicy, Vardiff

USERNAME_LIMIT = 128
WORKERS_LIMIT = 4096
"""Worker names on one connection; a farm proxy carries many, a stranger may not carry any number."""
REFUSALS_LIMIT = 10
"""Refused authorisations before the connection is closed."""


class Closed(Exception):
    """The session is over; the connection is to be closed once what was written has left."""


class Session:
    """One connection's conversation. See the rules at the head of this file."""

    __slots__ = (
        "_book",
        "_difficulty",
        "_difficulty_from",
        "_earlier",
        "_gate",
        "_generation",
        "_mask",
        "_mask_told",
        "_recorder",
        "_refusals",
        "_vardiff",
        "_waiting",
        "_workers",
        "_write",
        "agent",
        "extranonce1",
        "subscribed",
    )

    def __init__(
        self,
        *,
        extranonce1: bytes,
        book: JobBook,
        gate: Gatekeeper,
        recorder: Recorder,
        policy: DifficultyPolicy,
        write: Callable[[bytes], object],
        now: float,
    ) -> None:
        self.extranonce1 = extranonce1
        self.agent = ""
        self.subscribed = False
        self._book = book
        self._gate = gate
        self._generation = gate.generation
        self._recorder = recorder
        self._write = write
        self._workers: dict[str, Worker] = {}
        self._refusals = 0
        self._waiting = 0
        self._mask = book.version_mask
        self._mask_told = True
        self._vardiff = Vardiff(policy, now)
        self._difficulty: Difficulty = difficulty(policy.start)
        self._difficulty_from = -1
        self._earlier: list[tuple[int, Difficulty]] = []

    @property
    def authorised(self) -> bool:
        """True once a worker was let in."""
        return bool(self._workers)

    @property
    def working(self) -> bool:
        """True when jobs are to be sent: subscribed, and a worker let in."""
        return self.subscribed and bool(self._workers)

    @property
    def difficulty(self) -> Difficulty:
        """The difficulty of the newest job sent."""
        return self._difficulty

    def receive(self, line: bytes, now: float) -> None:
        """Handle one line. Raises Closed after the last answer when the connection is to end."""
        try:
            request = messages.parse(line)
        except messages.NotARequest as error:
            if line.isspace():
                return
            self._answer(messages.refused(b"null", Reason.MALFORMED, str(error)))
            raise Closed from error
        method = request.method
        if method == "mining.submit":
            self._submit(request, now)
        elif method is not None:
            handler = _HANDLERS.get(method)
            if handler is None:
                self._unknown(request)
            else:
                handler(self, request, request.params or [], now)
        # A line without a method is an answer to us (a pong, say), and wants nothing.

    def offer(self, job: Job, clean: bool, now: float) -> None:
        """Send a job, and in front of it the difficulty when that changes with it."""
        exponent = self._vardiff.retarget(now, network_exponent(job.template.target))
        line = job.notify_clean if clean else job.notify
        if exponent != self._difficulty.exponent or self._difficulty_from < 0:
            if self._difficulty_from >= 0:
                self._earlier.append((self._difficulty_from, self._difficulty))
                self._forget_dead_steps()
            self._difficulty = difficulty(exponent)
            self._difficulty_from = job.number
            line = self._difficulty.line + line
        if not self._mask_told:
            self._mask_told = True
            line = messages.set_version_mask(self._mask) + line
        self._write(line)

    def acknowledge(self, answer: bytes) -> None:
        """An answer whose share is durable, or that queued behind one."""
        self._waiting -= 1
        self._write(answer)

    # What the miner may ask

    def _submit(self, request: Request, now: float) -> None:
        request_id = messages.id_of(request)
        now_us = int(now * 1_000_000)
        params = request.params or []
        if not 5 <= len(params) <= 6 or not all(type(field) is str for field in params):
            self._reject(request_id, None, Reason.MALFORMED, now_us, "submit takes 5 or 6 strings")
            return
        username, job_id, extranonce2, ntime, nonce = params[:5]
        version_bits = params[5] if len(params) == 6 else None
        worker = self._workers.get(username)
        job = self._book.find(job_id)
        if job is None:
            reason, text = Reason.UNKNOWN_JOB, f"job {job_id[:16]!r} not found"
            if not self.subscribed:
                reason, text = Reason.NOT_SUBSCRIBED, "subscribe first"
            self._reject(request_id, worker, reason, now_us, text)
            return
        share_difficulty = self._difficulty_of(job)
        flags, header, block_hash = job.core.check(
            self.extranonce1, extranonce2, ntime, nonce, version_bits, share_difficulty.target_bytes
        )
        if flags > 0 and flags & native.MEETS_NETWORK:
            self._recorder.solved(self, worker, job, header, block_hash, bytes.fromhex(extranonce2))
        if flags not in _CLEAN:
            reason, text = self._fault(flags, extranonce2, ntime, nonce, version_bits)
            self._reject(request_id, worker, reason, now_us, text)
            return
        refusal = self._credit_refusal(username, worker, job, version_bits, now_us)
        if refusal is None and not job.seen.add(block_hash):
            refusal = (Reason.DUPLICATE, "duplicate share")
        if refusal is not None or worker is None:
            reason, text = refusal or (Reason.UNAUTHORISED, "not authorised here")
            self._reject(request_id, worker, reason, now_us, text)
            return
        self._vardiff.count()
        self._waiting += 1
        self._recorder.accepted(
            self, worker, job, share_difficulty, header, now_us, messages.accepted(request_id)
        )

    def _credit_refusal(
        self, username: str, worker: Worker | None, job: Job, version_bits: str | None, now_us: int
    ) -> tuple[Reason, str] | None:
        """Why a share that is proven work is not credited; None when it is."""
        if not self.subscribed:
            return Reason.NOT_SUBSCRIBED, "subscribe first"
        if worker is None:
            return Reason.UNAUTHORISED, f"worker {username[:USERNAME_LIMIT]!r} is not authorised here"
        if self._generation != self._gate.generation:
            self._ask_again(now_us)
        if not worker.valid_from_us <= now_us < worker.valid_until_us:
            if not worker.refusal:
                verdict = self._gate.admit(username, now_us)
                worker.refusal = verdict if isinstance(verdict, str) else "the licence is not in force"
            return Reason.LICENCE, worker.refusal
        if job.stale:
            return Reason.STALE, "stale: a new block was found"
        if version_bits is not None and int(version_bits, 16) & ~self._mask:
            return Reason.VERSION, f"version bits {version_bits} outside the mask {self._mask:08x}"
        return None

    def _ask_again(self, now_us: int) -> None:
        """What the gatekeeper knows has changed: every worker of this connection is looked at anew (I6)."""
        self._generation = self._gate.generation
        for username, worker in self._workers.items():
            verdict = self._gate.admit(username, now_us)
            worker.refusal = ""
            if isinstance(verdict, Worker):
                worker.miner_id, worker.name = verdict.miner_id, verdict.name
                worker.valid_from_us = verdict.valid_from_us
                worker.valid_until_us = verdict.valid_until_us
            else:
                worker.valid_until_us = min(worker.valid_until_us, now_us)

    def _fault(
        self, flags: int, extranonce2: str, ntime: str, nonce: str, version_bits: str | None
    ) -> tuple[Reason, str]:
        """The reason and words for a check that did not come out clean."""
        if flags == native.BAD_EXTRANONCE2:
            wanted = 2 * EXTRANONCE2_SIZE
            return Reason.MALFORMED, f"extranonce2 {extranonce2[:40]!r} is not {wanted} hex digits"
        if flags == native.BAD_NTIME:
            return Reason.MALFORMED, f"ntime {ntime[:16]!r} is not 8 hex digits"
        if flags == native.BAD_NONCE:
            return Reason.MALFORMED, f"nonce {nonce[:16]!r} is not 1 to 8 hex digits"
        if flags == native.BAD_VERSION:
            return Reason.MALFORMED, f"version bits {(version_bits or '')[:16]!r} are not 1 to 8 hex digits"
        if flags & native.NTIME_OUTSIDE:
            return Reason.NTIME, f"ntime {ntime} is outside the job's window"
        if flags & native.VERSION_OUTSIDE:
            return Reason.VERSION, f"version bits {version_bits} outside the mask {self._mask:08x}"
        return Reason.LOW_DIFFICULTY, "the hash is above the target of this job"

    def _forget_dead_steps(self) -> None:
        """A step is needed as long as a share may name a job that was sent with it."""
        oldest = self._book.oldest_number
        while len(self._earlier) > 1 and self._earlier[1][0] <= oldest:
            del self._earlier[0]

    def _difficulty_of(self, job: Job) -> Difficulty:
        if job.number >= self._difficulty_from:
            return self._difficulty
        for first_job, earlier in reversed(self._earlier):
            if job.number >= first_job:
                return earlier
        return self._earlier[0][1] if self._earlier else self._difficulty

    def _subscribe(self, request: Request, params: list[Any], now: float) -> None:
        if params and isinstance(params[0], str):
            self.agent = params[0][:USERNAME_LIMIT]
        session_id = self.extranonce1.hex()
        subscriptions = [["mining.set_difficulty", session_id], ["mining.notify", session_id]]
        started = self.working
        self.subscribed = True
        self._answer(messages.result(messages.id_of(request), [subscriptions, session_id, EXTRANONCE2_SIZE]))
        self._start_work(started, now)

    def _authorize(self, request: Request, params: list[Any], now: float) -> None:
        request_id = messages.id_of(request)
        if not params or not isinstance(params[0], str) or len(params[0]) > USERNAME_LIMIT:
            text = f"authorize takes a worker name of up to {USERNAME_LIMIT} characters"
            self._refuse(request_id, Reason.MALFORMED, text)
            return
        username = params[0]
        if len(self._workers) >= WORKERS_LIMIT and username not in self._workers:
            text = f"more than {WORKERS_LIMIT} workers on one connection"
            self._refuse(request_id, Reason.UNAUTHORISED, text)
            return
        verdict = self._gate.admit(username, int(now * 1_000_000))
        if isinstance(verdict, str):
            self._refuse(request_id, Reason.UNAUTHORISED, verdict)
            return
        started = self.working
        self._workers[username] = verdict
        self._answer(messages.accepted(request_id))
        self._start_work(started, now)

    def _configure(self, request: Request, params: list[Any], now: float) -> None:
        asked = params[0] if params and isinstance(params[0], list) else []
        options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
        answer: dict[str, object] = {}
        for extension in asked:
            if extension == "version-rolling":
                answer |= self._configure_version_rolling(options.get("version-rolling.mask"))
            elif extension == "minimum-difficulty":
                wish = _positive(options.get("minimum-difficulty.value"))
                answer[extension] = wish is not None
                if wish is not None:
                    self._vardiff.wish_at_least(exponent_at_least(wish))
            elif extension == "subscribe-extranonce":
                answer[extension] = True
            elif isinstance(extension, str):
                answer[extension] = False
        self._answer(messages.result(messages.id_of(request), answer))

    def _configure_version_rolling(self, wish: object) -> dict[str, object]:
        mask = self._book.version_mask & _hex_or(wish, 0xFFFFFFFF)
        if not mask:
            return {"version-rolling": False}
        self._mask = mask
        self._mask_told = False
        return {"version-rolling": True, "version-rolling.mask": f"{mask:08x}"}

    def _suggest_difficulty(self, request: Request, params: list[Any], now: float) -> None:
        wish = _positive(params[0]) if params else None
        if wish is None:
            text = "suggest_difficulty takes one number greater than 0"
            self._answer(messages.refused(messages.id_of(request), Reason.MALFORMED, text))
            return
        self._vardiff.suggest(exponent_at_most(wish), now)
        self._answer(messages.accepted(messages.id_of(request)))

    def _extranonce_subscribe(self, request: Request, params: list[Any], now: float) -> None:
        self._answer(messages.accepted(messages.id_of(request)))

    def _ping(self, request: Request, params: list[Any], now: float) -> None:
        self._answer(messages.result(messages.id_of(request), "pong"))

    def _pong(self, request: Request, params: list[Any], now: float) -> None:
        """Some firmware answers a ping with a method of this name (peers: Q-54); nothing is owed to it."""

    def _unknown(self, request: Request) -> None:
        request_id = messages.id_of(request)
        if request.method == "":
            detail = request.params[0] if request.params else ""
            text = f"malformed request: {detail[:200]}" if isinstance(detail, str) else "malformed request"
            self._answer(messages.refused(request_id, Reason.MALFORMED, text))
        else:
            text = f"method {str(request.method)[:64]!r} not found"
            self._answer(messages.refused(request_id, Reason.UNKNOWN_METHOD, text))

    # Answers

    def _start_work(self, already: bool, now: float) -> None:
        if not already and self.working and self._book.current is not None:
            self.offer(self._book.current, True, now)

    def _answer(self, answer: bytes) -> None:
        if self._waiting:
            self._waiting += 1
            self._recorder.queue(self, answer)
        else:
            self._write(answer)

    def _reject(
        self, request_id: bytes, worker: Worker | None, reason: Reason, now_us: int, text: str
    ) -> None:
        self._recorder.rejected(self, worker, reason, now_us)
        self._answer(messages.refused(request_id, reason, text))

    def _refuse(self, request_id: bytes, reason: Reason, text: str) -> None:
        self._answer(messages.refused(request_id, reason, text))
        self._refusals += 1
        if self._refusals >= REFUSALS_LIMIT:
            raise Closed(f"{self._refusals} refused authorisations")


_CLEAN = (native.MEETS_SHARE, native.MEETS_SHARE | native.MEETS_NETWORK)

_HANDLERS: dict[str, Callable[[Session, Request, list[Any], float], None]] = {
    "mining.subscribe": Session._subscribe,
    "mining.authorize": Session._authorize,
    "mining.configure": Session._configure,
    "mining.suggest_difficulty": Session._suggest_difficulty,
    "mining.extranonce.subscribe": Session._extranonce_subscribe,
    "mining.ping": Session._ping,
    "pong": Session._pong,
}


def _hex_or(value: object, default: int) -> int:
    """A hexadecimal mask as firmwares send it, or the default when it is absent or not a mask."""
    try:
        return int(value, 16) & 0xFFFFFFFF if isinstance(value, str) else default
    except ValueError:
        return default


def _positive(value: object) -> float | None:
    """A number greater than 0, given as a number or as a numeric string; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < float("inf") else None
