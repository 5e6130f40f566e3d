"""The stand-alone verifier over what a pool publishes: it passes, and tampering is caught and named."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from pool.database import create_engine
from reporting import dmpool_verify
from reporting.checkpoint import Checkpoint, LoggedProof
from reporting.dmpool_verify import Check, Trust, examine
from reporting.keyring import Action, read_ring, signed
from reporting.merkle import Tree, leaf_hash
from reporting.note import Bip340Signer, parse_note, sign_note
from reporting.signing import SigningKey, encode, sign
from reporting.tiles import bundle_bytes, parse_bundle
from tests.campaign import extent
from tests.conftest import TEMPLATE, administer, named
from tests.integration.audit_world import KEY
from tests.integration.published_world import Published, publish, reports

SECOND = SigningKey(b"\x02" * 32)
DATABASE = "dmpool_published"
VERIFIER = Path(dmpool_verify.__file__)


@pytest.fixture(scope="module")
def original(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The files, made once."""
    asyncio.run(administer(postgres, f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}"))
    yield asyncio.run(_publish(named(postgres, DATABASE), tmp_path_factory.mktemp("published")))
    asyncio.run(administer(postgres, f"DROP DATABASE {DATABASE} WITH (FORCE)"))


async def _publish(url: str, directory: Path) -> Published:
    engine = create_engine(url)
    published = await publish(engine, directory)
    await engine.dispose()
    return published


@pytest.fixture
def published(original: Published, tmp_path: Path) -> Published:
    """A copy that a test may spoil."""
    root = original.reports.parent
    shutil.copytree(root, tmp_path / "copy")
    return Published(*(tmp_path / "copy" / place.relative_to(root) for place in vars(original).values()))


def check(published: Published, **without: None) -> dict[str, list[Check]]:
    beside: dict[str, Path | None] = {
        name: getattr(published, name) for name in ("keys", "log", "old", "archive")
    }
    return examine(reports(published), KEY.public_key, **(beside | without))


def failures(told: dict[str, list[Check]]) -> str:
    """What failed, as it is printed."""
    return "\n".join(
        f"{name}: {one.name}: {one.detail}"
        for name, checks in told.items()
        for one in checks
        if not one.passed
    )


def reseal(published: Published, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """The pool itself changes a report and signs it again."""
    file = published.reports / name
    report = json.loads(file.read_bytes())["report"]
    change(report)
    file.write_bytes(encode(sign(report, [KEY])))


def test_all_that_a_pool_publishes_passes(original: Published) -> None:
    told = check(original)
    assert failures(told) == ""
    assert [len(told.pop(name)) for name in reports(original)] == [9] * 4
    beside = [str(place) for place in (original.keys, "all reports", original.log, original.archive)]
    assert list(told) == beside
    (archive,) = told[str(original.archive)]
    assert archive.detail.endswith("windows and splits made anew of the blocks [1, 2, 104]")


def test_it_runs_alone_with_nothing_of_ours(original: Published, tmp_path: Path) -> None:
    """A copy in an empty directory, isolated from our packages, and what it prints."""
    alone = tmp_path / "dmpool_verify.py"
    shutil.copy(VERIFIER, alone)
    here = Path(dmpool_verify.__file__).parents[1]
    program = (
        f"import runpy, sys; sys.path = [one for one in sys.path if one not in ('', {str(here)!r})]; "
        f"sys.meta_path = [one for one in sys.meta_path if 'editable' not in str(one).lower()]; "
        f"runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *map(str, (alone, *arguments))]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    key = ("--key", KEY.public_key)
    one = sorted(original.reports.iterdir())[-1]
    whole = run(*key, one)
    assert whole.stdout.count("\nok  ") + 1 == 10
    assert whole.stdout.endswith("10 checks, none failed\n")
    places = [f"--{name}={getattr(original, name)}" for name in ("keys", "log", "old", "archive")]
    many = run(*key, original.reports, *places)
    assert (many.returncode, many.stderr) == (0, "")
    assert many.stdout.endswith("40 checks, none failed\n")
    broken = tmp_path / "broken.json"
    broken.write_bytes(one.read_bytes().replace(b'"version":1', b'"version":2'))
    wrong = run(*key, broken)
    assert wrong.returncode == 1
    assert "FAIL" in wrong.stdout
    assert run("--key", "00", one).returncode == 2
    assert run(*key, tmp_path / "none").returncode == 2


# Reports


def changes(node: Any) -> Iterator[tuple[Any, Any]]:
    """Changes each value of a document in turn, in place, and puts it back; yields where it was."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        value = node[key]
        if isinstance(value, dict | list) and value:
            yield from changes(value)
            continue
        if isinstance(value, bool):
            node[key] = not value
        elif isinstance(value, int):
            node[key] = value + 1
        else:
            node[key] = f"{value} "
        yield key, value
        node[key] = value


@pytest.mark.campaign
def test_i7_every_single_change_of_a_report_breaks_its_seal(original: Published) -> None:
    """Whoever changes a file, and may write it in canonical form, and even mend its hash, has no key."""
    envelope = json.loads(list(reports(original).values())[1])
    trust = Trust(KEY.public_key)
    count = 0
    for number, (key, _) in enumerate(changes(envelope)):
        if number % extent(11, 1):
            continue
        count += 1
        assert not dmpool_verify.run_check(trust.check_seal, rfc8785.dumps(envelope)).passed
        if key in ("type", "key_id", "public_key", "value", "signed_at", "report_sha256"):
            continue
        kept = envelope["report_sha256"]
        envelope["report_sha256"] = hashlib.sha256(rfc8785.dumps(envelope["report"])).hexdigest()
        mended = dmpool_verify.run_check(trust.check_seal, rfc8785.dumps(envelope))
        assert "did not sign it" in mended.detail or key == "generated_at"
        assert not mended.passed
        envelope["report_sha256"] = kept
    assert count > 50
    trust.check_seal(rfc8785.dumps(envelope))


def test_a_dropped_day_is_missed(published: Published) -> None:
    files = sorted(published.reports.iterdir())
    by_sequence = {json.loads(file.read_bytes())["report"]["sequence"]: file for file in files}
    by_sequence[3].unlink()
    told = failures(check(published))
    assert "report 4 of 2026-11-26: sequence: 4 is not 3" in told
    assert "days of reports in the log that are not here: ['2026-11-25'] is not []" in told


def test_a_report_in_place_of_another_is_not_in_the_log(published: Published) -> None:
    """The pool shows one regulator another last report than it published."""
    last = sorted(published.reports.iterdir())[-1].name
    reseal(published, last, lambda report: report["pool"].update(name="Another LLP"))
    told = failures(check(published))
    assert "has these reports and no others: entry of the log: kind" in told
    assert told.count("\n") == 0


def test_a_rewritten_report_breaks_the_chain_behind_it(published: Published) -> None:
    first = sorted(published.reports.iterdir())[0].name
    reseal(published, first, lambda report: report["pool"].update(name="Another LLP"))
    assert "previous_report_sha256: " in failures(check(published, log=None, old=None))


def test_i3_a_day_that_does_not_begin_as_the_one_before_ended_is_seen(published: Published) -> None:
    def richer(report: dict[str, Any]) -> None:
        """A satoshi appears overnight, and each report agrees with itself."""
        names = ("pool:commission:earned", "asset:coinbase:mature", "pool:commission:earned")
        journal = report["journal"]
        rows = [row for row in journal["accounts"] if row["account"] in names]
        rows += [row for row in journal["classes"] if row["class"] in names]
        for row in [*rows, *journal["totals"].values(), report["commission"]]:
            row["opening_sat"] += 1
            row["closing_sat"] += 1
        report["commission"]["earned_sat"] += 1

    reseal(published, sorted(published.reports.iterdir())[-1].name, richer)
    told = failures(check(published, log=None, old=None))
    assert (
        "accounts that end 2026-11-25 otherwise than the next day begins: ['asset:coinbase:mature', 'pool:"
        in told
    )
    assert told.count("\n") == 0


@pytest.mark.parametrize("rows", ["distributions", "miners", "blocks"])
def test_reordered_rows_break_the_seal(published: Published, rows: str) -> None:
    for file in published.reports.iterdir():
        envelope = json.loads(file.read_bytes())
        if len(envelope["report"][rows]) > 1:
            envelope["report"][rows].reverse()
            file.write_bytes(encode(envelope))
            assert f"{file.name}: the file is JSON in canonical form" in failures(check(published))
            return
    pytest.fail(f"no report has two {rows}")


# Keys


def test_a_replaced_an_ended_and_a_strange_key_are_told_apart(published: Published) -> None:
    """A report that is signed by a key behind its time, or by one that nobody vouches for."""
    last = sorted(published.reports.iterdir())[-1]
    made = dt.datetime.fromisoformat(json.loads(last.read_bytes())["report"]["generated_at"])
    ring = read_ring(published.keys.read_bytes())
    minute = dt.timedelta(minutes=1)

    def told(action: Action, key: SigningKey, when: dt.datetime) -> str:
        drafted = ring.draft(action, key.public_key, when, "for a test", authorised_by=KEY.key_id)
        published.keys.write_bytes(rfc8785.dumps(ring.added(signed(drafted, [KEY, SECOND])).document()))
        return failures(check(published, log=None, old=None))

    assert f"key {KEY.key_id} was replaced by {SECOND.key_id} on" in told(
        Action.ROTATED, SECOND, made - minute
    )
    assert f"key {KEY.key_id} was revoked (for a test) from" in told(Action.REVOKED, KEY, made - minute)
    assert told(Action.REVOKED, KEY, made + minute) == ""  # what it signed before still counts
    last.write_bytes(encode(sign(json.loads(last.read_bytes())["report"], [SECOND])))
    strange = f"no signature is of {KEY.key_id}; there are ['bip340 of {SECOND.key_id}']"
    assert strange in told(Action.REVOKED, KEY, made + minute)
    assert f"is before key {SECOND.key_id} began" in told(Action.INTRODUCED, SECOND, made + minute)
    assert told(Action.INTRODUCED, SECOND, made - minute) == ""


def test_a_list_of_keys_that_was_written_over_is_refused(published: Published) -> None:
    told = json.loads(published.keys.read_bytes())
    told["events"][0]["event"]["public_key"] = SECOND.public_key
    published.keys.write_bytes(rfc8785.dumps(told))
    assert "key event 1: event_sha256" in failures(check(published))


# The log


def newest_bundle(published: Published) -> Path:
    """The file with all entries: there are fewer than 256."""
    return max((published.log / "tile" / "entries").rglob("*.p/*"), key=lambda file: int(file.name))


def rewrite(published: Published, change: Callable[[list[bytes]], None], signer: Any = KEY) -> None:
    """Another log in place of the published one, signed just as well."""
    bundle = newest_bundle(published)
    entries = parse_bundle(bundle.read_bytes())
    change(entries)
    tree = Tree()
    for one in entries:
        tree.append(leaf_hash(one))
    place = bundle.with_name(str(len(entries)))
    bundle.unlink()
    place.write_bytes(bundle_bytes(entries))
    origin = (published.log / "checkpoint").read_text().split("\n")[0]
    text = Checkpoint(origin, tree.size, tree.root()).text()
    (published.log / "checkpoint").write_bytes(sign_note(text, [Bip340Signer(origin, signer)]).encode())


def first_of(entries: list[bytes], kind: str) -> int:
    return next(place for place, one in enumerate(entries) if json.loads(one)["kind"] == kind)


def test_a_rewritten_log_is_seen_by_whoever_kept_a_checkpoint(published: Published) -> None:
    def other_key(entries: list[bytes]) -> None:
        entries[first_of(entries, "key")] += b" "

    rewrite(published, other_key)
    assert "root of the log as you kept it" in failures(check(published))
    assert failures(check(published, old=None)) == ""  # nobody else can know


@pytest.mark.parametrize("kind", ["report", "key"])
def test_an_entry_that_is_left_out_is_seen(published: Published, kind: str) -> None:
    def drop(entries: list[bytes]) -> None:
        del entries[first_of(entries, kind)]

    rewrite(published, drop)
    said = "and no others: entry of the log: kind" if kind == "report" else "as you kept it"
    assert said in failures(check(published))


def test_a_report_that_the_log_tells_twice_is_seen(published: Published) -> None:
    """Its first entry could commit to other rows, by which a miner is proven less than it earned."""

    def twice(entries: list[bytes]) -> None:
        place = first_of(entries, "report")
        false = json.loads(entries[place])
        false["commitments"]["miners"]["root"] = "00" * 32
        entries.insert(place, rfc8785.dumps(false))

    rewrite(published, twice)
    assert "a report twice or not in it" in failures(check(published, old=None))


def test_a_log_that_is_not_the_pools_or_not_signed_is_seen(published: Published) -> None:
    kept = (published.log / "checkpoint").read_text()
    (published.log / "checkpoint").write_text(kept.replace("/regtest\n", "/main\n", 1))
    assert "name of the log" in failures(check(published))
    size = kept.split("\n")[1]
    (published.log / "checkpoint").write_text(kept.replace(f"\n{size}\n", f"\n{int(size) - 1}\n"))
    assert f"checkpoint: the key {KEY.key_id} did not sign it" in failures(check(published))
    (published.log / "checkpoint").write_text(kept)
    rewrite(published, lambda entries: None, SECOND)
    assert "the checkpoint is not signed by a key that you trust" in failures(check(published))


def test_one_report_is_proven_by_a_file(published: Published) -> None:
    entries = parse_bundle(newest_bundle(published).read_bytes())
    note = parse_note((published.log / "checkpoint").read_bytes())
    tree = Tree()
    for one in entries:
        tree.append(leaf_hash(one))
    name, data = list(reports(published).items())[-1]
    digest = json.loads(data)["report_sha256"]
    (place,) = [at for at, one in enumerate(entries) if json.loads(one).get("sha256") == digest]
    file = published.log / "one.tlog-proof"

    def told(index: int, extra: bytes) -> str:
        file.write_bytes(LoggedProof(index, tuple(tree.inclusion(place)), note, extra).encode())
        return failures(examine({name: data}, KEY.public_key, proof=file))

    assert told(place, entries[place]) == ""
    assert "end of the proof, and root" in told(place - 1, entries[place])
    assert "entry of the log: " in told(place, entries[0])
    assert "end of the proof, and root" in told(place, entries[place] + b" ")


# The archive


def hours_of(published: Published) -> list[Path]:
    return sorted(published.archive.rglob("*.csv.gz"))


def test_a_swapped_archive_is_seen(published: Published) -> None:
    first, second, *_ = hours_of(published)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert "hour 2026-11-24T" in failures(check(published))
    assert "root: " in failures(check(published))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.pop(), "root: "),
        (lambda lines: lines.append(lines[0]), "did not do its work once"),
        (lambda lines: lines.reverse(), "root: "),
        (lambda lines: lines.append(f"9,1,{'0' * 64},{lines[0][-160:]}"), "did not do its work"),
        (lambda lines: lines.__setitem__(1, f"1,2,{lines[1][4:]}"), "slice 1: miner: 1 is not 2"),
    ],
)
def test_a_share_that_is_changed_left_out_or_moved_is_seen(
    published: Published, change: Callable[[list[str]], object], said: str
) -> None:
    file = hours_of(published)[0]
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    change(lines)
    file.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    assert said in failures(check(published))


def test_i4_a_split_over_other_work_is_found_by_the_shares(published: Published) -> None:
    """The pool says that a window begins elsewhere than it does, and every sum of the report still holds."""

    def shift(report: dict[str, Any]) -> None:
        for block in report["blocks"]:
            block["window"]["first_slice_work"] = str(int(block["window"]["first_slice_work"]) + 1)

    newest = sorted(published.reports.iterdir())[-1].name
    reseal(published, newest, shift)
    alone = {newest: reports(published)[newest]}
    assert failures(examine(alone, KEY.public_key)) == ""
    assert "block as it was told before, and now" in failures(check(published, log=None, old=None))
    assert "windows and splits follow from the shares: block " in failures(
        check(published, log=None, old=None)
    )


@pytest.mark.parametrize("cut", [30, -30])
def test_an_archive_that_is_no_gzip_or_has_no_lines_ends_nothing(published: Published, cut: int) -> None:
    file = hours_of(published)[0]
    file.write_bytes(file.read_bytes()[:cut])
    assert "malformed: " in failures(check(published))
    file.write_bytes(gzip.compress(b"0" * 50_000_000))
    assert "not enough values to unpack" in failures(check(published))


def test_work_of_a_later_hour_is_not_put_into_an_earlier_slice(published: Published) -> None:
    first, second, *_ = hours_of(published)
    old = gzip.decompress(first.read_bytes()).decode().splitlines()[0].split(",")
    lines = [line.split(",") for line in gzip.decompress(second.read_bytes()).decode().splitlines()]
    mine = next(line for line in lines if line[1] == old[1])
    mine[0] = old[0]
    second.write_bytes(gzip.compress("".join(f"{','.join(line)}\n" for line in lines).encode()))
    assert f"slice {old[0]}: hour: " in failures(check(published))


def test_an_hour_that_is_not_there_is_named(published: Published) -> None:
    hours_of(published)[0].unlink()
    assert "No such file" in failures(check(published))
