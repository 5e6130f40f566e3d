"""Node and jobs: whether miners work on the right thing, and how soon after the network.

What costs most when it goes wrong unseen: stale work, a node on a fork, a block that no node takes.
"""

from __future__ import annotations

from configs.grafana.board import Board
from configs.grafana.gateways import quantiles
from configs.grafana.panels import (
    BITCOIN,
    COUNT,
    PER_MINUTE,
    PER_SECOND,
    SECONDS,
    UP_DOWN,
    About,
    Ask,
    Panel,
    Words,
    curves,
    number,
    states,
)

YES_NO: Words = {"1": ("yes", "green"), "0": ("no", "red")}
IN_USE: Words = {"1": ("gives the work", "blue"), "0": ("stands by", "text")}


def node() -> Board:
    """The page."""
    board = Board(
        "dmpool-node",
        "dmpool: node and jobs",
        "Whether miners work on the right thing, and how soon after the network.",
        role="gateway",
    )
    board.row("The job", *_job())
    board.row("From the network to the miners", *_speed())
    board.row("The nodes", *_nodes())
    board.row("What the nodes answer", *_answers())
    board.row("Blocks", *_blocks())
    return board


def _job() -> list[Panel]:
    age = About(
        "Age of the newest job",
        "Seconds since a gateway last sent work, at the worst.",
        "Below 30 s.",
        "Above 60 s: the node gives no template. Follow the runbook at once.",
        "alarms#nojob",
        SECONDS,
    )
    height = About(
        "Height",
        "Block that miners work on.",
        "One above the network's tip, the same at every gateway.",
        "When it falls: a reorganisation; see the tips of the nodes.",
        "metrics#dmpool_job_height",
        COUNT,
    )
    difficulty = About(
        "Network difficulty",
        "Of the newest job.",
        "Changes every 2016 blocks.",
        "Nothing; a jump at another moment: the node is on another chain.",
        "metrics#dmpool_network_difficulty",
        "sishort",
    )
    reward = About(
        "Reward of the block",
        "What the newest job's coinbase pays: subsidy and fees.",
        "The subsidy and a little more.",
        "The bare subsidy for long: the node has no transactions; is its mempool there?",
        "metrics#dmpool_job_reward_satoshis",
        BITCOIN,
    )
    transactions = About(
        "Transactions in the job",
        "Of the newest job, without the coinbase.",
        "Thousands on main.",
        "None for minutes: the node's mempool is empty, or the job ahead was never followed by a full one.",
        "metrics#dmpool_job_transactions",
        COUNT,
    )
    old = About(
        "Age of the template",
        "Seconds since the node in use last gave a template.",
        "Below 30 s.",
        "Above 60 s: the node is busy or away; another node takes over when one is configured.",
        "metrics#dmpool_node_template_age_seconds",
        SECONDS,
    )
    late = ((None, "green"), (30, "orange"), (60, "red"))
    return [
        number(age, Ask("max(dmpool_job_age_seconds{@})"), steps=late, decimals=0),
        number(
            old,
            Ask("max(dmpool_node_template_age_seconds{@} and dmpool_node_in_use{@} == 1)"),
            steps=late,
            decimals=0,
        ),
        number(height, Ask("max(dmpool_job_height{@})"), decimals=0),
        number(difficulty, Ask("max(dmpool_network_difficulty{@})"), decimals=2),
        number(reward, Ask("max(dmpool_job_reward_satoshis{@}) / 1e8"), decimals=8),
        number(transactions, Ask("max(dmpool_job_transactions{@})"), decimals=0),
    ]


def _speed() -> list[Panel]:
    broadcast = About(
        "New block to the last miner",
        "From the first signal of a new block to the last socket written.",
        "Half below 100 ms, 99 % below 1 s.",
        "Above a second: machines work on the old block meanwhile. See templates and the event loop.",
        "metrics#dmpool_job_broadcast_seconds",
        SECONDS,
    )
    full = About(
        "New block to the first full job",
        "The same to the first job with transactions; the one without goes ahead.",
        "Below 2 s.",
        "When it grows, fees are lost: the node is slow with templates.",
        "metrics#dmpool_full_job_broadcast_seconds",
        SECONDS,
    )
    jobs = About(
        "Jobs",
        "Jobs in a minute: clean (the old work is void), not clean, sent ahead without transactions, "
        "repeated.",
        "About two a minute, clean ones six an hour on main.",
        "None: no job. Many repeated: the template does not change; is the mempool alive?",
        "metrics#dmpool_jobs_total",
        PER_MINUTE,
    )
    per = "60 * sum%s (rate(%s{@}[5m]))"
    return [
        curves(
            broadcast,
            *quantiles("dmpool_job_broadcast_seconds", span="1h"),
            width=8,
            steps=((None, "green"), (1, "red")),
        ),
        curves(full, *quantiles("dmpool_full_job_broadcast_seconds", span="1h"), width=8),
        curves(
            jobs,
            Ask(per % (" by (clean)", "dmpool_jobs_total"), "clean {{clean}}"),
            Ask(per % ("", "dmpool_empty_jobs_total"), "ahead, empty"),
            Ask(per % ("", "dmpool_jobs_repeated_total"), "repeated"),
            width=8,
            decimals=2,
        ),
    ]


def _nodes() -> list[Panel]:
    up = About(
        "Nodes that answer",
        "Whether each node last answered the gateway that asks it.",
        "Up.",
        "One down of several: mend it in peace. The only one: no job soon.",
        "alarms#nodedown",
        COUNT,
    )
    use = About(
        "Node that gives the work",
        "Which of the nodes a gateway takes its templates from.",
        "The first of the configuration.",
        "Another one for long: why did the first fall out?",
        "metrics#dmpool_node_in_use",
        COUNT,
    )
    takes = About(
        "Would the node take our block?",
        "Each node is asked to check a block of the pool's jobs (BIP23).",
        "Yes.",
        "No: what is mined now is lost. Act at once.",
        "alarms#nodewouldrefuseblocks",
        COUNT,
    )
    tips = About(
        "Tips apart",
        "How long the nodes' best blocks have not been the same.",
        "0; seconds after a block.",
        "Above two minutes: one is behind or on a fork. Compare their heights beside it.",
        "alarms#tipsdiverge",
        SECONDS,
    )
    height = About(
        "Height of each node",
        "As each node tells it.",
        "The same everywhere.",
        "One that lags: look at its peers and its disk.",
        "metrics#dmpool_node_height",
        COUNT,
    )
    push = About(
        "Pushes of new blocks (ZMQ)",
        "Seconds since the node last pushed something.",
        "Below some minutes on main.",
        "It grows while blocks come: the push is dead, and new blocks are learnt by asking. See reconnects.",
        "metrics#dmpool_node_push_age_seconds",
        SECONDS,
    )
    live = About(
        "Push connected",
        "Whether the node's push channel is connected.",
        "Connected.",
        "Down: is zmqpubhashblock configured in the node, and the port open?",
        "metrics#dmpool_node_push_connected",
        COUNT,
    )
    flow = About(
        "Pushes and reconnects",
        "Pushes in a minute, and how often the channel was connected anew in an hour.",
        "No reconnects.",
        "Reconnects: the network between gateway and node, or a node that restarts.",
        "metrics#dmpool_node_push_reconnects_total",
        COUNT,
    )
    name = "{{node}} at {{instance}}"
    return [
        states(up, Ask("dmpool_node_up{@}", name), words=UP_DOWN, width=6, height=6),
        states(use, Ask("dmpool_node_in_use{@}", name), words=IN_USE, width=6, height=6),
        states(takes, Ask("dmpool_job_proposal_ok{@}", name), words=YES_NO, width=6, height=6),
        states(live, Ask("dmpool_node_push_connected{@}", name), words=UP_DOWN, width=6, height=6),
        curves(
            tips,
            Ask("dmpool_node_tips_diverged_seconds{@}", "{{instance}}"),
            width=6,
            steps=((None, "green"), (120, "red")),
        ),
        curves(height, Ask("dmpool_node_height{@}", name), width=6, bottom=None, decimals=0),
        curves(push, Ask("dmpool_node_push_age_seconds{@}", name), width=6),
        curves(
            flow,
            Ask("60 * sum by (node) (rate(dmpool_node_pushes_total{@}[5m]))", "{{node}}: pushes a minute"),
            Ask(
                "sum by (node) (increase(dmpool_node_push_reconnects_total{@}[1h]))",
                "{{node}}: reconnects an hour",
            ),
            width=6,
        ),
    ]


def _answers() -> list[Panel]:
    template = About(
        "Time of a template",
        "How long a node takes to give a block template.",
        "Below 200 ms.",
        "Above 1 s: the node is slow: memory, disk, or a huge mempool.",
        "metrics#dmpool_template_seconds",
        SECONDS,
    )
    calls = About(
        "Time of a node's answer, by method",
        "99 % of the answers of a method are faster.",
        "Below 200 ms.",
        "One method slow: see the node's log. All slow: its machine.",
        "metrics#dmpool_node_rpc_seconds",
        SECONDS,
    )
    rate = About(
        "Questions to the nodes",
        "Calls in a second by method.",
        "Even.",
        "Nothing by itself; a jump tells of retries.",
        "metrics#dmpool_node_rpc_seconds",
        PER_SECOND,
    )
    errors = About(
        "Errors of the nodes",
        "Answers with an error, and calls without an answer, in a minute.",
        "None.",
        "The gateway's log has each error's words.",
        "metrics#dmpool_node_rpc_errors_total",
        PER_MINUTE,
    )
    slow = "histogram_quantile(0.99, sum by (le, node, method) (rate(dmpool_node_rpc_seconds_bucket{@}[5m])))"
    return [
        curves(
            template,
            *quantiles("dmpool_template_seconds", "node", "5m"),
            width=6,
            steps=((None, "green"), (1, "red")),
        ),
        curves(calls, Ask(slow, "{{method}}, {{node}}"), width=6),
        curves(
            rate,
            Ask("sum by (method) (rate(dmpool_node_rpc_seconds_count{@}[$__rate_interval]))", "{{method}}"),
            width=6,
        ),
        curves(
            errors,
            Ask(
                "60 * sum by (node, method) (rate(dmpool_node_rpc_errors_total{@}[5m]))",
                "{{method}}, {{node}}",
            ),
            width=6,
        ),
    ]


def _blocks() -> list[Panel]:
    luck = About(
        "Blocks found and expected",
        "Since the processes started: blocks found, and blocks that the accepted work was worth.",
        "They part by about the root of the expected number.",
        "Far apart over hundreds of blocks: look at the answers beside it.",
        "metrics#dmpool_blocks_expected_total",
        COUNT,
    )
    submit = About(
        "Time to submit a block",
        "From a found block to a node's answer.",
        "Below 1 s.",
        "Seconds here are races lost: look at the node's CPU and disk.",
        "metrics#dmpool_block_submit_seconds",
        SECONDS,
    )
    verdicts = About(
        "Answers to submitted blocks",
        "Over the whole range, by node and verdict.",
        "`accepted`; `duplicate` where two gateways share a node.",
        "Any other: the gateway's log says what the node objects to; the block may be lost.",
        "metrics#dmpool_block_submissions_total",
        COUNT,
    )
    checks = About(
        "Where our blocks are",
        "Own blocks looked up after they were sent, over the whole range, by where they were.",
        "`in_chain`.",
        "Any other: a block of ours is in no best chain; see the runbook.",
        "alarms#blocknotinchain",
        COUNT,
    )
    total = "sum by (%s) (increase(%s{@}[$__range]))"
    return [
        curves(
            luck,
            Ask("sum(dmpool_blocks_found_total{@})", "found"),
            Ask("sum(dmpool_blocks_expected_total{@})", "expected"),
            width=8,
            decimals=1,
        ),
        curves(submit, *quantiles("dmpool_block_submit_seconds", "node", "1h"), width=8),
        number(
            verdicts,
            Ask(total % ("node, verdict", "dmpool_block_submissions_total"), "{{node}}: {{verdict}}"),
            width=4,
            height=8,
            decimals=0,
        ),
        number(
            checks,
            Ask(total % ("place", "dmpool_block_checks_total"), "{{place}}"),
            width=4,
            height=8,
            decimals=0,
        ),
    ]
