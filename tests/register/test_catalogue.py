"""The catalogue of messages: whole in each language, short enough for firmware, in the law's own words."""

from __future__ import annotations

import datetime as dt
import string
from typing import Any

import pytest
from babel.messages.pofile import read_po

from register.catalogue import LOCALES, CatalogueError, day_text, messages, text
from register.gate import RefusalKind
from register.miner import LANGUAGES, Language

LONGEST_DAY, LAST_DAY = dt.date(2026, 9, 30), dt.date(2026, 12, 30)
LONGEST: dict[str, Any] = {
    "account": "a" * 32,
    "worker": "w" * 32,
    "licence": "L" * 32,
    "day": LONGEST_DAY,
    "until": LAST_DAY,
    "reason_code": 6,
    "length": 127,
}
"""As the gatekeeper fills them in at most."""
SCREEN = ("refusal.", "notice.")
"""What is shown on a miner's screen."""


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def on_screen(language: Language) -> list[str]:
    return [one for one in messages(language) if one.startswith(SCREEN)]


def test_every_language_has_every_message_and_nothing_waits_for_a_translator() -> None:
    for language in LANGUAGES:
        with (LOCALES / language / "LC_MESSAGES" / "dmpool.po").open("rb") as file:
            catalogue = read_po(file, locale=language, abort_invalid=True)
        assert str(catalogue.locale) == language
        assert [one.id for one in catalogue if one.fuzzy and one.id] == []
        assert [one.id for one in catalogue if not one.string] == []
        assert list(catalogue.obsolete) == []
        assert list(messages(language)) == list(messages("en")), "the same ones, in the same order"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_filled_in_is_the_same_in_every_language(language: Language) -> None:
    for message_id, template in messages(language).items():
        assert placeholders(template) == placeholders(messages("en")[message_id]), message_id
        for name in placeholders(template):
            assert name.isidentifier(), f"{message_id}: only plain names are filled in"


@pytest.mark.parametrize("language", LANGUAGES)
def test_o03_every_refusal_has_its_words(language: Language) -> None:
    assert {f"refusal.{kind.value}" for kind in RefusalKind} <= set(messages(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_firmware_is_told_fits_its_buffer_and_is_one_plain_line(language: Language) -> None:
    for message_id in on_screen(language):
        inner = text(language, "refusal.unknown_account", **LONGEST)
        shown = text(language, message_id, **LONGEST, reason=inner)
        assert len(shown) <= 200, f"{message_id} has {len(shown)} characters: {shown}"
        assert shown.isprintable()
        assert not set(shown) & {'"', "\\"}, message_id


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "September 3, 2026"), ("ru", "3 сентября 2026 г."), ("kk", "2026 ж. 3 қыркүйек")],
)
def test_days_are_written_as_the_language_writes_them(language: Language, told: str) -> None:
    assert day_text(language, dt.date(2026, 9, 3)) == told
    assert told in text(language, "refusal.licence_ended", licence="KZ-7", day=dt.date(2026, 9, 3))


@pytest.mark.parametrize(
    ("language", "message_id", "term"),
    [
        (
            "kk",
            "refusal.licence_ended",
            "цифрлық майнинг жөніндегі қызметті жүзеге асыруға арналған лицензия",
        ),
        ("kk", "refusal.licence_suspended", "лицензияның қолданысын тоқтата тұру"),
        ("kk", "refusal.licence_awaiting_resumption", "лицензияның қолданысын қайта бастау"),
        ("kk", "refusal.licence_revoked", "лицензиядан айыру"),
        ("kk", "refusal.pool_not_accredited", "цифрлық майнингтік пулды аккредиттеу"),
        ("kk", "refusal.unknown_device", "аппараттық-бағдарламалық кешен"),
        (
            "kk",
            "refusal.device_not_registered",
            "цифрлық майнингке арналған аппараттық-бағдарламалық кешеннің тізілімі",
        ),
        ("ru", "refusal.licence_ended", "лицензия на осуществление деятельности по цифровому майнингу"),
        ("ru", "refusal.licence_suspended", "приостановление действия лицензии"),
        ("ru", "refusal.licence_awaiting_resumption", "возобновление действия лицензии"),
        ("ru", "refusal.licence_revoked", "лишение лицензии"),
        ("ru", "refusal.pool_not_accredited", "аккредитация цифрового майнингового пула"),
        (
            "ru",
            "refusal.device_not_registered",
            "реестре аппаратно-программного комплекса для цифрового майнинга",
        ),
        ("en", "refusal.licence_suspended", "suspension"),
        ("en", "refusal.unknown_device", "hardware-software complex"),
    ],
)
def test_the_terms_are_those_of_the_law(language: Language, message_id: str, term: str) -> None:
    """regulation.md section 3, word for word."""
    assert term in messages(language)[message_id]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CatalogueError, match=r"refusal\.of_nothing.* ru.*dmpool\.po"):
        text("ru", "refusal.of_nothing")
    with pytest.raises(CatalogueError, match=r"licence_ended.*'day'"):
        text("en", "refusal.licence_ended", licence="KZ-7")
