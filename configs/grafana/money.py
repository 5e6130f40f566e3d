"""Money: what there is, what is owed, what is on its way, and whether the three agree to the satoshi.

All of it is read from PostgreSQL and the wallet by the ledger; several ledgers tell the same, so the largest
of each is taken.
"""

from __future__ import annotations

from configs.grafana.board import Board
from configs.grafana.gateways import quantiles
from configs.grafana.panels import (
    BITCOIN,
    COUNT,
    PER_SECOND,
    RATIO,
    SATOSHIS,
    SECONDS,
    UP_DOWN,
    About,
    Ask,
    Panel,
    Words,
    bars,
    curves,
    number,
)

BALANCED: Words = {"1": ("balances", "green"), "0": ("DOES NOT BALANCE", "red")}
ACTIVE: Words = {"1": ("active", "green"), "0": ("none active", "red")}
NOT_ZERO = ((None, "red"), (0, "green"), (1, "red"))
BELOW_ZERO = ((None, "red"), (0, "green"))


def money() -> Board:
    """The page."""
    board = Board(
        "dmpool-money",
        "dmpool: money",
        "What there is, what is owed, what is on its way, and whether they agree to the satoshi.",
        role="ledger",
        since="now-24h",
    )
    board.row("Does it agree?", *_agreement())
    board.row("What is owed, and the coins for it", *_owed())
    board.row("Payouts", *_payouts())
    board.row("Blocks", *_blocks())
    board.row("The ledger at work", *_ledger())
    return board


def _agreement() -> list[Panel]:
    journal = About(
        "Journal",
        "Whether all accounts of the double-entry journal sum to zero (I3).",
        "Balances, always.",
        "Stop payouts; `dmpool ledger trial-balance` says which account differs.",
        "alarms#journaldoesnotbalance",
        COUNT,
    )
    cover = About(
        "Coins less what is owed",
        "Coins that may be spent or will be, with what is on its way out, less what the pool owes "
        "its miners.",
        "Above zero: the commission that was earned.",
        "Below zero: stop payouts, and compare wallet and journal coin by coin.",
        "alarms#walletbelowliability",
        BITCOIN,
    )
    differs = About(
        "Wallet less journal",
        "Coins of the wallet, with what is on its way out, less what the journal says there is.",
        "0 satoshis; minutes after a payout or a block it may differ.",
        "More: somebody paid in. Less: somebody spent, or a payout confirmed that is not booked.",
        "alarms#walletdiffers",
        SATOSHIS,
    )
    active = About(
        "Ledger",
        "Whether a ledger process is the active one.",
        "Active.",
        "None: nothing is split, booked or paid. Start `dmpool ledger`, or read its log.",
        "alarms#noactiveledger",
        COUNT,
    )
    settler = About(
        "Settler",
        "Whether the last look at the payouts was made: PostgreSQL, wallet and node answered.",
        "Up; nothing is told where no [settlement] is configured.",
        "Down: the ledger's log says which of the three is missing.",
        "alarms#settlerdown",
        COUNT,
    )
    problems = About(
        "Payouts with a problem",
        "Payouts under way that wait for something that is wrong.",
        "0.",
        "`dmpool payouts status` says what is wrong with which: a coin that was spent elsewhere, say.",
        "alarms#payoutproblem",
        COUNT,
    )
    return [
        number(journal, Ask("min(dmpool_journal_balanced{@})"), words=BALANCED, filled=True),
        number(differs, Ask("dmpool:wallet_difference_satoshis"), steps=NOT_ZERO, decimals=0, filled=True),
        number(cover, Ask("dmpool:wallet_cover_satoshis / 1e8"), steps=BELOW_ZERO, decimals=8, filled=True),
        number(active, Ask("max(dmpool_ledger_active{@})"), words=ACTIVE),
        number(settler, Ask("max(dmpool_settler_up{@})"), words=UP_DOWN),
        number(problems, Ask("max(dmpool_payout_problems{@})"), steps=((None, "green"), (1, "red"))),
    ]


def _owed() -> list[Panel]:
    owed = About(
        "Owed to miners",
        "By maturity: of blocks not mature yet, payable, and in a payout under way.",
        "Rises with each block, falls with each payout.",
        "`payable` that only grows: nobody pays. `paying` that stands: see the payouts.",
        "metrics#dmpool_liability_satoshis",
        BITCOIN,
    )
    wallet = About(
        "Coins of the wallet",
        "As the wallet's node tells them: trusted, immature, pending; and what is in flight.",
        "As much as the journal says.",
        "See *Wallet less journal* above.",
        "metrics#dmpool_wallet_satoshis",
        BITCOIN,
    )
    accounts = About(
        "Accounts of the journal",
        "Balance of each class of account, each in its own direction; what the pool paid out of its "
        "own is negative.",
        "Assets are as much as all the others together.",
        "`pool:orphan_loss` and `pool:network_fees` are what the pool bears; look why when they grow.",
        "metrics#dmpool_journal_satoshis",
        BITCOIN,
    )
    held = About(
        "Payable and not paid, by reason",
        "What a payout run at this moment would leave out.",
        "`below_threshold` for small miners.",
        "`no_wallet`, `no_exchange_address`: ask the miner. `suspended`, `ended`: compliance decides.",
        "alarms#payoutsheld",
        BITCOIN,
    )
    miners = About(
        "Miners not paid, by reason",
        "How many there are of them.",
        "`below_threshold` for small miners.",
        "`dmpool payouts preview` names them and says what is missing.",
        "alarms#payoutsheld",
        COUNT,
    )
    per_account = "max by (account) (dmpool_journal_satoshis{@}) / 1e8"
    return [
        curves(
            owed,
            Ask("max by (state) (dmpool_liability_satoshis{@}) / 1e8", "{{state}}"),
            width=8,
            stacked=True,
            decimals=4,
            last_only=True,
        ),
        curves(
            wallet,
            Ask("max by (kind) (dmpool_wallet_satoshis{@}) / 1e8", "{{kind}}"),
            Ask("max(dmpool_payouts_in_flight_satoshis{@}) / 1e8", "in flight"),
            width=8,
            decimals=4,
            last_only=True,
        ),
        bars(accounts, Ask(per_account, "{{account}}"), width=8, decimals=8, bottom=None),
        bars(
            held, Ask("max by (reason) (dmpool_held_satoshis{@}) / 1e8", "{{reason}}"), width=12, decimals=8
        ),
        bars(miners, Ask("max by (reason) (dmpool_held_miners{@})", "{{reason}}"), width=12, decimals=0),
    ]


def _payouts() -> list[Panel]:
    count = About(
        "Payouts by state",
        "Payout transactions: reserved, signed, sent, confirmed, final, abandoned.",
        "The first three pass; `final` grows.",
        "`reserved` that stay: nobody signs; `dmpool payouts list`.",
        "metrics#dmpool_payouts",
        COUNT,
    )
    amounts = About(
        "Paid, by state",
        "What those payouts pay.",
        "Most is `final`.",
        "Nothing by itself; an abandoned payout's amounts are payable again.",
        "metrics#dmpool_payouts_satoshis",
        BITCOIN,
    )
    age = About(
        "Oldest payout in a state that must pass",
        "How long it has waited there.",
        "`reserved` below a day, `signed` and `sent` below some hours.",
        "`reserved`: sign it or abandon it. `sent`: `dmpool payouts bump` raises its fee.",
        "alarms#payoutnotconfirmed",
        SECONDS,
    )
    return [
        curves(
            count, Ask("max by (state) (dmpool_payouts{@})", "{{state}}"), width=8, decimals=0, last_only=True
        ),
        curves(
            amounts,
            Ask("max by (state) (dmpool_payouts_satoshis{@}) / 1e8", "{{state}}"),
            width=8,
            decimals=4,
            last_only=True,
        ),
        curves(
            age,
            Ask("max by (state) (dmpool_payout_oldest_seconds{@})", "{{state}}"),
            width=8,
            steps=((None, "green"), (43_200, "orange"), (86_400, "red")),
        ),
    ]


def _blocks() -> list[Panel]:
    states = About(
        "Blocks by state",
        "Blocks in the ledger.",
        "`found` and `submitted` pass in seconds; `confirmed` become `mature` after a hundred blocks.",
        "`orphaned` that rises: blocks reach the network late; see *node and jobs*.",
        "metrics#dmpool_blocks",
        COUNT,
    )
    orphaned = About(
        "Orphaned, of all blocks",
        "Part of the pool's blocks that left the main chain.",
        "Below one per cent.",
        "Each costs its reward; what was paid of it the pool bears. See the time to submit a block.",
        "alarms#blockorphaned",
        RATIO,
    )
    lost = About(
        "What the pool bears",
        "Paid for blocks that left the chain, network fees of payouts, and corrections, as positive numbers.",
        "Fees grow with payouts; the others stand still.",
        "`dmpool ledger entries` shows each movement and who made it.",
        "metrics#dmpool_journal_satoshis",
        BITCOIN,
    )
    costs = "pool:orphan_loss|pool:network_fees|pool:correction"
    borne = f'0 - max by (account) (dmpool_journal_satoshis{{@,account=~"{costs}"}}) / 1e8'
    return [
        curves(
            states,
            Ask("max by (state) (dmpool_blocks{@})", "{{state}}"),
            width=10,
            decimals=0,
            last_only=True,
        ),
        number(
            orphaned,
            Ask('max(dmpool_blocks{@,state="orphaned"}) / sum(max by (state) (dmpool_blocks{@}))'),
            width=4,
            height=8,
            decimals=2,
            steps=((None, "green"), (0.01, "orange"), (0.03, "red")),
        ),
        curves(lost, Ask(borne, "{{account}}"), width=10, bottom=None, decimals=4, last_only=True),
    ]


def _ledger() -> list[Panel]:
    waiting = About(
        "Batches that wait",
        "Batches of shares in PostgreSQL that the ledger has not taken.",
        "A few; none for seconds.",
        "When it grows: its log says at which batch it stopped and why.",
        "alarms#ledgerbehind",
        COUNT,
    )
    lag = About(
        "Lag of the ledger",
        "Age of the oldest batch that it has not taken.",
        "Below 5 s.",
        "Above five minutes: balances, blocks and reports are that old.",
        "alarms#acknowledgednotapplied",
        SECONDS,
    )
    applied = About(
        "Batches applied",
        "By the active ledger, in a second.",
        "About one for each gateway.",
        "None, while shares come in: no ledger is active, or it stopped.",
        "metrics#dmpool_ledger_batches_applied_total",
        PER_SECOND,
    )
    each = About(
        "Time of a batch",
        "How long the ledger takes for one batch.",
        "Below 100 ms.",
        "When it grows: see PostgreSQL on *reports*.",
        "metrics#dmpool_ledger_batch_seconds",
        SECONDS,
    )
    return [
        curves(waiting, Ask("max(dmpool_ledger_batches_waiting{@})", "batches"), width=6, decimals=0),
        curves(lag, Ask("max(dmpool_ledger_lag_seconds{@})", "oldest batch"), width=6),
        curves(
            applied,
            Ask("sum(rate(dmpool_ledger_batches_applied_total{@}[$__rate_interval]))", "batches"),
            width=6,
        ),
        curves(each, *quantiles("dmpool_ledger_batch_seconds"), width=6),
    ]
