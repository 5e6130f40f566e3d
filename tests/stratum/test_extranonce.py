"""Extranonce1: unique among the living, never zero, never shared by two gateways."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum import extranonce
from stratum.extranonce import GATEWAY_NUMBER_MAX, ExtranonceSource

NUMBERS = st.integers(1, GATEWAY_NUMBER_MAX)


@given(NUMBERS, st.lists(st.booleans(), max_size=200), st.integers(0, 2**20 - 1))
def test_unique_while_in_use_and_never_zero(number: int, takes: list[bool], first: int) -> None:
    source = ExtranonceSource(number)
    source._next = first
    living: list[bytes] = []
    for take in takes:
        if take or not living:
            value = source.take()
            assert value not in living
            assert len(value) == 4
            assert any(value)
            living.append(value)
        else:
            source.give_back(living.pop(0))


@given(NUMBERS, NUMBERS)
def test_two_gateways_never_share_one(one: int, other: int) -> None:
    """Whatever the count, the upper twelve bits are the gateway's number."""
    first, second = ExtranonceSource(one), ExtranonceSource(other)
    for source in (first, second):
        source._next = 2**20 - 1
    values = {int.from_bytes(first.take(), "big") >> 20 for _ in range(3)}
    others = {int.from_bytes(second.take(), "big") >> 20 for _ in range(3)}
    assert (values, others) == ({one}, {other})


@pytest.mark.parametrize("number", [0, -1, GATEWAY_NUMBER_MAX + 1])
def test_a_number_outside_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="gateway number"):
        ExtranonceSource(number)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 7), max_size=6, unique=True))
def test_all_taken_is_an_error_and_given_back_is_used_again(freed: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extranonce, "CONNECTIONS_MAX", 8)
        source = ExtranonceSource(9)
        taken = [source.take() for _ in range(8)]
        assert len(set(taken)) == 8
        with pytest.raises(RuntimeError, match="in use"):
            source.take()
        for index in freed:
            source.give_back(taken[index])
        assert {source.take() for _ in freed} == {taken[index] for index in freed}
