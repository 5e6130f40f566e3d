"""One account: what a licensed miner would ask when he calls, answered before he has finished.

Series are kept for accounts (licensed miners), never for their workers: few hundred of the first exist.
"""

from __future__ import annotations

from configs.grafana.board import Board
from configs.grafana.panels import (
    BITCOIN,
    COUNT,
    HASHRATE,
    PER_MINUTE,
    RATIO,
    About,
    Ask,
    Panel,
    bars,
    curves,
    number,
    to_board,
)

OF = '@,account="$account"'
WORK = "max by (account) (rate(dmpool_account_work_hashes_total{%s}[%s]))"


def account() -> Board:
    """The page."""
    board = Board(
        "dmpool-account",
        "dmpool: one account",
        "What a licensed miner would ask when he calls.",
        role="ledger",
        since="now-24h",
    )
    board.variable("account", "Account", "label_values(dmpool_account_work_hashes_total, account)")
    board.row("$account now", *_now())
    board.row("Work of $account", *_work())
    board.row("Money and machines of $account", *_money())
    board.row("All accounts", *_all())
    return board


def _now() -> list[Panel]:
    here = "No work of this account."
    hashrate = About(
        "Hashrate, 10 minutes",
        "Work of the accepted shares over ten minutes.",
        "What the machines of the account can do together.",
        "Far below the hour's: machines are away. Ask for the farm's network, then look at rejects.",
        "metrics#dmpool_account_work_hashes_total",
        HASHRATE,
        here,
    )
    day = About(
        "Hashrate, 24 hours",
        "Work of the accepted shares over a day.",
        "What the miner expects of his machines.",
        "This is what he is paid for.",
        "metrics#dmpool_account_work_hashes_total",
        HASHRATE,
        here,
    )
    rejects = About(
        "Rejected, an hour",
        "Part of the account's shares that were not accepted.",
        "Below one per cent.",
        "`dmpool miners show` and the miner's own page say which machines and why.",
        "metrics#dmpool_account_shares_total",
        RATIO,
        here,
    )
    window = About(
        "Share of the window",
        "Part of the PPLNS window that is this account's: what it would get of a block found now.",
        "The account's part of the pool's hashrate.",
        "Below that part: it came, or came back, less than a window ago.",
        "metrics#dmpool_account_window_ratio",
        RATIO,
        here,
    )
    machines = About(
        "Machines seen today",
        "Registered machines of the account that worked today.",
        "As many as are registered.",
        "Fewer: the rest is off, or has wrong worker names; see *Seen today* on *compliance*.",
        "metrics#dmpool_account_devices",
        COUNT,
        here,
    )
    payable = About(
        "Payable",
        "What may be paid to the account at once.",
        "Below the payout threshold, or paid with the next run.",
        "Above it for long: `dmpool payouts preview` says what is missing.",
        "metrics#dmpool_account_owed_satoshis",
        BITCOIN,
        here,
    )
    rejected = f'sum(max by (verdict) (increase(dmpool_account_shares_total{{{OF},verdict="rejected"}}[1h])))'
    every = f"sum(max by (verdict) (increase(dmpool_account_shares_total{{{OF}}}[1h])))"
    seen = f'max(dmpool_account_devices{{{OF},state="seen_today"}})'
    owed = f'max(dmpool_account_owed_satoshis{{{OF},state="payable"}}) / 1e8'
    return [
        number(hashrate, Ask(WORK % (OF, "10m"))),
        number(day, Ask(WORK % (OF, "1d"))),
        number(
            rejects,
            Ask(f"{rejected} / clamp_min({every}, 1)"),
            decimals=2,
            steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        number(window, Ask(f"max(dmpool_account_window_ratio{{{OF}}})"), decimals=3),
        number(machines, Ask(seen), decimals=0),
        number(payable, Ask(owed), decimals=8),
    ]


def _work() -> list[Panel]:
    here = "No work of this account."
    hashrate = About(
        "Hashrate",
        "Work of the accepted shares, over ten minutes, an hour and a day.",
        "The three run together.",
        "A hole in the first: an outage; the others say how much it costs.",
        "metrics#dmpool_account_work_hashes_total",
        HASHRATE,
        here,
    )
    shares = About(
        "Shares",
        "Accepted and rejected in a minute.",
        "Hardly any rejected.",
        "Rejected ones that rise while those of others do not: the account's network or firmware.",
        "metrics#dmpool_account_shares_total",
        PER_MINUTE,
        here,
    )
    part = About(
        "Part of the pool, and of the window",
        "The account's part of all accepted work of the last hour, and of the PPLNS window.",
        "The window follows the work.",
        "Nothing; it says what the next block brings.",
        "metrics#dmpool_account_window_ratio",
        RATIO,
        here,
    )
    each = f"60 * max by (verdict) (rate(dmpool_account_shares_total{{{OF}}}[10m]))"
    of_all = (
        f"max(rate(dmpool_account_work_hashes_total{{{OF}}}[1h])) / sum(rate(dmpool_work_hashes_total[1h]))"
    )
    spans = (("10m", "10 minutes"), ("1h", "hour"), ("1d", "day"))
    return [
        curves(hashrate, *(Ask(WORK % (OF, span), name) for span, name in spans), width=10),
        curves(shares, Ask(each, "{{verdict}}"), width=7, stacked=True, decimals=2),
        curves(
            part,
            Ask(of_all, "of the work"),
            Ask(f"max(dmpool_account_window_ratio{{{OF}}})", "of the window"),
            width=7,
            decimals=2,
        ),
    ]


def _money() -> list[Panel]:
    here = "No work of this account."
    owed = About(
        "Owed to the account",
        "By maturity: of blocks not mature yet, payable, and in a payout under way.",
        "Rises with each block, falls with each payout.",
        "`paying` that stands: see the payouts on *money*.",
        "metrics#dmpool_account_owed_satoshis",
        BITCOIN,
        here,
    )
    devices = About(
        "Machines",
        "Registered, and of those seen today.",
        "The same.",
        "Fewer seen: the rest is off or misnamed. Fewer registered than he says: the register is behind.",
        "metrics#dmpool_account_devices",
        COUNT,
        here,
    )
    return [
        curves(
            owed,
            Ask(f"max by (state) (dmpool_account_owed_satoshis{{{OF}}}) / 1e8", "{{state}}"),
            width=14,
            stacked=True,
            decimals=4,
            last_only=True,
        ),
        curves(
            devices,
            Ask(f"max by (state) (dmpool_account_devices{{{OF}}})", "{{state}}"),
            width=10,
            decimals=0,
            last_only=True,
        ),
    ]


def _all() -> list[Panel]:
    nobody = "Nobody works."
    largest = About(
        "The ten largest accounts",
        "By work of the last hour.",
        "What you know of them.",
        "A large one that is missing: call the farm.",
        "metrics#dmpool_account_work_hashes_total",
        HASHRATE,
        nobody,
    )
    window = About(
        "Shares of the window",
        "The ten accounts with the largest part of the PPLNS window.",
        "The same order as beside it.",
        "Nothing.",
        "metrics#dmpool_account_window_ratio",
        RATIO,
        nobody,
    )
    untold = About(
        "Accounts left out",
        "Series are kept for the 200 accounts with the most work of the day; so many more worked.",
        "0: few hundred licences exist.",
        "Nothing: their pages, statements and reports are complete.",
        "metrics#dmpool_accounts_untold",
        COUNT,
    )
    choose = to_board(
        "Choose ${__field.labels.account}", "dmpool-account", "&var-account=${__field.labels.account}"
    )
    return [
        bars(
            largest,
            Ask("topk(10, max by (account) (rate(dmpool_account_work_hashes_total{@}[1h])))", "{{account}}"),
            width=10,
            link=choose,
        ),
        bars(
            window,
            Ask("topk(10, max by (account) (dmpool_account_window_ratio{@}))", "{{account}}"),
            width=10,
            decimals=1,
            link=choose,
        ),
        number(untold, Ask("max(dmpool_accounts_untold{@})"), width=4, height=8),
    ]
