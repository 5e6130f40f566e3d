"""Where report keys come from: a file, the environment, a program, and every way in which these fail."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pool import key_sources
from pool.config import ConfigError, load
from pool.key_sources import CommandSigner, signers_of
from pool.signing_section import SigningSection
from reporting.bip340 import signed_by
from reporting.key_file import KeyFileError
from reporting.signing import SigningError, SigningKey, sign

KEY = SigningKey(b"\x5a" * 32)
SECRET = KEY.secret.hex()
DIGEST = bytes(range(32))
SIGNATURE = KEY.sign(DIGEST).hex()


def program(directory: Path, body: str) -> str:
    path = directory / "hsm"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def command(directory: Path, body: str, *arguments: str, seconds: float = 20) -> CommandSigner:
    return CommandSigner([program(directory, body), *arguments], KEY.public_key, seconds)


def test_a_program_is_given_the_digest_in_hex_and_its_answer_is_taken(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    signer = command(tmp_path, f'cat > {asked}; echo "thinking, pin $1" >&2; echo {SIGNATURE}', "--pin 1234")
    assert signer.sign(DIGEST).hex() == SIGNATURE
    assert asked.read_text() == DIGEST.hex() + "\n"
    assert (signer.key_id, signer.public_key, signer.algorithm) == (KEY.key_id, KEY.public_key, "bip340")


def test_a_program_in_python_signs_a_report(tmp_path: Path) -> None:
    """As docs/keys.md shows it, with the key in its own hands."""
    script = tmp_path / "hsm.py"
    script.write_text(
        "import sys\n"
        "from coincurve import PrivateKey\n"
        f"key = PrivateKey(bytes.fromhex('{SECRET}'))\n"
        "print(key.sign_schnorr(bytes.fromhex(sys.stdin.readline().strip())).hex())\n"
    )
    signer = CommandSigner([sys.executable, str(script)], KEY.public_key)
    envelope = sign({"generated_at": "2026-11-24T00:00:00+05:00"}, [signer])
    value = bytes.fromhex(envelope["signatures"][0]["value"])
    assert signed_by(bytes.fromhex(KEY.public_key), bytes.fromhex(envelope["report_sha256"]), value)


def test_no_shell_looks_at_its_arguments(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    command(tmp_path, f"echo {SIGNATURE}", f"; touch {marker}").sign(DIGEST)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo key 1234 >&2; exit 3", "ended with code 3"),
        (f"echo {SIGNATURE}; exit 1", "ended with code 1"),
        ("true", "answered 0 bytes that are no signature"),
        ("echo signed!", "answered 8 bytes that are no signature"),
        (f"echo {SIGNATURE[:-2]}", "are no signature of 128 hex digits"),
        (f"echo {SIGNATURE}00", "are no signature of 128 hex digits"),
        ("kill -9 $$", "ended with code -9"),
        ("exec yes", "answered more than 1024 bytes and was ended"),
        ("exec cat /dev/zero", "answered more than 1024 bytes and was ended"),
    ],
)
def test_a_program_that_does_not_sign_is_told_and_not_quoted(tmp_path: Path, body: str, said: str) -> None:
    """It may say a PIN or a secret: its name alone is told."""
    with pytest.raises(SigningError, match=said) as caught:
        command(tmp_path, body, "--pin 1234").sign(DIGEST)
    told = str(caught.value)
    assert KEY.key_id in told
    assert str(tmp_path / "hsm") in told
    assert "1234" not in told
    assert SIGNATURE[:-2] not in told


@pytest.mark.parametrize(
    "answer", [SigningKey(b"\x06" * 32).sign(DIGEST).hex(), KEY.sign(bytes(32)).hex(), "00" * 64]
)
def test_a_program_that_lies_is_not_believed(tmp_path: Path, answer: str) -> None:
    """Another key's signature, one over something else, and none at all: refused before it is used."""
    with pytest.raises(SigningError, match=f"key {KEY.key_id}: what came back is not its signature"):
        sign({"generated_at": "x"}, [command(tmp_path, f"echo {answer}")])


def alive_in(group: int) -> list[psutil.Process]:
    """The processes of a group; what nobody has buried yet is dead all the same."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sleep 60 & wait", "did not answer within 0.3 s and was ended"),
        (f"echo {SIGNATURE}; exec >&-; sleep 60 & wait", "did not (end|answer) within 0.3 s"),
        (f"sleep 60 & echo {SIGNATURE}", "did not answer within"),
    ],
)
def test_a_program_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, body: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    really = key_sources.subprocess.Popen

    class Seen(really):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)

    monkeypatch.setattr(key_sources.subprocess, "Popen", Seen)
    with pytest.raises(SigningError, match=said):
        command(tmp_path, body, seconds=0.3).sign(DIGEST)
    deadline = time.monotonic() + 10
    while alive_in(started[0]):
        assert time.monotonic() < deadline, alive_in(started[0])
        time.sleep(0.01)


def test_a_program_that_does_not_listen_or_is_not_there(tmp_path: Path) -> None:
    assert command(tmp_path, f"exec <&-; echo {SIGNATURE}").sign(DIGEST).hex() == SIGNATURE
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SigningError, match=r"cannot be started \("):
            CommandSigner([str(path)], KEY.public_key).sign(DIGEST)
    with pytest.raises(SigningError, match="cannot be started"):
        CommandSigner(["a\0b"], KEY.public_key).sign(DIGEST)


# The configuration


def section(*keys: dict[str, Any]) -> SigningSection:
    return SigningSection.model_validate({"keys": keys})


def test_without_a_section_the_key_is_where_it_always_was(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "report.key"
    (made,) = signers_of(SigningSection(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.public_key for one in signers_of(SigningSection(), path)] == [made.public_key]


def test_three_sources_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORT_KEY", SECRET)
    other = SigningKey(b"\x07" * 32).public_key
    keys = section(
        {"file": tmp_path / "one"},
        {"environment": "REPORT_KEY"},
        {"command": ["/usr/bin/hsm", "-x"], "public_key": other.upper()},
    )
    file, environment, asked = signers_of(keys, tmp_path / "default")
    assert not (tmp_path / "default").exists()
    assert file.public_key == SigningKey(bytes.fromhex((tmp_path / "one").read_text())).public_key
    assert (environment.public_key, asked.public_key) == (KEY.public_key, other)


@pytest.mark.parametrize("value", [None, "", SECRET[:-1], SECRET.upper(), "00" * 32])
def test_a_variable_that_holds_no_key_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("REPORT_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("REPORT_KEY", value)
    with pytest.raises(KeyFileError, match=r"signing\.keys\.0: ") as caught:
        signers_of(section({"environment": "REPORT_KEY"}), tmp_path)
    assert not value or value not in str(caught.value)


def test_a_key_named_twice_and_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORT_KEY", SECRET)
    twice = {"environment": "REPORT_KEY"}
    with pytest.raises(KeyFileError, match=rf"signing\.keys\.1: key {KEY.key_id} is named twice"):
        signers_of(section(twice, twice), tmp_path)
    with pytest.raises(KeyFileError, match=r"signing\.keys\.0: .*Is a directory"):
        signers_of(section({"file": tmp_path}), tmp_path)
    (tmp_path / "open").write_text(SECRET)
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(KeyFileError, match=r"data_dir: .*mode 0644"):
        signers_of(SigningSection(), tmp_path / "open")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[[signing.keys]]\nfile = "a"\nenvironment = "B"', "give either file, environment or command"),
        ("[[signing.keys]]", "give either file, environment or command"),
        ('[[signing.keys]]\ncommand = ["hsm"]', "public_key: belongs to a command"),
        (
            f'[[signing.keys]]\nfile = "a"\npublic_key = "{KEY.public_key}"',
            "public_key: belongs to a command",
        ),
        (f'[[signing.keys]]\nenvironment = "{SECRET}"', "write the name of a variable"),
        ('[[signing.keys]]\nenvironment = "DMPOOL_KEY"', "none that begins with DMPOOL_"),
        (
            f'[[signing.keys]]\ncommand = ["hsm"]\npublic_key = "{SECRET[:-2]}xx"',
            "write the x-only public key",
        ),
        (f'[[signing.keys]]\nsecret = "{SECRET}"', "no such key"),
        (f'[signing]\nkeys = ["{SECRET}"]', "signing.keys.0"),
        (
            '[signing.cms]\nurl = "http://10.0.0.1/cms"\nkey_file = "a"\npassword_file = "b"',
            "with a loopback",
        ),
        ('[signing.cms]\nurl = "ftp://127.0.0.1"\nkey_file = "a"\npassword_file = "b"', "write https"),
        (f'[signing.cms]\nurl = "https://u:{SECRET}@a"\nkey_file = "a"\npassword_file = "b"', "is not taken"),
        ('[signing.cms]\nurl = "https://a/b"\nkey_file = "a"', "give either password_file or"),
        (f'[signing.cms]\nurl = "https://a/b"\nkey_file = "a"\npassword = "{SECRET}"', "no such key"),
    ],
)
def test_a_wrong_section_is_explained_and_no_secret_shown(tmp_path: Path, toml: str, said: str) -> None:
    path = tmp_path / "dmpool.toml"
    path.write_text(
        'data_dir = "."\n[pool]\nname = "P"\nbin = "230440000105"\nchain = "regtest"\n'
        f'address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"\n{toml}\n'
    )
    with pytest.raises(ConfigError, match=r"dmpool\.toml: signing") as caught:
        load(path)
    assert said in str(caught.value)
    assert SECRET[:-2] not in str(caught.value)
