"""Wrong arguments raise, and the error names the argument, its value and what to give."""

from typing import Any

import pytest

import native

JOB: dict[str, Any] = {
    "coinbase1": b"",
    "coinbase2": b"",
    "extranonce2_size": 4,
    "branches": b"",
    "previous_block": bytes(32),
    "version": 0,
    "bits": 0,
    "network_target": bytes(32),
    "version_mask": 0,
    "ntime_min": 0,
    "ntime_max": 0,
}
CHECK: list[Any] = [b"", "00000000", "00000000", "0", None, bytes(32)]


@pytest.mark.parametrize("name", JOB)
def test_every_field_of_a_job_is_required_and_typed(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        native.Job(**{key: value for key, value in JOB.items() if key != name})
    with pytest.raises(TypeError, match=rf"^{name} is 1\.5; give (bytes|an int), not float$"):
        native.Job(**{**JOB, name: 1.5})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coinbase1", bytes(4065), r"coinbase1 and coinbase2 are 4065 and 0 bytes long; .* 4064"),
        ("coinbase2", bytes(4065), r"coinbase1 and coinbase2 are 0 and 4065 bytes long; .* 4064"),
        ("extranonce2_size", 0, r"extranonce2_size is 0; give a number from 1 to 16"),
        ("extranonce2_size", 17, r"extranonce2_size is 17; give a number from 1 to 16"),
        ("branches", bytes(33), r"branches is 33 bytes long; give whole hashes"),
        ("branches", bytes(33 * 32), r"branches holds 33 hashes; give at most 32"),
        ("previous_block", bytes(31), r"previous_block is .* \(31 bytes\); give exactly 32 bytes"),
        ("network_target", bytes(33), r"network_target is .* \(33 bytes\); give exactly 32 bytes"),
        ("version", -1, r"version is -1; give a number from 0 to 4294967295"),
        ("bits", 2**32, r"bits is 4294967296; give a number from 0 to 4294967295"),
        ("ntime_min", 1, r"ntime_min is 1 and ntime_max 0; give a window"),
    ],
)
def test_a_job_out_of_bounds_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.Job(**{**JOB, name: value})


def test_a_job_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        native.Job(*JOB.values())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="12 given"):
        native.Job(**JOB, colour=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("at", "name"),
    list(enumerate(["extranonce1", "extranonce2", "ntime", "nonce", "version_bits", "target"])),
)
def test_check_wants_the_right_types(at: int, name: str) -> None:
    arguments = [*CHECK[:at], 7, *CHECK[at + 1 :]]
    with pytest.raises(TypeError, match=rf"^{name} is 7; give (bytes|str), not int$"):
        native.Job(**JOB).check(*arguments)


@pytest.mark.parametrize("count", [0, 5, 7])
def test_check_wants_six_arguments(count: int) -> None:
    arguments: Any = [*CHECK, None][:count]
    with pytest.raises(TypeError, match=rf"check\(\) got {count} arguments; give exactly 6"):
        native.Job(**JOB).check(*arguments)


def test_check_wants_sizes() -> None:
    job = native.Job(**JOB)
    with pytest.raises(ValueError, match=r"extranonce1 is .* \(17 bytes\); give at most 16 bytes"):
        job.check(bytes(17), *CHECK[1:])
    with pytest.raises(ValueError, match=r"target is .* \(31 bytes\); give exactly 32 bytes"):
        job.check(*CHECK[:5], bytes(31))  # type: ignore[call-arg]


def test_a_value_in_an_error_is_cut_short() -> None:
    with pytest.raises(ValueError, match="previous_block") as error:
        native.Job(**{**JOB, "previous_block": bytes(100_000)})
    assert len(str(error.value)) < 200


def test_a_number_too_long_to_print_still_gets_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"^version_mask does not fit in 64 bits; give a number from 0 to"):
        native.Job(**{**JOB, "version_mask": 10**5000})


def test_functions_want_the_right_arguments() -> None:
    wrong: Any = "text"
    with pytest.raises(TypeError, match=r"^data is 'text'; give bytes, not str$"):
        native.sha256d(wrong)
    with pytest.raises(TypeError, match=r"^txids is 'text'"):
        native.merkle_branches(wrong)
    with pytest.raises(ValueError, match=r"^txids is 31 bytes long"):
        native.merkle_branches(bytes(31))
    with pytest.raises(ValueError, match=r"^leaf is .* \(31 bytes\)"):
        native.merkle_root(bytes(31), b"")
    with pytest.raises(ValueError, match=r"^branches is 1 bytes long"):
        native.merkle_root(bytes(32), b"\0")
    with pytest.raises(TypeError, match=r"^name is b'portable'; give str"):
        native.use_implementation(b"portable")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((bytes(79), 0, 0, bytes(32)), r"^header is .* \(79 bytes\); give exactly 80"),
        ((bytes(80), 2**32, 0, bytes(32)), r"^first_nonce is 4294967296; give a number from 0 to 4294967295"),
        ((bytes(80), -1, 0, bytes(32)), r"^first_nonce is -1"),
        ((bytes(80), 10, 2**32 - 9, bytes(32)), r"^count is 4294967287; give a number from 0 to 4294967286"),
        ((bytes(80), 0, 2**32, bytes(31)), r"^target is .* \(31 bytes\)"),
    ],
)
def test_scan_wants_a_range_of_nonces(arguments: tuple[bytes, int, int, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.scan(*arguments)


def test_seen_hashes_wants_hashes() -> None:
    with pytest.raises(ValueError, match=r"^hash is .* \(31 bytes\); give exactly 32 bytes$"):
        native.SeenHashes().add(bytes(31))
    with pytest.raises(TypeError):
        native.SeenHashes(1)  # type: ignore[call-arg]
