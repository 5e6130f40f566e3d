"""Reports and what they stand on: days told in time, that verify; log, keys, doors, notices, PostgreSQL.

What a regulator sees of the pool, seen from inside before he sees it.
"""

from __future__ import annotations

from configs.grafana.board import Board
from configs.grafana.panels import (
    BYTES,
    COUNT,
    MOMENT,
    PER_SECOND,
    RATIO,
    SECONDS,
    About,
    Ask,
    Panel,
    Words,
    bars,
    curves,
    number,
)

VERIFIED: Words = {"1": ("verifies", "green"), "0": ("DOES NOT VERIFY", "red")}
BLOCKED: Words = {"0": ("no", "green"), "1": ("BLOCKED", "red")}
LATE = ((None, "green"), (3600, "orange"), (7200, "red"))


def reports() -> Board:
    """The page."""
    board = Board(
        "dmpool-reports",
        "dmpool: reports",
        "Days told in time, that verify; and what they stand on: archive, log, keys, doors, PostgreSQL.",
        role="ledger",
        since="now-24h",
    )
    board.row("Daily reports", *_daily())
    board.row("Transparency log and keys", *_log())
    board.row("Who asks: pages, interfaces, the regulator's door", *_web())
    board.row("Notices", *_notices())
    board.row("PostgreSQL", *_database())
    return board


def _daily() -> list[Panel]:
    none_yet = "No day was reported yet."
    verified = About(
        "Newest report",
        "It was read back from PostgreSQL and verified as a regulator would, with the public key alone (I7).",
        "Verifies.",
        "Publish nothing more; compare the stored report with the archive.",
        "alarms#reportnotverified",
        COUNT,
        none_yet,
    )
    last = About(
        "End of the newest reported day",
        "When the last day that has a report ended.",
        "Less than 25 hours ago.",
        "Longer: see what the report waits for.",
        "metrics#dmpool_report_last_day_timestamp_seconds",
        MOMENT,
        none_yet,
    )
    behind = About(
        "A day waits for its report",
        "How long the oldest day that is over has waited for its report.",
        "Below an hour after midnight, else 0.",
        "It waits for the ledger, or for the archive: see both.",
        "alarms#reportlate",
        SECONDS,
    )
    blocked = About(
        "Is a report blocked?",
        "Whether the oldest waiting report cannot be built.",
        "No.",
        "The ledger's log names the day and the equality that fails, or the key that is missing.",
        "alarms#reportblocked",
        COUNT,
    )
    corrected = About(
        "Corrections",
        "Versions of reports above the first.",
        "Few; each was made by a person for a reason.",
        "`dmpool reports list` shows them. A version more than you know of: ask who made it.",
        "metrics#dmpool_report_corrections",
        COUNT,
    )
    kept = About(
        "Reports kept",
        "All versions of all days.",
        "One more each day.",
        "Nothing.",
        "metrics#dmpool_report_versions",
        COUNT,
    )
    archive = About(
        "Share archive behind",
        "How long the oldest hour that is over and not in the archive has waited.",
        "Below ten minutes.",
        "Above two hours: the disk of data_dir/archive, or the ledger's log.",
        "alarms#archivebehind",
        SECONDS,
    )
    waits = About(
        "Report behind, over time",
        "How long the oldest unreported day has waited.",
        "A short tooth after midnight.",
        "A slope that goes on: follow the runbook.",
        "alarms#reportlate",
        SECONDS,
    )
    looked = About(
        "Last verified",
        "When the newest report was last read back and verified.",
        "Less than a day ago.",
        "Longer: no ledger is active, or PostgreSQL is away.",
        "metrics#dmpool_report_verified_timestamp_seconds",
        MOMENT,
        none_yet,
    )
    built = About(
        "Time to build a report",
        "Of the last one that a process built.",
        "Seconds to minutes.",
        "When it grows for months: so does the work; see PostgreSQL.",
        "metrics#dmpool_report_build_seconds",
        SECONDS,
        "This process has built none.",
    )
    return [
        number(verified, Ask("min(dmpool_report_verified{@})"), words=VERIFIED, filled=True),
        number(last, Ask("1000 * max(dmpool_report_last_day_timestamp_seconds{@})")),
        number(behind, Ask("max(dmpool_report_behind_seconds{@})"), steps=LATE, decimals=0),
        number(blocked, Ask("max(dmpool_report_blocked{@})"), words=BLOCKED, filled=True),
        number(corrected, Ask("max(dmpool_report_corrections{@})")),
        number(kept, Ask("max(dmpool_report_versions{@})")),
        curves(waits, Ask("max(dmpool_report_behind_seconds{@})", "oldest day"), width=7, steps=LATE),
        curves(archive, Ask("max(dmpool_archive_behind_seconds{@})", "oldest hour"), width=7, steps=LATE),
        curves(built, Ask("max(dmpool_report_build_seconds{@})", "last build"), width=6),
        number(looked, Ask("1000 * max(dmpool_report_verified_timestamp_seconds{@})"), height=8),
    ]


def _log() -> list[Panel]:
    entries = About(
        "Entries of the transparency log",
        "Reports, statements and documents that were published into it.",
        "Grows with each report.",
        "It never shrinks; if it does, PostgreSQL was restored from an old copy.",
        "metrics#dmpool_log_entries",
        COUNT,
    )
    checkpoint = About(
        "Age of the newest checkpoint",
        "Since the log was last signed.",
        "As old as the newest entry.",
        "Older than the newest entry: the key that signs is missing.",
        "metrics#dmpool_log_checkpoint_age_seconds",
        SECONDS,
        "No checkpoint was signed yet.",
    )
    behind = About(
        "Entries that a witness has not seen",
        "By witness.",
        "0, minutes after a report.",
        "For hours: is the witness away? Nobody outside vouches for what was published since.",
        "alarms#lognotwitnessed",
        COUNT,
        "No witness is configured, or no checkpoint was signed yet.",
    )
    key = About(
        "The key that signs reports ends in",
        "Earliest end of a key in force that no other follows.",
        "Above 21 days.",
        "`dmpool keys rotate` puts another in its place.",
        "alarms#keyends",
        SECONDS,
        "No key has an end, or each is followed by another.",
    )
    certificate = About(
        "Certificates end in",
        "Of Stratum over TLS and of the regulator's door.",
        "Above 14 days.",
        "Put a new one in its place; it is read by itself.",
        "alarms#certificateends",
        SECONDS,
        "No TLS is configured.",
    )
    soon = ((None, "red"), (2 * 86_400, "orange"), (21 * 86_400, "green"))
    return [
        curves(entries, Ask("max(dmpool_log_entries{@})", "entries"), width=6, height=6, decimals=0),
        number(checkpoint, Ask("max(dmpool_log_checkpoint_age_seconds{@})"), width=4, height=6),
        curves(
            behind,
            Ask("max by (witness) (dmpool_log_witness_behind_entries{@})", "{{witness}}"),
            width=6,
            height=6,
        ),
        number(
            key,
            Ask("min(dmpool_report_key_end_timestamp_seconds{@}) - time()"),
            width=4,
            height=6,
            steps=soon,
        ),
        number(
            certificate,
            Ask("min by (port) (dmpool:certificate_ends_seconds)", "{{port}}"),
            width=4,
            height=6,
            steps=soon,
        ),
    ]


def _web() -> list[Panel]:
    nobody = "Nobody has asked yet."
    asked = About(
        "Requests by area",
        "Of all web processes, in a second.",
        "What it was yesterday.",
        "A jump of one area: see who asks in the access log; the door limits itself.",
        "metrics#dmpool_http_requests_total",
        PER_SECOND,
        nobody,
    )
    errors = About(
        "Failed requests",
        "Part of the requests that ended in a fault of ours (5xx), by area.",
        "0.",
        "The log of the web role has each with its words.",
        "metrics#dmpool_http_requests_total",
        RATIO,
        nobody,
    )
    times = About(
        "Time of an answer, by area",
        "95 % of the requests of an area are faster.",
        "Pages below 100 ms, the portal below 1 s.",
        "When all grow: PostgreSQL. One area: the log.",
        "metrics#dmpool_http_request_seconds",
        SECONDS,
        nobody,
    )
    open_now = About(
        "Open streams, and requests turned away",
        "Pages that are kept live now; requests in a minute that the door's limits turned away.",
        "As many streams as watchers; none turned away.",
        "Turned away for long: a regulator's program asks too often; tell its people.",
        "metrics#dmpool_door_limited_total",
        COUNT,
    )
    failed = (
        'sum by (area) (rate(dmpool_http_requests_total{code="5xx"}[5m])'
        " or 0 * rate(dmpool_http_requests_total[5m]))"
        " / sum by (area) (rate(dmpool_http_requests_total[5m]))"
    )
    slow = "histogram_quantile(0.95, sum by (le, area) (rate(dmpool_http_request_seconds_bucket[5m])))"
    return [
        curves(
            asked,
            Ask("sum by (area) (rate(dmpool_http_requests_total[$__rate_interval]))", "{{area}}"),
            width=6,
            stacked=True,
        ),
        curves(errors, Ask(failed, "{{area}}"), width=6, decimals=1),
        curves(times, Ask(slow, "{{area}}"), width=6),
        curves(
            open_now,
            Ask("sum(dmpool_http_streams)", "streams"),
            Ask("60 * sum(rate(dmpool_door_limited_total[5m]))", "turned away a minute"),
            width=6,
        ),
    ]


def _notices() -> list[Panel]:
    nowhere = "No [[notices.channels]] is configured."
    waiting = About(
        "Notices that wait",
        "By channel.",
        "0 within seconds.",
        "They are kept and tried again; see why the channel fails.",
        "alarms#noticesnotdelivered",
        COUNT,
        nowhere,
    )
    oldest = About(
        "Oldest notice that waits",
        "By channel.",
        "Below a minute.",
        "Above 15 minutes: who relies on this channel does not hear of alarms either.",
        "alarms#noticesnotdelivered",
        SECONDS,
        nowhere,
    )
    sent = About(
        "Delivered and failed",
        "In an hour, by channel.",
        "No failures.",
        "`dmpool notices` shows what a channel answered.",
        "metrics#dmpool_notices_failed_total",
        COUNT,
        nowhere,
    )
    hourly = "sum by (channel) (increase(dmpool_notices_%s_total{@}[1h]))"
    return [
        curves(
            waiting,
            Ask("max by (channel) (dmpool_notices_waiting{@})", "{{channel}}"),
            width=8,
            height=6,
            decimals=0,
        ),
        curves(
            oldest,
            Ask("max by (channel) (dmpool_notice_oldest_seconds{@})", "{{channel}}"),
            width=8,
            height=6,
            steps=((None, "green"), (900, "red")),
        ),
        curves(
            sent,
            Ask(hourly % "sent", "{{channel}}: delivered"),
            Ask(hourly % "failed", "{{channel}}: failed"),
            width=8,
            height=6,
            decimals=0,
        ),
    ]


def _database() -> list[Panel]:
    up = About(
        "Reached by the gateways",
        "Whether PostgreSQL took the last batch, at each gateway.",
        "1.",
        "0: mining goes on into the spool; see the runbook.",
        "alarms#databasedown",
        COUNT,
    )
    size = About(
        "Size of the database",
        "All tables and indexes.",
        "Grows evenly; old partitions are dropped once they are archived.",
        "Faster than evenly: are partitions dropped? See *Share archive behind*.",
        "metrics#dmpool_database_size_bytes",
        BYTES,
    )
    connections = About(
        "Connections",
        "By state, and how many PostgreSQL allows.",
        "Well below the limit; `idle in transaction` near none.",
        "Near the limit: raise max_connections, or fewer processes.",
        "metrics#dmpool_database_connections",
        COUNT,
    )
    oldest = About(
        "Oldest transaction",
        "How long the oldest open transaction has been running.",
        "Below a minute.",
        "Hours: somebody's session holds old rows; end it with pg_terminate_backend.",
        "metrics#dmpool_database_oldest_transaction_seconds",
        SECONDS,
    )
    replicas = About(
        "Lag of the replicas",
        "How far each streaming replica is behind.",
        "Below a second.",
        "When it grows: its disk or network. Do not switch over to it meanwhile.",
        "metrics#dmpool_database_replication_lag_seconds",
        SECONDS,
        "There is no replica, or the role may not see it (pg_monitor).",
    )
    old = About(
        "Age of what the ledgers tell",
        "How long ago each part of a ledger's metrics was read from PostgreSQL.",
        "Below two minutes.",
        "Longer: that part keeps old values; `metrics_unread` in the log says why.",
        "alarms#metricsold",
        SECONDS,
    )
    return [
        bars(
            up,
            Ask("min by (instance) (dmpool_database_up)", "{{instance}}"),
            width=4,
            top=1,
            steps=((None, "red"), (1, "green")),
        ),
        curves(size, Ask("max(dmpool_database_size_bytes{@})", "size"), width=4),
        curves(
            connections,
            Ask("max by (state) (dmpool_database_connections{@})", "{{state}}"),
            Ask("max(dmpool_database_connections_limit{@})", "limit"),
            width=4,
            decimals=0,
            last_only=True,
        ),
        curves(oldest, Ask("max(dmpool_database_oldest_transaction_seconds{@})", "oldest"), width=4),
        curves(
            replicas,
            Ask("max by (replica) (dmpool_database_replication_lag_seconds{@})", "{{replica}}"),
            width=4,
        ),
        curves(
            old,
            Ask(
                "max by (instance, part) (time() - dmpool_metrics_read_timestamp_seconds{@})",
                "{{instance}} {{part}}",
            ),
            width=4,
            last_only=True,
        ),
    ]
