"""The office that keeps the register: people with tokens and roles, and a clerk for each step of the plot.

Everything goes the way that the command line and the HTTP API go: a token says who acts, a `Clerk` checks and
makes events, and what needs two pairs of eyes waits for the second officer.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from embit import bech32

from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.event import Event
from register.licence import Act, Licence
from register.miner import LANGUAGES, Miner
from register.payout_address import PayoutAddress
from register.person import Actor, Person, Role, token_hash, whose
from register.pool_data import Accreditation
from register.proposal import FOUR_EYES
from register.register import Register
from register.rules import Rules
from tests.register_world import bin_number

HOSTS = ("host-1", "host-2", "host-3")
"""Data centres of others, in which the farms of subtype II stand."""
PEOPLE = {
    "aigul": Role.COMPLIANCE, "bolat": Role.COMPLIANCE, "galym": Role.COMPLIANCE, "dana": Role.OPERATOR,
    "erlan": Role.AUDITOR,
}  # fmt: skip
GHS = 56_000


class Denied(Exception):
    """Nobody has this token."""


def made_up_address(name: str) -> str:
    """An address of nobody's."""
    return str(bech32.encode("bcrt", 0, hashlib.sha256(name.encode()).digest()[:20]))


class Office:
    """See the head of this file. Its methods, but for the first, are the verbs of the plot."""

    def __init__(self, rules: Rules, now_us: int) -> None:
        self.register = Register()
        self.log: list[Event] = []
        self.second = "token of bolat"
        """Of who approves."""
        self.tokens = {name: f"token of {name}" for name in PEOPLE}
        self._terms = Terms(rules, "regtest", four_eyes=frozenset(FOUR_EYES))
        # The first officer comes from whoever sets the pool up, the second from the first, a third from both.
        first, *others = (Person(name, role, token_hash(self.tokens[name])) for name, role in PEOPLE.items())
        clerk = Clerk(self.register, self._terms, Actor("os:root", Role.COMPLIANCE), "set up", now_us)
        clerk.put_person(first)
        self.log += clerk.events
        for person in others:
            self.write(
                "token of aigul", "set up", now_us, lambda clerk, person=person: clerk.put_person(person)
            )
        self.approve(now_us, list(self.register.proposals))
        clerk = Clerk(self.register, self._terms, Actor("aigul", Role.COMPLIANCE), "set up", now_us)
        for number, code in enumerate(HOSTS):
            holder = bin_number(200 + number)
            clerk.enter_centre(
                Centre(code, f"{code} LLP", "Ekibastuz", holder, f"{code} LLP", "ownership", "deed")
            )
        self.log += clerk.events

    def write(self, token: str, reason: str, now_us: int, change: Callable[[Clerk], object]) -> None:
        """A change by whoever has the token; raises Denied, and what the clerk raises."""
        person = whose(token, self.register.people.values())
        if person is None:
            raise Denied(token)
        clerk = Clerk(self.register, self._terms, Actor(person.name, person.role), reason, now_us)
        try:
            change(clerk)
        except ValueError:
            assert not clerk.events, "a change that was refused half-way: throw the year away"
            raise
        self.log += clerk.events

    def perform(self, now_us: int, verb: str, about: dict[str, Any]) -> list[int]:
        """A step of the plot; the numbers of the proposals that wait for the second officer now."""
        known = set(self.register.proposals)
        getattr(self, verb)(now_us, **about)
        return sorted(set(self.register.proposals) - known)

    def approve(self, now_us: int, proposals: list[int]) -> None:
        """The second officer has seen the papers."""
        for number in proposals:
            self.write(self.second, "papers seen", now_us, lambda clerk, number=number: clerk.approve(number))

    # Verbs

    def accredited(self, now_us: int, number: str, first: dt.date, last: dt.date | None = None) -> None:
        self._officer(now_us, lambda clerk: clerk.put_accreditation(Accreditation(number, first, last)))

    def miner(self, now_us: int, account: str, subtype: int) -> None:
        number = bin_number(len(self.register.miners) + 1)
        language = LANGUAGES[len(self.register.miners) % 3]

        def change(clerk: Clerk) -> None:
            miner = clerk.enter_miner(Miner(0, account, f"{account} LLP", number, language))
            if subtype == 1:
                title = f"{account}, hall 1"
                clerk.enter_centre(
                    Centre(f"{account}-dc", title, "Ekibastuz", number, account, "ownership", "deed")
                )
            clerk.enter_address(PayoutAddress(miner.id, 0, "wallet", made_up_address(account), 0))

        self._operator(now_us, change)

    def licence(
        self,
        now_us: int,
        number: str,
        account: str,
        subtype: Any,
        issued: dt.date,
        first: dt.date,
        last: dt.date,
    ) -> None:
        new = Licence(number, self.register.miner(account).id, subtype, issued, first, last)
        self._officer(now_us, lambda clerk: clerk.enter_licence(new))

    def act(self, now_us: int, number: str, what: Any, on: dt.date, until: dt.date | None = None) -> None:
        act = Act(what, f"{number}/{on}", on, reason_code=2 if what == "suspended" else 0, until=until)
        self._officer(now_us, lambda clerk: clerk.act_on_licence(number, act))

    def units(self, now_us: int, account: str, listed: list[tuple[str, str]], included: dt.date) -> None:
        def change(clerk: Clerk) -> None:
            for number, worker in listed:
                made = Device(number, "Bitmain", "S17", f"SN{number}", worker, GHS, 2520, "", 0, "", included)
                clerk.enter_device(self._placed(made, account))

        self._operator(now_us, change)

    def excluded(self, now_us: int, number: str, on: dt.date) -> None:
        self._operator(now_us, lambda clerk: clerk.exclude_device(number, on))

    def moved(self, now_us: int, number: str, account: str, worker: str) -> None:
        before = msgspec.structs.replace(self.register.device(number), worker=worker)
        self._operator(now_us, lambda clerk: clerk.change_device(self._placed(before, account)))

    def _placed(self, device: Device, account: str) -> Device:
        """The unit as this miner's own: in its centre, or hosted by a contract."""
        miner = self.register.miner(account)
        own = f"{account}-dc"
        hosted = own not in self.register.centres
        return msgspec.structs.replace(
            device,
            miner_id=miner.id,
            owner_bin=miner.bin,
            centre=HOSTS[miner.id % len(HOSTS)] if hosted else own,
            contract=f"hosting {miner.id}" if hosted else "",
        )

    def _officer(self, now_us: int, change: Callable[[Clerk], object]) -> None:
        self.write(self.tokens["aigul"], "by decision", now_us, change)

    def _operator(self, now_us: int, change: Callable[[Clerk], object]) -> None:
        self.write(self.tokens["dana"], "on the miner's application", now_us, change)
