"""What is said of a CMS without verifying it: signatures that openssl made, and what is none."""

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.cms_shape import LARGEST_CMS, NotCms, described
from tests.reporting.cms import DETACHED, SIGNED

SHA256 = hashlib.sha256(SIGNED).digest()
# By the same key: `-md sha512`, `-nodetach`, `-noattr`, and `openssl cms -data_create`.
BY_SHA512 = base64.b64decode(
    "MIIBVQYJKoZIhvcNAQcCoIIBRjCCAUICAQExDTALBglghkgBZQMEAgMwCwYJKoZIhvcNAQcBMYIBHzCCARsCAQEwJzAPMQ0wCwYDVQQD"
    "DARUZXN0AhRJ929jH/kpfvtkxGZAe6M4WszqzDALBglghkgBZQMEAgOggYkwGAYJKoZIhvcNAQkDMQsGCSqGSIb3DQEHATAcBgkqhkiG"
    "9w0BCQUxDxcNMjYxMTI5MTQ1NTEyWjBPBgkqhkiG9w0BCQQxQgRA1T2zkA2U6OGVVopTrPvn3SDMzq2bHxWRtl792GTfKgssPY0ewuUM"
    "sxmYmJFvreVR1Q5cJoLn6KNrVE4weRj5WTAKBggqhkjOPQQDBARIMEYCIQD8q6GKgcjmXL5WFMkppsgFbnmkFH1kq2mPWcDAbcB8MQIh"
    "ALuyZkhfsgym8oMRvNZVCqEVJhql8KxbAteODIC4HsOB"
)
ATTACHED = base64.b64decode(
    "MIIBPgYJKoZIhvcNAQcCoIIBLzCCASsCAQExDTALBglghkgBZQMEAgEwFwYJKoZIhvcNAQcBoAoECGEgcmVwb3J0MYH9MIH6AgEBMCcw"
    "DzENMAsGA1UEAwwEVGVzdAIUSfdvYx/5KX77ZMRmQHujOFrM6swwCwYJYIZIAWUDBAIBoGkwGAYJKoZIhvcNAQkDMQsGCSqGSIb3DQEH"
    "ATAcBgkqhkiG9w0BCQUxDxcNMjYxMTI5MTQ1NTEyWjAvBgkqhkiG9w0BCQQxIgQgkL0132Dx4n0iNiRaSkn3Ph37AZNvLCFZxwor3pPr"
    "KXcwCgYIKoZIzj0EAwIESDBGAiEA8/tsFrMQqSM5S64E/1YgOJz7MM85O8x1GxAANtMSv+cCIQCC/QXjIfNw5VATDSh/CNjnKHKyCzIu"
    "YLBffAi0z8PRQg=="
)
WITHOUT_ATTRIBUTES = base64.b64decode(
    "MIHFBgkqhkiG9w0BBwKggbcwgbQCAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcBMYGSMIGPAgEBMCcwDzENMAsGA1UEAwwEVGVz"
    "dAIUSfdvYx/5KX77ZMRmQHujOFrM6swwCwYJYIZIAWUDBAIBMAoGCCqGSM49BAMCBEgwRgIhALnBcilhe/CnHoBqI/n2egygFmmR0HOe"
    "vpZfRtiiSuydAiEA/TyB/+wN8hSb7LHUKSMnKck0ulEpwplwaXG08FXGg6M="
)
NO_SIGNATURE = base64.b64decode("MBcGCSqGSIb3DQEHAaAKBAhhIHJlcG9ydA==")


def opened(der: bytes, depth: int = 3) -> bytes:
    """The same with lengths that are not told before, as BouncyCastle writes it, so many levels deep."""
    octets = der[1] - 0x80 if der[1] > 0x80 else 0
    content = der[2 + octets :]
    if depth > 1:
        # ContentInfo has the type before its content, SignedData a version before the rest.
        head = 2 + content[1] if depth == 3 else 0
        content = content[:head] + opened(content[head:], depth - 1)
    return der[:1] + b"\x80" + content + b"\0\0"


def test_a_detached_signature_states_the_hash_of_what_it_signs() -> None:
    assert described(DETACHED, SHA256) == "detached CMS, 1 signer: it states the report's SHA-256"
    indefinite = opened(DETACHED)
    assert indefinite.count(b"\x80") > 2
    assert described(indefinite, SHA256) == described(DETACHED, SHA256)


def test_what_cannot_be_compared_is_told() -> None:
    """GOST hashes are none of the standard library's: nothing is claimed of them."""
    assert "digest 2.16.840.1.101.3.4.2.3, which cannot be compared here" in described(BY_SHA512, SHA256)
    gost = DETACHED.replace(bytes.fromhex("608648016503040201"), bytes.fromhex("2a830e030a01030203"))
    assert "digest 1.2.398.3.10.1.3.2.3, which cannot be compared here" in described(gost, SHA256)
    assert "digest 2.16.840.1.101.3.4.2.1, which it does not state" in described(WITHOUT_ATTRIBUTES, SHA256)


@pytest.mark.parametrize(
    ("cms", "said"),
    [
        (ATTACHED, "it carries a content of its own"),
        (NO_SIGNATURE, r"its content type is 1\.2\.840\.113549\.1\.7\.1, not SignedData"),
        (DETACHED + b"\0", "1 bytes stand behind the signature"),
        (DETACHED[:-1], "it ends too early"),
        (b"", "it ends too early"),
        (b"0\x00", "it ends too early, or lacks a part"),
        (b"\x02\x01\x00", "where ContentInfo should be, an element of tag 0x02 stands"),
        (b"-----BEGIN CMS-----", "where ContentInfo should be|ends too early|long tag"),
        (b"\x30\x85\x00\x00\x00\x00\x00", "a length of more than 4 bytes"),
        (b"\x04\x80\x00\x00", "a primitive element of tag 0x04 has no length"),
        (b"\x3f\x01\x00", "long tag"),
        (b"\x30\x80" * 500, "deep in each other"),
        (bytes(LARGEST_CMS + 1), "are no signature"),
    ],
)
def test_what_is_no_detached_signature_is_refused_in_words(cms: bytes, said: str) -> None:
    with pytest.raises(NotCms, match=said):
        described(cms, SHA256)


def test_a_signature_of_other_bytes_is_refused() -> None:
    with pytest.raises(
        NotCms, match=f"by its own words it signs other bytes: their SHA-256 is {SHA256.hex()}"
    ):
        described(DETACHED, bytes(32))


@settings(max_examples=150)
@given(st.integers(0, len(DETACHED) - 1), st.binary(max_size=3), st.integers(0, 6))
def test_i10_whatever_is_changed_it_is_described_or_refused(place: int, put: bytes, out: int) -> None:
    """Nothing else is ever raised."""
    changed = DETACHED[:place] + put + DETACHED[place + out :]
    with suppress(NotCms):
        assert described(changed, SHA256).startswith("detached CMS")
