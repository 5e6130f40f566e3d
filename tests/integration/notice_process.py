"""One step of a courier in a process of its own, which is killed when the channel has the notice.

It does that by itself (`kill -9`); the failpoint is here and nowhere in the program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from pool.database import create_engine
from pool.notices.courier import Courier
from pool.notices.notice import Message
from pool.notices.numbers import ChannelNumbers
from pool.notices.section import WebhookSection
from pool.notices.webhook import Webhook


class Killer(Webhook):
    """PostgreSQL never hears that the channel took it."""

    async def send(self, message: Message) -> None:
        """Bring it there, and die."""
        await super().send(message)
        os.kill(os.getpid(), signal.SIGKILL)


async def step(database: str, url: str, secret_file: str, now_us: str) -> None:
    """The step."""
    section = WebhookSection(kind="webhook", name="ops", url=url, secret_file=Path(secret_file))  # type: ignore[arg-type]
    sender = Killer(section, "pool")
    await Courier(create_engine(database), section, sender, ChannelNumbers(), lambda: int(now_us)).step()


if __name__ == "__main__":
    asyncio.run(step(*sys.argv[1:]))
