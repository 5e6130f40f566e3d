"""The pool in one look: is work lost, is the money right, is the law kept, and what to do next.

The first row answers; the second says why and where to go; the rest is what an operator wants to have seen
before he closes the page. Each subject has a dashboard of its own.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from configs.grafana import signs
from configs.grafana.board import Board
from configs.grafana.panels import (
    BITCOIN,
    COUNT,
    HASHRATE,
    RATIO,
    RUNBOOKS,
    SECONDS,
    About,
    Ask,
    Panel,
    Words,
    curves,
    link_to,
    mapped,
    number,
    rows,
    states,
)

NO_IS_GOOD: Final[Words] = {"0": ("No", "green"), "1": ("Look", "orange"), "2": ("YES", "red")}
YES_IS_GOOD: Final[Words] = {"0": ("Yes", "green"), "1": ("Look", "orange"), "2": ("NO", "red")}
SIGN: Final[Words] = {"0": ("fine", "green"), "1": ("look today", "orange"), "2": ("act now", "red")}
SEVERITY: Final[Words] = {"1": ("critical", "red"), "2": ("warning", "orange"), "3": ("info", "blue")}
ANSWER: Final = ((None, "green"), (1, "orange"), (2, "red"))


def overview() -> Board:
    """The first page."""
    board = Board(
        "dmpool-overview",
        "dmpool: pool overview",
        "Is work being lost, is the money right, is the law kept, and what to do next.",
    )
    board.row("The verdict", *_verdict())
    board.row("What says so, and what to do next", _alarms(), _signs())
    board.row("Mining", *_mining())
    board.row("Money and law", *_money_and_law())
    return board


def _verdict() -> list[Panel]:
    answer = (
        "The worst of the signs below that belong to this question. When nobody tells anything, it is bad."
    )
    do = "Look for the row that is not green in *What says so*; click it for its runbook."
    lost = About("Work lost?", answer, "No.", do, "alarms#nojob", COUNT, more="dmpool-gateways")
    right = About(
        "Money right?", answer, "Yes.", do, "alarms#journaldoesnotbalance", COUNT, more="dmpool-money"
    )
    kept = About(
        "Law kept?", answer, "Yes.", do, "alarms#licenceenforcementoff", COUNT, more="dmpool-compliance"
    )
    firing = About(
        "Alarms firing now",
        "Alarms that sound at this moment. Those that only inform are left out here and stand in the table.",
        "0.",
        "Take the first of the table below; its name leads to its runbook.",
        "alarms",
        COUNT,
    )
    told = Ask('count(ALERTS{alertstate="firing",severity=~"critical|warning"}) or vector(0)')
    return [
        _answer(lost, Ask(signs.worst(signs.WORK)), NO_IS_GOOD),
        _answer(right, Ask(signs.worst(signs.MONEY)), YES_IS_GOOD),
        _answer(kept, Ask(signs.worst(signs.LAW)), YES_IS_GOOD),
        number(firing, told, steps=((None, "green"), (1, "red")), filled=True, width=6, height=5),
    ]


def _answer(about: About, ask: Ask, words: Words) -> Panel:
    return number(about, ask, words=words, steps=ANSWER, filled=True, width=6, height=5)


def _alarms() -> Panel:
    about = About(
        "What to do next: alarms that sound",
        "Every alarm that fires, the gravest first: its name, the process that tells it, and what it "
        "is about.",
        "Empty.",
        "Click the name: its runbook says what is lost meanwhile, where to look, and how to mend it.",
        "alarms",
        COUNT,
        "No alarm sounds.",
    )
    runbook = link_to("Runbook", f"{RUNBOOKS}/alarms#${{__value.text}}").build()
    ranks = (
        f'{number} * ALERTS{{alertstate="firing",severity="{words}"}}'
        for number, (words, _) in SEVERITY.items()
    )
    return rows(
        about,
        Ask("sort(\n" + "\nor ".join(ranks) + "\n)"),
        columns={"Value": "Severity", "alertname": "Alarm", "instance": "Process", "node": "Node"},
        width=9,
        height=14,
        sort_by="Severity",
        looks_of={
            "Severity": (
                mapped(SEVERITY),
                DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"}),
                DynamicConfigValue("custom.width", 90),
            ),
            "Alarm": (DynamicConfigValue("links", [runbook]),),
        },
    )


def _signs() -> Panel:
    about = About(
        "What says so",
        "Every sign that the three answers are made of, over time. A sign is told only where it can be "
        "known: without a wallet, say, nobody compares coins.",
        "All green.",
        "Click a row that is not green: its runbook says what to do.",
        "alarms",
        COUNT,
    )
    asks = (
        Ask(signs.each(signs.WORK), "Work: {{sign}}"),
        Ask(signs.each(signs.MONEY), "Money: {{sign}}"),
        Ask(signs.each(signs.LAW), "Law: {{sign}}"),
    )
    link = link_to("Runbook", f"{RUNBOOKS}/alarms#${{__field.labels.alarm}}")
    return states(about, *asks, words=SIGN, width=15, height=14, link=link)


def _mining() -> list[Panel]:
    hashrate = About(
        "Hashrate",
        "Work of the accepted shares, over ten minutes, an hour and a day.",
        "The hour follows the day within ten per cent.",
        "When it falls: see whether connections fell too (a farm's network) or rejects rose (ours).",
        "metrics#dmpool_work_hashes_total",
        HASHRATE,
        more="dmpool-gateways",
    )
    shares = About(
        "Rejected shares",
        "Part of the shares of the last ten minutes that were not accepted, by reason.",
        "Below one per cent in all; `stale` is the most of it.",
        "`stale`: work reaches miners late. One device class alone: its firmware. `licence`: compliance.",
        "alarms#rejectshigh",
        RATIO,
        more="dmpool-gateways",
    )
    answers = About(
        "Time to answer a share",
        "From reading a share to its answer, with the durable commit in between: half of them, and "
        "the slowest 1 %.",
        "Below 20 ms; the slowest below 100 ms.",
        "When it grows: look at the commits of the spool (disk) and at the lag of the event loop.",
        "metrics#dmpool_share_answer_seconds",
        SECONDS,
        more="dmpool-gateways",
    )
    rejected = (
        'sum by (verdict) (rate(dmpool_shares_total{@,verdict!="accepted"}[10m]))'
        " / on () group_left () sum(rate(dmpool_shares_total{@}[10m]))"
    )
    work = "sum(rate(dmpool_work_hashes_total{@}[%s]))"
    quantile = (
        "histogram_quantile(%s, sum by (le) (rate(dmpool_share_answer_seconds_bucket{@}[$__rate_interval])))"
    )
    return [
        *_mining_now(),
        curves(
            hashrate,
            *(
                Ask(work % span, name)
                for span, name in (("10m", "10 minutes"), ("1h", "hour"), ("1d", "day"))
            ),
            width=8,
        ),
        curves(shares, Ask(rejected, "{{verdict}}"), width=8, stacked=True, decimals=2),
        curves(answers, Ask(quantile % "0.5", "half below"), Ask(quantile % "0.99", "99 % below"), width=8),
    ]


def _mining_now() -> list[Panel]:
    luck = About(
        "Luck in this range",
        "Blocks found over blocks that the accepted work was worth.",
        "Around 100 % over hundreds of blocks; any value at all over a few.",
        "Far below 100 % over more than a hundred expected blocks: look whether blocks are refused "
        "or orphaned.",
        "metrics#dmpool_blocks_expected_total",
        RATIO,
        more="dmpool-node",
    )
    found = About(
        "Blocks found in this range",
        "Blocks that this pool's miners solved.",
        "What the luck beside it says.",
        "Look at their states below; an orphaned one costs its whole reward.",
        "metrics#dmpool_blocks_found_total",
        COUNT,
        more="dmpool-node",
    )
    height = About(
        "Working on block",
        "Height of the newest job of any gateway.",
        "One above the network's tip.",
        "When it stands while the network goes on: the node is behind or on a fork.",
        "metrics#dmpool_job_height",
        COUNT,
        more="dmpool-node",
    )
    age = About(
        "Age of the newest job",
        "Seconds since miners were last given work, at the worst gateway.",
        "Below 30 s.",
        "Above 60 s: the node does not answer; follow the runbook at once.",
        "alarms#nojob",
        SECONDS,
        more="dmpool-node",
    )
    machines = About(
        "Machines at work",
        "Connections with a worker that may mine.",
        "Near what it was an hour ago.",
        "A fall by a fifth is somebody's network, or ours: see the gateways.",
        "metrics#dmpool_stratum_authorised",
        COUNT,
        more="dmpool-gateways",
    )
    lag = About(
        "Oldest share not applied",
        "Age of the oldest acknowledged share that the ledger has not applied.",
        "Below a minute.",
        "It is kept in the spool or in PostgreSQL, not lost; see which of both is behind.",
        "alarms#acknowledgednotapplied",
        SECONDS,
        more="dmpool-money",
    )
    increase = "sum(increase(dmpool_blocks_%s_total{@}[$__range]))"
    return [
        number(
            age,
            Ask("max(dmpool_job_age_seconds{@})"),
            steps=((None, "green"), (30, "orange"), (60, "red")),
            decimals=0,
        ),
        number(height, Ask("max(dmpool_job_height{@})"), decimals=0),
        number(machines, Ask("sum(dmpool_stratum_authorised{@})"), decimals=0),
        number(found, Ask(increase % "found"), decimals=0),
        number(luck, Ask(f"{increase % 'found'} / {increase % 'expected'}"), decimals=0),
        number(
            lag,
            Ask("max(dmpool_unapplied_oldest_seconds)"),
            steps=((None, "green"), (300, "orange"), (1800, "red")),
            decimals=0,
        ),
    ]


def _money_and_law() -> list[Panel]:
    owed = About(
        "What miners are owed",
        "By maturity: of blocks that are not mature, to be paid, and on its way.",
        "Rises with each block, falls with each payout.",
        "`payable` that only grows: nobody pays out; see *money*.",
        "metrics#dmpool_liability_satoshis",
        BITCOIN,
        more="dmpool-money",
    )
    blocks = About(
        "Blocks by state",
        "Blocks of the ledger: found, submitted, confirmed, mature, orphaned.",
        "`found` and `submitted` pass within seconds; `orphaned` well below one per cent.",
        "`orphaned` that rises: blocks reach the network late; see *node and jobs*.",
        "metrics#dmpool_blocks",
        COUNT,
        more="dmpool-money",
    )
    licences = About(
        "Licences by status",
        "Licences of miners in the register.",
        "`active`, but for those known to be suspended.",
        "A licence that ends within 30 days: ask the miner for the next one; see *compliance*.",
        "metrics#dmpool_licences",
        COUNT,
        more="dmpool-compliance",
    )
    return [
        curves(
            owed,
            Ask("max by (state) (dmpool_liability_satoshis) / 1e8", "{{state}}"),
            width=8,
            stacked=True,
            decimals=4,
            last_only=True,
        ),
        curves(
            blocks, Ask("max by (state) (dmpool_blocks)", "{{state}}"), width=8, decimals=0, last_only=True
        ),
        curves(
            licences,
            Ask("max by (status) (dmpool_licences)", "{{status}}"),
            width=8,
            decimals=0,
            last_only=True,
        ),
    ]
