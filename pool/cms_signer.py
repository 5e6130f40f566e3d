"""A detached CMS signature by a service outside: the state's electronic digital signature, where one is
wanted.

It stands beside a report and never in it (invariant 7), and is stored as it came: this program neither makes
such a signature nor verifies one, and says so wherever it shows one. The service is asked as NCANode 3 is
(its `/cms/sign`): the data, the PKCS#12 file and its password go there as JSON, the CMS comes back in base64.
So the address is one of this machine, or https.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.signing_section import CmsSection
from pool.tables import report
from pool.tables_report_keys import report_signature
from pool.telemetry.concealed import conceal
from reporting.cms_shape import LARGEST_CMS, NotCms, described

if TYPE_CHECKING:
    import aiohttp

CMS_SECONDS: Final = 60.0
"""So long the service may take; it may ask others for the time mark."""
_LARGEST_ANSWER: Final = 2 * LARGEST_CMS
_LARGEST_KEY: Final = 64 * 1024


class CmsError(Exception):
    """There is no signature. The message names the service or the file, and no secret."""


class CmsSigner(Protocol):
    """Somebody who makes detached CMS signatures."""

    async def sign(self, data: bytes) -> bytes:
        """The CMS, DER or BER, of a signature over the data; raises CmsError."""
        ...


class Service:
    """One that speaks as NCANode does."""

    def __init__(self, section: CmsSection, seconds: float = CMS_SECONDS) -> None:
        self._section = section
        self._seconds = seconds

    async def sign(self, data: bytes) -> bytes:
        """Ask once."""
        import aiohttp  # noqa: PLC0415 - most commands have no need of it

        question = {
            "data": base64.b64encode(data).decode(),
            "signers": [
                {
                    "key": base64.b64encode(_private(self._section.key_file)).decode(),
                    "password": self._password(),
                    "keyAlias": None,
                }
            ],
            "withTsp": self._section.time_mark,
            "detached": True,
        }
        timeout = aiohttp.ClientTimeout(total=self._seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(self._section.url, json=question, allow_redirects=False) as answer,
            ):
                status = answer.status
                body = await _bounded(answer)
        except TimeoutError:
            raise self._failed(f"did not answer within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(f"cannot be reached ({type(error).__name__})") from None
        if status != 200:
            raise self._failed(f"answered with HTTP status {status}; its own log says why")
        return self._cms_of(body)

    def _cms_of(self, body: bytes) -> bytes:
        if len(body) > _LARGEST_ANSWER:
            raise self._failed(f"answered more than {_LARGEST_ANSWER} bytes")
        try:
            told: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise self._failed("answered what is no JSON") from None
        cms = told.get("cms") if isinstance(told, dict) else None
        if not isinstance(cms, str):
            raise self._failed("answered JSON without a text `cms`")
        try:
            return base64.b64decode("".join(cms.split()), validate=True)
        except (binascii.Error, ValueError):
            raise self._failed("answered a `cms` that is no base64") from None

    def _password(self) -> str:
        if self._section.password_file is not None:
            password = _private(self._section.password_file).decode("utf-8", "replace").rstrip("\r\n")
            where = f"password file {self._section.password_file}"
        else:
            name = self._section.password_environment or ""
            password, where = os.environ.get(name, ""), f"environment variable {name}"
        if not password:
            raise CmsError(f"{where}: holds no password")
        conceal(password)
        return password

    def _failed(self, what: str) -> CmsError:
        return CmsError(f"CMS service {self._section.url}: {what}")


def certificate_end(section: CmsSection) -> dt.datetime | None:
    """When the certificate of the state key ends; None where that cannot be read here, by GOST keys say."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12  # noqa: PLC0415

    try:
        password = Service(section)._password()
        loaded = load_pkcs12(_private(section.key_file), password.encode())
    except (CmsError, ValueError, UnsupportedAlgorithm):
        return None
    return None if loaded.cert is None else loaded.cert.certificate.not_valid_after_utc


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The body, or the beginning of one that is too long."""
    body = b""
    async for piece in answer.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > _LARGEST_ANSWER:
            break
    return body


def _private(path: Path) -> bytes:
    """A small file that only its owner may read."""
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise CmsError(f"file {path} has mode {mode:04o}: others may read it; run chmod 600 {path}")
        with path.open("rb") as file:
            content = file.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise CmsError(f"file {path}: {error.strerror}; correct [signing.cms]") from None
    if len(content) > _LARGEST_KEY:
        raise CmsError(f"file {path}: has more than {_LARGEST_KEY} bytes; this is no key and no password")
    return content


# Beside the reports


class Stored(NamedTuple):
    """A signature that stands beside a report, and what can be said of it without verifying it."""

    type: str
    value: bytes
    signed_us: int
    actor: str
    words: str


async def sign_beside(
    connection: AsyncConnection, sha256: str, signer: CmsSigner, at_us: int, actor: str
) -> Stored:
    """Have a report signed and store the signature beside it; `sha256` is the report's. Raises CmsError.

    What is signed are the report's canonical bytes, those that its own signatures are over.
    """
    envelope = await connection.scalar(sa.select(report.c.envelope).where(report.c.sha256 == sha256))
    if envelope is None:
        raise CmsError(f"there is no report with SHA-256 {sha256}; `dmpool reports list` shows all")
    value = await signer.sign(rfc8785.dumps(json.loads(envelope)["report"]))
    try:
        words = described(value, bytes.fromhex(sha256))
    except NotCms as error:
        raise CmsError(f"what the service gave is not stored: {error}") from None
    await connection.execute(
        sa.insert(report_signature).values(
            report_sha256=sha256, type="cms", value=value, signed_us=at_us, actor=actor
        )
    )
    return Stored("cms", value, at_us, actor, words)


async def beside(connection: AsyncConnection, sha256: str) -> list[Stored]:
    """The signatures that stand beside a report, the eldest first."""
    rows = await connection.execute(
        sa.select(report_signature)
        .where(report_signature.c.report_sha256 == sha256)
        .order_by(report_signature.c.id)
    )
    return [
        Stored(row.type, row.value, row.signed_us, row.actor, described(row.value, bytes.fromhex(sha256)))
        for row in rows
    ]
