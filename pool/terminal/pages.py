"""The pages of `dmpool top`, as lines of text: the same on a screen, without colour, and for a script. Pure.

A line says in words what its colour says. All fit 80 columns; what was told of nothing is a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import Final, Literal, NamedTuple

from pool.terminal.history import History
from pool.terminal.reading import Reading, Told
from pool.terminal.samples import Samples
from pool.terminal.verdicts import Verdict, verdicts
from pool.terminal.words import NONE, count, cut, duration, hashrate, milliseconds, part, whole

Tone = Literal["plain", "head", "good", "info", "warning", "critical"]
Page = Literal["overview", "wrong", "gateways", "nodes", "blocks"]
STATES: Final = ("found", "submitted", "confirmed", "mature", "orphaned")
_TOP_WRONG: Final = 3
_TOP_BLOCKS: Final = 4
_TOP_UNSEEN: Final = 3


class Line(NamedTuple):
    """One line, and what it is."""

    text: str
    tone: Tone = "plain"


class View(NamedTuple):
    """What a page is made from."""

    look: Reading
    history: History
    width: int = 80

    @property
    def told(self) -> list[tuple[Told, Samples]]:
        """The targets that answered."""
        return [(told, told.samples) for told in self.look.targets if told.samples is not None]

    def total(self, name: str, **labels: str) -> float | None:
        """Over all targets; None when none tells it."""
        values = [value for _, one in self.told if (value := one.sum(name, **labels)) is not None]
        return sum(values) if values else None

    def worst(self, name: str) -> float | None:
        """The greatest of all targets."""
        return max((value for _, one in self.told if (value := one.max(name)) is not None), default=None)

    def rates(self, counter: Callable[[Samples], float | None]) -> tuple[float | None, float]:
        """All targets' rates together, a second; over how many seconds at most."""
        found = [rate for told, _ in self.told if (rate := self.history.rate(told, counter)) is not None]
        if not found:
            return None, 0
        return sum(one.per_second for one in found), max(one.seconds for one in found)

    def wrong(self) -> list[Verdict]:
        """What is wrong, the worst first."""
        return verdicts(self.look, self.history.rejected)


def page(name: Page, view: View) -> list[Line]:
    """The lines of a page, cut to the width."""
    lines = [line for make in _PAGES[name] for line in make(view)]
    return [Line(cut(line.text, view.width), line.tone) for line in lines]


# What all is about


def _summary(view: View) -> Iterator[Line]:
    work, seconds = view.rates(lambda one: one.sum("dmpool_work_hashes_total"))
    shares, _ = view.rates(lambda one: one.sum("dmpool_shares_total"))
    if work is None:
        yield Line("HASHRATE  - no gateway answered")
        return
    rejected = [value for told, _ in view.told if (value := view.history.rejected(told)) is not None]
    yield Line(
        f"HASHRATE  {hashrate(work)} over {duration(seconds)}, "
        f"{NONE if shares is None else f'{shares * 60:.1f}'} shares a minute, "
        f"rejected {part(max(rejected, default=None))}"
    )


def _wrong_in_short(view: View) -> Iterator[Line]:
    found = view.wrong()
    if not found:
        yield Line("OK        nothing is wrong, as far as can be seen from here", "good")
    for one in found[:_TOP_WRONG]:
        yield Line(f"{one.level.upper():<9} {one.where}  {one.alarm}".rstrip(), one.level)
        yield Line(f"          {one.what}", one.level)
        yield Line(f"          do: {one.do}")
    if len(found) > _TOP_WRONG:
        yield Line(f"          and {len(found) - _TOP_WRONG} more: key w", found[_TOP_WRONG].level)


def _wrong_in_full(view: View) -> Iterator[Line]:
    yield Line("WHAT IS WRONG, AND WHAT TO DO", "head")
    found = view.wrong()
    if not found:
        yield Line("nothing, as far as can be seen from here", "good")
    for one in found:
        yield Line(f"{one.level.upper()}  {one.where}  {one.alarm}", one.level)
        for text in (one.what, f"do: {one.do}"):
            yield from (Line(f"    {piece}") for piece in wrap(text, max(view.width - 4, 20)))
        if one.alarm:
            yield Line(f"    more: docs/operate/alarms.md#{one.alarm.lower()}", "info")
    yield from _unseen(view, limit=None)


def _unseen(view: View, limit: int | None = _TOP_UNSEEN) -> Iterator[Line]:
    for one in view.look.unseen[:limit]:
        yield Line(f"NOT SEEN  {one}", "info")


# Processes and gateways


def _processes(view: View) -> Iterator[Line]:
    columns = f"{'CONNS':>7} {'JOB':>6} {'AGE':>6} {'SPOOL':>6} {'AGE':>6}"
    yield Line(f"{'PROCESS':<18} {'ROLES':<18} {'READY':<5} {columns}", "head")
    for told in view.look.targets:
        yield _process(told)


def _process(told: Told) -> Line:
    one = told.samples
    if one is None:
        return Line(f"{cut(str(told.target), 18):<18} {told.trouble}", "critical")
    roles = " ".join(sorted(has["role"] for has, _ in one.of("dmpool_build_info") if "role" in has))
    ready = NONE if told.ready is None else "yes" if told.ready.ready else "NO"
    text = (
        f"{cut(str(told.target), 18):<18} {cut(roles, 18):<18} {ready:<5} "
        f"{whole(one.sum('dmpool_stratum_connections')):>7} {whole(one.max('dmpool_job_height')):>6} "
        f"{duration(one.max('dmpool_job_age_seconds')):>6} {whole(one.sum('dmpool_spool_depth')):>6} "
        f"{duration(one.max('dmpool_spool_oldest_seconds')):>6}"
    )
    return Line(text, "critical" if ready == "NO" else "plain")


def _sessions(view: View) -> Iterator[Line]:
    yield Line(
        f"SESSIONS  {count(view.total('dmpool_stratum_connections'))} open, "
        f"{count(view.total('dmpool_stratum_authorised'))} authorised, "
        f"{count(view.total('dmpool_stratum_waiting'))} waiting, "
        f"{count(view.total('dmpool_stratum_parked'))} parked, "
        f"{count(view.total('dmpool_stratum_bans'))} banned"
    )
    if view.look.front is not None and view.look.front.draining:
        yield Line("          DRAINING: miners are sent to another gateway", "warning")
    classes = _together(view, "dmpool_stratum_devices", "device_class")
    if any(classes.values()):
        yield Line(f"          {_counted(classes)}")


def _spool(view: View) -> Iterator[Line]:
    commits = [view.history.mean(told, "dmpool_spool_commit_seconds") for told, _ in view.told]
    answers = [view.history.mean(told, "dmpool_share_answer_seconds") for told, _ in view.told]
    failing = view.worst("dmpool_spool_failing")
    yield Line(
        f"SPOOL     {count(view.total('dmpool_spool_depth'))} shares wait, oldest "
        f"{duration(view.worst('dmpool_spool_oldest_seconds'))}; "
        f"commit {milliseconds(_most(commits))}, answer {milliseconds(_most(answers))}"
        f"{'; WRITING FAILS' if failing else ''}",
        "critical" if failing else "plain",
    )


def _ledger(view: View) -> Iterator[Line]:
    active, balanced = view.worst("dmpool_ledger_active"), view.worst("dmpool_journal_balanced")
    up = [value for _, one in view.told if (value := one.min("dmpool_database_up")) is not None]
    if active is None and not up:
        yield Line("LEDGER    - no ledger was asked")
        return
    yield Line(
        f"LEDGER    {_either(active, 'active', 'NOT ACTIVE')}, "
        f"lag {duration(view.worst('dmpool_ledger_lag_seconds'))}, "
        f"{count(view.worst('dmpool_ledger_batches_waiting'))} batches wait; "
        f"journal {_either(balanced, 'balances', 'DOES NOT BALANCE')}; "
        f"PostgreSQL {_either(min(up, default=None), 'up', 'DOWN')}"
    )


def _detail(view: View) -> Iterator[Line]:
    for told, one in view.told:
        if one.sum("dmpool_stratum_connections") is None:
            continue
        rejects = {key: n for key, n in one.by("dmpool_shares_total", "verdict").items() if key != "accepted"}
        yield Line("")
        yield Line(f"{told.target}", "head")
        work = view.history.rate(told, lambda samples: samples.sum("dmpool_work_hashes_total"))
        yield Line(
            f"  hashrate {hashrate(None if work is None else work.per_second)}, accepted "
            f"{count(one.sum('dmpool_shares_total', verdict='accepted'))}, rejected "
            f"{part(view.history.rejected(told))} of late"
        )
        for what, numbers in (
            ("rejected", rejects),
            ("accepted by class", one.by("dmpool_shares_total", "device_class", verdict="accepted")),
            ("sessions", one.by("dmpool_stratum_devices", "device_class")),
            ("ended by the pool", one.by("dmpool_stratum_closed_total", "reason")),
            ("not let in", one.by("dmpool_stratum_refused_total", "reason")),
            ("not authorised", one.by("dmpool_authorisations_refused_total", "reason")),
        ):
            if any(numbers.values()):
                yield Line(f"  {what}: {_counted(numbers)}")
    yield from _bans(view)
    if view.look.books is not None:
        yield Line("")
        yield Line("GATEWAYS AS POSTGRESQL KNOWS THEM", "head")
        for gateway in view.look.books.gateways:
            age = None if gateway.seen_us is None else view.look.at - gateway.seen_us / 1e6
            yield Line(
                f"  {gateway.name}: seen {duration(age)} ago, {count(gateway.connections)} connections, "
                f"job {count(gateway.job_height)}",
                "warning" if age is None or age > 30 else "plain",
            )


def _bans(view: View) -> Iterator[Line]:
    front = view.look.front
    if front is None or not front.bans:
        return
    yield Line("")
    yield Line("BANNED (dmpool front unban ADDRESS)", "head")
    for ban in front.bans:
        yield Line(f"  {ban.address}: {ban.reason}, for {duration(ban.until - view.look.at)} more", "warning")


# Nodes and blocks


def _nodes(view: View) -> Iterator[Line]:
    for told, one in view.told:
        used = one.by("dmpool_node_in_use", "node")
        for node, up in sorted(one.by("dmpool_node_up", "node").items()):
            words = [
                "up" if up else "DOWN",
                *(["in use"] if used.get(node) else []),
                f"height {count(one.max('dmpool_node_height', node=node))}",
                f"template {duration(one.max('dmpool_node_template_age_seconds', node=node))}",
            ]
            where = "" if len(view.told) == 1 else f"{told.target} "
            yield Line(f"NODE      {where}{cut(node, 26)}: {', '.join(words)}", "plain" if up else "critical")


def _nodes_in_full(view: View) -> Iterator[Line]:
    yield Line(
        f"{'NODE':<32} {'UP':<4} {'USED':<4} {'HEIGHT':>8} {'TEMPLATE':>8} {'PUSH':>6} {'ERRORS':>7}", "head"
    )
    for told, one in view.told:
        errors, push = one.by("dmpool_node_rpc_errors_total", "node"), "dmpool_node_push_age_seconds"
        used = one.by("dmpool_node_in_use", "node")
        for node, up in sorted(one.by("dmpool_node_up", "node").items()):
            yield Line(
                f"{cut(node, 32):<32} {'yes' if up else 'NO':<4} {'yes' if used.get(node) else '':<4} "
                f"{count(one.max('dmpool_node_height', node=node)):>8} "
                f"{duration(one.max('dmpool_node_template_age_seconds', node=node)):>8} "
                f"{duration(one.max(push, node=node)):>6} {count(errors.get(node)):>7}",
                "plain" if up else "critical",
            )
            calls = {
                method: mean
                for method in sorted(one.by("dmpool_node_rpc_seconds_count", "method", node=node))
                if (mean := _mean(one, node, method)) is not None
            }
            for method, mean in calls.items():
                yield Line(f"    {method}: {milliseconds(mean)} since the start, from {told.target}")


def _mean(one: Samples, node: str, method: str) -> float | None:
    total = one.sum("dmpool_node_rpc_seconds_sum", node=node, method=method)
    calls = one.sum("dmpool_node_rpc_seconds_count", node=node, method=method)
    return None if total is None or not calls else total / calls


def _blocks(view: View) -> Iterator[Line]:
    states = {
        state: max((one.by("dmpool_blocks", "state").get(state, 0) for _, one in view.told), default=0)
        for state in STATES
    }
    known = view.total("dmpool_blocks") is not None
    yield Line(
        f"BLOCKS    {', '.join(f'{state} {states[state]:.0f}' for state in STATES) if known else NONE}"
    )
    found, expected = view.total("dmpool_blocks_found_total"), view.total("dmpool_blocks_expected_total")
    if found is not None and expected:
        yield Line(
            f"LUCK      {count(found)} found, {expected:.1f} expected since the start: {found / expected:.0%}"
        )


def _newest(limit: int | None) -> Callable[[View], Iterator[Line]]:
    def lines(view: View) -> Iterator[Line]:
        if view.look.books is None:
            return
        for one in view.look.books.blocks[:limit]:
            age = duration(view.look.at - one.found_us / 1e6)
            tone: Tone = "warning" if one.state == "orphaned" else "plain"
            yield Line(
                f"{one.height:>9} {one.state:<9} {age:>7} ago  {cut(one.finder, 24):<24} ..{one.hash[-16:]}",
                tone,
            )

    return lines


# Words


def _together(view: View, name: str, label: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for _, one in view.told:
        for key, value in one.by(name, label).items():
            sums[key] = sums.get(key, 0) + value
    return sums


def _counted(numbers: dict[str, float]) -> str:
    ordered = sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{key} {count(value)}" for key, value in ordered if value)


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _either(value: float | None, yes: str, no: str) -> str:
    return NONE if value is None else yes if value else no


_PAGES: Final[dict[Page, tuple[Callable[[View], Iterator[Line]], ...]]] = {
    "overview": (
        *(_summary, _wrong_in_short, _processes, _sessions, _spool, _ledger, _nodes, _blocks),
        *(_newest(_TOP_BLOCKS), _unseen),
    ),
    "wrong": (_wrong_in_full,),
    "gateways": (_processes, _sessions, _detail),
    "nodes": (_nodes_in_full,),
    "blocks": (_blocks, _newest(None), _unseen),
}
