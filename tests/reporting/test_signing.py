"""The key file, and BIP340 as published."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
import rfc8785
from coincurve import PrivateKey

from reporting.key_file import KeyFileError
from reporting.signing import SigningKey, encode, load_or_create, sign

# BIP340 test vector 1: a secret key and its x-only public key
SECRET = "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef"
PUBLIC = "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659"


def test_the_public_key_is_that_of_bip340() -> None:
    assert SigningKey(bytes.fromhex(SECRET)).public_key == PUBLIC


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.key"
    key = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["report.key"]


def test_the_key_may_not_be_read_by_others_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        load_or_create(tmp_path / "report.key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "report.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "report.key"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"{path} has mode 0{mode:o}: others may read it; run chmod 600"):
        load_or_create(path)


@pytest.mark.parametrize(
    "text", ["", "secret", SECRET[:-1], SECRET + "0", SECRET.upper(), "00" * 32, "ff" * 32]
)
def test_a_file_without_a_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="restore it") as caught:
        load_or_create(path)
    assert not text or text not in str(caught.value)


def test_the_secret_is_not_printed() -> None:
    assert SECRET not in repr(SigningKey(bytes.fromhex(SECRET)))


def test_the_envelope_and_its_signature() -> None:
    key = SigningKey(bytes.fromhex(SECRET))
    report = {"generated_at": "2026-11-21T01:00:00+05:00", "b": 1, "a": "қ"}
    envelope = sign(report, [key])
    canonical = '{"a":"қ","b":1,"generated_at":"2026-11-21T01:00:00+05:00"}'.encode()
    digest = hashlib.sha256(canonical).digest()
    assert envelope["report_sha256"] == digest.hex()
    (signature,) = envelope["signatures"]
    assert signature.pop("value") == PrivateKey(bytes.fromhex(SECRET)).sign_schnorr(digest, bytes(32)).hex()
    assert signature == {
        "type": "bip340",
        "key_id": hashlib.sha256(bytes.fromhex(PUBLIC)).hexdigest()[:16],
        "public_key": PUBLIC,
        "signed_at": "2026-11-21T01:00:00+05:00",
    }
    assert encode(sign(report, [key])) == encode(sign(report, [key]))


def test_numbers_that_json_cannot_carry_are_not_signed() -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        sign({"generated_at": "", "big_sat": 2**53}, [SigningKey(bytes.fromhex(SECRET))])
