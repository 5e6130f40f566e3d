"""Where exports go: an outbox on disk, and an API that nobody has described yet and is refused (O-42)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pool.transport import Delivered, Export, TransportError, transport_of

EXPORT = Export("tax_authority", "income-x-2026-11-v1.xlsx", b"content")


def test_the_outbox_names_a_file_by_document_and_hash(tmp_path: Path) -> None:
    """What another version of the program makes of the same document leaves what went out as it is (O-65)."""
    outbox = transport_of("file", tmp_path / "outbox")
    sha256 = hashlib.sha256(b"content").hexdigest()
    path = tmp_path / "outbox" / "tax_authority" / f"income-x-2026-11-v1-{sha256[:12]}.xlsx"
    told = Delivered("file", str(path), sha256)
    assert outbox.deliver(EXPORT) == told
    path.touch()
    before = path.stat()
    assert outbox.deliver(EXPORT) == told
    assert (path.read_bytes(), path.stat().st_ino) == (b"content", before.st_ino)
    path.write_bytes(b"spoilt")
    assert outbox.deliver(EXPORT) == told
    assert [(one, one.read_bytes()) for one in path.parent.iterdir()] == [(path, b"content")]
    other = outbox.deliver(EXPORT._replace(content=b"in another font"))
    assert (path.read_bytes(), Path(other.file_name).read_bytes()) == (b"content", b"in another font")


def test_an_outbox_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file")
    with pytest.raises(TransportError, match="make room or mend its rights"):
        transport_of("file", tmp_path / "outbox").deliver(EXPORT)


def test_o42_the_api_is_refused_in_plain_words_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        TransportError, match="the description of that API was not published when this program"
    ):
        transport_of("api", tmp_path / "outbox").deliver(EXPORT)
    assert list(tmp_path.iterdir()) == []
