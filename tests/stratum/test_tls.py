"""The certificate of the TLS port: its date, its reload, and miners that come in over it."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from stratum.tls import BadCertificate, expiry
from tests.stratum.certificates import CertificateFiles, self_signed
from tests.stratum.server_world import Run, World

YEARS = st.datetimes(dt.datetime(2021, 1, 1), dt.datetime(9999, 12, 31))


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@settings(max_examples=10)
@given(YEARS, st.booleans())
def test_the_date_of_expiry_is_read_in_both_forms_of_time(when: dt.datetime, version_1: bool) -> None:
    not_after = when.replace(microsecond=0, tzinfo=dt.UTC)
    certificate, _ = self_signed(not_after, version_1=version_1)
    assert expiry(f"subject: somebody\n{certificate}{certificate}") == not_after


def test_two_digits_of_a_year_are_of_this_century_up_to_49() -> None:
    for year in (2049, 2050):
        not_after = dt.datetime(year, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
        assert expiry(self_signed(not_after)[0]) == not_after


CERTIFICATE = ssl.PEM_cert_to_DER_cert(self_signed(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))[0])


@given(st.integers(0, len(CERTIFICATE) - 1) | st.binary(max_size=60))
def test_what_is_no_certificate_has_no_date(damage: int | bytes) -> None:
    der = CERTIFICATE[:damage] if isinstance(damage, int) else damage
    with pytest.raises(ValueError, match=r".*"):
        expiry(ssl.DER_cert_to_PEM_cert(der))


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        (None, None, "certificate.pem or .*key.pem cannot be read: .*No such file"),
        ("nonsense", None, "certificate.pem and .*key.pem are not a certificate and its key"),
        (None, "other", "certificate.pem and .*key.pem are not a certificate and its key: .*mismatch"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(
    files: CertificateFiles, certificate: str | None, key: str | None, words: str
) -> None:
    if certificate is not None:
        files.certificate.write_text(certificate)
    elif key is not None:
        files.key.write_text(self_signed(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))[1])
    else:
        files.key.unlink()
    with pytest.raises(BadCertificate, match=words):
        files.load()


def test_a_new_certificate_comes_into_force_and_a_broken_one_does_not(
    files: CertificateFiles, told: list[EventDict]
) -> None:
    certificate = files.load()
    assert certificate.not_after == dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    before = certificate.context
    assert not certificate.reload_if_changed()
    new_date = dt.datetime(2060, 5, 4, tzinfo=dt.UTC)
    files.renew(new_date)
    whole = files.certificate.read_text()
    files.certificate.write_text(whole[:300])
    assert not certificate.reload_if_changed()
    assert not certificate.reload_if_changed(), "told once"
    (event,) = told
    assert (event["event"], event["log_level"]) == ("certificate_unusable", "error")
    assert "valid until 2100-01-01" in event["explained"]
    assert certificate.context is before
    files.key.rename(files.key.with_suffix(".away"))
    assert not certificate.reload_if_changed()
    files.key.with_suffix(".away").rename(files.key)
    files.certificate.write_text(whole)
    assert certificate.reload_if_changed()
    assert certificate.not_after == new_date
    assert certificate.context is not before


def test_nothing_older_than_tls_1_2_is_spoken(files: CertificateFiles) -> None:
    assert files.load().context.minimum_version == ssl.TLSVersion.TLSv1_2


# Over sockets


def test_a_miner_works_over_tls_beside_one_without(run: Run, files: CertificateFiles) -> None:
    async def scenario(world: World) -> None:
        plain = await world.ready()
        await world.listen(tls=files.load())
        secret = await (await world.connect(context=files.trusting())).work()
        world.job(800_001)
        for peer in (plain, secret):
            assert (await peer.call("mining.ping"))["result"] == "pong"
        # Two lines together are longer than one TLS record and come in pieces.
        secret.write((b'{"id":8,"method":"mining.ping","ttl":"' + b"i" * 16_000 + b'"}\n') * 2)
        assert [(await secret.read())["result"] for _ in range(2)] == ["pong", "pong"]
        assert len(world.server.connections) == 2

    run(scenario)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_that_are_safe(
    run: Run, files: CertificateFiles, version: ssl.TLSVersion
) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        context = files.trusting()
        context.minimum_version = context.maximum_version = version
        await (await world.connect(context=context)).work()

    run(scenario)


def test_living_connections_keep_the_certificate_that_they_came_in_with(
    run: Run, files: CertificateFiles
) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        before = await (await world.connect(context=files.trusting())).work()
        files.renew(dt.datetime(2060, 5, 4, tzinfo=dt.UTC))
        world.pass_time(11)
        after = await (await world.connect(context=files.trusting())).work()
        for peer in (before, after):
            assert (await peer.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_i10_who_speaks_no_tls_on_its_port_is_closed_alone(run: Run, files: CertificateFiles) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        good = await (await world.connect(context=files.trusting())).work()
        bad = await world.connect()
        bad.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        with pytest.raises((AssertionError, UnicodeDecodeError, ValueError)):
            assert await bad.rest(), "a TLS alert, if anything, and no answer"
        await world.until(lambda: world.server.counts.refused == {"tls-handshake": 1})
        gone = await world.connect()
        gone.writer.close()
        await world.until(lambda: world.server.counts.refused["tls-handshake"] == 2)
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert world.server._shared.door._known["127.0.0.1"].connections == 1
        assert world.server._shared.opening == 0

    run(scenario)


def test_a_handshake_has_a_deadline(run: Run, files: CertificateFiles) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        peer = await world.connect()
        assert await peer.rest() == []
        assert world.server.counts.refused == {"tls-handshake": 1}
        assert world.server.counts.connections == 0

    run(scenario, handshake_seconds=0.05)


def test_a_stop_in_the_midst_of_a_handshake(run: Run, files: CertificateFiles) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        peer = await world.connect()
        await world.until(lambda: len(world.server._entrance._opening) == 1)
        await asyncio.sleep(0.01)
        await world.server.close()
        assert await peer.rest() == []
        assert world.server.counts.refused == {"shutdown": 1}
        assert world.server._shared.opening == 0
        assert world.server._shared.door._known["127.0.0.1"].connections == 0

    run(scenario)


def test_a_slow_reader_over_tls_gets_the_newest_job(run: Run, files: CertificateFiles) -> None:
    async def scenario(world: World) -> None:
        await world.listen(tls=files.load())
        peer = await (await world.connect(context=files.trusting())).work()
        connection = world.served(peer)
        await world.fill_buffers(peer, 70_000)
        assert not connection.reading
        for _ in range(3):
            world.job(800_001)
        newest = world.book.current
        assert newest is not None
        peer.read_on()
        jobs = []
        while newest.id not in jobs:
            message = await peer.read_past_blanks()
            jobs += [message["params"][0]] if message.get("method") == "mining.notify" else []
        assert len(jobs) == 2, "the first, and the newest"

    run(scenario)
