"""The door over TLS with client certificates, on a real socket: who shows which, and what that opens."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import ConfigError, DoorSection, Settings
from pool.door_tls import DoorCertificate, door_certificate
from pool.web import WebServer, create_app
from tests.conftest import Furnish
from tests.integration.door_world import Entrance, furnished
from tests.integration.free_port import free_port
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.web_world import Site, settings_of

REPORT = f"/api/v1/reports/{DAY}/1"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Authority:
    """Signs certificates; a directory has the files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), authority=True)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path, str]:
        """A certificate with its key, and the SHA-256 of it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), authority=False)
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return *files, hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW)
            .not_valid_after(NOW + dt.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("door", furnished)
    return "door"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("door", furnished))
    return made


@pytest.fixture
def pki(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def settings_over_tls(tmp_path: Path, pki: Authority) -> Settings:
    certificate, key, _ = pki.issue("localhost")
    tls = {"listen": f"127.0.0.1:{free_port()}", "certificate": certificate, "key": key}
    return settings_of(tmp_path, door={"tls": tls, "client_certificates": pki.file})


@asynccontextmanager
async def over_tls(world: World, settings: Settings) -> AsyncIterator[Entrance]:
    certificate, tls = door_certificate(settings.door), settings.door.tls
    assert certificate is not None
    assert tls is not None
    app = create_app(world.engine, settings, RULES, lambda: world.now_us)
    running = asyncio.create_task(WebServer(app, tls.listen, certificate).run())
    try:
        async with aiohttp.ClientSession() as http:
            yield Entrance(world, Site(f"https://localhost:{tls.listen.port}", http), settings.data_dir)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def asked(pool: Entrance, pki: Authority, token: str, shown: tuple[Path, Path, str] | None) -> int:
    """The status of an answer to a client of its own, that trusts the authority."""
    context = ssl.create_default_context(cafile=pki.file)
    if shown is not None:
        context.load_cert_chain(shown[0], shown[1])
    headers = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(20):
        while True:
            try:
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
                    http.get(pool.site.url + REPORT, headers=headers) as answer,
                ):
                    return answer.status
            except aiohttp.ClientConnectorError as error:
                if not isinstance(error.os_error, ConnectionRefusedError):
                    raise
                await asyncio.sleep(0.01)


async def test_a_certificate_is_asked_of_those_who_have_one(
    world: World, tmp_path: Path, pki: Authority
) -> None:
    ministry, other = pki.issue("ministry"), pki.issue("other")
    (tmp_path / "elsewhere").mkdir()
    forged = Authority(tmp_path / "elsewhere", "authority").issue("ministry")
    async with over_tls(world, settings_over_tls(tmp_path, pki)) as pool:
        await pool.enter("ministry", certificate_sha256=ministry[2])
        await pool.enter("plain")
        (_, token), (_, plain) = await pool.give("ministry"), await pool.give("plain")
        assert await asked(pool, pki, token, ministry) == 200
        assert await asked(pool, pki, token, other) == 403
        assert await asked(pool, pki, token, None) == 403
        assert await asked(pool, pki, plain, None) == 200, "a certificate is asked of nobody else"
        assert await asked(pool, pki, plain, other) == 200
        assert await asked(pool, pki, "dmpool-reg-stolen", ministry) == 401, "it stands for no token"
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await asked(pool, pki, plain, forged)


def test_a_renewed_certificate_is_taken_and_a_broken_one_not(tmp_path: Path, pki: Authority) -> None:
    settings = settings_over_tls(tmp_path, pki)
    assert settings.door.tls is not None
    made = DoorCertificate(settings.door, settings.door.tls)
    loaded: list[Path] = []
    made.context.load_cert_chain = lambda file, *_, **__: loaded.append(file)  # type: ignore[method-assign]
    made.look()
    assert loaded == []
    pki.issue("localhost")
    made.look()
    assert loaded == [settings.door.tls.certificate]
    settings.door.tls.key.write_text("nothing")
    made.look()
    assert len(loaded) == 1


def test_files_that_cannot_be_used_are_told_at_the_start(tmp_path: Path, pki: Authority) -> None:
    assert door_certificate(DoorSection()) is None
    certificate, key, _ = pki.issue("localhost")
    tls = {"listen": "127.0.0.1:8443", "certificate": certificate, "key": key}
    (tmp_path / "empty.pem").touch()
    for door, said in (
        ({"tls": {**tls, "key": certificate}}, "door.tls: .* are not a certificate and its key"),
        (
            {"tls": tls, "client_certificates": tmp_path / "none.pem"},
            "door.client_certificates: .*No such file",
        ),
        ({"tls": tls, "client_certificates": tmp_path / "empty.pem"}, "door.client_certificates: "),
    ):
        with pytest.raises(ConfigError, match=said):
            door_certificate(DoorSection.model_validate(door))
