"""The catalogue holds every series, each with its words, and nobody tells a series past it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pool.metrics import Metrics
from pool.telemetry.catalogue import CATALOGUE, SUBJECTS, series
from pool.telemetry.document import document
from pool.telemetry.instruments import Instruments, LateGauge, counter_family, filled, gauge_family
from pool.telemetry.series import Series

HOUSE = Path(__file__).parents[3]
ALERTS: dict[str, Any] = yaml.safe_load((HOUSE / "configs" / "alerts.yml").read_text("utf-8"))
FAMILIES = {"CounterMetricFamily", "GaugeMetricFamily", "HistogramMetricFamily", "SummaryMetricFamily"}
MAKERS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum", *FAMILIES}
GUARDS = {"dmpool_build_info", "process_start_time_seconds"}
"""Rules ask for these to know of whom they speak."""
SILENT = {"dmpool_disk_size_bytes", "process_virtual_memory_bytes", "python_info"}
"""Of these nothing is to be done: they are the other half of a ratio, or plain facts."""


def test_every_series_stands_once() -> None:
    assert len(CATALOGUE) == sum(len(subject.series) for subject in SUBJECTS)
    assert len({subject.title for subject in SUBJECTS}) == len(SUBJECTS)


@pytest.mark.parametrize("one", CATALOGUE.values(), ids=str)
def test_a_series_says_what_it_means_what_is_normal_and_what_to_do(one: Series) -> None:
    assert re.fullmatch(r"(dmpool|process|python)_[a-z_]+[a-z]", one.name)
    assert one.name.endswith("_total") == (one.kind == "counter")
    assert one.meaning.endswith(".")
    assert one.normal
    assert not one.normal.endswith(".")
    assert bool(one.action) == (one.name not in SILENT)
    assert one.roles
    assert len(set(one.labels)) == len(one.labels)


def instruments_made_elsewhere() -> list[str]:
    """Calls that make an instrument or a family outside the one module that takes them from the catalogue."""
    found = []
    for path in (HOUSE / "pool").rglob("*.py"):
        if path.name == "instruments.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client")
            for alias in node.names
            if alias.name in MAKERS
        }
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
        ]
    return found


def test_nobody_makes_an_instrument_past_the_catalogue() -> None:
    assert instruments_made_elsewhere() == []


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def asked_for(expression: str, depth: int = 3) -> set[str]:
    """The series that an expression asks for, through recorded ones."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    found = {_base(name) for name in re.findall(r"\b(?:dmpool|process)_[a-z_]+", expression)}
    for name in re.findall(r"\bdmpool:[a-z_:0-9]+", expression):
        found |= asked_for(recorded[name], depth - 1) if depth else set()
    return found


def _base(name: str) -> str:
    for suffix in ("_bucket", "_count", "_sum"):
        if CATALOGUE.get(name.removesuffix(suffix), None) and name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def test_every_alarm_is_named_by_each_series_that_it_asks_for() -> None:
    """And each alarm that a series names is there; it may be one that tells of the same trouble."""
    by_rules = {
        (name, rule["alert"]) for rule in rules() if "alert" in rule for name in asked_for(rule["expr"])
    }
    by_catalogue = {(one.name, alarm) for one in CATALOGUE.values() for alarm in one.alarms}
    alarms = {rule["alert"] for rule in rules() if "alert" in rule}
    assert sorted(pair for pair in by_rules - by_catalogue if pair[0] not in GUARDS) == []
    assert sorted(pair for pair in by_catalogue if pair[1] not in alarms) == []


def test_the_page_has_a_heading_for_every_series_and_a_link_for_every_alarm() -> None:
    page = document()
    for one in CATALOGUE.values():
        assert f"\n### {one.name}\n\n{one.meaning}\n" in page
        assert f"](#{one.name})" in page
        for alarm in one.alarms:
            assert f"[{alarm}](operate/alarms.md#{alarm.lower()})" in page


# Instruments


def test_what_is_not_described_cannot_be_told() -> None:
    make = Instruments(CollectorRegistry())
    with pytest.raises(KeyError, match="'dmpool_moon_phase' is not in the catalogue of metrics"):
        make.gauge("dmpool_moon_phase")
    with pytest.raises(KeyError, match="dmpool_job_height' is a gauge in the catalogue"):
        make.counter("dmpool_job_height")
    with pytest.raises(KeyError, match="is a counter"):
        gauge_family("dmpool_jobs_total")
    with pytest.raises(KeyError, match="is a gauge"):
        counter_family("dmpool_job_height")
    assert "dmpool_moon_phase" not in CATALOGUE


def test_instruments_have_kind_labels_and_words_of_the_catalogue() -> None:
    registry = CollectorRegistry()
    make = Instruments(registry)
    kinds = {"gauge": (make.gauge, Gauge), "counter": (make.counter, Counter)}
    kinds["histogram"] = (make.histogram, Histogram)  # type: ignore[assignment]
    for one in CATALOGUE.values():
        maker, kind = kinds[one.kind]
        made = maker(one.name)
        assert isinstance(made, kind)
        if one.labels:
            made.labels(*("x" for _ in one.labels))
    text = generate_latest(registry).decode()
    for one in CATALOGUE.values():
        if not isinstance(registry._names_to_collectors[one.name.removesuffix("_total")], LateGauge):
            assert f"# HELP {one.name} {one.meaning}".replace("\\", r"\\") in text


def test_a_family_carries_the_words_and_labels() -> None:
    told = filled(gauge_family("dmpool_licences"), {"in_force": 3})
    assert told.documentation == series("dmpool_licences").meaning
    assert [(one.labels, one.value) for one in told.samples] == [({"status": "in_force"}, 3)]
    assert [one.value for one in counter_family("dmpool_register_events_total", 7).samples] == [7]


def test_a_gauge_that_may_be_absent_is_not_told_before_it_is_known() -> None:
    """An alarm on `journal_balanced == 0` must not sound because a process has just started."""
    registry = CollectorRegistry()
    balanced = Instruments(registry).gauge("dmpool_journal_balanced")
    assert registry.get_sample_value("dmpool_journal_balanced") is None
    balanced.set(0)
    assert registry.get_sample_value("dmpool_journal_balanced") == 0


@pytest.mark.parametrize(
    ("role", "tells", "not_told"),
    [
        ("gateway", "dmpool_spool_depth", "dmpool_ledger_active"),
        ("ledger", "dmpool_ledger_active", "dmpool_spool_depth"),
        ("web", "dmpool_http_streams", "dmpool_job_age_seconds"),
    ],
)
def test_a_process_tells_what_its_role_knows(role: Any, tells: str, not_told: str) -> None:
    """A web process that said "the spool is empty, no job for 50 years" would be believed."""
    metrics = Metrics([role])
    told = generate_latest(metrics.registry).decode()
    assert f"\n{tells} " in told
    assert not_told not in told
    for family in metrics.registry.collect():
        name = family.name if family.type != "counter" else f"{family.name}_total"
        assert role in series(name).roles


def test_one_reader_that_fails_takes_no_other_series_with_it() -> None:
    metrics = Metrics()
    metrics.on_scrape(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    metrics.on_scrape(lambda: metrics.spool_depth.set(7))
    assert "dmpool_spool_depth 7.0" in generate_latest(metrics.registry).decode()
