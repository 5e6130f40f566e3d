"""What the register costs a gateway: starting with 100,000 hardware units, asking for one of them, memory.

    python benchmarks/register_cost.py [--miners 84] [--devices 100000] [--rounds 7]

A start is `RegisterReplica.load`, from the file that a gateway keeps; `load` is the part of it that decodes
the records and puts them in the register. An authorise is `RegisterGatekeeper.admit` with the username of a
known unit, in random order, each call timed by itself (with the clock's own cost, which is given apart);
`Gate.admit` is the part of it that asks the register. The goals: 50 µs for an authorise, 5 s for a start.
Rounds are repeated: the table gives the median and the spread over rounds. Memory is the growth of the
process's resident set while the register is loaded, without the bodies.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from pool.gatekeeper import RegisterGatekeeper
from pool.register_replica import RegisterReplica
from pool.sightings import Sightings
from register.centre import Centre
from register.device import Device
from register.event import canonical
from register.gate import Gate, Refusal
from register.identity import check_digit
from register.licence import Licence
from register.miner import Miner
from register.records import decode
from register.register import Register
from register.rules import load_rules
from stratum.interfaces import Denied

RULES = load_rules(Path(__file__).resolve().parent.parent / "configs" / "rules.toml")
FIRST = dt.date(2026, 1, 1)
NOW_US = RULES.day_bounds(dt.date(2026, 6, 1))[0]
ASKED = 20_000
Bodies = list[tuple[str, str, str]]


def bodies_of(miners: int, devices: int) -> Bodies:
    """Kind, key and body of every record, as the log has them."""
    bodies: Bodies = []
    numbers = [bin_number(serial) for serial in range(miners)]
    for index, number in enumerate(numbers):
        miner = Miner(index + 1, f"miner{index}", f"ТОО «Майнер {index}»", number, "kk")
        code = f"dc-{index}"
        centre = Centre(code, code, "Ekibastuz", number, miner.title, "ownership", "deed 1")
        licence = Licence(f"KZ-{index}", miner.id, 1, FIRST, FIRST, dt.date(2028, 12, 31))
        bodies.append(("miner", str(miner.id), canonical(miner)))
        bodies.append(("centre", code, canonical(centre)))
        bodies.append(("licence", licence.number, canonical(licence)))
    for serial in range(devices):
        index = serial % miners
        name = f"DMK-{serial:07}"
        device = Device(
            registry_number=name,
            manufacturer="Bitmain",
            model="Antminer S17",
            serial_number=f"SN{serial:010}",
            worker=f"rig{serial:06}",
            nominal_ghs=56_000,
            nominal_w=2520,
            owner_bin=numbers[index],
            miner_id=index + 1,
            centre=f"dc-{index}",
            included_on=FIRST,
            place=f"hall {serial % 8}, rack {serial % 400}",
        )
        bodies.append(("device", name, canonical(device)))
    return bodies


def bin_number(serial: int) -> str:
    """A made-up BIN of a legal entity."""
    digits = (f"240140{number:05}" for number in range(serial * 3, serial * 3 + 3))
    return next(f"{first}{digit}" for first in digits if (digit := check_digit(first)) is not None)


def load(bodies: Bodies) -> Register:
    """As a gateway does at its start, without its disk."""
    register = Register()
    for kind, key, body in bodies:
        register.put(kind, key, decode(kind, body))
    return register


def start_seconds(bodies: Bodies, rounds: int) -> list[float]:
    """Seconds of each start from a replica's file."""
    costs = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "register.db"
        replica = RegisterReplica(path)
        replica.store((len(bodies), "a" * 64, NOW_US), bodies, since=0, anew=True)
        replica.close()
        for _ in range(rounds):
            start = time.perf_counter()
            replica = RegisterReplica(path)
            register = replica.load()
            costs.append(time.perf_counter() - start)
            replica.close()
            assert register is not None
            del register
    return costs


def ask(admit: Callable[[str, int], object], usernames: list[str]) -> list[int]:
    """Nanoseconds of each call, the least first."""
    costs = []
    for username in usernames:
        start = time.perf_counter_ns()
        answer = admit(username, NOW_US)
        costs.append(time.perf_counter_ns() - start)
        assert not isinstance(answer, Refusal | Denied)
    return sorted(costs)


def clock_cost() -> float:
    """Nanoseconds of the timing itself, median."""
    costs = []
    for _ in range(ASKED):
        start = time.perf_counter_ns()
        costs.append(time.perf_counter_ns() - start)
    return statistics.median(costs)


def spread(samples: list[float], unit: str) -> str:
    """Median, least and greatest of the rounds."""
    return f"{statistics.median(samples):.2f} {unit} | {min(samples):.2f} | {max(samples):.2f} |"


def main() -> None:
    """Run the rounds and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--miners", type=int, default=84)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    chance = random.Random(1)
    bodies = bodies_of(options.miners, options.devices)
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    register = load(bodies)
    gc.collect()
    memory = (process.memory_info().rss - before) / 2**20
    loading: list[float] = []
    medians: dict[str, list[float]] = {"Gate.admit": [], "authorise": []}
    tails: dict[str, list[float]] = {"Gate.admit": [], "authorise": []}
    for _ in range(options.rounds):
        start = time.perf_counter()
        again = load(bodies)
        loading.append(time.perf_counter() - start)
        del again
        devices = chance.sample(list(register.devices.values()), min(ASKED, options.devices))
        usernames = [f"miner{one.miner_id - 1}.{one.worker}" for one in devices]
        gate = Gate(register, RULES)
        keeper = RegisterGatekeeper(gate, Counter(), Sightings(register, RULES), RULES)
        for what, admit in (("Gate.admit", gate.admit), ("authorise", keeper.admit)):
            costs = ask(admit, usernames)
            medians[what].append(costs[len(costs) // 2] / 1000)
            tails[what].append(costs[len(costs) * 99 // 100] / 1000)
    print(f"{options.miners} miners, {options.devices} hardware units, {options.rounds} rounds; ", end="")
    print(f"the clock itself costs {clock_cost():.0f} ns")
    print("| what | median of rounds | least | greatest |")
    print("|---|---|---|---|")
    print(f"| start from register.db | {spread(start_seconds(bodies, options.rounds), 's')}")
    print(f"| load {len(bodies)} records | {spread(loading, 's')}")
    for what, costs_of in medians.items():
        print(f"| {what}, median | {spread(costs_of, 'µs')}")
        print(f"| {what}, 99th percentile | {spread(tails[what], 'µs')}")
    print(f"| memory of the register | {memory:.0f} MiB | | |")


if __name__ == "__main__":
    main()
