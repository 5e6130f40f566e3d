"""BIP340 as reports use it, against the table of the BIP (bip-0340/test-vectors.csv)."""

import pytest
from coincurve import PrivateKey

from reporting.bip340 import is_signature, key_id, public_key_of, sign_digest, signed_by
from reporting.signing import SigningKey

# Index, secret key, public key, aux_rand, message, signature: rows that sign.
SIGNING = [
    (
        0,
        "0000000000000000000000000000000000000000000000000000000000000003",
        "F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "E907831F80848D1069A5371B402410364BDF1C5F8307B0084C55F1CE2DCA8215"
        "25F66A4A85EA8B71E482A74F382D2CE5EBEEE8FDB2172F477DF4900D310536C0",
    ),
    (
        1,
        "B7E151628AED2A6ABF7158809CF4F3C762E7160F38B4DA56A784D9045190CFEF",
        "DFF1D77F2A671C5F36183726DB2341BE58FEAE1DA2DECED843240F7B502BA659",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89",
        "6896BD60EEAE296DB48A229FF71DFE071BDE413E6D43F917DC8DCF8C78DE3341"
        "8906D11AC976ABCCB20B091292BFF4EA897EFCB639EA871CFA95F6DE339E4B0A",
    ),
    (
        2,
        "C90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B14E5C9",
        "DD308AFEC5777E13121FA72B9CC1B7CC0139715309B086C960E18FD969774EB8",
        "C87AA53824B4D7AE2EB035A2B5BBBCCC080E76CDC6D1692C4B0B62D798E6D906",
        "7E2D58D8B3BCDF1ABADEC7829054F90DDA9805AAB56C77333024B9D0A508B75C",
        "5831AAEED7B44BB74E5EAB94BA9D4294C49BCF2A60728D8B4C200F50DD313C1B"
        "AB745879A5AD954A72C45A91C3A51D3C7ADEA98D82F8481E0E1E03674A6F3FB7",
    ),
    (
        3,
        "0B432B2677937381AEF05BB02A66ECD012773062CF3FA2549E44F58ED2401710",
        "25D1DFF95105F5253C4022F628A996AD3A0D95FBF21D468A1B33F8C160D8F517",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "7EB0509757E246F19449885651611CB965ECC1A187DD51B64FDA1EDC9637D5EC"
        "97582B9CB13DB3933705B32BA982AF5AF25FD78881EBB32771FC5922EFC66EA3",
    ),
]
KEY = "DFF1D77F2A671C5F36183726DB2341BE58FEAE1DA2DECED843240F7B502BA659"
MESSAGE = "243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89"
GOOD_R = "6CFF5C3BA86C69EA4B7376F31A9BCB4F74C1976089B2D9963DA2E5543E177769"
GOOD_S = "69E89B4C5564D00349106B8497785DD7D1D713A8AE82B32FA79D5F7FC407D39B"
# Index, public key, message, signature, why it fails: rows that are only verified.
REFUSED = [
    (
        5,
        "EEFDEA4CDB677750A420FEE807EACF21EB9898AE79B9768766E4FAA04A2D4A34",
        GOOD_R + GOOD_S,
        "not on the curve",
    ),
    (
        6,
        KEY,
        "FFF97BD5755EEEA420453A14355235D382F6472F8568A18B2F057A1460297556"
        "3CC27944640AC607CD107AE10923D9EF7A73C643E166BE5EBEAFA34B1AC553E2",
        "has_even_y(R) is false",
    ),
    (
        7,
        KEY,
        "1FA62E331EDBC21C394792D2AB1100A7B432B013DF3F6FF4F99FCB33E0E1515F"
        "28890B3EDB6E7189B630448B515CE4F8622A954CFE545735AAEA5134FCCDB2BD",
        "negated message",
    ),
    (8, KEY, GOOD_R + "961764B3AA9B2FFCB6EF947B6887A226E8D7C93E00C5ED0C1834FF0D0C2E6DA6", "negated s"),
    (
        9,
        KEY,
        "00" * 32 + "123DDA8328AF9C23A94C1FEECFD123BA4FB73476F0D594DCB65C6425BD186051",
        "sG - eP is infinite, x(inf) taken as 0",
    ),
    (
        10,
        KEY,
        "00" * 31 + "01" + "7615FBAF5AE28864013C099742DEADB4DBA87F11AC6754F93780D5A1837CF197",
        "sG - eP is infinite, x(inf) taken as 1",
    ),
    (11, KEY, "4A298DACAE57395A15D0795DDBFD1DCB564DA82B0F269BC70A74F8220429BA1D" + GOOD_S, "no such R"),
    (12, KEY, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F" + GOOD_S, "R is p"),
    (13, KEY, GOOD_R + "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141", "s is n"),
    (
        14,
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC30",
        GOOD_R + GOOD_S,
        "the key exceeds p",
    ),
]


@pytest.mark.parametrize(("index", "secret", "public", "randomness", "message", "signature"), SIGNING)
def test_rows_that_sign(
    index: int, secret: str, public: str, randomness: str, message: str, signature: str
) -> None:
    key, digest, value = SigningKey(bytes.fromhex(secret)), bytes.fromhex(message), bytes.fromhex(signature)
    assert key.public_key == public.lower()
    assert signed_by(bytes.fromhex(public), digest, value)
    assert PrivateKey(key.secret).sign_schnorr(digest, bytes.fromhex(randomness)) == value, index
    ours = key.sign(digest)
    assert (ours == value) == (int(randomness, 16) == 0), "we sign with no randomness, as row 0 does"
    assert signed_by(bytes.fromhex(public), digest, ours)
    assert key.sign(digest) == ours == sign_digest(key.secret, digest)


def test_a_row_that_is_verified() -> None:
    """Row 4."""
    assert signed_by(
        bytes.fromhex("D69C3509BB99E412E68B0FE8544E72837DFA30746D8BE2AA65975F29D22DC7B9"),
        bytes.fromhex("4DF3C3F68FCC83B27E9D42C90431A72499F17875C81A599B566C9889B9696703"),
        bytes.fromhex(
            "00000000000000000000003B78CE563F89A0ED9414F5AA28AD0D96D6795F9C63"
            "76AFB1548AF603B3EB45C9F8207DEE1060CB71C04E80F593060B07D28308D7F4"
        ),
    )


@pytest.mark.parametrize(("index", "public", "signature", "why"), REFUSED)
def test_rows_that_are_refused(index: int, public: str, signature: str, why: str) -> None:
    assert not signed_by(bytes.fromhex(public), bytes.fromhex(MESSAGE), bytes.fromhex(signature)), (
        index,
        why,
    )


def test_row_5_and_8_are_made_of_a_good_signature() -> None:
    """The test of the tests: with the right key the halves that the rows share do verify."""
    assert signed_by(bytes.fromhex(KEY), bytes.fromhex(MESSAGE), bytes.fromhex(GOOD_R + GOOD_S))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_none(length: int) -> None:
    value = (sign_digest(b"\x03" * 32, bytes(32)) + b"\0")[:length]
    assert not signed_by(bytes.fromhex(SigningKey(b"\x03" * 32).public_key), bytes(32), value)


def test_how_keys_and_signatures_are_written() -> None:
    public = bytes.fromhex(KEY)
    assert public_key_of(KEY) == public_key_of(KEY.lower()) == public
    assert len(key_id(public)) == 16
    with pytest.raises(ValueError, match="64 hex digits"):
        public_key_of(KEY[:-1])
    with pytest.raises(ValueError, match="not on the curve"):
        public_key_of(REFUSED[0][1])
    assert is_signature((GOOD_R + GOOD_S).lower())
    for wrong in (GOOD_R + GOOD_S, "00", None, 7, b"00" * 64):
        assert not is_signature(wrong)
