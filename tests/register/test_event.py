"""The event chain: whatever is changed, left out, doubled or put elsewhere is found at the first event."""

import hashlib
import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from register.event import FIRST, ChainError, Event, canonical, hash_of, sealed, verify
from register.miner import Contact, Miner
from tests.register_world import register_of

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=40)


def chain(length: int = 5) -> list[Event]:
    events: list[Event] = []
    for seq in range(1, length + 1):
        miner = Miner(seq, f"m{seq}", f"ЖШС «Алатау {seq}»", "940140000385")
        previous = events[-1].sha256 if events else FIRST
        body = canonical(miner)
        event = Event(
            seq, 1000 + seq, "anna", "compliance", "why", "miner", str(seq), "entered", body, previous, ""
        )
        events.append(sealed(event))
    return events


CHAIN = chain()


def test_a_whole_chain_verifies_at_once_and_in_parts() -> None:
    last = verify(CHAIN)
    assert last == (5, CHAIN[-1].sha256, CHAIN[-1].at_us)
    assert verify(CHAIN[3:], verify(CHAIN[:3])) == last
    assert verify([]) == (0, FIRST, 0)


@pytest.mark.parametrize("resealed", [False, True], ids=["as-is", "resealed"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", 33),
        ("at_us", 10_000),
        ("actor", "mallory"),
        ("role", "operator"),
        ("reason", "another"),
        ("kind", "centre"),
        ("key", "7"),
        ("action", "changed"),
        ("body", CHAIN[0].body),
        ("previous", "1" * 64),
        ("sha256", "2" * 64),
    ],
)
def test_every_field_of_an_event_is_held_by_the_chain(field: str, value: Any, resealed: bool) -> None:
    """2.3: even who seals the changed event anew is found, at it or at the one after."""
    assert set(Event.__struct_fields__) >= {field}
    changed = msgspec.structs.replace(CHAIN[2], **{field: value})
    if resealed and field != "sha256":
        changed = sealed(changed)
    with pytest.raises(ChainError, match=r"register event (3|4|33):"):
        verify([*CHAIN[:2], changed, *CHAIN[3:]])


@pytest.mark.parametrize(
    ("order", "found"),
    [([0, 1, 3, 4], 4), ([1, 2], 2), ([0, 2, 1, 3], 3), ([0, 0], 1), ([0, 1, 2, 2, 3], 3)],
    ids=["gap", "head cut", "swapped", "doubled", "doubled later"],
)
def test_gaps_and_other_orders_are_found(order: list[int], found: int) -> None:
    with pytest.raises(ChainError, match=f"register event {found}: stands where"):
        verify([CHAIN[index] for index in order])


def test_a_chain_that_goes_back_in_time_is_found() -> None:
    events = chain(2)
    late = sealed(msgspec.structs.replace(events[1], at_us=events[0].at_us))
    with pytest.raises(ChainError, match="register event 2: is not later"):
        verify([events[0], late])


def second_way(event: Event) -> str:
    """RFC 8785 by another implementation, from the parsed body."""
    content = msgspec.to_builtins(event)
    del content["sha256"]
    content["body"] = json.loads(event.body)
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def test_the_hash_is_that_of_rfc_8785() -> None:
    assert [event.sha256 for event in CHAIN] == [second_way(event) for event in CHAIN]


@given(PRINTABLE, PRINTABLE, st.lists(st.tuples(PRINTABLE, PRINTABLE), max_size=3))
def test_records_are_canonical_json_whatever_the_letters(
    title: str, reason: str, contacts: list[tuple[str, str]]
) -> None:
    miner = Miner(7, "m", title, "940140000385", "kk", tuple(Contact(*one) for one in contacts))
    body = canonical(miner)
    assert body.encode() == rfc8785.dumps(msgspec.to_builtins(miner))
    event = Event(1, 2, "anna", "compliance", reason, "miner", "7", "entered", body, FIRST, "")
    assert hash_of(event) == second_way(event)


def test_kazakh_titles_with_quotes_and_a_face_are_canonical() -> None:
    title = 'ЖШС «Қазақ "Ұлытау" \\ Өңір» — ӘІҒҮҢҺ 🐎 ﬁ \u00ff'
    assert title.isprintable()
    miner = Miner(1, "m", title, "940140000385")
    assert canonical(miner).encode() == rfc8785.dumps(msgspec.to_builtins(miner))


def test_records_of_every_kind_the_clerk_writes_are_canonical() -> None:
    register = register_of("altai")
    records = [
        *register.miners.values(),
        *register.centres.values(),
        *register.licences.values(),
        *register.devices.values(),
    ]
    for record in records:
        assert canonical(record).encode() == rfc8785.dumps(msgspec.to_builtins(record))
