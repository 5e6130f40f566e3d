"""The documents say what the code does: every name and number that people rely on is looked up here.

Not the prose, which nobody can test: tables, keys, limits, commands, metrics and links.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

import pytest
import typer.main
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sqlalchemy.ext.asyncio import create_async_engine

from pool import door_chain, door_record, work
from pool.cli import cli
from pool.config import (
    DEMO,
    RULES_FILE,
    ComplianceSection,
    DeviceClassSection,
    DoorSection,
    DoorTlsSection,
    NodeSection,
    Settings,
    StratumSection,
    TlsSection,
    load,
)
from pool.demo import MINERS, RIGS
from pool.door_api import door_router
from pool.door_auth import Door
from pool.door_desk import DoorDesk
from pool.door_regulators import LONGEST_DAYS, Authority, Scope
from pool.door_session import SESSION_SECONDS, SESSIONS_MAX
from pool.key_sources import COMMAND_SECONDS
from pool.log_section import LogSection, WitnessSection
from pool.log_store import KINDS as LEAF_KINDS
from pool.notices.notice import KINDS as KINDS_OF_NOTICES
from pool.notices.section import (
    ChannelSection,
    EmailSection,
    NoticesSection,
    TelegramSection,
    WebhookSection,
)
from pool.register_auth import ATTEMPT_SECONDS, ATTEMPTS
from pool.register_bulk import FILE_LIMIT
from pool.register_changes import ROUTES
from pool.register_views import LISTINGS
from pool.settlement_config import SettlementSection
from pool.sightings import NAMES_LIMIT
from pool.signing_section import CmsSection, KeySection, SigningSection
from pool.submissions import FILE_LIMIT as FILE_LIMIT_OF_RECEIPTS
from pool.telemetry.catalogue import CATALOGUE
from pool.telemetry.document import document
from pool.telemetry.logs import LogsSection
from register import proposal, tables
from register.catalogue import messages
from register.form_columns import FIELDS
from register.gate import RefusalKind
from register.licence import ActKind, Status
from register.miner import LANGUAGES
from register.person import Actor, PersonError, Role
from register.records import KINDS
from register.rules import load_rules
from register.rules_schema import SCHEMA, UNKNOWN_DEVICE_MODES
from register.sighting import SightingKind
from reporting.keyring import EVENT_SCHEMA, Action, KeyRing
from reporting.keyring import SCHEMA as RING_SCHEMA
from reporting.prices import COLUMNS, PLACES
from stratum import (
    connection,
    limits,
    password,
    session,
    session_context,
    subscriptions,
    transactions,
    workers,
)
from stratum import difficulty as difficulty_module
from stratum import job as job_module
from stratum import messages as messages_module
from stratum.device_class import ASIC_SILENCE, PROXY_SILENCE, TABLE, UNKNOWN, DeviceClass
from stratum.limits import ServerLimits
from stratum.messages import LINE_LIMIT, Reason
from stratum.session import _HANDLERS

HOUSE = Path(__file__).parents[1]
PAGES = sorted([*(HOUSE / "docs").glob("*.md"), HOUSE / "README.md", HOUSE / "CHANGELOG.md"])
STRATUM = (HOUSE / "docs" / "stratum.md").read_text("utf-8")
OPERATOR = (HOUSE / "docs" / "operator.md").read_text("utf-8")
REGISTER = (HOUSE / "docs" / "register.md").read_text("utf-8")
MINER = (HOUSE / "docs" / "miner.md").read_text("utf-8")
LOG = (HOUSE / "docs" / "log.md").read_text("utf-8")
KEYS_PAGE = (HOUSE / "docs" / "keys.md").read_text("utf-8")
README = (HOUSE / "README.md").read_text("utf-8")
EXAMPLE = HOUSE / "configs" / "example.toml"
DEFAULTS = ServerLimits()
RULES = load_rules(RULES_FILE)
DAY = date(2026, 11, 24)
NOTICE_DAYS = RULES.on("licence_warning", DAY).integer("miner_notice_days")


# docs/stratum.md


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_stands_in_the_table_of_errors(reason: Reason) -> None:
    assert f"| {reason.code} | `{reason.word}` |" in STRATUM


@pytest.mark.parametrize("method", ["mining.submit", *_HANDLERS])
def test_every_method_that_is_taken_has_a_row(method: str) -> None:
    assert re.search(rf"^\|.*`{re.escape(method)}`.*\|$", STRATUM, re.M)


def sent() -> set[str]:
    """The methods of all messages that leave the pool, as they stand in the source."""
    modules = (messages_module, difficulty_module, job_module)
    source = "".join(Path(str(module.__file__)).read_text("utf-8") for module in modules)
    return set(re.findall(r'"method":"([a-z_.]+)"', source))


def test_every_message_that_is_sent_has_a_row() -> None:
    assert {"mining.notify", "mining.set_difficulty", "client.reconnect"} <= sent()
    assert [one for one in sorted(sent()) if f"\n| `{one}` |" not in STRATUM] == []


def row_of(device: DeviceClass) -> str:
    def number(exponent: int | None) -> str:
        if exponent is None:
            return "the pool's"
        return str(1 << exponent) if exponent >= 0 else f"1/{1 << -exponent}"

    agents = ", ".join(f"`{word}`" for word in device.words) or "any other"
    shows, rented = ("yes" if flag else "no" for flag in (device.shows_messages, device.rental))
    return (
        f"| `{device.name}` | {agents} | {number(device.start)} | {number(device.floor)} "
        f"| {device.silence_seconds:.0f} s | {shows} | {rented} |"
    )


def test_the_table_of_device_classes_is_the_one_in_force() -> None:
    head = "| class | agent has | start | floor | may be silent | shows messages | rented |\n"
    table = STRATUM.partition(head)[2].partition("\n\n")[0].splitlines()[1:]
    assert table == [row_of(device) for device in (*TABLE, UNKNOWN)]


@pytest.mark.parametrize(
    "phrase",
    [
        f"| one line | {LINE_LIMIT} bytes |",
        f"| worker name | {workers.USERNAME_LIMIT} characters |",
        f"| workers on one connection | {workers.WORKERS_LIMIT} |",
        f"| refused authorisations on a connection on which nobody was let in | {session.REFUSALS_LIMIT} |",
        f"| time to authorise | {DEFAULTS.authorise_seconds:g} s |",
        f"| TLS handshake | {DEFAULTS.handshake_seconds:g} s |",
        f"{DEFAULTS.stranger_lines_per_second:g} a second, {DEFAULTS.stranger_lines_burst} at once",
        f"{DEFAULTS.lines_per_second:g} a second, {DEFAULTS.lines_burst} at once",
        f"| {ASIC_SILENCE:.0f} s, proxies and rental {PROXY_SILENCE:.0f} s |",
        f"| bytes that the miner leaves unread | {connection.UNREAD_JOBS} |",
        f"| {connection.UNREAD_LIMIT}, or more than {connection.UNREAD_JOBS} "
        f"for {connection.UNREAD_SECONDS:g} s |",
        f"| connections of one address | {DEFAULTS.connections_per_address} |",
        f"| connections of one account | {DEFAULTS.connections_per_account} |",
        f"{job_module.JOBS_LIMIT} on one block",
        f"more than {DEFAULTS.offences_burst} offences at once; "
        f"one is forgiven each {1 / DEFAULTS.offences_per_second:g} seconds",
        f"{limits.BAN_SECONDS:g} s, each further one twice as long, {limits.BAN_SECONDS_MAX:g} s at most",
        f"after {limits.FORGIVE_SECONDS:g} s without a ban",
        f"within the last {subscriptions.RESUME_SECONDS / 60:g} minutes",
        f"One answer for each connection in {transactions.TRANSACTIONS_SECONDS:g} seconds",
        f"{session_context.TRANSACTIONS_BURST} at once",
        f"The first {password.PASSWORD_LIMIT} characters",
        f"at least every {work.JOB_SECONDS:g} seconds",
        f"after {work.REPEAT_SECONDS:g} seconds",
        f"no node has spoken for {work.GIVE_UP_SECONDS:g} seconds",
        f"within {work.EMPTY_AFTER_SECONDS * 1000:g} ms",
        f"{job_module.NTIME_AHEAD} seconds ahead of now",
        f"ends within {NOTICE_DAYS} days",
        "is closed {:g} to {:g} seconds later".format(*workers.DISMISS_SECONDS),
        f"at most {job_module.COINBASE_LIMIT} bytes",
        f"| extranonce1 | {job_module.EXTRANONCE1_SIZE} bytes",
        f"| extranonce2 | {job_module.EXTRANONCE2_SIZE} bytes",
        f"aims at {StratumSection().shares_per_minute:g} shares a minute",
        f"The pool's own start is {StratumSection().start_difficulty:g}",
        f"`{StratumSection().version_mask}` unless the operator chose another",
    ],
)
def test_the_numbers_of_the_protocol_are_those_of_the_code(phrase: str) -> None:
    assert phrase in " ".join(STRATUM.split())


# docs/register.md


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"proposal"}))
def test_every_kind_of_record_stands_with_who_may_write_it(kind: str) -> None:
    def may(role: Role) -> bool:
        try:
            Actor("somebody", role).require(kind)
        except PersonError:
            return False
        return True

    writers = ", ".join(role for role in (Role.OPERATOR, Role.COMPLIANCE, Role.SYSTEM) if may(role))
    assert re.search(rf"^\| `{kind}` \| [^|]+ \| [^|]+ \| {writers} \|$", REGISTER, re.M)
    assert not may(Role.AUDITOR)


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=lambda table: table.kind)
def test_every_column_of_an_import_stands_in_its_table(table: tables.Table) -> None:
    chapter = REGISTER.partition(f"### `dmpool {table.kind}s import`")[2].partition("\n#")[0]
    shown = re.findall(r"^\| `(\w+)` \| (yes|no) \|", chapter, re.M)
    wanted = [(one.name, "yes" if one.empty is tables._REQUIRED else "no") for one in table.columns]
    assert shown == wanted


@pytest.mark.parametrize("word", [*RefusalKind, *SightingKind, *get_args(ActKind), *UNKNOWN_DEVICE_MODES])
def test_every_refusal_sighting_act_and_mode_has_a_row(word: str) -> None:
    assert f"\n| `{word}` |" in REGISTER


@pytest.mark.parametrize("status", Status)
def test_every_status_of_a_licence_is_told(status: Status) -> None:
    assert re.search(rf"\b{status}\b", REGISTER.partition("## The life of a licence")[2])


@pytest.mark.parametrize(("change", "key"), proposal._OF.items())
def test_what_needs_four_eyes_stands_in_the_table(change: tuple[str, str], key: str) -> None:
    kind, action = change
    assert re.search(rf"^\| `{kind}` `{action}`[^|]* \| `{key}` \|$", REGISTER, re.M)


@pytest.mark.parametrize("rule", SCHEMA)
def test_every_rule_stands_with_its_keys_and_values_and_confidence(rule: str) -> None:
    row = RULES.on(rule, DAY)
    shown = re.search(rf"^\| `{rule}` \| (.+) \| {row.confidence} \| (.+) \|$", REGISTER, re.M)
    assert shown
    keys = dict(one.partition(" = ")[::2] for one in re.findall(r"`([^`]+)`", shown[1]))
    assert list(keys) == list(SCHEMA[rule])
    if not shown[2].startswith("kept for later"):
        shown_values = {key: json.dumps(row.values[key]) for key in SCHEMA[rule] if key != "columns"}
        assert {key: value for key, value in keys.items() if key != "columns"} == shown_values


def test_every_route_of_the_register_is_told() -> None:
    routes = [f"{one.method} {one.path}" for one in ROUTES] + [f"/{one.path}" for one in LISTINGS.values()]
    assert [one for one in routes if f"`{one.replace(':path', '')}`" not in REGISTER] == []


@pytest.mark.parametrize(
    "phrase",
    [
        "{:.0f} to {:.0f} seconds after".format(*workers.DISMISS_SECONDS),
        f"waits {RULES.on('address_change', DAY).integer('waiting_hours')} hours",
        f"over {RULES.on('device_watch', DAY).integer('overrate_percent')} %",
        f"by {RULES.on('device_watch', DAY).integer('min_sigma')} standard deviations",
        f"keeps {NAMES_LIMIT} names",
        f"{FILE_LIMIT >> 20} MiB",
        f"more than {ATTEMPTS} wrong tokens at once from an address",
        f"one is forgiven each {ATTEMPT_SECONDS:g} seconds",
    ],
)
def test_the_numbers_of_the_register_are_those_of_the_code(phrase: str) -> None:
    assert phrase in " ".join(REGISTER.split())


NOT_FOR_SCREENS = ("statement.", "report.", "portal.", "door.", "page.", "notices.")
"""Texts that are not for a miner's screen."""


@pytest.mark.parametrize("message", [one for one in messages("en") if not one.startswith(NOT_FOR_SCREENS)])
def test_every_text_for_miners_stands_in_the_miners_page_in_each_language(message: str) -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", MINER, re.M)

    def tells(row: tuple[str, ...]) -> bool:
        cells = (re.escape(cell.replace("*notice:* ", "")).replace("…", ".*") for cell in row)
        return all(re.match(cell, messages(one)[message]) for one, cell in zip(LANGUAGES, cells, strict=True))

    assert any(tells(row) for row in rows)


def test_the_demos_worker_names_are_told() -> None:
    told = ", ".join(f"`{one.name}`" for one in MINERS)
    assert f"{told}), and the name of one of its hardware units (in the demo `rig1` to `rig{RIGS}`" in README


# docs/operator.md and the example configuration


@pytest.mark.parametrize("name", [one.name for one in fields(ServerLimits) if one.name != "proxies"])
def test_every_limit_stands_with_its_default_in_the_operators_page(name: str) -> None:
    value = getattr(DEFAULTS, name)
    shown = "what open files allow" if value is None else f"{value:g}" if value < 10 else str(int(value))
    settable = "yes" if name in StratumSection.model_fields else "no"
    assert re.search(rf"^\| `{name}` \| .* \| {shown} \| {settable} \|$", OPERATOR, re.M)


@pytest.mark.parametrize("key", StratumSection.model_fields)
def test_every_key_of_the_front_stands_in_the_operators_page(key: str) -> None:
    assert re.search(rf"^\| .*`{key}[`.]", OPERATOR, re.M)


@pytest.mark.parametrize("key", TlsSection.model_fields)
def test_every_key_of_tls_stands_in_the_operators_page(key: str) -> None:
    assert f"`tls.{key}`" in OPERATOR


def test_every_key_of_compliance_stands_in_the_operators_page() -> None:
    for key in ("rules_file", *(f"compliance.{one}" for one in ComplianceSection.model_fields)):
        assert f"\n| `{key}` |" in OPERATOR


def test_every_metric_that_a_page_names_is_in_the_catalogue() -> None:
    """A page may speak of a series by its base name, or with a star for a family of them."""
    named = {
        (path.name, name)
        for path in (*PAGES, *(HOUSE / "docs" / "operate").glob("*.md"))
        for name in re.findall(r"\bdmpool_(?!verify\b)[a-z_]+(?![a-z_]*\*)", path.read_text("utf-8"))
    }
    known = set(CATALOGUE) | {name.removesuffix("_total") for name in CATALOGUE}
    known |= {f"{name}_bucket" for name, one in CATALOGUE.items() if one.kind == "histogram"}
    assert len(named) > 100
    assert sorted((page, name) for page, name in named if name not in known) == []


def test_the_page_of_metrics_is_written_from_the_catalogue() -> None:
    """`python -m pool.telemetry.document > docs/metrics.md` writes it anew."""
    assert (HOUSE / "docs" / "metrics.md").read_text("utf-8") == document()


def whole_example() -> str:
    """The example with every key that it shows in force, and every section."""
    return re.sub(r"^#(?=\[|[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.M)


def test_the_example_loads_as_it_is_and_with_every_key_that_it_shows(tmp_path: Path) -> None:
    load(EXAMPLE)
    path = tmp_path / "whole.toml"
    path.write_text(whole_example(), "utf-8")
    assert load(path).stratum.tls is not None


PLACEHOLDERS = {
    *("accreditation", "cookie_file", "zmq", "url", "connections", "min_difficulty", "public_host"),
    *("command", "schedule", "public_url", "client_certificates"),
}
"""Optional keys whose default cannot be written down, or says nothing."""
SECTIONS: list[tuple[str, type[BaseModel]]] = [
    *((name, Settings.model_fields[name].annotation) for name in ("pool", "stratum", "database", "web")),  # type: ignore[list-item]
    ("compliance", ComplianceSection),
    ("metrics", Settings.model_fields["metrics"].annotation),  # type: ignore[list-item]
    ("logs", LogsSection),
    ("settlement", SettlementSection),
    ("stratum.tls", TlsSection),
    ("door", DoorSection),
    ("door.tls", DoorTlsSection),
    ("stratum.device_classes.antminer-s19", DeviceClassSection),
]


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_the_example_shows_every_key_with_its_default(name: str, section: type[BaseModel]) -> None:
    shown = tomllib.loads(whole_example())
    for part in name.split("."):
        shown = shown[part]
    assert set(shown) == set(section.model_fields)
    for key, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined or default is None or isinstance(default, dict):
            continue
        if key not in PLACEHOLDERS:
            written = list(default) if isinstance(default, tuple) else default
            assert shown[key] == (str(written) if isinstance(written, BaseModel) else written), key


def test_the_example_shows_every_key_of_a_node_and_of_the_whole() -> None:
    shown = tomllib.loads(whole_example())
    assert set(shown["nodes"][0]) == set(NodeSection.model_fields)
    assert set(shown) == set(Settings.model_fields) - {"demo_miners"}


def test_the_example_shows_every_key_of_the_log_and_its_witnesses() -> None:
    shown = tomllib.loads(whole_example())["log"]
    assert set(shown) == set(LogSection.model_fields)
    assert set(shown["witnesses"][0]) == set(WitnessSection.model_fields)


def test_the_example_shows_every_key_of_notices_and_each_kind_of_channel() -> None:
    shown = tomllib.loads(whole_example())["notices"]
    assert set(shown) == set(NoticesSection.model_fields)
    common = set(ChannelSection.model_fields) - {"name"}
    keys = [set(one) for one in shown["channels"]]
    own = [set(one.model_fields) for one in (WebhookSection, EmailSection, TelegramSection)]
    assert keys == [own[0], own[1] - common, own[2] - common]
    defaults = {"min_severity": "info", "language": "en", "kinds": list(KINDS_OF_NOTICES)}
    assert {key: shown["channels"][0][key] for key in defaults} == defaults
    assert shown["channels"][1]["security"] == EmailSection.model_fields["security"].default
    assert shown["channels"][2]["url"] == TelegramSection.model_fields["url"].default


def test_the_example_gives_the_class_that_it_changes_its_own_values() -> None:
    for name, values in tomllib.loads(whole_example())["stratum"]["device_classes"].items():
        device = next(device for device in TABLE if device.name == name)
        assert device.start is not None
        assert device.floor is not None
        assert values == {"start_difficulty": 1 << device.start, "min_difficulty": 1 << device.floor}


def test_the_example_shows_every_source_of_a_key_and_the_service_for_state_signatures() -> None:
    shown = tomllib.loads(whole_example())["signing"]
    assert set(shown) == set(SigningSection.model_fields)
    assert {key for source in shown["keys"] for key in source} == set(KeySection.model_fields)
    assert set(shown["cms"]) == set(CmsSection.model_fields) - {"password_environment"}
    assert shown["cms"]["time_mark"] is CmsSection.model_fields["time_mark"].default


# docs/keys.md


def test_the_page_on_keys_names_every_member_of_an_event_and_every_limit() -> None:
    event = KeyRing().draft(Action.INTRODUCED, "01" * 32, datetime.now(UTC), "r", authorised_by=None)
    for name in [*event, *Action]:
        assert f"`{name}`" in KEYS_PAGE, name
    for phrase in (f'"{RING_SCHEMA}"', f'"{EVENT_SCHEMA}"', f"within {COMMAND_SECONDS:g} seconds"):
        assert phrase in " ".join(KEYS_PAGE.split()), phrase


# docs/log.md


@pytest.mark.parametrize("kind", sorted(LEAF_KINDS))
def test_every_kind_of_entry_of_the_log_has_a_row(kind: str) -> None:
    assert f"\n| `{kind}` |" in LOG


# docs/door.md

DOOR = (HOUSE / "docs" / "door.md").read_text("utf-8")


def test_every_route_behind_the_door_is_told_with_its_scope() -> None:
    settings = Settings.model_validate({"data_dir": Path("/nowhere"), "pool": DEMO["pool"]})
    desk = DoorDesk(Door(create_async_engine("postgresql+asyncpg://"), settings.door), settings, RULES)
    app = FastAPI()
    app.include_router(door_router(desk), prefix="/api/v1")
    paths = app.openapi()["paths"]
    assert len(paths) > 15
    for path, methods in paths.items():
        [tag] = methods["get"]["tags"]
        named = {"door": "any", "submissions": "`forms`"}.get(tag, f"`{tag}`")
        assert re.search(rf"^\| `{re.escape(path)}` \|.*\| {named} \|$", DOOR, re.M), path


@pytest.mark.parametrize("name", [*Scope, *Authority])
def test_every_scope_and_authority_is_told(name: str) -> None:
    assert f"`{name}`" in DOOR


def test_every_key_of_the_door_is_told_with_its_default() -> None:
    for key, field in DoorSection.model_fields.items():
        told = "tls.listen" if key == "tls" else key
        row = re.search(rf"^\| .*`{told}`.* \| (.+) \|$", DOOR, re.M)
        assert row is not None, key
        if isinstance(field.default, int):
            assert row.group(1).strip("`") == json.dumps(field.default)


@pytest.mark.parametrize(
    "phrase",
    [
        f"good for {LONGEST_DAYS} days at most",
        f"{door_record.REFUSALS_TOLD} at once and one more each two minutes",
        f"{SESSIONS_MAX} sessions at most",
        f"`{door_chain.Passage.__struct_fields__[-1]}`",
    ],
)
def test_the_numbers_of_the_door_are_those_of_the_code(phrase: str) -> None:
    assert phrase in " ".join(DOOR.split())
    assert door_record.REFUSAL_SECONDS / door_record.REFUSALS_TOLD == 120
    assert SESSION_SECONDS == 2 * 3600


# All pages


def commands(page: Path) -> set[tuple[str, ...]]:
    text = page.read_text("utf-8")
    found = re.findall(r"(?:^    |`)(?:\.venv/bin/)?dmpool ([a-z-]+)(?: ([a-z][a-z-]+))?", text, re.M)
    return {tuple(word for word in words if word) for words in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    root = typer.main.get_command(cli)
    context = typer.Context(root)  # type: ignore[arg-type]
    for words in commands(page):
        found = root.get_command(context, words[0])  # type: ignore[attr-defined]
        assert found is not None, words
        below = getattr(found, "commands", None)
        if below is not None and len(words) > 1:
            assert words[1] in below, words


@pytest.mark.parametrize(
    "phrase",
    [
        *(f"`{field}`" for field in FIELDS),
        f"up to {FILE_LIMIT_OF_RECEIPTS // 1_000_000} MB",
        f"Up to {PLACES} decimals",
        *(f"`{name}`" for name in COLUMNS),
    ],
)
def test_what_the_accountants_page_names_is_in_the_code(phrase: str) -> None:
    assert phrase in " ".join((HOUSE / "docs" / "income.md").read_text("utf-8").split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
            anchors = {re.sub(r"[^a-z0-9 _-]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in anchors, f"{target}#{anchor}"
