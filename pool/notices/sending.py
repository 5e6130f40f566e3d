"""What all senders share: how a failure is told, and an HTTP client that calls only what it is told to.

No redirect is followed, no proxy or cookie of the environment is used, answers are bounded in time and size,
and an error never tells an address: it may hold a token.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from pool.notices.notice import Message

SEND_SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 8.0
ANSWER_LIMIT: Final = 16 * 1024
OF_THE_MESSAGE: Final = (400, 413, 415, 422)
"""HTTP's words for: this one I do not want, however often you ask."""


class NotSent(Exception):
    """A channel did not take a notice. The text says why, and holds no secret and no address."""

    def __init__(self, text: str, *, of_message: bool = False, retry_after: float | None = None) -> None:
        """`of_message`: it is this notice that is refused; `retry_after`: the seconds that it asks for."""
        super().__init__(text)
        self.of_message = of_message
        self.retry_after = retry_after


class Sender(Protocol):
    """Somebody who brings notices to one channel, one at a time."""

    async def send(self, message: Message) -> None:
        """Bring it there; raises NotSent, SecretError or TimeoutError."""
        ...


async def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates and names are checked; raises NotSent when the authorities cannot be read.

    To read those of the system takes tens of milliseconds: beside the loop, which may answer shares.
    """
    return await asyncio.to_thread(_tls_context, ca_file)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or type(error).__name__
        raise NotSent(f"ca_file {ca_file}: {reason}; name a PEM file with certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def posted(
    url: str, body: bytes, headers: dict[str, str], ca_file: Path | None
) -> AsyncIterator[tuple[int, Mapping[str, str], aiohttp.StreamReader]]:
    """Status and headers of the answer to a POST, and where its body comes from; raises NotSent."""
    timeout = aiohttp.ClientTimeout(total=SEND_SECONDS, connect=CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=await tls_context(ca_file), force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ) as http,
            http.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            yield answer.status, answer.headers, answer.content
    except TimeoutError:
        raise NotSent(f"did not answer within {SEND_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotSent(f"cannot be reached ({_why(error)})") from None


async def beginning(body: aiohttp.StreamReader) -> bytes:
    """As much of an answer as is of interest."""
    data = b""
    async for piece in body.iter_chunked(ANSWER_LIMIT):
        data += piece
        if len(data) >= ANSWER_LIMIT:
            break
    return data[:ANSWER_LIMIT]


def _why(error: Exception) -> str:
    """Never the error's own words: they may quote the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted, or is another's"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror:
        return error.os_error.strerror
    return type(error).__name__


def retry_after(value: str | int | None) -> float | None:
    """Seconds, as a server may ask for; None for what is no number of them."""
    try:
        return None if value is None else max(float(int(value)), 0.0)
    except (ValueError, OverflowError):
        return None
