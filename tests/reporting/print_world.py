"""A day as large as a pool of Kazakhstan may have it, for paper: many miners with long names, many payments.

It does not reconcile and is never told as a report; what is looked at is how it stands on pages.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reporting.signing import SigningKey, encode, sign

KEY = SigningKey(b"\x01" * 32)
NAMES = (
    "Товарищество с ограниченной ответственностью «Солтүстік Қазақстан цифрлық майнинг деректерін өңдеу "
    "орталығы № {}»",
    "ЖК Әбдірахманова Гүлнұр Бауыржанқызы {}",
    "ТОО «Ұлытау-Өндіріс Інжу Ғылым Һүкімі Қазына Холдингтік Компаниясы {}»",
    "Ltd{}",
    "Бірсөзденқұралғанөтеұзынатауыбарсерікестікжауапкершілігішектеулі{}",
)
WALLETS = (
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
)


def signed(document: dict[str, Any]) -> bytes:
    """A document in its envelope."""
    return encode(sign(document, [KEY]))


def crowded(report: dict[str, Any], *, miners: int, payments: int) -> dict[str, Any]:
    """A report with so many of both, made of its first rows."""
    first, payment, sale = report["miners"][0], report["distributions"][0], report["mandatory_sale"][0]
    told = {**report, "miners": [_miner(first, id_) for id_ in range(1, miners + 1)]}
    told["distributions"] = [_payment(payment, number, told["miners"]) for number in range(payments)]
    told["mandatory_sale"] = [{**sale, "miner_id": row["id"]} for row in told["miners"]]
    parts = [
        {"miner_id": row["id"], "work": str(2**76), "amount_sat": 3_720_238, "commission_sat": 56_654}
        for row in told["miners"]
    ]
    told["blocks"] = [{**block, "finder_worker": "w" * 32, "miners": parts} for block in report["blocks"]]
    return told


def _miner(first: dict[str, Any], id_: int) -> dict[str, Any]:
    licence = {
        **first["licence"],
        "number": f"KZ-DMP-2026-{id_:06d}",
        "standing": first["licence"]["standing"] * (1 + id_ % 3),
    }
    return {
        **first,
        "id": id_,
        "account": f"account-of-a-miner-{id_:013d}",
        "name": NAMES[id_ % len(NAMES)].format(id_),
        "licence": licence,
        "work": str(2**83 + id_),
        "payout_address": WALLETS[id_ % len(WALLETS)],
        "data_centre_ids": [f"dc-{number}-ekibastuz" for number in range(id_ % 7 + 1)],
        "closing_sat": 2_100_000_000_000_000 - id_,
    }


def _payment(first: dict[str, Any], number: int, miners: list[dict[str, Any]]) -> dict[str, Any]:
    miner = miners[number % len(miners)]
    return {
        **first,
        "row_no": number + 1,
        "miner_id": miner["id"],
        "name": miner["name"],
        "licence_number": miner["licence"]["number"],
        "wallet_address": miner["payout_address"],
        "exchange": "" if number % 5 else "Биржа цифровых активов «Орталық Азия» Ltd",
        "txid": hashlib.sha256(str(number).encode()).hexdigest(),
        "quantity_sat": number * 987_654_321,
        "block_height": 927_000 + number,
    }


def poppler(program: str, *arguments: str | Path) -> str:
    """What a program of poppler says of a PDF, or makes of it."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian: poppler-utils)")
    done = subprocess.run([path, *arguments], check=True, capture_output=True, timeout=120)
    return done.stdout.decode()
