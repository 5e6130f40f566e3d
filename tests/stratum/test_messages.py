"""The wire: ids come back byte for byte, errors have the one form, and nothing but requests gets through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum import messages
from stratum.messages import BadRequest, NotARequest, Reason, id_of, parse

SCALARS = [
    "1",
    "0",
    "-7",
    "1.50",
    "1e3",
    "1E+400",
    "184467440737095516160000000000000000000001",
    '"auth"',
    '"txlist\\u0041\\n"',
    '"\u049b\u0430\u0437\u0430\u049b"',
    '""',
    "true",
    "false",
    "null",
]


@pytest.mark.parametrize("scalar", SCALARS)
def test_q15_q30_any_scalar_id_is_echoed_byte_for_byte(scalar: str) -> None:
    request = parse(b'{"id": %b ,"method":"mining.ping","params":[]}' % scalar.encode())
    assert id_of(request) == scalar.encode()
    for answer in (
        messages.accepted(id_of(request)),
        messages.result(id_of(request), "pong"),
        messages.refused(id_of(request), Reason.STALE, "stale"),
    ):
        assert answer.startswith(b'{"id":%b,' % scalar.encode())
        assert answer.endswith(b"}\n")
        json.loads(answer)


@pytest.mark.parametrize(
    "line",
    [
        b'{"method":"m"}',
        b'{"id":[1],"method":"m"}',
        b'{"id":{"a":1},"method":"m"}',
        b'{"id":"\xff","method":"m"}',
    ],
)
def test_no_scalar_id_is_answered_as_null(line: bytes) -> None:
    assert id_of(parse(line)) == b"null"


def test_q40_unknown_keys_are_ignored() -> None:
    request = parse(
        b'{"jsonrpc":"2.0","ttl":2,"id":3,"method":"mining.authorize","params":["a",""],"x":{"y":[]}}'
    )
    assert (request.method, request.params) == ("mining.authorize", ["a", ""])


@pytest.mark.parametrize("line", [b' \t{"id":1,"method":"m"}\r', b'{"id":1,\r"method":"m"}  '])
def test_blanks_around_are_ignored(line: bytes) -> None:
    assert parse(line).method == "m"


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"GET / HTTP/1.1",
            b"[]",
            b"null",
            b"5",
            b'"text"',
            b'[{"id":1,"method":"m"}]',
            b'{"id":1',
            b"{]",
        ),
        *(
            b'{"id":1}{}',
            b"\x00\x00\x00",
            b'{"id":1}\x00',
            b"\xff\xfe",
            b"\x16\x03\x01\x02\x00\x01",
            b"[" * 16000,
        ),
        *(
            b'{"id":' + b"[" * 15000,
            b'{"params":' + b'{"a":' * 3000,
            b'{"id":1,"method":"\xff"}',
            b'{"id":\x001}',
        ),
        b'{"id":1,"method":"\\ud800"}',
    ],
)
def test_what_is_no_request_is_refused_as_such(line: bytes) -> None:
    with pytest.raises(NotARequest, match=r".+"):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b'{"id":4,"method":5}',
            b'{"id":4,"method":"m","params":{}}',
            b'{"id":4,"method":"m","params":"x"}',
        ),
        *(b'{"id":4,"method":["m"]}', b'{"id":4,"method":"m","params":[1e400]}'),
        b'{"id":4,"method":"m","params":[' + b"9" * 5000 + b"]}",
    ],
)
def test_wrong_types_keep_their_id(line: bytes) -> None:
    with pytest.raises(BadRequest) as bad:
        parse(line)
    assert bad.value.id == b"4"


@given(st.binary(max_size=300))
def test_random_bytes_are_a_request_or_not_one(line: bytes) -> None:
    try:
        request_id = id_of(parse(line))
    except NotARequest:
        return
    except BadRequest as error:
        request_id = error.id
    json.loads(messages.refused(request_id, Reason.MALFORMED, "x"), parse_constant=str)


@given(st.sampled_from(Reason), st.text())
def test_an_error_is_code_text_null(reason: Reason, text: str) -> None:
    answer = json.loads(messages.refused(b"1", reason, text))
    assert answer == {"id": 1, "result": None, "error": [reason.code, text, None]}


def test_codes_of_shares_are_those_of_stratum() -> None:
    """20 to 25 on the wire, finer words for people and metrics (peers 1.4)."""
    codes = {reason: reason.code for reason in Reason if reason is not Reason.UNKNOWN_METHOD}
    assert set(codes.values()) == {20, 21, 22, 23, 24, 25}
    assert (Reason.UNKNOWN_JOB.code, Reason.STALE.code) == (21, 21)
    assert len({reason.word for reason in Reason}) == len(Reason)


def test_version_mask_message() -> None:
    assert messages.set_version_mask(0x1FFFE000) == (
        b'{"id":null,"method":"mining.set_version_mask","params":["1fffe000"]}\n'
    )
