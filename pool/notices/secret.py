"""A secret that stands in a file: a token, a password, a key. Read at each use, and never told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pool.notices.section import NoticesSection, TelegramSection, WebhookSection
from pool.telemetry.concealed import conceal

SHORTEST: Final = 8
"""Letters; less is guessed, or a mistake."""
TOKEN_SHORTEST: Final = 24
"""Of the token for alarms: whoever guesses is slowed down, and must not hit all the same."""
_LONGEST: Final = 4096


class SecretError(Exception):
    """The secret cannot be had. The message names the file and the remedy."""


def read_secret(path: Path, shortest: int = SHORTEST) -> str:
    """The first line of a file that strangers cannot read; raises SecretError."""
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o007:
            raise SecretError(f"file {path} has mode {mode:04o}: anybody may read it; run chmod o= {path}")
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise SecretError(f"file {path}: {error.strerror}; correct [notices]") from None
    secret = content.decode("utf-8", "replace").strip()
    if len(secret) < shortest or len(content) > _LONGEST or not secret.isprintable():
        raise SecretError(f"file {path}: holds no secret: one line of {shortest} letters or more")
    conceal(secret)
    return secret


def secret_problems(section: NoticesSection) -> list[str]:
    """What keeps the secrets of `[notices]` from being used, for the operator."""
    files: list[tuple[Path | None, int]] = [(section.alarm_token_file, TOKEN_SHORTEST)]
    for channel in section.channels:
        if isinstance(channel, WebhookSection):
            files.append((channel.secret_file, SHORTEST))
        elif isinstance(channel, TelegramSection):
            files.append((channel.token_file, SHORTEST))
        else:
            files.append((channel.password_file, SHORTEST))
    problems = []
    for file, shortest in files:
        try:
            if file is not None:
                read_secret(file, shortest)
        except SecretError as error:
            problems.append(f"notices: {error}")
    return problems
