"""A program that signs: what it is given, and every way in which it can fail."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pool.signers import CommandSigner, SignerError

PSBT = "cHNidP8BAHEC"


def program(directory: Path, body: str) -> str:
    path = directory / "sign"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_it_gets_the_psbt_and_its_answer_is_taken(tmp_path: Path) -> None:
    signer = CommandSigner([program(tmp_path, 'echo "asked $1" >&2; cat; echo'), "--key one"])
    assert await signer.sign(PSBT) == PSBT


async def test_no_shell_looks_at_its_arguments(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    signer = CommandSigner([program(tmp_path, "cat"), f"; touch {marker}"])
    await signer.sign(PSBT)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo no key >&2; exit 3", "ended with code 3: no key"),
        ("exit 1", "without a word"),
        ("echo 'Signed: yes!'", "not a PSBT in base64"),
        ("true", "not a PSBT in base64"),
    ],
)
async def test_a_program_that_does_not_sign_is_told(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(SignerError, match=said):
        await CommandSigner([program(tmp_path, body)]).sign(PSBT)


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match=r"settlement\.command"):
        await CommandSigner([str(tmp_path / "nothing")]).sign(PSBT)


async def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    body = f"(sleep 2; touch {alive}) & wait"
    with pytest.raises(SignerError, match="did not answer within"):
        await CommandSigner([program(tmp_path, body)], seconds=0.3).sign(PSBT)
    assert not alive.exists()
