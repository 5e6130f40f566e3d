"""Extranonce1: the four bytes that give every connection of every gateway a search space of its own.

The upper 12 bits are the gateway's number, given once by PostgreSQL and never 0, so that no two gateways
share one and none is zero; the lower 20 bits count connections. The count starts at random, so that a
restarted gateway does not hand the same values to the same jobs.
"""

from __future__ import annotations

import secrets

GATEWAY_NUMBER_MAX = 0xFFF
CONNECTIONS_MAX = 1 << 20


class ExtranonceSource:
    """Hands out extranonce1 values and takes them back."""

    def __init__(self, gateway_number: int) -> None:
        if not 1 <= gateway_number <= GATEWAY_NUMBER_MAX:
            raise ValueError(f"gateway number {gateway_number} is outside 1..{GATEWAY_NUMBER_MAX}")
        self._prefix = gateway_number << 20
        self._next = secrets.randbelow(CONNECTIONS_MAX)
        self._in_use: set[int] = set()

    def take(self) -> bytes:
        """A value that no living connection has; raises RuntimeError when all of them are taken."""
        if len(self._in_use) >= CONNECTIONS_MAX:
            raise RuntimeError(f"all {CONNECTIONS_MAX} extranonce1 values of this gateway are in use")
        while self._next in self._in_use:
            self._next = (self._next + 1) % CONNECTIONS_MAX
        value = self._next
        self._in_use.add(value)
        self._next = (value + 1) % CONNECTIONS_MAX
        return (self._prefix | value).to_bytes(4, "big")

    def give_back(self, extranonce1: bytes) -> None:
        """The connection that had this value has ended."""
        self._in_use.discard(int.from_bytes(extranonce1, "big") & (CONNECTIONS_MAX - 1))
