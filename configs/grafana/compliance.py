"""Compliance: who may mine, what was seen that may not, what waits for a person, which dates come near.

For the compliance officer, who looks once a day and must not miss a day: its range is a week.
"""

from __future__ import annotations

from configs.grafana.board import Board
from configs.grafana.panels import (
    BITCOIN,
    COUNT,
    PER_MINUTE,
    SECONDS,
    About,
    Ask,
    Panel,
    Words,
    bars,
    curves,
    number,
)

NONE_IS_GOOD = ((None, "green"), (1, "orange"))
MODE: Words = {"0": ("enforced", "green"), "1": ("quarantine", "orange"), "2": ("NOT ENFORCED", "red")}


def compliance() -> Board:
    """The page."""
    board = Board(
        "dmpool-compliance",
        "dmpool: compliance",
        "Who may mine, what was seen that may not, what waits for a person, and which dates come near.",
        role="ledger",
        since="now-7d",
    )
    board.row("Is the law kept?", *_kept())
    board.row("Licences and machines", *_register())
    board.row("Seen and refused", *_seen())
    board.row("Sale and income", *_duties())
    return board


def _kept() -> list[Panel]:
    mode = About(
        "Machines in no register",
        "What today's rule does with a worker name that is no registered machine (O-07).",
        "Enforced: they may not mine.",
        "Quarantine: their work is never paid. Not enforced: put the rule back to `strict`.",
        "alarms#licenceenforcementoff",
        COUNT,
    )
    age = About(
        "Age of the register",
        "Seconds since it was last known to be that of PostgreSQL.",
        "Below 10 s.",
        "Above 30 s: PostgreSQL is away; a licence suspended since is not known to be.",
        "alarms#registerold",
        SECONDS,
    )
    ending = About(
        "Licences that end within 30 days",
        "And that no other follows.",
        "0.",
        "`dmpool compliance digest` names them; ask the miners for the next licence.",
        "alarms#licenceends",
        COUNT,
    )
    proposals = About(
        "Changes that wait for a second person",
        "Of the register, by the rule of four eyes.",
        "0 for long.",
        "The second officer decides: `dmpool compliance` or the page.",
        "metrics#dmpool_proposals_waiting",
        COUNT,
    )
    addresses = About(
        "Payout addresses that wait",
        "New addresses that are not in effect yet.",
        "0.",
        "Ask the miner whether he asked for it: somebody may be taking his wallet over.",
        "alarms#addresswaits",
        COUNT,
    )
    late = About(
        "Monthly forms that are late",
        "Forms that were not submitted by their deadline.",
        "0.",
        "`dmpool income due` names them; submit them today.",
        "alarms#incomeformlate",
        COUNT,
    )
    weighed = (
        'max(dmpool_licence_enforcement{@,mode=~"monitor|quarantine"})'
        ' + max(dmpool_licence_enforcement{@,mode="monitor"})'
    )
    old = ((None, "green"), (30, "orange"), (300, "red"))
    return [
        number(mode, Ask(weighed), words=MODE, filled=True),
        number(age, Ask("max(dmpool_register_age_seconds{@})"), steps=old, decimals=0),
        number(ending, Ask('max(dmpool_licences_ending{@,days="30"})'), steps=NONE_IS_GOOD),
        number(proposals, Ask("max(dmpool_proposals_waiting{@})"), steps=NONE_IS_GOOD),
        number(addresses, Ask("max(dmpool_addresses_waiting{@})"), steps=NONE_IS_GOOD),
        number(late, Ask("max(dmpool_income_late{@})"), steps=((None, "green"), (1, "red")), filled=True),
    ]


def _register() -> list[Panel]:
    licences = About(
        "Licences by status",
        "In the register, at this moment.",
        "`in_force`, and few that are ended.",
        "`suspended`, `awaiting_resumption`: somebody's machines stand; does the miner know?",
        "metrics#dmpool_licences",
        COUNT,
    )
    ending = About(
        "Licences that end, by days left",
        "Licences that end within so many days and that no other follows.",
        "0.",
        "Ask for the next licence early: no licence, no work (I6).",
        "alarms#licenceends",
        COUNT,
    )
    devices = About(
        "Machines in the register",
        "Hardware units by state.",
        "`registered`, and level.",
        "When it falls without an import: who excluded them? `dmpool compliance` shows the events.",
        "metrics#dmpool_devices",
        COUNT,
    )
    events = About(
        "Events of the register",
        "Changes of the register in an hour.",
        "A few a day; many after an import.",
        "A jump that nobody planned: look at the events and at who made them.",
        "metrics#dmpool_register_events_total",
        COUNT,
    )
    return [
        curves(
            licences,
            Ask("max by (status) (dmpool_licences{@})", "{{status}}"),
            width=8,
            decimals=0,
            last_only=True,
        ),
        bars(
            ending,
            Ask("max by (days) (dmpool_licences_ending{@})", "{{days}} days"),
            width=4,
            decimals=0,
            steps=NONE_IS_GOOD,
        ),
        curves(
            devices,
            Ask("max by (state) (dmpool_devices{@})", "{{state}}"),
            width=6,
            decimals=0,
            last_only=True,
        ),
        curves(
            events, Ask("max(increase(dmpool_register_events_total{@}[1h]))", "events"), width=6, decimals=0
        ),
    ]


def _seen() -> list[Panel]:
    seen = About(
        "Seen today",
        "Worker names that compliance should know of, by kind.",
        "None.",
        "`duplicate`, `foreign`, `overrate`: ask the miner which machine it is. `unregistered`: a "
        "wrong name.",
        "metrics#dmpool_sightings_today",
        COUNT,
    )
    refused = About(
        "Workers not let in",
        "Refused authorisations in a minute, by reason, at all gateways.",
        "None.",
        "`unknown_device`: names that are in no register. `licence_…`: a licence that ended or was "
        "suspended.",
        "metrics#dmpool_authorisations_refused_total",
        PER_MINUTE,
    )
    shares = About(
        "Shares refused by law",
        "Shares in a minute of miners whose licence is not in force, and of machines in quarantine.",
        "None.",
        "`licence`: machines work on after their licence. `quarantine`: never paid; tell the miner.",
        "metrics#dmpool_shares_total",
        PER_MINUTE,
        "No share was refused by law.",
    )
    unlawful = '60 * sum by (verdict) (rate(dmpool_shares_total{verdict=~"licence|quarantine"}[10m]))'
    denied = "60 * sum by (kind) (rate(dmpool_authorisations_refused_total[10m]))"
    return [
        bars(
            seen, Ask("max by (kind) (dmpool_sightings_today{@})", "{{kind}}"), decimals=0, steps=NONE_IS_GOOD
        ),
        curves(refused, Ask(denied, "{{kind}}"), width=8, decimals=2),
        curves(shares, Ask(unlawful, "{{verdict}}"), width=8, decimals=2),
    ]


def _duties() -> list[Panel]:
    short = About(
        "Miners that sold too little",
        "Against the mandatory sale (O-52), in the period that ended last and in the one that runs.",
        "`ended`: 0.",
        "`dmpool compliance digest` names them; ask for the confirmations that are missing.",
        "alarms#saleshort",
        COUNT,
    )
    amount = About(
        "Not sold yet",
        "What they have not sold on exchanges that count.",
        "`running` falls towards the period's end.",
        "`dmpool sales import` takes the confirmations.",
        "metrics#dmpool_sale_short_satoshis",
        BITCOIN,
    )
    days = About(
        "Days to the deadline of a form",
        "Of the oldest form that was not submitted, by form and addressee; below 0 it is late.",
        "Above 5.",
        "`dmpool income due` says what to submit, to whom and by when.",
        "alarms#incomeformdue",
        "d",
        "Nothing is due.",
    )
    forms = About(
        "Monthly forms",
        "Forms whose day of reminder has come, that are late, or whose books changed after they were "
        "submitted.",
        "0 each.",
        "`dmpool income due` names them.",
        "alarms#incomeformcorrected",
        COUNT,
    )
    return [
        curves(
            short,
            Ask("max by (period) (dmpool_sale_short_miners{@})", "{{period}}"),
            width=6,
            decimals=0,
            last_only=True,
        ),
        curves(
            amount,
            Ask("max by (period) (dmpool_sale_short_satoshis{@}) / 1e8", "{{period}}"),
            width=6,
            decimals=4,
            last_only=True,
        ),
        bars(
            days,
            Ask("min by (form, addressee) (dmpool_income_deadline_days{@})", "{{form}}, {{addressee}}"),
            width=6,
            decimals=0,
            bottom=None,
            steps=((None, "red"), (0, "orange"), (5, "green")),
        ),
        bars(
            forms,
            Ask("max(dmpool_income_reminders{@})", "to be submitted"),
            Ask("max(dmpool_income_late{@})", "late"),
            Ask("max(dmpool_income_outdated{@})", "changed since"),
            width=6,
            decimals=0,
            steps=NONE_IS_GOOD,
        ),
    ]
