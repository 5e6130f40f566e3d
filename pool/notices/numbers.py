"""How notices fare, by channel: what the metrics tell.

Kept by the desk and its couriers, read at a scrape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class ChannelNumbers:
    """Of one channel, since this process began."""

    sent: int = 0
    failed: int = 0
    """Tries that were not taken."""
    waiting: int = 0
    oldest_us: int | None = None
    """When the oldest that waits went into the box."""

    def oldest_seconds(self, now_us: int) -> float:
        """The age of the oldest that waits; 0 when none does."""
        return 0.0 if self.oldest_us is None else max(now_us - self.oldest_us, 0) / 1e6


class NoticeNumbers:
    """Of all channels of the configuration, by name."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = {name: ChannelNumbers() for name in channels}

    def stand_by(self) -> None:
        """Another process tells what waits."""
        for one in self.channels.values():
            one.waiting, one.oldest_us = 0, None
