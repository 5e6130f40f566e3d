"""The courier of one channel: takes what waits for it, in order, and brings it there, at least once.

What failed is tried again, later each time and never in step with others, or when a person asks for it; what
a channel asks for (429) is obeyed. A notice that itself is refused holds up those behind it only for a few
tries. After a day without success what is older is given up, and the other channels tell of it. A courier
waits for nobody else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import UNAVAILABLE, reason_of
from pool.notices import outbox, store
from pool.notices.email import Email
from pool.notices.notice import Draft
from pool.notices.numbers import ChannelNumbers
from pool.notices.outbox import Head
from pool.notices.secret import SecretError
from pool.notices.section import ChannelSection, EmailSection, TelegramSection, WebhookSection
from pool.notices.sending import SEND_SECONDS, NotSent, Sender
from pool.notices.telegram import Telegram
from pool.notices.webhook import Webhook

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 2.0
FIRST_SECONDS: Final = 2.0
"""Of waiting after a failure; doubled by each further one."""
LONGEST_SECONDS: Final = 900.0
ASKED_LONGEST_SECONDS: Final = 3600.0
"""No channel is obeyed for longer than this."""
TRIES: Final = 5
"""Of a notice that itself is refused."""
QUERY_SECONDS: Final = 30.0
LONGEST_SEND_SECONDS: Final = SEND_SECONDS + 10.0
"""Whatever a server drips: a sender's own limits are for each of its steps."""


def sender_of(section: ChannelSection, pool: str) -> Sender:
    """Who brings notices to a channel."""
    if isinstance(section, WebhookSection):
        return Webhook(section, pool)
    if isinstance(section, EmailSection):
        return Email(section, pool)
    if isinstance(section, TelegramSection):
        return Telegram(section, pool)
    raise TypeError(f"channel {section.name}: no sender for {type(section).__name__}")


def pause(failures: int, asked: float | None) -> float:
    """How long to wait after so many failures in a row."""
    if asked is not None:
        return min(max(asked, FIRST_SECONDS), ASKED_LONGEST_SECONDS) + random.uniform(0, 1)  # noqa: S311
    longest = min(FIRST_SECONDS * 2 ** min(failures - 1, 20), LONGEST_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret


class Courier:
    """See the head of this file."""

    def __init__(
        self,
        engine: AsyncEngine,
        section: ChannelSection,
        sender: Sender,
        numbers: ChannelNumbers,
        now_us: Callable[[], int],
    ) -> None:
        self.section = section
        self._engine = engine
        self._sender = sender
        self._numbers = numbers
        self._now_us = now_us
        self._failures = 0
        self._taken: int | None = None
        """A notice that the channel took and PostgreSQL does not know of yet."""
        self._asked = 0
        """How often a person had asked for another try when the last one began."""

    async def step(self) -> float:
        """Bring one notice, if one waits; how long to rest then. Raises what a lost database raises."""
        name = self.section.name
        if self._taken is not None:
            await self._record(self._taken)
        async with asyncio.timeout(QUERY_SECONDS), self._engine.connect() as connection:
            head = await outbox.head(connection, name, self.section.language)
            if head is None:
                return IDLE_SECONDS
            self._asked = await outbox.asked(connection, name)
        try:
            async with asyncio.timeout(LONGEST_SEND_SECONDS):
                await self._sender.send(head.message)
        except (NotSent, SecretError, TimeoutError) as error:
            return await self._failed(head, error)
        self._taken = head.notice_id
        self._numbers.sent += 1
        if self._failures:
            log.info("notices_reach_channel_again", channel=name, failures=self._failures)
        self._failures = 0
        await self._record(head.notice_id)
        return 0.0

    async def _record(self, notice_id: int) -> None:
        async with asyncio.timeout(QUERY_SECONDS), self._engine.begin() as connection:
            await outbox.sent(connection, self.section.name, notice_id, self._now_us())
        self._taken = None

    async def _failed(self, head: Head, error: Exception) -> float:
        name, reason = self.section.name, str(error) or "it takes too long"
        refused = isinstance(error, NotSent) and error.of_message
        over = refused and head.attempts + 1 >= TRIES
        self._failures += 1
        self._numbers.failed += 1
        if self._failures == 1:
            log.warning("notice_not_delivered", channel=name, key=head.message.key, reason=reason)
        now_us = self._now_us()
        async with asyncio.timeout(QUERY_SECONDS), self._engine.begin() as connection:
            old = await outbox.failed(connection, name, head.notice_id, now_us, reason, over=over)
            troubles = [*(["notice_refused"] if over else []), *(["channel_failed"] if old else [])]
            await store.add(connection, [self._trouble(one, reason, now_us) for one in troubles], now_us)
        if over or old:
            log.error("notices_given_up", channel=name, count=over + old, reason=reason)
        return pause(self._failures, error.retry_after if isinstance(error, NotSent) else None)

    def _trouble(self, event: str, reason: str, now_us: int) -> Draft:
        """Told once a day, by the channels that do work."""
        return Draft(
            at_us=now_us,
            kind="alarm",
            event=event,
            severity="warning",
            key=f"{event}:{self.section.name}:{now_us // outbox.DAY_US}",
            data={"channel": self.section.name, "reason": reason.rstrip(".") + "."},
        )

    async def run(self, active: Callable[[], bool]) -> None:
        """Work until cancelled, while this ledger is the active one."""
        away = False
        while True:
            rest = IDLE_SECONDS
            try:
                if active():
                    rest = await self.step()
                away = False
            except UNAVAILABLE as error:
                if not away:
                    log.warning(
                        "notices_wait_for_database", channel=self.section.name, reason=reason_of(error)
                    )
                away = True
            await self._rest(rest)

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until a person asks for another try."""
        while seconds > IDLE_SECONDS:
            await asyncio.sleep(IDLE_SECONDS)
            seconds -= IDLE_SECONDS
            if await self._is_asked():
                self._failures = 0
                return
        await asyncio.sleep(seconds)

    async def _is_asked(self) -> bool:
        try:
            async with asyncio.timeout(QUERY_SECONDS), self._engine.connect() as connection:
                return await outbox.asked(connection, self.section.name) != self._asked
        except UNAVAILABLE:  # the next step tells of it
            return False
