"""The committed dashboards and rules as a list of questions to Prometheus, for tests that ask or check them.

Variables are filled in as Grafana does it: `$name` and `${name}` become the text of the chosen value, and
`All` of a variable becomes its `allValue`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

CONFIGS: Final = Path(__file__).parents[1] / "configs"
FOLDER: Final = CONFIGS / "grafana" / "dashboards"
ALERTS: Final = CONFIGS / "alerts.yml"
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_SELECTOR: Final = re.compile(
    r"\b((?:dmpool[_:]|process_|python_)[a-z_:]+|ALERTS|up)\b(?!\s*\()(\{[^{}]*\})?"
)
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Question:
    """One expression, and where it stands."""

    place: str
    """Dashboard, panel and letter; or the rule."""
    expr: str
    """With the variables of Grafana."""
    legend: str = ""
    instant: bool = True
    table: bool = False
    columns: tuple[str, ...] = ()
    """Labels that a table shows."""
    none: str = ""
    """What the panel says when there is nothing."""

    @property
    def panel(self) -> str:
        """Where it is shown, without the letter."""
        return self.place.rpartition(" / ")[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the legend names."""
        return tuple(_LABEL.findall(self.legend))

    def filled_in(self, variables: Mapping[str, str]) -> str:
        """As Prometheus is asked."""
        expr = self.expr
        for name, value in variables.items():
            expr = expr.replace(f"${{{name}}}", value).replace(f"${name}", value)
        return expr


def dashboards() -> dict[str, dict[str, Any]]:
    """What is committed, by file name."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but the headings."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def asked_by_dashboards() -> list[Question]:
    """Every query of every panel, of every annotation and of every variable's values."""
    questions = []
    for dashboard in dashboards().values():
        uid = dashboard["uid"]
        for panel in panels(dashboard):
            questions += [_of_panel(uid, panel, target) for target in panel["targets"]]
        questions += [
            Question(
                f"{uid} / annotation {one['name']}", one["target"]["expr"], one["target"]["legendFormat"]
            )
            for one in dashboard["annotations"]["list"]
        ]
    return questions


def _of_panel(uid: str, panel: Mapping[str, Any], target: Mapping[str, Any]) -> Question:
    organised = [one for one in panel.get("transformations", ()) if one["id"] == "organize"]
    names = organised[0]["options"]["renameByName"] if organised else {}
    return Question(
        f"{uid} / {panel['title']} / {target['refId']}",
        target["expr"],
        target["legendFormat"],
        target["instant"],
        panel["type"] == "table",
        tuple(name for name in names if name != "Value"),
        panel["fieldConfig"]["defaults"].get("noValue", ""),
    )


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule of alerts.yml."""
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def asked_by_rules() -> list[Question]:
    """Every expression of every rule."""
    return [
        Question(
            f"rule {rule.get('alert') or rule['record']} {rule.get('labels', {}).get('severity', '')}",
            rule["expr"],
        )
        for rule in rules()
    ]


def selectors(expr: str) -> set[str]:
    """Every series that an expression asks for, with its matchers as they stand."""
    strings: list[str] = []

    def hide(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f"\N{SECTION SIGN}{len(strings) - 1}\N{SECTION SIGN}"

    hidden = _STRING.sub(hide, expr)
    found = {name + matchers for name, matchers in _SELECTOR.findall(hidden)}
    return {
        re.sub("\N{SECTION SIGN}([0-9]+)\N{SECTION SIGN}", lambda one: strings[int(one[1])], selector)
        for selector in found
    }


def names(expr: str) -> set[str]:
    """Every name of a series in an expression."""
    return {re.split(r"\{", selector)[0] for selector in selectors(expr)}
