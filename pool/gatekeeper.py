"""Who may mine, as a session asks it: the register's gate behind the session's small interface.

The register is kept up to date in memory by somebody else, who says when it has changed. Without PostgreSQL
what was last known stays in force, and licences still begin and end on time, because each admission carries
its own bounds (I6).

A miner is told why it is refused in its account's language, a stranger in English; nothing of another
account is told to anybody. Names come as firmwares send them: some write special characters as `%25`, some
cut long names (peers: Q-43).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import structlog

from pool.sightings import Sightings
from register.catalogue import messages, text
from register.gate import Admission, Gate, Refusal, RefusalKind
from register.miner import LANGUAGES
from register.rules import Rules
from stratum.interfaces import Denied, Worker

log = structlog.get_logger(__name__)

CUT_LENGTHS: Final = frozenset({63, 80, 127})
"""Where Avalon, NerdMiner and Whatsminer cut a name."""
DAY_US: Final = 86_400_000_000
SHOWN: Final = 32
"""Characters of a name or number that a text repeats: firmware has small buffers."""
_NAME: Final = (RefusalKind.MALFORMED, RefusalKind.UNKNOWN_ACCOUNT)
_OF_WORKER: Final = (RefusalKind.MALFORMED, RefusalKind.UNKNOWN_DEVICE, RefusalKind.NOT_REGISTERED)
_MISNAMED: Final = (RefusalKind.MALFORMED, RefusalKind.UNKNOWN_DEVICE)
"""What anybody can make up who knows an account."""


class RegisterGatekeeper:
    """A `stratum.interfaces.Gatekeeper` over the register's `Gate`."""

    def __init__(self, gate: Gate, refusals: Counter[str], sightings: Sightings, rules: Rules) -> None:
        self.generation = 0
        self._gate = gate
        self._refusals = refusals
        self._sightings = sightings
        self._rules = rules
        for language in LANGUAGES:
            messages(language)  # read here, and not while shares wait

    def changed(self, changes: Iterable[tuple[str, int]]) -> None:
        """Records have new versions: the kind of each, and the miner of a licence, else 0.

        Every worker is asked for again before its next share is judged.
        """
        for kind, miner_id in changes:
            self._gate.forget(kind, miner_id)
        self.generation += 1

    def admit(self, username: str, now_us: int) -> Worker | Denied:
        """The worker behind a name that asks to be let in, or why it is not."""
        verdict = self._ask(username, now_us)
        if isinstance(verdict, Refusal):
            self._refusals[verdict.kind.value] += 1
            self._sightings.refused(verdict, now_us)
            log.debug("worker_refused", worker=username, reason=verdict.kind.value)
            return self._denied(verdict, username)
        self._sightings.let_in(verdict, now_us)
        log.debug("worker_authorised", worker=username, account=verdict.account)
        return self._worker(verdict, username, now_us)

    def look(self, username: str, now_us: int) -> Worker | Denied:
        """The same of one that was let in before; it counts nowhere."""
        verdict = self._ask(username, now_us)
        if isinstance(verdict, Refusal):
            return self._denied(verdict, username)
        return self._worker(verdict, username, now_us)

    def notices_for(self, username: str, now_us: int) -> list[str]:
        """What the miner should be told of its worker, of its licence."""
        admission = self._ask(username, now_us)
        if isinstance(admission, Refusal):
            return []
        notices = []
        if admission.device is None:
            how = "notice.device_flagged" if admission.credited else "notice.device_quarantined"
            worker = _shown(admission.worker) or "-"
            notices.append(text(admission.language, how, account=admission.account, worker=worker))
        row = self._rules.find("licence_warning", self._rules.day_of(now_us))
        horizon_us = now_us + (row.integer("miner_notice_days") if row is not None else 0) * DAY_US
        ending = self._ending(admission, username, horizon_us)
        return [*notices, ending] if ending else notices

    def _ask(self, username: str, now_us: int) -> Admission | Refusal:
        verdict = self._gate.admit(username, now_us)
        if isinstance(verdict, Refusal) and verdict.kind in _NAME and "%" in username:
            decoded = self._gate.admit(unquote(username), now_us)
            if isinstance(decoded, Admission) or decoded.miner_id:
                return decoded
        return verdict

    def _denied(self, refusal: Refusal, username: str) -> Denied:
        if refusal.kind not in _OF_WORKER:
            refusal = msgspec.structs.replace(refusal, worker="")  # all workers are told the same
        reason = _reason(refusal)
        if refusal.kind in _NAME and len(username) in CUT_LENGTHS:
            reason = text(refusal.language, "refusal.cut_name", reason=reason, length=len(username))
        misnamed = refusal.miner_id != 0 and refusal.kind in _MISNAMED
        return Denied(reason, refusal.miner_id != 0 and not misnamed, misnamed, refusal.kind.value)

    def _worker(self, admission: Admission, username: str, now_us: int) -> Worker:
        number, until_us = admission.device, admission.valid_until_us
        if number is None:  # one that is no unit is counted each day
            until_us = min(until_us, self._rules.day_bounds(self._rules.day_of(now_us))[1])
        return Worker(
            username=username,
            miner_id=admission.miner_id,
            name=admission.worker,
            valid_from_us=admission.valid_from_us,
            valid_until_us=until_us,
            account=admission.account,
            credited=admission.credited,
            unit=self._sightings.unit(number) if number is not None else None,
            generation=self.generation,
        )

    def _ending(self, admission: Admission, username: str, horizon_us: int) -> str:
        """What will end the work of a worker before the horizon; empty when something follows on it."""
        while admission.valid_until_us <= horizon_us:
            following = self._ask(username, admission.valid_until_us)
            if isinstance(following, Refusal):
                return self._ending_by(following, admission)
            if following.valid_until_us <= admission.valid_until_us:
                break
            admission = following
        return ""

    def _ending_by(self, refusal: Refusal, admission: Admission) -> str:
        language, licence = admission.language, _shown(admission.licence.number)
        if refusal.kind is RefusalKind.SUSPENDED and refusal.day is not None and refusal.until is not None:
            return text(
                language,
                "notice.suspension_begins",
                licence=licence,
                day=refusal.day,
                until=refusal.until,
                reason_code=refusal.reason_code,
            )
        if refusal.kind in (RefusalKind.ENDED, RefusalKind.REVOKED):
            last = self._rules.day_of(admission.valid_until_us - 1)
            return text(language, "notice.licence_ends", licence=licence, day=last, account=admission.account)
        return ""


@lru_cache(4096)
def _reason(refusal: Refusal) -> str:
    message = f"refusal.{refusal.kind.value}"
    if refusal.kind is RefusalKind.UNKNOWN_DEVICE and not refusal.worker:
        message = "refusal.unnamed_device"
    values: dict[str, Any] = {
        "account": _shown(refusal.account),
        "worker": _shown(refusal.worker),
        "licence": _shown(refusal.licence),
        "day": refusal.day,
        "until": refusal.until,
        "reason_code": refusal.reason_code,
    }
    return text(refusal.language, message, **values)


def _shown(value: str) -> str:
    """A name as a text may repeat it: short, without what a screen or a careless parser cannot take."""
    plain = "".join(one if one.isprintable() and one not in '"\\' else "?" for one in value)
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 3] + "..."
