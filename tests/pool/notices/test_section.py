"""The section `[notices]`: what is wrong is said, and no secret is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pool.config import ConfigError, load
from pool.notices.secret import SecretError, read_secret, secret_problems
from pool.notices.section import NoticesSection

WEBHOOK = {"kind": "webhook", "name": "ops", "url": "https://h.example/T0/B0/xyzzy", "secret_file": "/x"}
EMAIL = {
    "kind": "email",
    "name": "mail",
    "server": "mail.example:587",
    "sender": "pool@example.kz",
    "recipients": ["duty@example.kz"],
}
TELEGRAM = {"kind": "telegram", "name": "chat", "token_file": "/t", "chat": "-100123"}


def test_all_kinds_together() -> None:
    section = NoticesSection.model_validate({"channels": [WEBHOOK, EMAIL, TELEGRAM]})
    assert [one.kind for one in section.channels] == ["webhook", "email", "telegram"]
    assert section.channels[0].min_severity == "info"
    assert "xyzzy" not in repr(section)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ({**WEBHOOK, "url": "ftp://h"}, "write it as"),
        ({**WEBHOOK, "url": "https://user:word@h/"}, "without user and password"),
        ({**WEBHOOK, "url": "http://h:99999/"}, "write it as"),
        ({**WEBHOOK, "name": "Ops Team"}, "name"),
        ({**WEBHOOK, "kinds": ["blocks"]}, "kinds"),
        ({**WEBHOOK, "secret": "x"}, "secret"),
        ({**EMAIL, "server": "mail.example"}, "mail.example:587"),
        ({**EMAIL, "recipients": []}, "recipients"),
        ({**EMAIL, "sender": "a@b\r\nBcc: c@d"}, "is no address"),
        ({**EMAIL, "username": "u"}, "belong together"),
        ({**EMAIL, "security": "none"}, "security"),
        ({**TELEGRAM, "url": "http://api.example"}, "would travel openly"),
        ({**TELEGRAM, "chat": "my chat"}, "chat"),
        ({**TELEGRAM, "kind": "pager"}, "kind"),
    ],
)
def test_a_mistake_is_named(channel: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NoticesSection.model_validate({"channels": [channel]})


def test_two_channels_do_not_share_a_name() -> None:
    with pytest.raises(ValidationError, match="two channels are called 'ops'"):
        NoticesSection.model_validate({"channels": [WEBHOOK, WEBHOOK]})


def test_the_configuration_does_not_show_an_address(tmp_path: Path) -> None:
    example = (Path(__file__).parents[3] / "configs" / "example.toml").read_text("utf-8")
    path = tmp_path / "dmpool.toml"
    channel = (
        '\n[[notices.channels]]\nkind = "webhook"\nname = "ops"\nsecret_file = "/x"\nurl = "xyzzy:word@h"\n'
    )
    path.write_text(example + channel, "utf-8")
    with pytest.raises(ConfigError, match=r"notices\.channels.*url.*write it as") as caught:
        load(path)
    assert "xyzzy" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("long enough", 0o640, None),
        ("long enough\n", 0o600, None),
        ("long enough", 0o604, "chmod o="),
        ("short", 0o600, "holds no secret"),
        ("two\nlines of it", 0o600, "holds no secret"),
        ("x" * 5000, 0o600, "holds no secret"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_secret_is_one_line_that_strangers_cannot_read(
    tmp_path: Path, content: str | None, mode: int, message: str | None
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content, "utf-8")
        path.chmod(mode)
    if message is None:
        assert read_secret(path) == "long enough"
        return
    with pytest.raises(SecretError, match=message) as caught:
        read_secret(path)
    assert content is None or content not in str(caught.value)


def test_the_check_of_a_configuration_names_every_secret_that_cannot_be_used(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text("long enough", "utf-8")
    good.chmod(0o600)
    section = NoticesSection.model_validate(
        {
            "alarm_token_file": tmp_path / "none",
            "channels": [{**WEBHOOK, "secret_file": good}, EMAIL, {**TELEGRAM, "token_file": tmp_path}],
        }
    )
    assert [one.partition(":")[0] for one in secret_problems(section)] == ["notices", "notices"]
