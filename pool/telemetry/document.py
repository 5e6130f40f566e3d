"""docs/metrics.md from the catalogue: `python -m pool.telemetry.document > docs/metrics.md`.

A test compares the page with what this writes, so that it never says of a series what the code does not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from pool.telemetry.catalogue import SUBJECTS
from pool.telemetry.series import EVERY, Series, Subject

_HEAD: Final = """\
# Metrics

Every process tells its metrics at `/metrics` of `metrics.listen` (by default <http://127.0.0.1:9090/metrics>),
and [configs/prometheus.yml](../configs/prometheus.yml) scrapes it. This page is written from the program
(`python -m pool.telemetry.document`): what is not described here is not told.

Each series has a meaning, what is normal, and what to do when it is not. The alarms that watch it are linked.
A process tells the series of its roles alone. What is read from PostgreSQL keeps its last value while
PostgreSQL is away, and `dmpool_database_up` says so; what is in the same database is told alike by every
ledger process, so take the maximum over processes. Metrics are for watching: money is counted in the
journal, in integers.
"""


def document(subjects: Iterable[Subject] = SUBJECTS) -> str:
    """The whole page."""
    subjects = tuple(subjects)
    contents = "\n".join(
        f"- [{subject.title}](#{_anchor(subject.title)}): "
        + ", ".join(f"[`{one.name.removeprefix('dmpool_')}`](#{one.name})" for one in subject.series)
        for subject in subjects
    )
    return "\n".join((_HEAD, contents, *(part for subject in subjects for part in _subject(subject)))) + "\n"


def _subject(subject: Subject) -> Iterator[str]:
    yield f"\n## {subject.title}\n\n{subject.text}"
    for one in subject.series:
        yield f"\n### {one.name}\n\n" + "\n".join(_lines(one))


def _lines(one: Series) -> Iterator[str]:
    yield f"{one.meaning}\n"
    yield f"- Normal: {_sentence(one.normal)}"
    if one.action:
        yield f"- What to do: {one.action}"
    if one.alarms:
        yield f"- Alarm: {', '.join(_alarm(name) for name in one.alarms)}."
    yield f"- Told as: {_told_as(one)}."
    if one.absent:
        yield f"- Absent when: {_sentence(one.absent)}"


def _told_as(one: Series) -> str:
    labels = f" by {', '.join(f'`{label}`' for label in one.labels)}" if one.labels else ""
    roles = "every role" if one.roles == EVERY else f"the {' and the '.join(one.roles)}"
    return f"a {one.kind}{labels}, of {roles}"


def _alarm(name: str) -> str:
    return f"[{name}](operate/alarms.md#{name.lower()})"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _anchor(title: str) -> str:
    """As Markdown viewers make it."""
    return "".join(one for one in title.lower().replace(" ", "-") if one.isalnum() or one in "-_")


if __name__ == "__main__":
    sys.stdout.write(document())
