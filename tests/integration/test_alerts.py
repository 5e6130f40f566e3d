"""The alarms: each asks for series that the program has, and sounds when it should, by promtool's word."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path

import pytest

from pool.income_metrics import IncomeMetrics
from pool.metrics import Metrics
from pool.register_metrics import RegisterMetrics
from pool.sale_metrics import SaleMetrics
from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.test_prometheus import program_or_skip

ALERTS = REPOSITORY / "configs" / "alerts.yml"
TESTS = REPOSITORY / "tests" / "integration" / "alerts_test.yml"


def promtool(*arguments: str) -> None:
    ran = subprocess.run(
        [program_or_skip("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_takes_the_configuration_with_its_alarms() -> None:
    promtool("check", "config", str(REPOSITORY / "configs" / "prometheus.yml"))


def test_alarms_sound_when_they_should_and_only_then() -> None:
    promtool("test", "rules", str(TESTS))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bdmpool_[a-z_]+", ALERTS.read_text("utf-8")))))
def test_every_series_that_an_alarm_asks_for_exists(name: str) -> None:
    """An alarm on a name that nobody tells would never sound."""
    metrics = Metrics()
    told = {one.name for one in metrics.registry.collect()} | series_in_the_background()
    assert name.removesuffix("_total") in told


def series_in_the_background() -> set[str]:
    """Names of the series that collectors read now and then, as their sources have them."""
    sources = [Path(str(inspect.getsourcefile(one))) for one in (RegisterMetrics, SaleMetrics, IncomeMetrics)]
    source = "".join(one.read_text("utf-8") for one in sources)
    return {one.removesuffix("_total") for one in re.findall(r'"(dmpool_[a-z_]+)"', source)}
