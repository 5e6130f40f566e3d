"""Signed notes: published vectors of others, and what must be refused."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from reporting.note import (
    BIP340,
    COSIGNATURE,
    ED25519,
    Bip340Signer,
    Ed25519Signer,
    Note,
    NoteError,
    Signature,
    cosigned_at,
    parse_key,
    parse_note,
    parse_signatures,
    sign_note,
    verified,
    verifier_key,
)
from reporting.signing import SigningKey

# The example of C2SP signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7"
    "Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The examples of golang.org/x/mod/sumdb/note, which made the format.
GO_SECRET = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM="
)
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
)
# A checkpoint of a public log, with lines of unknown types and the cosignatures of public witnesses.
PUBLIC_NOTE = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
"""  # noqa: E501 - published lines
PUBLIC_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"

REPORT_KEY = SigningKey(bytes(31) + b"\x07")
LOG = Ed25519Signer("dmpool/940140000385/main", bytes(31) + b"\x01")
REPORTS = Bip340Signer("dmpool/940140000385/main", REPORT_KEY)
TEXT = "dmpool/940140000385/main\n7\nZGVt\n"


def test_the_example_of_the_specification() -> None:
    key = parse_key(SPEC_KEY)
    assert str(key) == SPEC_KEY
    assert (key.name, key.type, key.key_id.hex()) == ("example.com/foo", ED25519, "530d903a")
    note = parse_note(SPEC_NOTE.encode())
    assert note.text == "This is an example message.\n"
    assert [one for one, _ in verified(note, [key])] == [key]
    assert note.encode() == SPEC_NOTE.encode()


def test_signing_gives_the_bytes_of_the_reference() -> None:
    signer = Ed25519Signer("PeterNeumann", GO_SECRET)
    assert str(signer.key) == GO_KEY
    assert sign_note(GO_TEXT, [signer]).encode().decode() == f"{GO_TEXT}\n{GO_LINE}\n"


def test_two_signatures_of_which_one_is_unknown() -> None:
    note = parse_note(f"{GO_TEXT}\n{GO_LINE}\n{ENOCH_LINE}\n".encode())
    peter, enoch = parse_key(GO_KEY), parse_key(ENOCH_KEY)
    assert [key for key, _ in verified(note, [peter])] == [peter]
    assert [key for key, _ in verified(note, [enoch, peter])] == [peter, enoch]
    with pytest.raises(NoteError, match="no line is signed by"):
        verified(note, [parse_key(SPEC_KEY)])
    with pytest.raises(NoteError, match="no line is signed by a known key"):
        verified(note, [])


def test_a_public_checkpoint_and_its_witness() -> None:
    note = parse_note(PUBLIC_NOTE.encode())
    log, witness = parse_key(PUBLIC_LOG), parse_key(PUBLIC_WITNESS)
    assert (log.type, witness.type) == (ED25519, COSIGNATURE)
    assert [key for key, _ in verified(note, [log, witness])] == [log, witness]
    assert cosigned_at(note.signatures[3]) == 0x6A122120
    later = note.signatures[3]._replace(value=(0x6A122121).to_bytes(8, "big") + note.signatures[3].value[8:])
    with pytest.raises(NoteError, match=r"signature of remora\.n621\.de .* is wrong"):
        verified(note._replace(signatures=(later,)), [witness])
    with pytest.raises(NoteError, match="is no cosignature"):
        cosigned_at(note.signatures[1])


def test_a_cosignature_is_of_one_text_and_one_time_and_no_plain_signature() -> None:
    """The same key of the other type signs something else, and its id is another."""
    secret = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = verifier_key("witness", COSIGNATURE, secret.public_key().public_bytes_raw())
    value = (5).to_bytes(8, "big") + secret.sign(b"cosignature/v1\ntime 5\n" + TEXT.encode())
    signature = Signature("witness", key.key_id, value)
    key.check(TEXT, signature)
    plain = Signature("witness", key.key_id, (5).to_bytes(8, "big") + secret.sign(TEXT.encode()))
    for text, wrong in ((TEXT + "x\n", signature), (TEXT, plain)):
        with pytest.raises(NoteError, match="is wrong"):
            key.check(text, wrong)
    assert verifier_key("witness", ED25519, key.public_key).key_id != key.key_id


def test_who_has_the_report_key_alone_can_check() -> None:
    note = parse_note(sign_note(TEXT, [LOG, REPORTS]).encode())
    key = parse_key(str(REPORTS.key))
    assert key == verifier_key(LOG.key.name, BIP340, bytes.fromhex(REPORT_KEY.public_key))
    assert key.key_id != LOG.key.key_id
    assert [one for one, _ in verified(note, [key])] == [key]
    # The same by hand: name, newline, 0xff, our name of the type, key; the signature over the text's SHA-256.
    public = bytes.fromhex(REPORT_KEY.public_key)
    name = b"dmpool/940140000385/main\n\xffdmpool/bip340-sha256" + public
    assert note.signatures[1].key_id == hashlib.sha256(name).digest()[:4]
    digest = hashlib.sha256(TEXT.encode()).digest()
    assert PublicKeyXOnly(public).verify(note.signatures[1].value, digest)


def test_a_signer_that_answers_with_something_else_is_not_believed() -> None:
    class Program:
        key_id, algorithm = REPORT_KEY.key_id, REPORT_KEY.algorithm
        public_key = REPORT_KEY.public_key

        def sign(self, digest: bytes) -> bytes:
            return bytes(64)

    with pytest.raises(NoteError, match="is wrong"):
        sign_note(TEXT, [LOG, Bip340Signer("log", Program())])


@given(st.data())
def test_a_changed_note_is_refused(data: st.DataObject) -> None:
    """Whatever byte is changed, cut or added: the note is malformed, or its known signatures are wrong."""
    whole = sign_note(TEXT, [LOG, REPORTS]).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    replaced = data.draw(st.binary(max_size=2).filter(lambda one: one != whole[at : at + 1]))
    try:
        note = parse_note(whole[:at] + replaced + whole[at + 1 :])
        keys = {key for key, _ in verified(note, [LOG.key, REPORTS.key])}
    except NoteError:
        return
    # A line whose name or key id was changed is a stranger's; the other still binds the text.
    assert note.text == TEXT
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda note: note.replace(b"\n\n", b"\n"), "no blank line"),
        (lambda note: note[:-1], "no newline"),
        (lambda note: note + b"\n", "no blank line"),
        (lambda note: note.replace(b"message", b"mess\tage"), "control character"),
        (lambda note: note.replace(b"message", b"mess\rage"), "control character"),
        (lambda note: note.replace(b"message", b"mess\xffage"), "not UTF-8"),
        (lambda note: note.replace("— ".encode(), b"- "), "no line of a signature"),
        (lambda note: note.replace(b"example.com/foo ", b"example.com/foo"), "no line of a signature"),
        (lambda note: note.replace(b"aQM=", b"aQM"), "is not base64"),
        (lambda note: note.replace(b"aQM=", b"aQN="), "is not base64"),
        (lambda note: note.replace(b"Uw2QOkn8", b"Uw2QOkn8!"), "is not base64"),
        (lambda note: re.sub(rb"Uw2Q.*=", b"Uw2QOg==", note), "too short"),
        (lambda note: b"x" * (1 << 20) + note, "more than"),
    ],
)
def test_what_is_no_note_is_refused(change: object, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        parse_note(change(SPEC_NOTE.encode()))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "write it as name"),
        (SPEC_KEY.replace("530d903a", "530d903b"), "its id is 530d903a"),
        (SPEC_KEY.replace("530d903a", "530D903A"), "write it as name"),
        (SPEC_KEY.replace("example.com/foo", "example.com/fop"), "its id is"),
        (SPEC_KEY.replace("example.com/foo", ""), "must not be empty"),
        (SPEC_KEY.replace("example.com/foo", "example .com"), "must not be empty or have spaces"),
        (SPEC_KEY[:-4], "29 bytes"),
        ("a+00000000+", "is not base64"),
        ("a+00000000+AA==", "type 0x00 is not known"),
        # With the key hash mended, as the reference tests them: a longer key, an unknown type.
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "is not base64|bytes"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "type 0x65 is not known"),
    ],
)
def test_what_is_no_key_is_refused(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        parse_key(text)


def test_a_text_that_cannot_be_signed_is_refused() -> None:
    for text in ("no newline", "a\x00b\n"):
        with pytest.raises(NoteError, match="a text ends in a newline"):
            sign_note(text, [LOG])


def test_the_text_may_have_empty_lines() -> None:
    note = sign_note("a\n\nb\n", [LOG])
    assert parse_note(note.encode()) == Note("a\n\nb\n", note.signatures)


def test_lines_of_a_witness_are_read_as_it_sends_them() -> None:
    assert parse_signatures(f"{GO_LINE}\n{ENOCH_LINE}\n")[1].line() == ENOCH_LINE
