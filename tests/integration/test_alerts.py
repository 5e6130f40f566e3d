"""The alarms: each sounds when it should and only then, by promtool's word, and says what to do.

What holds them together: every alarm asks for series that the program tells, has a test that makes it fire
and clear, says what it means in full, and has its section among the runbooks.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pool.telemetry.catalogue import CATALOGUE
from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.prometheus_process import program_or_skip

CONFIGS: Final = REPOSITORY / "configs"
RULES: Final = [
    rule
    for group in yaml.safe_load((CONFIGS / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALARMS: Final[list[dict[str, Any]]] = [rule for rule in RULES if "alert" in rule]
NAMES: Final = sorted({alarm["alert"] for alarm in ALARMS})
RECORDS: Final[dict[str, str]] = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
TESTS: Final = sorted((REPOSITORY / "tests" / "integration" / "alarms").glob("*_test.yml"))
STORIES: Final[dict[str, dict[str, Any]]] = {
    file.stem: yaml.safe_load(file.read_text("utf-8")) for file in TESTS
}
RUNBOOKS: Final = (REPOSITORY / "docs" / "operate" / "alarms.md").read_text("utf-8")
PANELS: Final = "".join(
    path.read_text("utf-8") for path in sorted((CONFIGS / "grafana" / "dashboards").glob("*.json"))
)
SEVERITIES: Final = ("critical", "warning", "info")


def promtool(*arguments: str) -> None:
    ran = subprocess.run(
        [program_or_skip("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def identity(alarm: dict[str, Any]) -> str:
    return f"{alarm['alert']}-{alarm['labels']['severity']}"


def asked(alarm: dict[str, Any]) -> set[str]:
    """The series that an alarm asks for, also by way of recorded ones."""
    whole = " ".join([alarm["expr"], *(RECORDS[one] for one in re.findall(r"dmpool:[a-z_]+", alarm["expr"]))])
    return {one.removesuffix("_bucket") for one in re.findall(r"\bdmpool_[a-z_]+", whole)}


def test_prometheus_takes_the_configuration_with_its_alarms() -> None:
    promtool("check", "config", str(CONFIGS / "prometheus.yml"))


@pytest.mark.parametrize("name", STORIES)
def test_alarms_sound_when_they_should_and_only_then(name: str, tmp_path: Path) -> None:
    """Only the rules that a file asks of are evaluated, minute by minute: all would take four times that."""
    story = STORIES[name]
    alarms = {look["alertname"] for test in story["tests"] for look in test["alert_rule_test"]}
    assert alarms <= set(NAMES)
    rules = [rule for rule in ALARMS if rule["alert"] in alarms]
    needed = {record for rule in rules for record in re.findall(r"dmpool:[a-z_]+", rule["expr"])}
    rules = [rule for rule in RULES if rule.get("record") in needed] + rules
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": name, "rules": rules}]}))
    (tmp_path / "story.yml").write_text(yaml.safe_dump(story | {"rule_files": ["alerts.yml"]}))
    promtool("test", "rules", str(tmp_path / "story.yml"))


@pytest.mark.parametrize("alarm", ALARMS, ids=identity)
def test_every_alarm_asks_for_series_that_exist_and_that_name_it(alarm: dict[str, Any]) -> None:
    """An alarm on a name that nobody tells would never sound."""
    assert asked(alarm) or alarm["alert"] == "TargetDown"
    for name in asked(alarm):
        assert name in CATALOGUE, name
        assert alarm["alert"] in CATALOGUE[name].alarms or name == "dmpool_build_info", name


def test_no_series_names_an_alarm_that_there_is_not() -> None:
    assert {alarm for series in CATALOGUE.values() for alarm in series.alarms} <= set(NAMES)


@pytest.mark.parametrize("alarm", ALARMS, ids=identity)
def test_every_alarm_can_be_looked_at_on_a_dashboard(alarm: dict[str, Any]) -> None:
    if alarm["alert"] != "TargetDown":  # whose process tells nothing
        shown = {name for name in asked(alarm) if name in PANELS}
        shown |= {record for record in re.findall(r"dmpool:[a-z_]+", alarm["expr"]) if record in PANELS}
        assert shown


@pytest.mark.parametrize("alarm", ALARMS, ids=identity)
def test_every_alarm_has_a_test_in_which_it_sounds_and_clears(alarm: dict[str, Any]) -> None:
    for group in (group for story in STORIES.values() for group in story["tests"]):
        looks = sorted(
            (seconds(one["eval_time"]), _sounds(one, alarm["labels"]["severity"]))
            for one in group["alert_rule_test"]
            if one["alertname"] == alarm["alert"]
        )
        if re.fullmatch("0+1+0+", "".join(str(int(sounds)) for _, sounds in looks)):
            return
    pytest.fail("no test has it silent, then sounding, then silent again")


def _sounds(look: dict[str, Any], severity: str) -> bool:
    return any(one["exp_labels"]["severity"] == severity for one in look["exp_alerts"])


def seconds(duration: str) -> int:
    """Of a duration as Prometheus writes it."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


@pytest.mark.parametrize("alarm", ALARMS, ids=identity)
def test_every_alarm_says_how_grave_it_is_what_it_means_and_where_to_read_on(alarm: dict[str, Any]) -> None:
    assert alarm["labels"]["severity"] in SEVERITIES
    told = alarm["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == "{{ $externalLabels.runbooks }}/alarms#" + alarm["alert"].lower()
    assert len(told["summary"]) < 130, "it must fit on a phone's screen"


def test_the_runbooks_have_a_section_for_every_alarm_and_for_nothing_else() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS, re.M)
    assert sorted(headings) == NAMES
    assert len({one.lower() for one in headings}) == len(headings)


PARTS: Final = ("Means", "Lost meanwhile", "Look", "Mend", "Clears")


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_has_all_its_parts_and_the_severities_of_the_rules(name: str) -> None:
    section = runbook(name)
    assert re.findall(r"^\*\*([A-Z][a-z ]+)\.\*\*", section, re.M) == list(PARTS)
    told = {alarm["labels"]["severity"] for alarm in ALARMS if alarm["alert"] == name}
    severity = section.strip().split("\n")[0]
    assert {one for one in SEVERITIES if f"*{one}*" in severity} == told


def runbook(name: str) -> str:
    """The section of an alarm."""
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S)
    assert found, f"{name} has no section"
    return found[1]
