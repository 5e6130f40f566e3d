"""The life of a block: the table, and walks through chains that reorganise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.block_state import NEXT, State, transition

F, C, M, O = State.FOUND, State.CONFIRMED, State.MATURE, State.ORPHANED  # noqa: E741


@pytest.mark.parametrize(
    ("state", "confirmations", "tip", "expected"),
    [
        (F, 1, 500, C),
        (F, 150, 650, C),  # one step at a time
        (C, 99, 598, None),
        (C, 100, 599, M),
        (M, 101, 600, None),
        (O, 1, 500, C),
        (O, 200, 700, C),
        # known and off the main chain: an orphan once the chain has another block of its height
        (F, -1, 499, None),
        (F, -1, 500, O),
        (C, -1, 499, None),
        (C, -1, 500, O),
        (M, -1, 600, O),
        (O, -1, 600, None),
        # unknown to this node: only a chain a whole maturity above it is believed
        (F, None, 500, None),
        (F, None, 599, None),
        (F, None, 600, O),
        (C, None, 599, None),
        (C, None, 600, O),
        (M, None, 600, O),
        (O, None, 600, None),
    ],
)
def test_each_step(state: State, confirmations: int | None, tip: int, expected: State | None) -> None:
    assert transition(state, confirmations, 500, tip) is expected


@pytest.mark.parametrize("confirmations", [0, -2])
def test_a_nodes_nonsense_is_refused(confirmations: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        transition(F, confirmations, 500, 500)


def test_another_maturity() -> None:
    assert transition(C, 5, 500, 504, maturity=5) is M
    assert transition(C, 4, 500, 503, maturity=5) is None


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.just(-1), st.integers(1, 300)), st.integers(490, 900)), max_size=40
    )
)
def test_a_walk_keeps_to_the_table_and_always_settles(answers: list[tuple[int | None, int]]) -> None:
    state = F
    for confirmations, tip in answers:
        for _ in range(3):
            following = transition(state, confirmations, 500, tip)
            if following is None:
                break
            assert following in NEXT[state]
            state = following
        else:
            pytest.fail(f"{state} does not settle at {confirmations}")
        if confirmations is not None and confirmations >= 100:
            assert state is M
