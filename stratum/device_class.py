"""What kind of machine an agent string names, and what that kind needs: where its difficulty starts, the
floor under it, how long it may be silent.

The agent is what the firmware says of itself in `mining.subscribe`; nothing depends on its being true but
comfort: a wrong class costs a machine a few seconds of ramp. The first entry whose word occurs in the agent,
letter case ignored, wins; so the more particular words stand first. An agent that no entry knows starts
where the pool's policy says.

Start and floor are exponents of two. The start is the power of two at or under the nominal hashrate times
five seconds (twelve shares a minute); the floor lies a sixteenth under it, or lower where one agent string
is used by machines of very different size. Sources: peers Q-22, Q-28, Q-31, Q-44, Q-49, Q-70, Q-71, Q-75.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from stratum.vardiff import DifficultyPolicy

ASIC_SILENCE = 900.0
PROXY_SILENCE = 7 * 86_400.0
"""Farm proxies and rental services may have no machine behind them for days (peers: Q-72, Q-75)."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """One kind of machine."""

    name: str
    """The label in metrics and records."""
    words: tuple[str, ...]
    """Lower-case; one of them occurs in the agent."""
    start: int | None = None
    floor: int | None = None
    """Exponents of two; None: the pool's own."""
    silence_seconds: float = ASIC_SILENCE
    """An authorised connection that sends nothing for so long is closed."""
    rental: bool = False
    """Sold hashrate of unknown origin: the device behind it cannot be a registered one (O-07)."""
    shows_messages: bool = False
    """Known to take `client.show_message`."""

    def policy(self, pool: DifficultyPolicy) -> DifficultyPolicy:
        """The pool's policy with this class's start and floor."""
        return replace(
            pool,
            start=pool.start if self.start is None else min(self.start, pool.maximum),
            floor=None if self.floor is None else min(self.floor, pool.maximum),
        )


UNKNOWN = DeviceClass("other", ())

TABLE: tuple[DeviceClass, ...] = (
    DeviceClass("nicehash", ("nicehash",), 19, 19, PROXY_SILENCE, rental=True),
    DeviceClass("rental", ("miningrigrentals", "hashpower"), 19, 10, PROXY_SILENCE, rental=True),
    DeviceClass("proxy", ("btccom-agent", "btcagent", "proxy"), 19, 14, PROXY_SILENCE),
    DeviceClass("bosminer", ("bosminer",), 15, 10),
    DeviceClass("luxminer", ("luxminer",), 16, 12),
    DeviceClass("vnish", ("xminer",), 16, 12),
    DeviceClass("epic", ("powerplay-bm",), 16, 12),
    DeviceClass("antminer-s21", ("antminer s21",), 17, 13),
    DeviceClass("antminer-s19", ("antminer s19", "antminer t19"), 16, 12),
    DeviceClass("antminer-s17", ("antminer s17", "antminer t17"), 15, 11),
    DeviceClass("antminer-s9", ("antminer s9", "antminer t9"), 13, 9),
    DeviceClass("bmminer", ("bmminer", "antminer"), 14, 9, shows_messages=True),
    DeviceClass("whatsminer", ("whatsminer", "btminer"), 16, 12),
    DeviceClass("avalon-nano", ("avalon nano", "avalonnano"), 12, 8),
    DeviceClass("avalon", ("avalon",), 15, 11),
    DeviceClass("nerdminer", ("nerdminer",), -12, -13),
    DeviceClass("esp-miner", ("bitaxe", "esp-miner", "nerdqaxe", "nerdaxe", "nerdoctaxe"), 9, 5),
    DeviceClass("cgminer", ("cgminer",), None, 6, shows_messages=True),
    DeviceClass("bfgminer", ("bfgminer",), None, 6, shows_messages=True),
    DeviceClass("mujina", ("mujina",), None, 6),
)


class DeviceClasses:
    """The table in force."""

    def __init__(
        self, table: tuple[DeviceClass, ...] = TABLE, rental: Literal["refuse", "accept"] = "refuse"
    ) -> None:
        self._table = table
        self._rental_refused = rental == "refuse"

    def __iter__(self) -> Iterator[DeviceClass]:
        """Every class that `classify` can answer."""
        yield from self._table
        yield UNKNOWN

    def classify(self, agent: str) -> DeviceClass:
        """The class of an agent string; UNKNOWN when no entry's word occurs in it."""
        lowered = agent.lower()
        for device in self._table:
            if any(word in lowered for word in device.words):
                return device
        return UNKNOWN

    def refusal(self, device: DeviceClass) -> str | None:
        """Why machines of a class are not let in; None when they are."""
        if device.rental and self._rental_refused:
            return "rented hashrate is not taken here: the devices behind it are not registered ones"
        return None
