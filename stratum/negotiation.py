"""What a miner and the pool agree on before and beside the work: extensions (BIP310), the agent, wishes.

Pure state of one connection, without any bytes: `mining.configure` comes in as its two parameters and goes
out as the result to send. The wishes for difficulty end in the connection's vardiff, which keeps the bounds.

Sources: BIP310 (configure, version-rolling, minimum-difficulty, subscribe-extranonce, info), peers 1.1.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from stratum.difficulty import DIFFICULTY_1_TARGET, exponent_at_least, exponent_at_most
from stratum.password import difficulty_wishes
from stratum.vardiff import Vardiff

TEXT_LIMIT = 128
"""Characters kept of an agent, and of each field of `info`."""
_INFO = ("info.connection-url", "info.hw-version", "info.sw-version", "info.hw-id")


class Negotiation:
    """What was agreed on one connection."""

    __slots__ = (
        "_configured",
        "_earlier_mask",
        "_pool_mask",
        "_told_with",
        "_vardiff",
        "agent",
        "extranonce_wanted",
        "info",
        "mask",
        "mask_told",
    )

    def __init__(self, pool_mask: int, vardiff: Vardiff) -> None:
        self._pool_mask = pool_mask
        self._vardiff = vardiff
        self.agent = ""
        self.info: dict[str, str] = {}
        """What the device says of itself (BIP310 `info`), by field."""
        self.extranonce_wanted = False
        """The miner takes `mining.set_extranonce`."""
        self.mask = pool_mask
        self._earlier_mask = 0
        """The bits of all agreements before the newest."""
        self._told_with = 0
        """Number of the first job that went out under the newest agreement."""
        self._configured = False
        self.mask_told = True
        """False while a `mining.set_version_mask` is owed."""

    def mask_sent(self, job: int) -> None:
        """The mask in force goes out in front of this job."""
        self.mask_told = True
        self._told_with = job

    def mask_of(self, job: int) -> int:
        """The version bits that a share of a job may use: work of an earlier agreement is still work."""
        return self.mask if job >= self._told_with and self.mask_told else self.mask | self._earlier_mask

    def configure(self, extensions: object, options: object) -> dict[str, object]:
        """The result of `mining.configure`: every extension that was asked for has an answer."""
        asked = extensions if isinstance(extensions, list) else []
        given = options if isinstance(options, dict) else {}
        answer: dict[str, object] = {}
        for extension in asked:
            if extension == "version-rolling":
                answer |= self._version_rolling(given.get("version-rolling.mask"))
            elif extension == "minimum-difficulty":
                wish = positive(given.get("minimum-difficulty.value"))
                answer[extension] = wish is not None
                if wish is not None:
                    self._vardiff.wish_at_least(exponent_at_least(wish))
            elif extension == "subscribe-extranonce":
                answer[extension] = self.extranonce_wanted = True
            elif extension == "info":
                answer[extension] = True
                self._keep_info(given)
            elif isinstance(extension, str):
                answer[extension] = False
        return answer

    def suggest(self, method: str | None, wish: object) -> str | None:
        """Take a wish made by a method of its own; what it should have been when it is none."""
        if method == "mining.suggest_target":
            return None if self.suggest_target(wish) else "a target of up to 64 hex digits, not 0"
        return None if self.suggest_difficulty(wish) else "one number greater than 0"

    def suggest_difficulty(self, wish: object) -> bool:
        """False when the wish is no number greater than 0."""
        number = positive(wish)
        if number is not None:
            self._vardiff.suggest(exponent_at_most(number))
        return number is not None

    def suggest_target(self, wish: object) -> bool:
        """The same, as a target of up to 64 hex digits."""
        target = _hexadecimal(wish, 64)
        if target:
            self._vardiff.suggest(exponent_at_most(Fraction(DIFFICULTY_1_TARGET, target)))
        return bool(target)

    def read_password(self, password: object) -> None:
        """Take the wishes for difficulty that stand in a password."""
        if not isinstance(password, str):
            return
        wishes = difficulty_wishes(password, self._vardiff.policy.shares_per_minute)
        if wishes.minimum is not None:
            self._vardiff.wish_at_least(wishes.minimum)
        if wishes.start is not None:
            self._vardiff.suggest(wishes.start)
        if wishes.fixed is not None:
            self._vardiff.fix(wishes.fixed)

    def note_version(self, version: object) -> None:
        """The answer to `client.get_version`."""
        if isinstance(version, str):
            self.info["version"] = version[:TEXT_LIMIT]

    def _version_rolling(self, wish: object) -> dict[str, object]:
        asked = _hexadecimal(wish, 8)
        mask = self._pool_mask & (0xFFFFFFFF if asked is None else asked)
        if not mask:
            return {"version-rolling": False}
        self._earlier_mask |= self.mask if self._configured else mask
        self._configured = True
        self.mask = mask
        self.mask_told = False
        return {"version-rolling": True, "version-rolling.mask": f"{mask:08x}"}

    def _keep_info(self, given: dict[Any, Any]) -> None:
        for field in _INFO:
            text = given.get(field)
            if isinstance(text, str):
                self.info[field.removeprefix("info.")] = text[:TEXT_LIMIT]


def positive(value: object) -> float | None:
    """A number greater than 0, given as a number or as a numeric string; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < float("inf") else None


def _hexadecimal(value: object, digits: int) -> int | None:
    """The number in up to `digits` hex digits, with or without 0x; None when it is not that."""
    if not isinstance(value, str):
        return None
    bare = value.removeprefix("0x")
    if not 1 <= len(bare) <= digits or not all(digit in "0123456789abcdefABCDEF" for digit in bare):
        return None
    return int(bare, 16)
