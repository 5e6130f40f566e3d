"""What `dmpool top` says: whole without colour, in 80 columns, a dash for what is not known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pool.cli_top import target_of
from pool.config import ConfigError
from pool.terminal.history import KEPT_SECONDS, WINDOW_SECONDS, History
from pool.terminal.pages import Page, View, page
from pool.terminal.reading import (
    Ban,
    BlockLine,
    Books,
    Front,
    GatewayLine,
    Reading,
    Ready,
    RoleState,
    Target,
    Told,
)
from pool.terminal.samples import Samples
from pool.terminal.verdicts import _RULES, Verdict, verdicts

HOUSE = Path(__file__).parents[3]
NOW = 1_795_503_600.0
KZ1, KZ2 = Target("kz1.pool.example", 9090), Target("kz2.pool.example", 9090)
FINE = """
dmpool_build_info{role="gateway",version="1"} 1
dmpool_build_info{role="ledger",version="1"} 1
dmpool_work_hashes_total 6e15
dmpool_shares_total{device_class="antminer-s17",verdict="accepted"} 990
dmpool_shares_total{device_class="antminer-s17",verdict="stale"} 10
dmpool_stratum_connections 1234567
dmpool_stratum_authorised 1234560
dmpool_stratum_devices{device_class="antminer-s17"} 1234567
dmpool_stratum_waiting 0
dmpool_stratum_parked 3
dmpool_stratum_bans 1
dmpool_job_age_seconds 12
dmpool_job_height 900001
dmpool_spool_depth 3
dmpool_spool_oldest_seconds 0.4
dmpool_spool_failing 0
dmpool_spool_commit_seconds_sum 4
dmpool_spool_commit_seconds_count 1000
dmpool_ledger_active 1
dmpool_ledger_lag_seconds 0
dmpool_ledger_batches_waiting 0
dmpool_journal_balanced 1
dmpool_database_up 1
dmpool_node_up{node="10.0.0.1:8332"} 1
dmpool_node_in_use{node="10.0.0.1:8332"} 1
dmpool_node_height{node="10.0.0.1:8332"} 900000
dmpool_node_template_age_seconds{node="10.0.0.1:8332"} 12
dmpool_node_rpc_seconds_sum{node="10.0.0.1:8332",method="getblocktemplate"} 1
dmpool_node_rpc_seconds_count{node="10.0.0.1:8332",method="getblocktemplate"} 10
dmpool_blocks{state="mature"} 7
dmpool_blocks{state="found"} 0
dmpool_blocks_found_total 3
dmpool_blocks_expected_total 4
dmpool_disk_free_bytes{path="data_dir"} 5e11
dmpool_disk_size_bytes{path="data_dir"} 1e12
dmpool_task_up{task="ledger"} 1
process_start_time_seconds 1795503000
"""
WRONG = {
    "NoJob": "dmpool_job_age_seconds 61",
    "TipsDiverge": "dmpool_node_tips_diverged_seconds 121",
    "NodeWouldRefuseBlocks": 'dmpool_job_proposal_ok{node="a"} 0',
    "SpoolFails": "dmpool_spool_failing 1",
    "SpoolNotDraining": "dmpool_spool_oldest_seconds 121",
    "DatabaseDown": "dmpool_database_up 0",
    "AcknowledgedNotApplied": "dmpool_unapplied_oldest_seconds 301",
    "JournalDoesNotBalance": "dmpool_journal_balanced 0",
    "ReportBlocked": "dmpool_report_blocked 1",
    "ReportLate": "dmpool_report_behind_seconds 7201",
    "ReportNotVerified": "dmpool_report_verified 0",
    "PayoutProblem": "dmpool_payout_problems 1",
    "LicenceEnforcementOff": 'dmpool_licence_enforcement{mode="monitor"} 1',
    "DiskFills": "dmpool_disk_free_bytes 4\ndmpool_disk_size_bytes 100",
    "ClockOff": 'dmpool_clock_offset_seconds{against="node"} -5.1',
    "TaskRestarts": 'dmpool_task_up{task="web"} 0',
    "NoticesNotDelivered": 'dmpool_notice_oldest_seconds{channel="ops"} 901',
    "NodeDown": 'dmpool_node_up{node="a"} 0\ndmpool_node_up{node="b"} 1',
    "CertificateEnds": f"dmpool_door_certificate_end_timestamp_seconds {NOW + 13 * 86_400}",
    "NoActiveLedger": "dmpool_ledger_active 0",
    "RejectsHigh": 'dmpool_shares_total{verdict="accepted"} 97\ndmpool_shares_total{verdict="stale"} 3',
}
BOOKS = Books(
    [BlockLine(900_000, "0" * 40 + "ab" * 12, "mature", "alpha.rig7", int((NOW - 90) * 1e6))],
    [GatewayLine("1 kz1", int((NOW - 2) * 1e6), 1234567, 900001), GatewayLine("2 kz2", None, None, None)],
)


def told(text: str, target: Target = KZ1, at: float = NOW, **more: Any) -> Told:
    return Told(target, at, Samples.parse(text), **more)


def look(*targets: Told, at: float = NOW, **more: Any) -> Reading:
    return Reading(at, targets, **more)


def view(reading: Reading, width: int = 79) -> View:
    history = History()
    history.add(reading)
    return View(reading, history, width)


def shown(name: Page, reading: Reading) -> str:
    return "\n".join(line.text for line in page(name, view(reading)))


def wrong(reading: Reading) -> list[Verdict]:
    return view(reading).wrong()


def test_the_overview_of_a_pool_that_does_well() -> None:
    reading = look(told(FINE, ready=Ready(True, {"gateway": RoleState(True)})), books=BOOKS, front=Front())
    assert shown("overview", reading).splitlines() == [
        "HASHRATE  10.0 TH/s over 10 min, 100.0 shares a minute, rejected 1.0 %",
        "OK        nothing is wrong, as far as can be seen from here",
        "PROCESS            ROLES              READY   CONNS    JOB    AGE  SPOOL    AGE",
        "kz1.pool.example.. gateway ledger     yes   1234567 900001   12 s      3  0.4 s",
        "SESSIONS  1 234 567 open, 1 234 560 authorised, 0 waiting, 3 parked, 1 banned",
        "          antminer-s17 1 234 567",
        "SPOOL     3 shares wait, oldest 0.4 s; commit 4 ms, answer -",
        "LEDGER    active, lag 0 s, 0 batches wait; journal balances; PostgreSQL up",
        "NODE      10.0.0.1:8332: up, in use, height 900 000, template 12 s",
        "BLOCKS    found 0, submitted 0, confirmed 0, mature 7, orphaned 0",
        "LUCK      3 found, 4.0 expected since the start: 75%",
        "   900000 mature       90 s ago  alpha.rig7               ..abababababababab",
    ]


@pytest.mark.parametrize("alarm", WRONG)
def test_what_is_wrong_is_said_with_what_to_do(alarm: str) -> None:
    (found,) = wrong(look(told(WRONG[alarm] + "\nprocess_start_time_seconds 1795503000\n")))
    assert found.alarm == alarm
    assert found.what
    assert found.do
    assert wrong(look(told(FINE))) == []
    pages = shown("wrong", look(told(WRONG[alarm])))
    assert f"docs/operate/alarms.md#{alarm.lower()}" in pages or alarm == "RejectsHigh"


def test_every_rule_is_tried_and_every_name_is_an_alarm() -> None:
    rules = yaml.safe_load((HOUSE / "configs" / "alerts.yml").read_text("utf-8"))
    alarms = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert {rule.alarm for rule in _RULES} <= set(WRONG)
    assert {*WRONG, "TargetDown", "BlockNotSubmitted"} <= alarms


def test_the_worst_comes_first_and_what_is_down_says_so() -> None:
    gone = Told(KZ2, NOW, trouble="does not answer: Connection refused")
    unready = Ready(False, {"gateway": RoleState(False, ["no job yet"])})
    reading = look(told(WRONG["ClockOff"]), gone, told("dmpool_ledger_active 1\n", ready=unready))
    levels = [one.level for one in wrong(reading)]
    assert levels == ["critical", "critical", "warning"]
    text = shown("overview", reading)
    assert "CRITICAL  kz2.pool.example:9090  TargetDown" in text
    assert "          does not answer: Connection refused" in text
    assert "gateway is not ready: no job yet" in text
    assert "NOT" not in shown("overview", look(gone)).replace("NOT SEEN", "")


def test_of_two_ledgers_one_must_be_active() -> None:
    stand_by = told("dmpool_ledger_active 0\n", KZ2)
    assert wrong(look(told("dmpool_ledger_active 1\n"), stand_by)) == []
    assert [one.alarm for one in wrong(look(stand_by))] == ["NoActiveLedger"]


def test_a_block_that_no_node_takes() -> None:
    block = BlockLine(5, "ab" * 32, "found", "alpha.rig7", int((NOW - 601) * 1e6))
    young = block._replace(found_us=int((NOW - 599) * 1e6))
    fine = told(FINE)
    assert [one.alarm for one in wrong(look(fine, books=Books([block])))] == ["BlockNotSubmitted"]
    assert wrong(look(fine, books=Books([young]))) == []


def test_a_rate_is_of_the_last_minute_and_a_new_start_is_none_of_less() -> None:
    history = History()
    for second in range(0, 200, 10):
        history.add(look(told(f"a_total {second * 5}\n", at=NOW + second), at=NOW + second))
    newest = told("a_total 950\n", at=NOW + 190)
    rate = history.rate(newest, lambda samples: samples.sum("a_total"))
    assert rate is not None
    assert rate.per_second == pytest.approx(5)
    assert rate.seconds == WINDOW_SECONDS
    again = told("a_total 7\nprocess_start_time_seconds 1795503780\n", at=NOW + 195)
    history.add(look(again, at=NOW + 195))
    begun = history.rate(again, lambda samples: samples.sum("a_total"))
    assert begun is not None
    assert (begun.amount, begun.seconds) == (7, 15)
    assert history.rate(told("b 1\n"), lambda samples: samples.sum("a_total")) is None


def test_bans_and_gateways_have_their_page() -> None:
    front = Front(True, [Ban("203.0.113.9", "malformed", NOW + 300)])
    text = shown("gateways", look(told(FINE), front=front, books=BOOKS))
    assert "DRAINING" in text
    assert "203.0.113.9: malformed, for 5 min more" in text
    assert "1 kz1: seen 2.0 s ago, 1 234 567 connections, job 900 001" in text
    assert "2 kz2: seen - ago, - connections, job -" in text
    assert "rejected: stale 10" in text


@given(
    st.lists(
        st.sampled_from(sorted([*WRONG.values(), FINE, 'dmpool_node_up{node="\\u202e"} 1'])), max_size=3
    ),
    st.lists(st.text(max_size=200), max_size=3),
    st.integers(40, 200),
)
def test_every_page_fits_and_stays_in_its_lines(texts: list[str], strange: list[str], width: int) -> None:
    targets = [told(text, Target(f"kz{n}", 9090)) for n, text in enumerate(texts)]
    gone = [Told(KZ2, NOW, trouble=text) for text in strange]
    blocks = [BlockLine(1, "ab" * 32, "orphaned", text, 1) for text in strange]
    reading = look(*targets, *gone, books=Books(blocks), unseen=strange)
    for name in get_args(Page):
        for line in page(name, view(reading, width)):
            assert len(line.text) <= width
            assert line.text.isprintable()
    assert verdicts(reading, lambda _: None) is not None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e308", "-1", "5e-324"])
@pytest.mark.parametrize("begun", ["0", "NaN", "1e308"])
def test_no_number_that_a_target_tells_breaks_a_page(value: str, begun: str) -> None:
    text = re.sub(r" [0-9.e]+$", f" {value}", FINE, flags=re.MULTILINE)
    text = re.sub(r"(process_start_time_seconds) .*", rf"\1 {begun}", text)
    history = History()
    for second in (0, 10, 20):
        reading = look(told(text, at=NOW + second), at=NOW + second)
        history.add(reading)
    for name in get_args(Page):
        assert all(line.text.isprintable() for line in page(name, View(reading, history)))


def test_looks_are_forgotten_also_when_the_clock_is_set_back() -> None:
    history = History()
    for second in range(100):
        history.add(look(told("a_total 1\n"), at=NOW + second))
    assert len(history._looks) <= WINDOW_SECONDS / KEPT_SECONDS + 1, "a look may be large"
    history.add(look(told("a_total 1\n"), at=NOW - 86_400))
    assert [one.at for one in history._looks] == [NOW - 86_400]


@pytest.mark.parametrize("text", ["", "<html>not found</html>", "a{b= 1", "a b c"])
def test_what_is_no_metrics_listener_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="it tells"):
        Samples.parse(text)


@pytest.mark.parametrize(
    ("text", "target"), [("kz1:9090", Target("kz1", 9090)), ("http://[::1]:9090/", Target("::1", 9090))]
)
def test_a_target_is_written_host_port(text: str, target: Target) -> None:
    assert target_of(text) == target
    for wrong in ("kz1", "kz1:", ":9090", "kz1:99999", "kz1:x"):
        with pytest.raises(ConfigError, match="host:port"):
            target_of(wrong)
