"""The dashboards as they are committed: current, explained, linked, laid out, made of series that exist.

Whether Prometheus has an answer to each of them is asked in tests/integration/test_dashboards_for_real.py.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from configs.grafana.__main__ import FOLDER, boards, write
from configs.grafana.board import RUNBOOKS_URL
from configs.grafana.signs import QUESTIONS, Sign
from pool.runbook_pages import files, read_page
from pool.telemetry.catalogue import CATALOGUE
from tests.dashboard_panels import (
    CONFIGS,
    asked_by_dashboards,
    asked_by_rules,
    dashboards,
    names,
    panels,
    rules,
)

UIDS = (
    *("dmpool-overview", "dmpool-gateways", "dmpool-node", "dmpool-money"),
    *("dmpool-compliance", "dmpool-reports", "dmpool-account"),
)
SUFFIX = re.compile(r"_(bucket|count|sum)$")
FROM_PROMETHEUS = {"up", "ALERTS"}
KNOWN = dashboards()
EACH = pytest.mark.parametrize("name", sorted(KNOWN))


def test_what_is_committed_is_what_the_builders_make(tmp_path: Path) -> None:
    write(tmp_path)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert made.keys() == kept.keys()
    for name, text in made.items():
        assert text == kept[name], f"{name} is not current: run `make dashboards`"


def test_there_are_the_seven_that_an_operator_is_promised() -> None:
    assert tuple(board.uid for board in boards()) == UIDS
    told = (CONFIGS.parent / "docs" / "operate" / "dashboards.md").read_text("utf-8")
    for dashboard in KNOWN.values():
        assert f"| {dashboard['title'].removeprefix('dmpool: ')} |" in told


@EACH
def test_every_panel_is_explained_and_linked(name: str) -> None:
    for panel in panels(KNOWN[name]):
        title = panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], title
        for part in ("**Normal:**", "**Do:**"):
            assert part in panel["description"], title
        assert defaults["thresholds"]["steps"][0]["value"] is None, title
        runbook, *more = panel["links"]
        assert runbook["title"] == "Runbook", title
        assert runbook["url"].startswith("${runbooks}/"), title
        assert {link["url"] for link in more} <= {f"/d/{uid}?${{__url_time_range}}" for uid in UIDS}, title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert panel["targets"], title


@cache
def runbook(name: str) -> str:
    """A page as the web role shows it."""
    page = read_page(name, files())
    return "".join([page.head, *page.sections])


@EACH
def test_every_runbook_exists(name: str) -> None:
    for panel in panels(KNOWN[name]):
        page, _, anchor = panel["links"][0]["url"].removeprefix("${runbooks}/").partition("#")
        text = runbook(page)
        assert not anchor or f'id="{anchor}"' in text, f"{panel['title']}: {page} has no {anchor}"


def test_every_alarm_has_a_runbook_by_the_name_that_a_table_knows() -> None:
    for rule in rules():
        if "alert" in rule:
            assert f'id="{rule["alert"]}"' in runbook("alarms")
            assert f'id="{rule["alert"].lower()}"' in runbook("alarms")


@EACH
def test_queries_ask_only_for_series_that_exist(name: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for panel in panels(KNOWN[name]):
        for target in panel["targets"]:
            asked = {SUFFIX.sub("", one) for one in names(target["expr"])}
            assert asked, f"{panel['title']} asks for nothing"
            missing = asked - CATALOGUE.keys() - recorded - FROM_PROMETHEUS
            assert not missing, f"{panel['title']} asks for {missing}, which the catalogue does not have"


def test_rules_ask_only_for_series_that_exist() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for question in asked_by_rules():
        asked = {SUFFIX.sub("", one) for one in names(question.expr)}
        assert asked <= CATALOGUE.keys() | recorded | FROM_PROMETHEUS, question.place


def test_every_series_of_the_catalogue_is_on_a_dashboard() -> None:
    """What nobody looks at need not be told; the catalogue says what to do with the rest."""
    shown = {
        SUFFIX.sub("", one)
        for question in (*asked_by_dashboards(), *asked_by_rules())
        for one in names(question.expr)
    }
    unseen = {one for one in CATALOGUE if one not in shown}
    assert unseen <= {
        "process_virtual_memory_bytes",
        "python_info",
        "dmpool_spool_records_total",
        "dmpool_reports_built_total",
    }


@EACH
def test_panels_lie_on_the_grid_without_overlap(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in KNOWN[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        lines = range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, lines):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    for line in {y for _, y in taken}:
        assert sum(1 for _, y in taken if y == line) == 24, f"line {line} has a hole"


@EACH
def test_identities_are_stable_and_unique(name: str) -> None:
    dashboard = KNOWN[name]
    assert f"{dashboard['uid']}.json" == name
    assert "id" not in dashboard
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert ids == list(range(1, len(ids) + 1))
    for panel in panels(dashboard):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)), panel["title"]


@EACH
def test_grafanas_own_model_takes_what_is_written(name: str) -> None:
    """With the types of Grafana 11.6 nothing is dropped, and every value is of the type that it has there."""
    register_default_plugins()
    model = Dashboard.from_json(KNOWN[name])
    again = json.loads(json.dumps(model, cls=JSONEncoder))
    for each in (again, kept := dict(KNOWN[name])):
        del each["annotations"]  # of Prometheus: the model has those of Grafana's own store alone
    assert again == kept
    assert kept["schemaVersion"] == Dashboard().schema_version
    assert list(strangers(model, Dashboard, name)) == []


def strangers(value: Any, hint: Any, place: str) -> Iterator[str]:
    """Places where a value is not of its type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        hint = type(value)
    if isinstance(value, dict) and hasattr(hint, "from_json"):  # where the SDK does not read on
        value = hint.from_json(value)
    if origin in (Union, UnionType):
        fits = any(not list(strangers(value, one, place)) for one in arguments)
    elif origin is Literal:
        fits = value in arguments
    elif isinstance(hint, type) and issubclass(hint, Enum):
        fits = value in {one.value for one in hint}
    else:
        fits = isinstance(value, int | float if hint is float else origin or hint)
    if not fits:
        yield f"{place}: {value!r} is not of {hint}"
    elif hasattr(value, "to_json"):
        for key, one in get_type_hints(type(value)).items():
            yield from strangers(getattr(value, key), one, f"{place}.{key}")
    elif origin in (list, dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from strangers(one, arguments[-1], f"{place}[{key}]")


@EACH
def test_variables_and_links(name: str) -> None:
    dashboard = KNOWN[name]
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert {"datasource", "instance", "runbooks"} <= variables.keys()
    assert variables["runbooks"]["query"] == RUNBOOKS_URL
    prometheus = yaml.safe_load((CONFIGS / "prometheus.yml").read_text("utf-8"))
    assert prometheus["global"]["external_labels"]["runbooks"] == RUNBOOKS_URL
    used = set(re.findall(r"\$\{?([a-z]\w*)", str([panel["targets"] for panel in panels(dashboard)])))
    assert used <= variables.keys()
    assert {link["type"] for link in dashboard["links"]} == {"dashboards"}
    assert dashboard["annotations"]["list"][0]["name"] == "Blocks found"


@pytest.mark.parametrize(
    "sign", [sign for signs in QUESTIONS.values() for sign in signs], ids=lambda one: one.words
)
def test_a_sign_has_the_limits_of_its_alarm(sign: Sign) -> None:
    """The verdict and the alarm must not contradict each other for long."""
    mine = [rule for rule in rules() if rule.get("alert") == sign.alarm]
    assert mine, f"{sign.alarm} is no alarm"
    if sign.alarm == "TargetDown":  # that nobody tells anything is no limit of a value
        return
    for expression, severity in ((sign.look, "warning"), (sign.act, "critical")):
        if expression:
            limit = re.search(r"bool ([0-9.]+)(?:\)\[.*)?$", expression)
            assert limit, expression
            known = " ".join(rule["expr"] for rule in mine if rule["labels"]["severity"] == severity)
            assert re.search(rf"[<>=] {re.escape(limit[1])}\b", known), f"{sign.alarm} {severity}: {limit[1]}"


def test_grafana_is_provisioned_with_what_the_dashboards_ask_for() -> None:
    folder = CONFIGS / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"][0]
    provider = yaml.safe_load((folder / "dashboards" / "dmpool.yaml").read_text("utf-8"))["providers"][0]
    scrape = yaml.safe_load((CONFIGS / "prometheus.yml").read_text("utf-8"))["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scrape
    assert provider["type"] == "file"
    assert not provider["allowUiUpdates"]
