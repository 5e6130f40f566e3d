"""Every event has its words in each language, and no words are left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pool.notices import words
from register.catalogue import messages
from register.miner import LANGUAGES, Language

HOUSE = Path(__file__).parents[3]
PREFIX = "notices."


def events() -> set[str]:
    """As the source has them."""
    source = "".join(
        path.read_text("utf-8")
        for path in [*(HOUSE / "pool" / "notices").glob("*.py"), HOUSE / "pool" / "cli_notices.py"]
    )
    named = set(re.findall(r'"((?:address|report|form|channel|alarms?|proposals)_[a-z_]+)"', source))
    named |= {"notice_refused"}
    named -= {"alarms_received", "alarm_token_unreadable", "alarm_token_file"}
    steps = {
        "block": ("found", "confirmed", "mature", "orphaned"),
        "payout": ("sent", "confirmed", "reversed", "abandoned", "waits", "to_sign"),
        "payment": ("sent", "confirmed", "reversed", "abandoned"),
        "licence": ("suspended", "resumed", "ended", "revoked", "ending", "over"),
        "accreditation": ("ending", "over"),
        "alarm": ("firing", "resolved"),
    }
    return named | {f"{kind}_{step}" for kind, of in steps.items() for step in of} | {"test"}


def test_events_and_words_are_the_same() -> None:
    told = {one.removeprefix(PREFIX) for one in messages("en") if one.startswith(PREFIX)}
    subjects = {one.removesuffix("_subject") for one in told if one.endswith("_subject")}
    assert subjects == told - {f"{one}_subject" for one in subjects}
    assert subjects == events()


@pytest.mark.parametrize("language", LANGUAGES)
def test_data_are_written_for_people(language: Language) -> None:
    data = {"height": 7, "hash": "00ff", "reward_sat": 1_234_567_890_123}
    assert "12 345.67890123 BTC" in words.text_of("block_mature", data, language)
    ending = {"account": "alpha", "licence": "L-1", "day": "2026-12-31", "days": 7}
    assert "2026" in words.subject_of("licence_ending", ending, language)
    assert "2026-12-31" not in words.subject_of("licence_ending", ending, language)


def test_what_a_newer_program_told_is_shown_as_it_was_kept() -> None:
    assert words.told("of_tomorrow", {}, "kk", ("Subject", "Text")) == ("Subject", "Text")
    assert words.told("block_mature", {}, "kk", ("Subject", "Text")) == ("Subject", "Text")
