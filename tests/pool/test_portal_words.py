"""The portal's words: what entries of the log tell, how keys stand, which texts and addresses there are."""

from __future__ import annotations

import datetime as dt
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pool import portal_identity
from pool.log_store import KINDS
from pool.portal_identity import Identity
from pool.portal_views import VIEWS
from pool.portal_words import ADDRESSES, entry_path, entry_text, key_line
from pool.web import create_app
from register.catalogue import messages, text
from register.miner import LANGUAGES, Language
from register.rules import load_rules
from reporting.keyring import Key, KeyRing
from tests.integration.ledger_world import NOON
from tests.integration.portal_world import settings_of

HOUSE = Path(__file__).parents[2]
REGULATOR = (HOUSE / "docs" / "regulator.md").read_text("utf-8")
MONDAY = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
KEY = Key("cd9177582b93ca21", "5c" * 32, MONDAY, None)
ENTRIES: dict[str, dict[str, Any]] = {
    "report": {"day": "2026-11-24", "version": 2},
    "form": {"form": "order-166-2023", "period": "2026-11", "version": 1},
    "rules": {"first_day": "2026-11-24"},
    "register": {"day": "2026-11-24", "events": 40},
    "access": {"day": "2026-11-24", "events": 7},
    "key": {"action": "rotated", "key_id": KEY.key_id},
    "log_key": {"vkey": "x"},
}


def say(language: Language, message: str, **values: Any) -> str:
    return text(language, f"portal.{message}", **values)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_entry_has_its_words(kind: str, language: Language) -> None:
    told = entry_text(partial(say, language), {"kind": kind, **ENTRIES[kind]})
    assert told != kind
    assert "{" not in told


@pytest.mark.parametrize(
    "entry",
    [{}, {"kind": 7}, {"kind": "key", "action": "sold", "key_id": "x"}, {"kind": "report", "day": 3}],
)
def test_an_entry_of_another_kind_is_called_by_its_own_name(entry: dict[str, Any]) -> None:
    assert entry_text(partial(say, "en"), entry) == str(entry.get("kind", ""))


def test_entries_of_documents_lead_to_their_pages() -> None:
    assert entry_path({"kind": "report", **ENTRIES["report"]}) == "reports/2026-11-24/2"
    assert entry_path({"kind": "form", **ENTRIES["form"]}) == "forms/2026-11/order-166-2023/1"
    assert entry_path({"kind": "rules", **ENTRIES["rules"]}) == ""


@pytest.mark.parametrize(
    ("key", "at", "state"),
    [
        (KEY, MONDAY - DAY, "to_come"),
        (KEY, MONDAY, "in_force"),
        (Key("a", "b", MONDAY, None, valid_to=MONDAY + DAY, replaced_by="c"), MONDAY + DAY, "replaced"),
        (Key("a", "b", MONDAY, None, revoked_from=MONDAY, revoked_reason="lost"), MONDAY, "revoked"),
        (
            Key("a", "b", MONDAY, None, MONDAY + DAY, "c", MONDAY + 2 * DAY, "lost"),
            MONDAY + 3 * DAY,
            "replaced",
        ),
    ],
)
def test_a_key_stands_as_its_ring_says(key: Key, at: dt.datetime, state: str) -> None:
    line = key_line(key, at, lambda one: one)
    assert line.state == state
    assert (line.valid_to is None) == (key.valid_to is None and key.revoked_from is None)


def test_no_text_of_the_catalogue_is_left_over() -> None:
    """Each is named in a page or in the code, whole or by the beginning that something is put behind."""
    places = [*(HOUSE / "pool" / "templates").glob("portal_*.html"), *(HOUSE / "pool").glob("portal_*.py")]
    source = "".join(place.read_text("utf-8") for place in places)
    named = set(re.findall(r'["\']([a-z0-9_]+)["\']', source))
    begun = set(re.findall(r'say\(f?"([a-z_]+_)(?:" ~|\{)', source))
    for one in messages("en"):
        message = one.removeprefix("portal.")
        if message != one and message.removesuffix("_title") not in named and message not in named:
            assert any(message.startswith(beginning) for beginning in begun), one


def test_the_addresses_that_are_shown_are_those_of_the_api(tmp_path: Path) -> None:
    rules = load_rules(HOUSE / "configs" / "rules.toml")
    app = create_app(None, settings_of(tmp_path), rules, lambda: NOON)  # type: ignore[arg-type]
    served = {re.sub(r"\{[^}]+\}", "X", path) for path in app.openapi()["paths"]} | {"/openapi.json"}
    for one in ADDRESSES:
        path = re.sub(r"(?<=/)(?:YYYY|MM|DD|HH\.parquet|[A-Z]+)(?=/|$)", "X", one.path)
        path = path.replace("/log/tile/X/X", "/log/tile/X")
        assert path in served or any(known.startswith(f"{path}/") for known in served), one.path


def test_the_document_has_every_page_and_what_opens_it() -> None:
    rows = re.findall(r"^\| `/portal/en/([a-z]*)` \|.*\| (?:scope `(\w+)`|(everybody)) \|$", REGULATOR, re.M)
    told = {path: scope for path, scope, _ in rows}
    assert told == {path: view.scope or "" for path, view in VIEWS.items() if path == view.section}


def test_the_document_has_every_member_of_well_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_identity, "verifier", lambda: (b"", "ab" * 32))
    told = Identity(None, KeyRing(), None, (), "dmpool/1/main", 0, None, ())
    rules = load_rules(HOUSE / "configs" / "rules.toml")
    made = portal_identity.document(told, settings_of(tmp_path), rules, NOON)
    table = REGULATOR.split("/.well-known/dmpool.json")[1].split("Addresses are whole")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M))
    assert rows.keys() == made.keys()
    assert f'"{made["schema"]}"' in rows["schema"]
    for name, members in made.items():
        if isinstance(members, dict) and name != "portal":
            assert all(f"`{member}`" in rows[name] for member in members), name
