"""Which class an agent is put into, and what that changes of the pool's policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.device_class import ASIC_SILENCE, TABLE, UNKNOWN, DeviceClass, DeviceClasses
from stratum.vardiff import DifficultyPolicy

POOL = DifficultyPolicy(14, 10, 40, 12)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Antminer S21/Wed Nov 29", "antminer-s21"),
        ("Antminer S19k Pro/Mon", "antminer-s19"),
        ("Antminer T17/1", "antminer-s17"),
        ("Antminer S9/1", "antminer-s9"),
        ("bmminer/2.0.0", "bmminer"),
        ("Antminer L7/1", "bmminer"),
        ("bosminer-plus-tuner 0.2.0-d360818", "bosminer"),
        ("something bosminer/0.1", "bosminer"),
        ("whatsminer/v1.0", "whatsminer"),
        ("Avalon Nano 3S/1", "avalon-nano"),
        ("cgminer/4.11.1 avalon", "avalon"),
        ("cgminer/4.12.1", "cgminer"),
        ("bfgminer/5.5.0", "bfgminer"),
        ("bitaxe/BM1366/v2.4", "esp-miner"),
        ("NerdQAxe++/1.0.30", "esp-miner"),
        ("NerdMinerV2", "nerdminer"),
        ("NiceHash/1.0.0", "nicehash"),
        ("btccom-agent/2.0", "proxy"),
        ("stratum-proxy/1", "proxy"),
        ("PowerPlay-BM/1", "epic"),
        ("xminer-1.2.6", "vnish"),
        ("LUXminer 2025.1", "luxminer"),
        ("mujina/0.1", "mujina"),
        ("", "other"),
        ("gibberish", "other"),
    ],
)
def test_q22_q31_agents_are_known_by_a_word(agent: str, name: str) -> None:
    assert DeviceClasses().classify(agent).name == name
    assert DeviceClasses().classify(agent.upper()).name == name


@given(st.text(max_size=200))
def test_any_agent_has_a_class_of_the_table(agent: str) -> None:
    classes = DeviceClasses()
    assert classes.classify(agent) in list(classes)


def test_each_class_can_be_reached_and_has_its_own_name() -> None:
    classes = DeviceClasses()
    names = [device.name for device in classes]
    assert len(set(names)) == len(names)
    for device in TABLE:
        assert any(classes.classify(word) is device for word in device.words), device.name


def test_a_class_never_starts_under_its_floor() -> None:
    for device in TABLE:
        if device.start is not None and device.floor is not None:
            assert device.floor <= device.start, device.name
        assert device.silence_seconds >= ASIC_SILENCE


def test_a_class_changes_start_and_floor_of_the_policy_and_nothing_else() -> None:
    assert UNKNOWN.policy(POOL) == POOL
    changed = DeviceClass("x", ("x",), 17, 13).policy(POOL)
    assert (changed.start, changed.floor) == (17, 13)
    assert (changed.minimum, changed.maximum, changed.shares_per_minute) == (10, 40, 12)
    assert DeviceClass("x", ("x",), 50, 45).policy(POOL).start == 40


@pytest.mark.parametrize(
    ("floor", "ceiling", "lowest"),
    [(13, 60, 13), (6, 60, 6), (13, 11, 11), (13, 8, 10), (6, 3, 6), (None, 3, 10)],
)
def test_i9_a_floor_of_a_class_never_hides_a_block(floor: int | None, ceiling: int, lowest: int) -> None:
    """Only the pool's own minimum (10) may lie above the difficulty of a block."""
    assert DeviceClass("x", ("x",), None, floor).policy(POOL).bounded(-100, ceiling) == lowest


def test_o07_rented_hashrate_is_refused_with_the_reason() -> None:
    rental = next(device for device in TABLE if device.rental)
    assert "not registered" in (DeviceClasses().refusal(rental) or "")
    assert DeviceClasses(rental="accept").refusal(rental) is None
    assert DeviceClasses().refusal(UNKNOWN) is None
