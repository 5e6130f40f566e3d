"""What strangers may take of the server: token buckets, limits per account and per address, temporary bans.

Pure bookkeeping: the time comes in as monotonic seconds (`ticks`), connections are closed elsewhere. An
address is an IPv4 address or an IPv6 /64, which is what one subscriber has. What counts against an address is
broken protocol, refused authorisations and connections that never authorise; shares never do, however many of
them are refused (peers: Q-32), and unknown machines of a known account only in masses. A ban ends by itself.
An address with an authorised connection is not banned: behind one NAT address may stand a whole farm, and one
broken machine of it is closed alone.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from itertools import islice

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BAN_SECONDS = 60.0
"""The first ban of an address; each further one is twice as long."""
BAN_SECONDS_MAX = 600.0
FORGIVE_SECONDS = 600.0
"""For each such span without a ban the next one is half as long again."""
MISNAMED_PER_SECOND = 100.0
MISNAMED_BURST = 20_000
"""Authorisations of one address, sustained and at once, that are no offence though the machine's name is
unknown, since the account is not: 5000 misnamed machines that try each 15 seconds have a good minute."""
EXPIRE_AT_ONCE = 1000
"""So that a look through the known addresses never holds up the loop."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much the server takes, of all and of each; the defaults let a farm of 50,000 in through one NAT."""

    connections: int | None = None
    """Connections in all; None: what the limit of open files of the process allows."""
    connections_per_address: int = 60_000
    arrivals_per_second: float = 1000.0
    """New connections of one address, sustained."""
    arrivals_burst: int = 60_000
    """New connections of one address at once."""
    connections_per_account: int = 200_000
    authorisations_per_second: float = 1000.0
    """Connections of one account that authorise, sustained."""
    authorisations_burst: int = 60_000
    accept_per_second: float = 2000.0
    """Connections that are served anew; those beyond it wait in line, unread, and are not refused (Q-56)."""
    authorise_seconds: float = 15.0
    """A connection without an authorised worker is closed this long after it was let in."""
    handshake_seconds: float = 10.0
    """A TLS handshake may take this long."""
    stranger_lines_per_second: float = 10.0
    """Lines of a connection before it has authorised; what is beyond waits in the kernel, nothing is lost."""
    stranger_lines_burst: int = 40
    lines_per_second: float = 2000.0
    """Lines of a connection that has authorised; a farm's proxy carries thousands of machines."""
    lines_burst: int = 5000
    offences_per_second: float = 0.1
    """Offences of one address that are forgiven, sustained."""
    offences_burst: int = 20
    """Offences of one address at once; one more is a ban."""
    proxies: tuple[Network, ...] = ()
    """Who may say with a PROXY header for whom it connects."""


class TokenBucket:
    """`burst` tokens at first and at most, `rate` more a second. Time that goes back adds nothing."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._at = 0.0

    def take(self, ticks: float, n: int = 1) -> bool:
        """Take n tokens; False, and nothing taken, when there are fewer."""
        self._refill(ticks)
        if self._tokens < n:
            return False
        self._tokens -= n
        return True

    def draw(self, ticks: float, most: int) -> int:
        """Take as many whole tokens as there are, up to `most`; how many those were."""
        self._refill(ticks)
        n = min(most, int(self._tokens))
        self._tokens -= n
        return n

    def wait(self, ticks: float, n: int = 1) -> float:
        """Seconds until n tokens are there; 0 when they are, infinity when they never will be."""
        self._refill(ticks)
        missing = n - self._tokens
        if missing <= 0:
            return 0.0
        return missing / self.rate if n <= self.burst and self.rate > 0 else math.inf

    def full(self, ticks: float) -> bool:
        """True when nothing is missing: the bucket is as good as a new one."""
        self._refill(ticks)
        return self._tokens >= self.burst

    def _refill(self, ticks: float) -> None:
        elapsed = ticks - self._at
        if elapsed > 0:
            self._tokens = min(self.burst, self._tokens + elapsed * self.rate)
        self._at = ticks


class AccountLimits:
    """Connections per account. Only names that the gatekeeper knows come here, so the table stays small."""

    def __init__(self, connections: int, authorisations_per_second: float, burst: int) -> None:
        self._connections = connections
        self._rate = authorisations_per_second
        self._burst = burst
        self._counts: dict[str, int] = {}
        self._buckets: dict[str, TokenBucket] = {}

    def enter(self, account: str, ticks: float) -> str | None:
        """Count a connection of the account; or the reason why it may not come in, and it is not counted."""
        count = self._counts.get(account, 0)
        if count >= self._connections:
            return (
                f"account {account[:40]!r} has {count} connections, which is its limit; "
                "put machines behind a Stratum proxy, or ask the pool to raise the limit"
            )
        bucket = self._buckets.get(account)
        if bucket is None:
            bucket = self._buckets[account] = TokenBucket(self._rate, self._burst)
        if not bucket.take(ticks):
            return (
                f"account {account[:40]!r} authorises more than {self._rate:g} connections a second; "
                f"try again in {math.ceil(min(bucket.wait(ticks), 3600.0))} s"
            )
        self._counts[account] = count + 1
        return None

    def leave(self, account: str) -> None:
        """A connection that was let in has ended."""
        count = self._counts.get(account, 0) - 1
        if count > 0:
            self._counts[account] = count
        else:
            self._counts.pop(account, None)


@dataclass(frozen=True, slots=True)
class Ban:
    """An address that is shut out for a while."""

    address: str
    reason: str
    """The last offence."""
    until: float
    """In ticks."""


class _Address:
    """What is known of one address."""

    __slots__ = (
        "arrivals",
        "authorised",
        "connections",
        "misnamed",
        "offences",
        "reason",
        "shut_until",
        "strikes",
    )

    def __init__(self, limits: ServerLimits) -> None:
        self.connections = 0
        self.authorised = 0
        self.arrivals = TokenBucket(limits.arrivals_per_second, limits.arrivals_burst)
        self.offences = TokenBucket(limits.offences_per_second, limits.offences_burst)
        self.misnamed: TokenBucket | None = None
        """None before the first."""
        self.shut_until = -math.inf
        self.strikes = 0
        """Bans so far; forgiven one by one."""
        self.reason = ""


class Doorkeeper:
    """Who may connect, by address."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._known: dict[str, _Address] = {}
        self._idle: dict[str, None] = {}
        """Addresses without a connection, those that were looked at last behind."""

    def enter(self, address: str, ticks: float) -> str | None:
        """Count a connection of the address; or why it is turned away, in a word, and it is not counted."""
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = _Address(self._limits)
            self._idle[address] = None
        if ticks < known.shut_until:
            return "banned"
        if known.connections >= self._limits.connections_per_address:
            return "address-full"
        if not known.arrivals.take(ticks):
            return "address-rate"
        known.connections += 1
        self._idle.pop(address, None)
        return None

    def authorised(self, address: str) -> None:
        """A connection of the address has authorised: whoever is there is known, and a ban is over."""
        known = self._known[address]
        known.authorised += 1
        known.shut_until = -math.inf

    def leave(self, address: str, authorised: bool) -> None:
        """A connection that was counted has ended."""
        known = self._known[address]
        known.connections -= 1
        known.authorised -= authorised
        if not known.connections:
            self._idle[address] = None

    def offence(self, address: str, reason: str, ticks: float) -> bool:
        """A connection of the address broke the rules; True when that was one time too many: it is banned."""
        known = self._known.get(address)
        if known is None or known.authorised or known.offences.take(ticks) or ticks < known.shut_until:
            return False
        self._forgive(known, ticks)
        known.shut_until = ticks + min(BAN_SECONDS * 2**known.strikes, BAN_SECONDS_MAX)
        known.strikes += 1
        known.reason = reason
        return True

    def excuse_misnamed(self, address: str, times: int, ticks: float) -> bool:
        """Whether so many authorisations of a known account under unknown machine names are no offence."""
        known = self._known[address]
        if known.misnamed is None:
            known.misnamed = TokenBucket(MISNAMED_PER_SECOND, MISNAMED_BURST)
        return known.misnamed.take(ticks, times)

    def bans(self, ticks: float) -> list[Ban]:
        """The bans in force."""
        return [
            Ban(address, known.reason, known.shut_until)
            for address, known in list(self._known.items())
            if ticks < known.shut_until
        ]

    def unban(self, address: str) -> bool:
        """Let an address (any one of an IPv6 /64) in again, with a clean slate; False: it was not banned."""
        known = self._known.get(group(address))
        if known is None or known.shut_until == -math.inf:
            return False
        known.shut_until = -math.inf
        known.strikes = 0
        known.offences = TokenBucket(self._limits.offences_per_second, self._limits.offences_burst)
        return True

    def expire(self, ticks: float) -> None:
        """Forget addresses of which nothing is left to remember; looks at EXPIRE_AT_ONCE of them."""
        for address in list(islice(self._idle, EXPIRE_AT_ONCE)):
            del self._idle[address]
            known = self._known[address]
            self._forgive(known, ticks)
            shut = known.strikes or ticks < known.shut_until
            buckets = (known.arrivals, known.offences, known.misnamed)
            if shut or not all(bucket is None or bucket.full(ticks) for bucket in buckets):
                self._idle[address] = None
            else:
                del self._known[address]

    def _forgive(self, known: _Address, ticks: float) -> None:
        while known.strikes and ticks - known.shut_until >= FORGIVE_SECONDS:
            known.strikes -= 1
            known.shut_until += FORGIVE_SECONDS


def group(host: str) -> str:
    """What is counted as one address: IPv4 as it is, of IPv6 the /64; a name that is neither as it is."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
