"""Every event of the log stands in docs/operate/logs.md with its level and keys, read from the source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pool.telemetry.floods import OF_STRANGERS

HOUSE = Path(__file__).parents[3]
PACKAGES = ("native", "stratum", "register", "payouts", "reporting", "pool")
PAGE = HOUSE / "docs" / "operate" / "logs.md"
LEVELS = {
    **{name: name for name in ("debug", "info", "warning", "error", "critical")},
    "exception": "error",
}
OF_EVERY_LINE = {"timestamp", "level", "event", "logger", "roles", "pid"}
ROW = re.compile(r"^\| `([a-z_]+)` \| ([a-z, ]+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)


@dataclass
class Event:
    """One name, from wherever it is told."""

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls of a module's log, with the method."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=method)) if (
                method in LEVELS
            ):
                yield method, node


@cache
def told() -> tuple[dict[str, Event], list[str]]:
    """Every event of the source, and the calls that are written otherwise."""
    events: dict[str, Event] = defaultdict(Event)
    wrong = []
    for path in sorted(path for name in PACKAGES for path in (HOUSE / name).rglob("*.py")):
        source = path.read_text("utf-8")
        if "structlog" not in source:
            continue
        for method, call in calls(ast.parse(source)):
            keys = {keyword.arg for keyword in call.keywords} - {"exc_info"}
            match call.args:
                case [ast.Constant(value=str(name))] if (
                    re.fullmatch("[a-z]+(_[a-z]+)*", name) and None not in keys and not keys & OF_EVERY_LINE
                ):
                    events[name].levels.add(LEVELS[method])
                    events[name].keys |= {str(key) for key in keys}
                case _:
                    wrong.append(f"{path.relative_to(HOUSE)}:{call.lineno}")
    return events, wrong


def test_each_call_names_an_event_and_its_values() -> None:
    """A constant name of small letters, so that it can be looked for; values by key, so that they can be."""
    assert told()[1] == []


def test_what_strangers_cause_is_known_by_its_name() -> None:
    assert OF_STRANGERS - told()[0].keys() == set(), "no such events"


def test_no_module_logs_in_another_way() -> None:
    others = [
        str(path.relative_to(HOUSE))
        for name in PACKAGES
        for path in (HOUSE / name).rglob("*.py")
        if re.search(r"logging\.getLogger\(__name__|^log = logging", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert others == []


def test_the_page_has_every_event_with_its_levels_and_keys() -> None:
    page = PAGE.read_text("utf-8")
    written = {name: (levels, keys) for name, levels, keys, _ in ROW.findall(page)}
    events = {
        name: (", ".join(sorted(event.levels)), ", ".join(f"`{key}`" for key in sorted(event.keys)))
        for name, event in told()[0].items()
    }
    events["library_says"] = ("any", "`message`")
    wrong = {name: (*row, "stands there:", written.get(name)) for name, row in events.items()}
    assert {name: row for name, row in wrong.items() if row[3] != row[:2]} == {}, "write these rows"
    assert sorted(written.keys() - events.keys()) == [], "nothing tells these any more"
    assert list(written) == sorted(written)
    assert "TODO" not in page
