"""The Stratum V1 session of one connection: a state machine without I/O.

Rules of this file. A line of the miner comes in through `receive`, a job goes out through `offer`; the time
comes in with them: `now` is the wall clock, `ticks` the monotonic one. No socket, no clock, no disk: bytes go
out through the `write` that was given. Who may mine is asked of a `Gatekeeper`; shares go to a `Recorder`,
which must make an accepted share durable before it calls `acknowledge` with the answer (invariant I1).
Answers leave in the order of the requests: while a share waits for the disk, later answers queue behind it.

A share is judged, and credited, by the difficulty that its job was sent with. Whether it solves a block is
looked at before everything else (I9). What was agreed is in `negotiation`, whose work it is in `workers`,
what outlives the connection in `subscriptions`.

Sources: Stratum V1 as the firmwares speak it (peers, section 3), BIP310 (configure, version rolling).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import native
from stratum import messages
from stratum.device_class import UNKNOWN, DeviceClass
from stratum.difficulty import Difficulty, difficulty
from stratum.fault import CLEAN, fault, stranger, without_job
from stratum.interfaces import Closed, Denied, Worker
from stratum.job import EXTRANONCE2_SIZE, Job
from stratum.messages import Reason, Request
from stratum.negotiation import TEXT_LIMIT, Negotiation
from stratum.rejects import Rejects
from stratum.session_context import SessionContext
from stratum.subscriptions import Subscription
from stratum.transactions import TransactionsDesk
from stratum.vardiff import Vardiff
from stratum.workers import USERNAME_LIMIT, Workers

REFUSALS_LIMIT = 10
"""Refused authorisations before a connection on which nobody was let in is closed."""


class Session:
    """One connection's conversation. See the rules at the head of this file."""

    __slots__ = (
        "_context",
        "_difficulty_told",
        "_displaced",
        "_extranonce_told",
        "_first_job",
        "_job_owed",
        "_refusals",
        "_rejects",
        "_superseded",
        "_transactions",
        "_vardiff",
        "_version_asked",
        "_write",
        "agreed",
        "allowance",
        "device",
        "subscription",
        "waiting",
        "workers",
    )

    def __init__(
        self,
        context: SessionContext,
        write: Callable[[bytes], object],
        superseded: Callable[[], object],
    ) -> None:
        """`superseded` is called when another connection has taken over and this one is to end."""
        self._context = context
        self._write = write
        self._superseded = superseded
        self._displaced = False
        self._vardiff = Vardiff(context.policy)
        self.agreed = Negotiation(context.book.version_mask, self._vardiff)
        """The agent, BIP310 `info` and whatever else was agreed."""
        self.workers = Workers(context.gate, context.accounts)
        self.subscription: Subscription | None = None
        """Extranonce1 and session id; None before the miner has subscribed."""
        self._difficulty_told = False
        self._extranonce_told = True
        self._job_owed = False
        """A job that the miner does not know yet is to be sent soon, whatever its difficulty."""
        self._first_job = 0
        """Number of the first job that was sent on this connection."""
        self._refusals = 0
        self._rejects = Rejects()
        self.waiting = 0
        """Answers that wait for the disk."""
        self._transactions = TransactionsDesk(context.transactions)
        self._version_asked = False
        self.allowance = 0
        """Bytes of the largest answer so far that is larger than a miner's usual ones."""
        self.device: DeviceClass = UNKNOWN

    @property
    def authorised(self) -> bool:
        """True once a worker was let in."""
        return bool(self.workers.by_name)

    @property
    def working(self) -> bool:
        """True when jobs are to be sent: subscribed, and a worker let in."""
        return self.subscription is not None and bool(self.workers.by_name) and not self._displaced

    # The server's side

    def receive(self, line: bytes, now: float, ticks: float) -> None:
        """Handle one line. Raises Closed after the last answer when the connection is to end."""
        try:
            request = messages.parse(line)
        except messages.NotARequest as error:
            if line.isspace():
                return
            self._answer(messages.refused(b"null", Reason.MALFORMED, str(error)))
            raise Closed(str(error)) from error
        except messages.BadRequest as error:
            text = f"malformed request: {str(error)[:200]}"
            self._answer(messages.refused(error.id, Reason.MALFORMED, text))
            return
        method = request.method
        if method == "mining.submit":
            self._submit(request, now)
        elif method is not None:
            handler = _HANDLERS.get(method)
            if handler is None:
                self._unknown(request)
            else:
                handler(self, request, request.params or [], now, ticks)
        elif self._version_asked and request.result is not None:
            self.agreed.note_version(request.result)
        # Any other line without a method is an answer to us (a pong, say), and wants nothing.

    def overlong(self, limit: int) -> None:
        """Refuse a line that is longer than the server reads. Raises Closed."""
        text = f"line longer than {limit} bytes"
        self._answer(messages.refused(b"null", Reason.MALFORMED, text))
        raise Closed(text)

    def offer(self, job: Job, ticks: float) -> None:
        """Send a job, and in front of it the difficulty when that changes with it."""
        self._send(job, self._vardiff.retarget(ticks, job.ceiling))

    def ramp(self, ticks: float) -> None:
        """Change the difficulty now, with a fresh job, if it is to change; likewise the extranonce1."""
        book, subscription = self._context.book, self.subscription
        if book.current is None or subscription is None or not self.working:
            return
        if not book.may_renew(subscription.last_job, ticks):
            self._context.hasten(self)
            return
        exponent = self._vardiff.retarget(ticks, book.current.ceiling)
        sent = subscription.difficulty
        if self._job_owed or sent is None or exponent != sent.exponent:
            self._send(book.fresh(subscription.last_job, ticks), exponent)

    def displaced(self) -> None:
        """Another connection has resumed our subscription: go on with a new one, or end.

        One that ends gets no jobs any more; what it had sent before is still judged.
        """
        before = self.subscription
        if before is None or not self.agreed.extranonce_wanted:
            self._displaced = True
            self._superseded()
            return
        self.subscription = self._context.subscriptions.open(self)
        self.subscription.inherit(before)
        self._extranonce_told = False
        self._job_owed = True
        self._context.hasten(self)

    def lost(self, ticks: float) -> None:
        """The connection is gone. Who had work may come back for its subscription."""
        subscription, self.subscription = self.subscription, None
        if subscription is not None and not self._displaced:
            if subscription.last_job >= 0:
                self._context.subscriptions.park(subscription, ticks)
            else:
                self._context.subscriptions.close(subscription)
        self.workers.leave()
        self._write = self._superseded = _nowhere  # connection and session let go of each other

    def acknowledge(self, answer: bytes) -> None:
        """An answer whose share is durable, or that queued behind one."""
        self.waiting -= 1
        self._write(answer)

    def show_message(self, text: str) -> None:
        """Put a message on the miner's screen, if it is known to take one."""
        if self.working and self.device.shows_messages:
            self._write(messages.show_message(text))

    def remind(self, now: float) -> None:
        """Show what its accounts should be told (a licence that ends soon)."""
        if self.working and self.device.shows_messages:
            for notice in self.workers.notices(int(now * 1_000_000)):
                self._write(messages.show_message(notice))

    def reconnect(self, host: str, port: int, wait_seconds: int) -> None:
        """Ask the miner to come back at `host`, of the same domain as ours, after a while."""
        if self.working:
            self._write(messages.reconnect(host, port, wait_seconds))

    def _submit(self, request: Request, now: float) -> None:
        request_id = messages.id_of(request)
        now_us = int(now * 1_000_000)
        params = request.params or []
        if not 5 <= len(params) <= 6 or not all(type(one) is str for one in params):
            self._reject(request_id, "", Reason.MALFORMED, now_us, "submit takes 5 or 6 strings")
            return
        username, job_id, extranonce2, ntime, nonce = params[:5]
        version_bits = params[5] if len(params) == 6 else None
        subscription = self.subscription
        job = self._context.book.find(job_id)
        if job is None or subscription is None:
            known = username in self.workers.by_name
            reason, text = without_job(subscription is not None, known, username, job_id)
            self._reject(request_id, username, reason, now_us, text)
            return
        share_difficulty, extranonce1 = subscription.terms_of(job.number) or (
            difficulty(self._vardiff.exponent),
            subscription.extranonce1,
        )
        flags, header, block_hash = job.core.check(
            extranonce1, extranonce2, ntime, nonce, version_bits, share_difficulty.target_bytes
        )
        if flags > 0 and flags & native.NTIME_OUTSIDE and job.ntime_allowed(int(ntime, 16), now):
            flags &= ~native.NTIME_OUTSIDE
        worker = self.workers.by_name.get(username)
        if flags > 0 and flags & native.MEETS_NETWORK:
            self._context.recorder.solved(
                self, worker, job, header, block_hash, extranonce1, bytes.fromhex(extranonce2)
            )
        if worker is None:
            reason, text = stranger(username)
            self._reject(request_id, username, reason, now_us, text, job, share_difficulty, header)
            return
        if flags not in CLEAN:
            reason, text = fault(flags, extranonce2, ntime, nonce, version_bits, self.agreed.mask)
            self._reject(request_id, username, reason, now_us, text, job, share_difficulty, header)
            return
        refusal = self._credit_refusal(worker, job, version_bits, now_us)
        if refusal is None:
            self._context.recorder.require_room()  # or the share would be a duplicate when it comes again
            if not job.seen.add(block_hash):
                refusal = (Reason.DUPLICATE, "duplicate share")
        if refusal is not None:
            reason, text = refusal
            self._reject(request_id, username, reason, now_us, text, job, share_difficulty, header)
            return
        self.waiting += 1
        self._context.recorder.accepted(
            self, worker, job, share_difficulty, header, now_us, messages.accepted(request_id)
        )
        # What was stored while the miner had no connection says nothing of its rate.
        if job.number >= self._first_job and self._vardiff.count(subscription.weight_of(share_difficulty)):
            self._context.hasten(self)

    def _credit_refusal(
        self, worker: Worker, job: Job, version_bits: str | None, now_us: int
    ) -> tuple[Reason, str] | None:
        """Why a share that is proven work is not credited; None when it is."""
        refusal = self.workers.refusal(worker, now_us)
        if refusal is not None:
            return Reason.LICENCE, refusal
        if job.stale:
            return Reason.STALE, "stale: a new block was found"
        if version_bits is not None and int(version_bits, 16) & ~(mask := self.agreed.mask_of(job.number)):
            return Reason.VERSION, f"version bits {version_bits} outside the mask {mask:08x}"
        return None

    # What else the miner may ask

    def _subscribe(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        started = self.working
        subscription = self.subscription
        if subscription is None:
            agent = params[0] if params and isinstance(params[0], str) else ""
            self._note_agent(agent, messages.id_of(request))
            subscription = self._take_subscription(params[1] if len(params) > 1 else None)
        session_id = subscription.session_id
        topics = [["mining.set_difficulty", session_id], ["mining.notify", session_id]]
        answer = [topics, subscription.extranonce1.hex(), EXTRANONCE2_SIZE]
        self._answer(messages.result(messages.id_of(request), answer))
        self._start_work(started, now, ticks)

    def _note_agent(self, agent: str, request_id: bytes) -> None:
        self.agreed.agent = agent[:TEXT_LIMIT]
        self.device = self._context.devices.classify(agent)
        refusal = self._context.devices.refusal(self.device)
        if refusal is not None and self.authorised:
            self._answer(messages.refused(request_id, Reason.UNAUTHORISED, refusal))
            raise Closed(refusal, "refused")
        self._vardiff.adopt(self._context.policies[self.device.name])

    def _take_subscription(self, session_id: object) -> Subscription:
        """The subscription of an id, resumed at the difficulty that it had, or a new one."""
        subscriptions = self._context.subscriptions
        held = subscriptions.resume(session_id, self) if isinstance(session_id, str) else None
        if held is not None and held.difficulty is not None:
            self._vardiff.suggest(held.difficulty.exponent)
        subscription = self.subscription = held or subscriptions.open(self)
        return subscription

    def _authorize(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        request_id = messages.id_of(request)
        if not params or not isinstance(params[0], str) or len(params[0]) > USERNAME_LIMIT:
            text = f"authorize takes a worker name of up to {USERNAME_LIMIT} characters"
            self._refuse(request_id, Reason.MALFORMED, text)
            return
        started = self.working
        refusal = self._context.devices.refusal(self.device)
        verdict = Denied(refusal) if refusal else self.workers.authorise(params[0], now, ticks)
        if isinstance(verdict, Denied):
            self._refuse(request_id, Reason.UNAUTHORISED, verdict.text)
            return
        if len(params) > 1:
            self.agreed.read_password(params[1])
        self._answer(messages.accepted(request_id))
        self._start_work(started, now, ticks)

    def _configure(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        extensions, options = [*params[:2], None, None][:2]
        answer = self.agreed.configure(extensions, options)
        self._answer(messages.result(messages.id_of(request), answer))

    def _suggest(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        request_id = messages.id_of(request)
        wanted = self.agreed.suggest(request.method, params[0] if params else None)
        refusal = messages.refused(request_id, Reason.MALFORMED, f"{request.method} takes {wanted}")
        self._answer(messages.accepted(request_id) if wanted is None else refusal)
        if self.working:
            self._context.hasten(self)

    def _extranonce_subscribe(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        self.agreed.extranonce_wanted = True
        self._answer(messages.accepted(messages.id_of(request)))

    def _get_transactions(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        job = self._context.book.find(params[0]) if params and isinstance(params[0], str) else None
        answer = self._transactions.answer(messages.id_of(request), self.working, job, ticks)
        self.allowance = max(self.allowance, len(answer))
        self._answer(answer)

    def _ping(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        self._answer(messages.result(messages.id_of(request), "pong"))

    def _pong(self, request: Request, params: list[Any], now: float, ticks: float) -> None:
        """Some firmware answers a ping with a method of this name (peers: Q-54); nothing is owed to it."""

    def _unknown(self, request: Request) -> None:
        self._context.unknown_methods += 1
        text = f"method {str(request.method)[:64]!r} not found"
        self._answer(messages.refused(messages.id_of(request), Reason.UNKNOWN_METHOD, text))

    # What goes out

    def _start_work(self, already: bool, now: float, ticks: float) -> None:
        """The first job, and what the miner should know, once it is subscribed and authorised."""
        if already or not self.working:
            return
        book, subscription = self._context.book, self.subscription
        if book.current is not None and subscription is not None:
            # One who resumes must not search again what it has searched: it gets a job that it does not know.
            if book.may_renew(subscription.last_job, ticks):
                self.offer(book.fresh(subscription.last_job, ticks), ticks)
            else:
                self._job_owed = True
                self._context.hasten(self)
        self.remind(now)
        if self._context.ask_version:
            self._version_asked = True
            self._write(messages.get_version(0))

    def _send(self, job: Job, exponent: int) -> None:
        subscription = self.subscription
        if subscription is None:
            return
        before = self._context.book.find_number(subscription.last_job)
        new_tip = before is None or before.template.previous_block != job.template.previous_block
        line = job.notify_clean if new_tip else job.notify
        share_difficulty = difficulty(exponent)
        if share_difficulty is not subscription.difficulty or not self._difficulty_told:
            if not self._difficulty_told:
                self._first_job = job.number
                self._difficulty_told = True
            line = share_difficulty.line + line
        self._job_owed = False
        subscription.send(job.number, share_difficulty, self._context.book.oldest_number)
        if not self._extranonce_told:
            self._extranonce_told = True
            line = messages.set_extranonce(subscription.extranonce1, EXTRANONCE2_SIZE) + line
        if not self.agreed.mask_told:
            self.agreed.mask_sent(job.number)
            line = messages.set_version_mask(self.agreed.mask) + line
        self._write(line)

    def _answer(self, answer: bytes) -> None:
        if self.waiting:
            self.waiting += 1
            self._context.recorder.queue(self, answer)
        else:
            self._write(answer)

    def _reject(
        self,
        request_id: bytes,
        username: str,
        reason: Reason,
        now_us: int,
        text: str,
        job: Job | None = None,
        share_difficulty: Difficulty | None = None,
        header: bytes = b"",
    ) -> None:
        worker = self.workers.by_name.get(username)
        refused = self._rejects.record(username, worker, reason, now_us, job, share_difficulty, header)
        self._context.recorder.rejected(self, refused)
        self._answer(messages.refused(request_id, reason, text))

    def _refuse(self, request_id: bytes, reason: Reason, text: str) -> None:
        self._answer(messages.refused(request_id, reason, text))
        self._refusals += 1
        if self._refusals >= REFUSALS_LIMIT and not self.authorised:
            kind = "licence" if self.workers.excused else "refused"
            raise Closed(f"{self._refusals} refused authorisations", kind)


def _nowhere(*late: object) -> None:
    """Where late answers go, and word of a take-over, when the connection is gone."""


_HANDLERS: dict[str, Callable[[Session, Request, list[Any], float, float], None]] = {
    "mining.subscribe": Session._subscribe,
    "mining.authorize": Session._authorize,
    "login": Session._authorize,
    "mining.configure": Session._configure,
    "mining.suggest_difficulty": Session._suggest,
    "mining.suggest_target": Session._suggest,
    "mining.extranonce.subscribe": Session._extranonce_subscribe,
    "mining.get_transactions": Session._get_transactions,
    "mining.ping": Session._ping,
    "pong": Session._pong,
}
