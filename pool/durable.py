"""Files that are on disk for good: written aside, fsynced, renamed; a crash leaves the old or the new."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """A small file, on disk for good: the old one or the new one is there whatever happens."""
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    settle(part, path)


def settle(part: Path, path: Path) -> None:
    """fsync, rename, and fsync of the directories above, which may be new: day, month, year, archive."""
    _sync(part)
    part.replace(path)
    for folder in list(path.parents)[:5]:
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
