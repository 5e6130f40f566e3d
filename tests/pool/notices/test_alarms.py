"""Alertmanager's webhook as notices: known by labels and beginning, cut, and plain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.notices.alarms import ALERTS_LIMIT, AlarmError, alarms
from pool.notices.words import subject_of, text_of
from register.miner import LANGUAGES

NOW = 1_795_503_600_000_000


def alert(**more: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "NoJob", "severity": "critical", "instance": "kz1:9090"},
        "annotations": {
            "summary": "No job for 60 s",
            "description": "Miners work on an old block.\nLook at the node.",
            "runbook_url": "http://127.0.0.1:8080/operate/alarms#nojob",
        },
        "startsAt": "2026-11-24T06:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "0123456789abcdef",
        **more,
    }


def request(*alerts: dict[str, Any], version: str = "4") -> bytes:
    """As Alertmanager 0.27 sends it."""
    return json.dumps(
        {
            "receiver": "dmpool",
            "status": "firing",
            "alerts": alerts,
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "version": version,
            "groupKey": "{}:{}",
            "truncatedAlerts": 0,
        }
    ).encode()


def test_an_alarm_says_what_it_is_and_where_to_read_on() -> None:
    (draft,) = alarms(request(alert()), NOW)
    assert (draft.kind, draft.event, draft.severity) == ("alarm", "alarm_firing", "critical")
    assert draft.at_us == NOW - 60_000_000 + 123_457
    assert subject_of(draft.event, draft.data) == "NoJob: No job for 60 s"
    assert text_of(draft.event, draft.data).splitlines() == [
        "Miners work on an old block. Look at the node.",
        "instance=kz1:9090",
        "http://127.0.0.1:8080/operate/alarms#nojob",
    ]


def test_repeats_have_the_same_key_and_an_end_another() -> None:
    over = alert(status="resolved", endsAt="2026-11-24T07:00:00Z")
    again = alert(annotations={"summary": "No job for 600 s"}, startsAt="2026-11-24T11:59:00.123456789+05:00")
    elsewhere = alert(labels={**alert()["labels"], "instance": "kz2:9090"})
    later = alert(startsAt="2026-11-24T07:30:00Z")
    keys = [one.key for one in alarms(request(alert(), again, over, elsewhere, later), NOW)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    ended = alarms(request(over), NOW)[0]
    assert ended.at_us == NOW
    assert ended.severity == "critical", "whoever heard of it hears of its end"
    assert subject_of(ended.event, ended.data, "ru") == "Прошло: NoJob: No job for 60 s"


@pytest.mark.parametrize(
    ("label", "severity"), [("warning", "warning"), ("INFO", "info"), ("page", "warning"), (None, "warning")]
)
def test_a_severity_that_we_do_not_know_is_a_warning(label: str | None, severity: str) -> None:
    labels = {"alertname": "A", **({} if label is None else {"severity": label})}
    assert alarms(request(alert(labels=labels)), NOW)[0].severity == severity


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        request(alert(), version="3"),
        request(alert(startsAt="yesterday")),
        request(alert(status="?")),
        request(alert(labels={"a": 1})),
        b'{"version":"4","alerts":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_such_request_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(AlarmError, match="not a request of Alertmanager's webhook, version 4"):
        alarms(body, NOW)


def test_a_flood_is_told_in_part_and_counted() -> None:
    many = [alert(labels={"alertname": "DiskFills", "instance": f"kz{n}"}) for n in range(ALERTS_LIMIT + 7)]
    drafts = alarms(request(*many).replace(b'"truncatedAlerts": 0', b'"truncatedAlerts": 5'), NOW)
    assert len(drafts) == ALERTS_LIMIT + 1
    assert subject_of(drafts[-1].event, drafts[-1].data) == "More alarms like DiskFills: 12"
    again = [alarms(request(*many), NOW + minutes * 60_000_000)[-1].key for minutes in (1, 59, 61)]
    assert again[0] == drafts[-1].key != again[2], "once an hour"


def test_only_a_critical_alarm_that_goes_on_is_told_again_and_once_an_hour() -> None:
    hour = 3_600_000_000
    plain = alert(labels={"alertname": "NoJob", "severity": "warning"})
    told = [alarms(request(alert()), NOW + after) for after in (0, hour // 2, hour, hour * 3 // 2, 2 * hour)]
    assert [one.event for (one,) in told] == ["alarm_firing"] * 2 + ["alarm_goes_on"] * 3
    assert len({one.key for (one,) in told}) == 3
    assert subject_of(told[2][0].event, told[2][0].data) == "Still: NoJob: No job for 60 s"
    assert text_of(told[4][0].event, told[4][0].data).startswith("Hours so far: 2.\n")
    assert alarms(request(plain), NOW)[0].key == alarms(request(plain), NOW + 9 * hour)[0].key
    over = alert(status="resolved")
    assert alarms(request(over), NOW)[0].key == alarms(request(over), NOW + 9 * hour)[0].key


@given(
    st.dictionaries(st.text(), st.text()),
    st.dictionaries(st.sampled_from(["summary", "description", "runbook_url"]), st.text()),
    st.sampled_from(["firing", "resolved"]),
)
def test_whatever_a_stranger_writes_stays_short_plain_and_in_its_line(
    labels: dict[str, str], annotations: dict[str, str], status: str
) -> None:
    body = request(alert(labels=labels, annotations=annotations, status=status))
    try:
        (draft,) = alarms(body, NOW)
    except AlarmError:  # a lone surrogate is no JSON text
        return
    for language in LANGUAGES:
        subject, text = (words(draft.event, draft.data, language) for words in (subject_of, text_of))
        assert subject.isprintable()
        assert all(line.isprintable() for line in text.splitlines())
        assert len(text.encode()) <= 8192
    assert len(draft.key) <= 100
