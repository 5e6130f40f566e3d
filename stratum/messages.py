"""The Stratum V1 wire: a line in, a typed request out; answers and their error codes.

One JSON object a line. What cannot be a request at all raises `NotARequest`, and the connection that sent it
is closed after one answer; everything else is answered in the order it came. Ids are echoed byte for byte.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

LINE_LIMIT = 16384
"""Bytes in one line, newline excluded (peers 1.1)."""


ID_LIMIT = 256
"""Bytes of an id that is echoed: answers may have to wait for the disk, and must stay small."""


class Reason(Enum):
    """Why something was refused: the code on the wire, and the finer word for people and metrics."""

    MALFORMED = (20, "malformed")
    NTIME = (20, "ntime-out-of-range")
    VERSION = (20, "version-bits-outside-mask")
    UNKNOWN_JOB = (21, "job-not-found")
    STALE = (21, "stale")
    DUPLICATE = (22, "duplicate")
    LOW_DIFFICULTY = (23, "low-difficulty")
    UNAUTHORISED = (24, "unauthorised")
    LICENCE = (24, "licence")
    NOT_SUBSCRIBED = (25, "not-subscribed")
    RATE = (20, "rate-limited")
    UNKNOWN_METHOD = (-3, "method-not-found")

    @property
    def code(self) -> int:
        """The error code that goes to the miner."""
        return int(self.value[0])

    @property
    def word(self) -> str:
        """The label in metrics, records and reports."""
        return str(self.value[1])


class NotARequest(ValueError):
    """A line that is not a JSON object of the protocol."""


class BadRequest(ValueError):
    """A JSON object whose fields have wrong types; `id` is what the answer goes under."""

    def __init__(self, text: str, request_id: bytes) -> None:
        super().__init__(text)
        self.id = request_id


class Request(msgspec.Struct, frozen=True, gc=False):
    """A call of the miner; or, when `method` is None, its answer to one of ours."""

    method: str | None = None
    params: list[Any] | None = None
    id: msgspec.Raw = msgspec.Raw(b"null")
    result: Any = None


class _Envelope(msgspec.Struct, frozen=True):
    """The least that an answer with an error needs: the id, whatever else is wrong."""

    id: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Request).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode


def parse(line: bytes) -> Request:
    """The request in a line. Raises NotARequest, or BadRequest when there is an id to answer to."""
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        try:
            envelope = _decode_envelope(line)
        except (msgspec.MsgspecError, RecursionError):
            raise NotARequest(f"not a JSON object with method and params: {error}") from None
        raise BadRequest(str(error), id_of(envelope)) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise NotARequest(f"not JSON: {error}") from None


def id_of(request: Request | _Envelope) -> bytes:
    """The id to echo: any scalar as it came; null in place of an array, an object, a novel, or no UTF-8."""
    raw = bytes(request.id)
    if len(raw) > ID_LIMIT:
        return b"null"
    if raw.isascii() or _is_utf8(raw):
        return b"null" if raw[:1] in b"[{" else raw
    return b"null"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def result(request_id: bytes, value: object) -> bytes:
    """An answer with a result, as a line."""
    return b'{"id":%b,"result":%b,"error":null}\n' % (request_id, _encode(value))


def accepted(request_id: bytes) -> bytes:
    """The answer `true`, as a line."""
    return b'{"id":%b,"result":true,"error":null}\n' % request_id


def refused(request_id: bytes, reason: Reason, text: str) -> bytes:
    """An answer with an error `[code, text, null]`, as a line."""
    error = _encode([reason.code, text, None])
    return b'{"id":%b,"result":null,"error":%b}\n' % (request_id, error)


def set_version_mask(mask: int) -> bytes:
    """The BIP310 message that tells the mask in force."""
    return b'{"id":null,"method":"mining.set_version_mask","params":["%08x"]}\n' % mask


def set_extranonce(extranonce1: bytes, extranonce2_size: int) -> bytes:
    """The message that gives a miner another search space, in force from the next job on."""
    return b'{"id":null,"method":"mining.set_extranonce","params":["%b",%d]}\n' % (
        extranonce1.hex().encode(),
        extranonce2_size,
    )


def show_message(text: str) -> bytes:
    """A message that the miner puts on its screen or into its log."""
    return b'{"id":null,"method":"client.show_message","params":%b}\n' % _encode([text])


def reconnect(host: str, port: int, wait_seconds: int) -> bytes:
    """The request to come back at an address; all three fields, the port as a number (peers: Q-11, Q-33)."""
    return b'{"id":null,"method":"client.reconnect","params":%b}\n' % _encode([host, port, wait_seconds])


def get_version(request_id: int) -> bytes:
    """The question for the software behind the agent string; the only one that the server asks."""
    return b'{"id":%d,"method":"client.get_version","params":[]}\n' % request_id
