"""Gateways: who is connected, what their shares are worth, and whether an answered share is safe.

The mining wing of the pool, one line a gateway; and the processes of the machine below.
"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from configs.grafana.board import Board
from configs.grafana.panels import (
    BYTES,
    COUNT,
    GOOD_BAD,
    HASHRATE,
    PER_MINUTE,
    PER_SECOND,
    RATIO,
    SECONDS,
    About,
    Ask,
    Panel,
    curves,
    number,
    rows,
)


def gateways() -> Board:
    """The page."""
    board = Board(
        "dmpool-gateways",
        "dmpool: gateways",
        "Who is connected, what their shares are worth, and whether an answered share is safe.",
        role="gateway",
    )
    board.row("Shares", *_shares())
    board.row("Answers, and what makes them durable", *_durable())
    board.row("Connections", *_connections())
    board.row("Turned away and cut", *_turned_away())
    board.row("The processes", *_processes())
    return board


def quantiles(series: str, by: str = "", span: str = "$__rate_interval") -> tuple[Ask, Ask]:
    """The middle and the slow end of a histogram, by labels when there are any."""
    labels = f"le, {by}" if by else "le"
    name = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) + " " if by else ""
    asked = f"histogram_quantile(%s, sum by ({labels}) (rate({series}_bucket{{@}}[{span}])))"
    return Ask(asked % "0.5", f"{name}half below"), Ask(asked % "0.99", f"{name}99 % below")


def _shares() -> list[Panel]:
    hashrate = About(
        "Hashrate by gateway",
        "Work of the accepted shares of each gateway, over ten minutes.",
        "Follows the machines that are connected.",
        "One gateway falls and the others rise: machines moved. All fall: look at rejects and jobs.",
        "alarms#hashratedrop",
        HASHRATE,
    )
    rate = About(
        "Shares a minute and machine, beside the goal",
        "How often a connected machine gives a share, measured, and how often vardiff wants it to.",
        "Measured near the goal, an hour after a start.",
        "Far above: difficulty is too low, and costs CPU. Far below: machines hash less than they did.",
        "metrics#dmpool_vardiff_goal_shares_per_minute",
        PER_MINUTE,
    )
    verdicts = About(
        "Shares by verdict",
        "Shares judged in a second, by verdict.",
        "Nearly all `accepted`.",
        "See the rejects by device class beside it, and the runbook for each reason.",
        "metrics#dmpool_shares_total",
        PER_SECOND,
    )
    classes = About(
        "Rejects by reason and device class",
        "Part of the shares of a device class that was not accepted, over thirty minutes.",
        "Below one per cent each.",
        "`stale` everywhere: work is late. One class alone: its firmware; ask whose machines they are.",
        "alarms#rejectshigh",
        RATIO,
    )
    rejected = (
        'sum by (verdict, device_class) (rate(dmpool_shares_total{@,verdict!="accepted"}[30m]))'
        " / on (device_class) group_left () sum by (device_class) (rate(dmpool_shares_total{@}[30m]))"
    )
    measured = "60 * sum(rate(dmpool_shares_total{@}[10m])) / sum(dmpool_stratum_authorised{@})"
    return [
        curves(hashrate, Ask("sum by (instance) (rate(dmpool_work_hashes_total{@}[10m]))", "{{instance}}")),
        curves(
            rate,
            Ask(measured, "measured"),
            Ask("max(dmpool_vardiff_goal_shares_per_minute{@})", "goal"),
            decimals=2,
        ),
        curves(
            verdicts,
            Ask("sum by (verdict) (rate(dmpool_shares_total{@}[$__rate_interval]))", "{{verdict}}"),
            stacked=True,
            decimals=2,
        ),
        curves(classes, Ask(rejected, "{{verdict}}, {{device_class}}"), decimals=2),
    ]


def _durable() -> list[Panel]:
    answers = About(
        "Time to answer a share",
        "From reading the line to the answer written, the durable commit included.",
        "Half below 20 ms, 99 % below 100 ms.",
        "When it grows with the commits beside it: the disk. Without them: the event loop, or the CPU.",
        "metrics#dmpool_share_answer_seconds",
        SECONDS,
    )
    commits = About(
        "Time of a durable commit",
        "From the sealing of a group of shares to its fsync. Miners wait for it (I1).",
        "Below 10 ms on an SSD.",
        "Above 100 ms: the disk of data_dir is slow or nearly full; every answer waits for it.",
        "metrics#dmpool_spool_commit_seconds",
        SECONDS,
    )
    depth = About(
        "Records in the spool",
        "Records that PostgreSQL has not confirmed yet. They are safe on disk.",
        "A few; back to none within seconds.",
        "When it grows: PostgreSQL is away or slow. Nothing is lost while the disk has room.",
        "alarms#spoolnotdraining",
        COUNT,
    )
    age = About(
        "Oldest record in the spool",
        "How long the oldest record has waited for PostgreSQL.",
        "Below 5 s.",
        "Above two minutes: follow the runbook; miners notice nothing until the disk is full.",
        "alarms#spoolnotdraining",
        SECONDS,
    )
    size = About(
        "Size of the spool",
        "Bytes of the spool's files.",
        "Some megabytes; it does not shrink below what it once needed.",
        "Compare with the free disk below when PostgreSQL is away for long.",
        "metrics#dmpool_spool_bytes",
        BYTES,
    )
    forward = About(
        "Time to hand a batch to PostgreSQL",
        "How long PostgreSQL takes to confirm a batch of shares.",
        "Below 50 ms.",
        "When it grows: see PostgreSQL on *reports* (connections, oldest transaction), and the network.",
        "metrics#dmpool_forward_seconds",
        SECONDS,
    )
    failed = About(
        "Batches handed over, and failed tries",
        "Batches that PostgreSQL confirmed in a second, and tries that failed.",
        "No failed tries.",
        "Failed tries are repeated and lose nothing: look why PostgreSQL refuses or is away.",
        "alarms#databasedown",
        PER_SECOND,
    )
    failing = About(
        "Commits fail",
        "1 while the disk refuses commits and miners wait for their answers.",
        "0.",
        "Act at once: no share is accepted meanwhile. Look at the disk of data_dir.",
        "alarms#spoolfails",
        COUNT,
    )
    by_instance = "%s by (instance) (%s{@})"
    return [
        curves(answers, *quantiles("dmpool_share_answer_seconds"), width=8),
        curves(
            commits, *quantiles("dmpool_spool_commit_seconds"), width=8, steps=((None, "green"), (0.1, "red"))
        ),
        curves(forward, *quantiles("dmpool_forward_seconds"), width=8),
        curves(depth, Ask(by_instance % ("max", "dmpool_spool_depth"), "{{instance}}"), width=6, decimals=0),
        curves(
            age,
            Ask(by_instance % ("max", "dmpool_spool_oldest_seconds"), "{{instance}}"),
            width=6,
            steps=((None, "green"), (120, "orange")),
        ),
        curves(size, Ask(by_instance % ("max", "dmpool_spool_bytes"), "{{instance}}"), width=4),
        curves(
            failed,
            Ask("sum(rate(dmpool_batches_forwarded_total{@}[$__rate_interval]))", "confirmed"),
            Ask("sum(rate(dmpool_forward_failures_total{@}[$__rate_interval]))", "failed"),
            width=5,
        ),
        number(failing, Ask("max(dmpool_spool_failing{@})"), width=3, height=8, steps=GOOD_BAD, filled=True),
    ]


def _connections() -> list[Panel]:
    machines = About(
        "Connections by device class",
        "Open Stratum connections, by what their firmware says it is.",
        "Near what it was an hour ago.",
        "A fall by a fifth: somebody's network, or ours. Ask `dmpool front status` who is gone.",
        "metrics#dmpool_stratum_devices",
        COUNT,
    )
    authorised = About(
        "Connections, and those that may work",
        "Open connections; those with a worker that was let in; those that wait; sessions that may resume.",
        "Nearly all may work.",
        "Many that may not: refused workers, below. Many that wait: a storm; see the operator's manual.",
        "metrics#dmpool_stratum_authorised",
        COUNT,
    )
    fresh = About(
        "New connections",
        "Connections that were let in, a second.",
        "A few an hour and machine at most.",
        "A peak is an outage that ended. A plateau: machines that connect again and again; see why "
        "they are cut.",
        "metrics#dmpool_stratum_accepted_connections_total",
        PER_SECOND,
    )
    sums = {
        "open": "dmpool_stratum_connections",
        "may work": "dmpool_stratum_authorised",
        "wait": "dmpool_stratum_waiting",
        "may resume": "dmpool_stratum_parked",
    }
    accepted = "sum by (instance) (rate(dmpool_stratum_accepted_connections_total{@}[$__rate_interval]))"
    return [
        curves(
            machines,
            Ask("sum by (device_class) (dmpool_stratum_devices{@})", "{{device_class}}"),
            width=8,
            stacked=True,
            decimals=0,
        ),
        curves(
            authorised,
            *(Ask(f"sum({name}{{@}})", words) for words, name in sums.items()),
            width=8,
            decimals=0,
        ),
        curves(fresh, Ask(accepted, "{{instance}}"), width=8),
    ]


def _turned_away() -> list[Panel]:
    refused = About(
        "Workers that were not let in",
        "Refused authorisations in a minute, by reason.",
        "None, but for what compliance knows of.",
        "`unknown_device`: a farm with wrong names. `licence_…`: a licence that ended; see *compliance*.",
        "metrics#dmpool_authorisations_refused_total",
        PER_MINUTE,
    )
    never = About(
        "Connections never served",
        "Connections turned away before they were served, in a minute, by reason.",
        "None.",
        "`full`: open files. `address-full`: a farm behind one address; raise its limit. "
        "`tls-handshake`: firmware.",
        "metrics#dmpool_stratum_refused_total",
        PER_MINUTE,
    )
    closed = About(
        "Connections that the pool ended",
        "In a minute, by reason.",
        "`silent` and `superseded` now and then.",
        "`error`: a fault of ours, the log has it. `slow-reader`: a network that is too small. "
        "`spool`: the disk.",
        "metrics#dmpool_stratum_closed_total",
        PER_MINUTE,
    )
    bans = About(
        "Bans, by the last offence",
        "Bans in a minute by reason, and how many addresses are banned now.",
        "None.",
        "A farm that complains: `dmpool front status` names the addresses, `dmpool front unban` lets one in.",
        "metrics#dmpool_stratum_banned_total",
        COUNT,
    )
    noise = About(
        "Slowed and spared",
        "In a minute: pauses of those who send too many lines, jobs that slow readers were spared, "
        "unknown methods.",
        "Near none.",
        "Rising fast: somebody floods, or does not read. Unknown methods: firmware that is new to us.",
        "metrics#dmpool_stratum_throttled_total",
        PER_MINUTE,
    )
    per = "60 * sum by (%s) (rate(%s{@}[$__rate_interval]))"
    alone = "60 * sum(rate(%s{@}[$__rate_interval]))"
    return [
        curves(refused, Ask(per % ("kind", "dmpool_authorisations_refused_total"), "{{kind}}"), width=8),
        curves(never, Ask(per % ("reason", "dmpool_stratum_refused_total"), "{{reason}}"), width=8),
        curves(closed, Ask(per % ("reason", "dmpool_stratum_closed_total"), "{{reason}}"), width=8),
        curves(
            bans,
            Ask(per % ("reason", "dmpool_stratum_banned_total"), "{{reason}} a minute"),
            Ask("sum(dmpool_stratum_bans{@})", "banned now"),
        ),
        curves(
            noise,
            Ask(alone % "dmpool_stratum_throttled_total", "paused"),
            Ask(alone % "dmpool_stratum_jobs_skipped_total", "jobs spared"),
            Ask(alone % "dmpool_stratum_unknown_methods_total", "unknown methods"),
        ),
    ]


def _processes() -> list[Panel]:
    who = About(
        "Processes of the pool",
        "Every process that is scraped: its roles, its version, and how long it has been running.",
        "One version everywhere, but during an upgrade.",
        "A process that is missing: start it. An old version: finish the upgrade.",
        "metrics#dmpool_build_info",
        COUNT,
    )
    loop = About(
        "Lag of the event loop",
        "How much later than due a timer of the process runs: 99 % of the time below this.",
        "Below 50 ms.",
        "Above 250 ms: something computes on the loop, or the machine has no CPU to give.",
        "alarms#eventlooplags",
        SECONDS,
    )
    processor = About(
        "Processor",
        "CPU seconds in a second.",
        "Below one core: a process has one event loop, and threads for hashing and files.",
        "Near one core in a gateway: start another gateway.",
        "metrics#process_cpu_seconds_total",
        RATIO,
    )
    memory = About(
        "Memory",
        "Resident memory of each process.",
        "Level over days.",
        "Rising for days: restart it by the runbook of an upgrade, and report it.",
        "metrics#process_resident_memory_bytes",
        BYTES,
    )
    files = About(
        "Open files, of those allowed",
        "Part of the open files that the system allows a process.",
        "Below 70 %.",
        "A connection is a file: raise LimitNOFILE of the unit.",
        "metrics#process_open_fds",
        RATIO,
    )
    disk = About(
        "Free disk of data_dir",
        "Part of the disk that is free.",
        "Above 20 %.",
        "Below 10 %: make room, else the spool stops and with it all mining.",
        "alarms#diskfills",
        RATIO,
    )
    tasks = About(
        "Tasks that fail",
        "Background tasks that were started again in an hour; and how many of a process do not run now.",
        "None; one that fails is started again within seconds.",
        "The log of the process says what ended it. While one does not run, its work is not done.",
        "alarms#taskrestarts",
        COUNT,
    )
    clock = About(
        "Offset of our clock",
        "Our clock less that of PostgreSQL or of the node.",
        "Within half a second.",
        "Beyond five seconds: look at the machine's time service. Days of reports hang on it.",
        "alarms#clockoff",
        SECONDS,
    )
    late = "rate(dmpool_event_loop_lag_seconds_bucket{@}[$__rate_interval])"
    lag = f"histogram_quantile(0.99, sum by (le, instance) ({late}))"
    return [
        rows(
            who,
            Ask(
                "dmpool_build_info{@} * on (instance) group_left () (time() - process_start_time_seconds{@})"
            ),
            columns={
                "instance": "Process",
                "role": "Role",
                "version": "Version",
                "Value": "Running for",
            },
            looks_of={
                "Running for": (DynamicConfigValue("unit", "dtdurations"), DynamicConfigValue("decimals", 0))
            },
            width=6,
            sort_by="Process",
        ),
        curves(loop, Ask(lag, "{{instance}}"), width=6, steps=((None, "green"), (0.25, "red"))),
        curves(
            processor,
            Ask('rate(process_cpu_seconds_total{@,job="dmpool"}[$__rate_interval])', "{{instance}}"),
            width=6,
            decimals=1,
        ),
        curves(memory, Ask('process_resident_memory_bytes{@,job="dmpool"}', "{{instance}}"), width=6),
        curves(
            files,
            Ask('process_open_fds{@,job="dmpool"} / process_max_fds{@,job="dmpool"}', "{{instance}}"),
            width=6,
            top=1,
            steps=((None, "green"), (0.8, "red")),
        ),
        curves(
            disk,
            Ask(
                "max by (instance) (dmpool_disk_free_bytes{@}) / max by (instance) "
                "(dmpool_disk_size_bytes{@})",
                "{{instance}}",
            ),
            width=6,
            top=1,
        ),
        curves(
            tasks,
            Ask("sum by (task) (increase(dmpool_task_restarts_total{@}[1h]))", "{{task}}"),
            Ask("sum by (instance) (1 - dmpool_task_up{@})", "{{instance}}: do not run"),
            width=6,
            decimals=0,
        ),
        curves(
            clock,
            Ask("dmpool_clock_offset_seconds{@}", "{{instance}}, {{against}}"),
            width=6,
            bottom=None,
        ),
    ]
