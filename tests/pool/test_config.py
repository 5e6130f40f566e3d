"""The configuration: what is wrong is said in one line with key, value and remedy, and never a secret."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.config import ConfigError, Settings, load
from stratum.vardiff import DifficultyPolicy

SECRET = "hunter2"
BASE: dict[str, Any] = {
    "data_dir": "/var/lib/dmpool",
    "pool": {
        "name": "Example DMP LLP",
        "bin": "940140000385",
        "chain": "regtest",
        "address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    },
}


def toml(values: dict[str, Any]) -> str:
    """TOML of nested dictionaries, lists of dictionaries, and scalars."""
    lines = [
        f"{key} = {scalar(value)}" for key, value in values.items() if not isinstance(value, dict | list)
    ]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{name} = {scalar(one)}" for name, one in value.items())]
        elif isinstance(value, list):
            for item in value:
                lines += [f"[[{key}]]", *(f"{name} = {scalar(one)}" for name, one in item.items())]
    return "\n".join(lines)


def scalar(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def written(tmp_path: Path, **sections: Any) -> Path:
    """A file with the base and some sections changed; a key set to None is left out."""
    values: dict[str, Any] = {**BASE}
    for name, section in sections.items():
        values[name] = {**BASE.get(name, {}), **section} if isinstance(section, dict) else section
        if isinstance(section, dict):
            values[name] = {key: value for key, value in values[name].items() if value is not None}
    path = tmp_path / "dmpool.toml"
    path.write_text(toml({key: value for key, value in values.items() if value is not None}))
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)
    return text


def test_the_smallest_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path))
    assert settings.pool.script.hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"
    assert str(settings.stratum.listen) == "0.0.0.0:3333"
    assert str(settings.web.listen) == "127.0.0.1:8080", "loopback unless asked for"
    assert str(settings.metrics.listen) == "127.0.0.1:9090"
    assert settings.stratum.policy == DifficultyPolicy(start=14, minimum=10, maximum=40, shares_per_minute=12)
    assert settings.nodes == ()
    assert settings.demo_miners == 0


def test_the_file_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "dmpool.toml"
    path.write_text(
        """
data_dir = "/var/lib/dmpool"
[pool]
name = "Example DMP LLP"
bin = "940140000385"
chain = "regtest"
address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
commission_bps = 100
[[nodes]]
url = "http://user:password@127.0.0.1:18443"
zmq = "tcp://127.0.0.1:28332"
[stratum]
listen = "[::1]:3333"
start_difficulty = 16384
[database]
url = "postgresql://dmpool@db/dmpool"
[web]
listen = "127.0.0.1:8080"
[metrics]
listen = "127.0.0.1:9090"
"""
    )
    settings = load(path)
    assert (settings.stratum.listen.host, str(settings.stratum.listen)) == ("::1", "[::1]:3333")
    assert "password" not in repr(settings)


def test_the_demo_needs_no_file() -> None:
    settings = load(None)
    assert (settings.pool.chain, settings.demo_miners) == ("regtest", 3)
    assert settings.stratum.policy.start == -17


LONGER = {"listen": "127.0.0.1"}
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown section": ({"stratun": {"x": 1}}, ["stratun", "no such key"]),
    "unknown key": ({"stratum": {"start_dificulty": 5}}, ["stratum.start_dificulty", "no such key"]),
    "unknown key of a node": (
        {"nodes": [{"url": "http://a:b@c", "zmqq": 1}]},
        ["nodes.0.zmqq", "no such key"],
    ),
    "missing key": ({"pool": {"address": None}}, ["pool.address", "is missing"]),
    "missing section": ({"pool": None}, ["pool", "is missing"]),
    "demo key": ({"demo_miners": 3}, ["demo_miners", "no such key"]),
    "mistyped address": (
        {"pool": {"address": "bcrt1qx508d6qejxtdg4y5r3zarvary0c5xw7kygt080"}},
        ["pool.address", "bcrt1qx508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "checksum"],
    ),
    "address of another chain": (
        {"pool": {"address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}},
        ["pool.address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "main", "regtest"],
    ),
    "no address": ({"pool": {"address": ""}}, ["pool.address"]),
    "chain": ({"pool": {"chain": "testnet"}}, ["pool.chain", "'testnet'", "testnet4"]),
    "check digit": ({"pool": {"bin": "940140000386"}}, ["pool.bin", "940140000386", "check digit"]),
    "a person's number": ({"pool": {"bin": "840823300138"}}, ["pool.bin", "840823300138"]),
    "short number": ({"pool": {"bin": "94014"}}, ["pool.bin", "94014"]),
    "tag too long": ({"pool": {"tag": "t" * 41}}, ["pool.tag", "40"]),
    "tag in Cyrillic": ({"pool": {"tag": "\u043f\u0443\u043b"}}, ["pool.tag", "ASCII"]),
    "commission": ({"pool": {"commission_bps": 10_001}}, ["pool.commission_bps", "10001"]),
    "commission of a fraction": ({"pool": {"commission_bps": 1.5}}, ["pool.commission_bps", "1.5"]),
    "window": ({"pool": {"pplns_window": 0}}, ["pool.pplns_window", "0"]),
    "no port": ({"stratum": LONGER}, ["stratum.listen", "'127.0.0.1'", "host:port"]),
    "port too large": ({"web": {"listen": "a:65536"}}, ["web.listen", "'a:65536'", "host:port"]),
    "port in words": ({"metrics": {"listen": "a:http"}}, ["metrics.listen", "'a:http'", "host:port"]),
    "port in other digits": ({"metrics": {"listen": "a:\u0661"}}, ["metrics.listen", "host:port"]),
    "only a port": ({"web": {"listen": 8080}}, ["web.listen", "8080"]),
    "no host": ({"web": {"listen": ":8080"}}, ["web.listen", "host:port"]),
    "difficulty 0": ({"stratum": {"start_difficulty": 0}}, ["stratum.start_difficulty", "0"]),
    "difficulty nan": ({"stratum": {"start_difficulty": float("nan")}}, ["stratum.start_difficulty", "nan"]),
    "difficulty inf": ({"stratum": {"max_difficulty": float("inf")}}, ["stratum.max_difficulty", "inf"]),
    "order": ({"stratum": {"min_difficulty": 40000}}, ["stratum.start_difficulty", "16384", "40000"]),
    "mask 0": ({"stratum": {"version_mask": "00000000"}}, ["stratum.version_mask", "00000000", "1fffe000"]),
    "mask over consensus bits": (
        {"stratum": {"version_mask": "ffffffff"}},
        ["stratum.version_mask", "ffffffff"],
    ),
    "mask no hex": ({"stratum": {"version_mask": "1fffe00g"}}, ["stratum.version_mask", "1fffe00g"]),
    "node url": ({"nodes": [{"url": f"user:{SECRET}@host"}]}, ["nodes.0.url", "write it as"]),
    "node url of another scheme": (
        {"nodes": [{"url": f"ftp://u:{SECRET}@host"}]},
        ["nodes.0.url", "write it as"],
    ),
    "node url is a number": ({"nodes": [{"url": 5}]}, ["nodes.0.url"]),
    "node zmq": ({"nodes": [{"url": "http://a:b@c", "zmq": "28332"}]}, ["nodes.0.zmq", "tcp://"]),
    "node is a text": ({"nodes": f"http://u:{SECRET}@host"}, ["nodes"]),
    "nodes is a table": ({"nodes": {"url": f"http://u:{SECRET}@host"}}, ["nodes"]),
    "database url": ({"database": {"url": f"mysql://u:{SECRET}@host/db"}}, ["database.url", "postgresql://"]),
    "database is a text": ({"database": f"postgresql://u:{SECRET}@host/db"}, ["database"]),
    "no node on signet": (
        {"pool": {"chain": "signet", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}},
        ["nodes", "signet", "[[nodes]]"],
    ),
    "fraction on main": (
        {
            "pool": {"chain": "main", "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"},
            "nodes": [{"url": "http://a:b@c"}],
            "stratum": {"start_difficulty": 0.5},
        },
        ["stratum.start_difficulty", "0.5", "main"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_names_key_value_and_remedy(tmp_path: Path, name: str) -> None:
    sections, words = WRONG[name]
    path = written(tmp_path, **sections)
    tomllib.loads(path.read_text())
    text = complaint(path)
    assert text.startswith(f"{path}: ")
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("content", [b"data_dir = ", b"\xff\xfe\x00", b"a = 1\na = 2", b"[pool", b"\x00"])
def test_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dmpool.toml"
    path.write_bytes(content)
    assert "not TOML" in complaint(path)


def test_a_file_that_is_not_there_or_a_directory(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "nothing.toml")
    assert "directory" in complaint(tmp_path)


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMPOOL_STRATUM__LISTEN", "127.0.0.1:4444")
    monkeypatch.setenv("DMPOOL_POOL__COMMISSION_BPS", "250")
    monkeypatch.setenv("DMPOOL_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("DMPOOL_DATABASE__URL", f"postgresql://u:{SECRET}@db/dmpool")
    settings = load(written(tmp_path, stratum={"listen": "0.0.0.0:3333", "shares_per_minute": 30}))
    assert str(settings.stratum.listen) == "127.0.0.1:4444"
    assert settings.stratum.shares_per_minute == 30, "the file's other keys of the section stay"
    assert (settings.pool.commission_bps, settings.data_dir) == (250, Path("/elsewhere"))
    assert SECRET not in repr(settings)


def test_nodes_can_come_from_the_environment_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMPOOL_NODES", f'[{{"url": "http://u:{SECRET}@127.0.0.1:18443"}}]')
    (node,) = load(written(tmp_path)).nodes
    assert node.url.get_secret_value().endswith(":18443")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DMPOOL_STRATUN__LISTEN", "x", ["DMPOOL_STRATUN__LISTEN", "no such key"]),
        ("DMPOOL_STRATUM__LISTN", "x", ["DMPOOL_STRATUM__LISTN", "no such key"]),
        ("DMPOOL_", "x", ["DMPOOL_", "no such key"]),
        ("DMPOOL_STRATUM__LISTEN", "3333", ["stratum.listen", "'3333'", "host:port"]),
        ("DMPOOL_POOL__BIN", "1", ["pool.bin", "'1'"]),
        ("DMPOOL_DATABASE__URL", SECRET, ["database.url"]),
        ("DMPOOL_DATABASE", f"postgresql://u:{SECRET}@db", ["database"]),
        ("DMPOOL_DATABASE", f'"postgresql://u:{SECRET}@db"', ["database"]),
        ("DMPOOL_NODES", f"http://u:{SECRET}@h", ["nodes"]),
        ("DMPOOL_NODES", f'["http://u:{SECRET}@h"]', ["nodes"]),
        ("DMPOOL_NODES__0__URL", f"http://u:{SECRET}@h", ["nodes"]),
    ],
)
def test_a_wrong_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    text = complaint(written(tmp_path))
    assert [word for word in words if word not in text] == []


@given(st.floats(2**-40, 2**40), st.one_of(st.none(), st.floats(2**-40, 2**40)), st.floats(2**-40, 2**40))
def test_whatever_difficulties_pass_they_are_in_order(
    start: float, minimum: float | None, maximum: float
) -> None:
    values = {"start_difficulty": start, "min_difficulty": minimum, "max_difficulty": maximum}
    try:
        settings = Settings(**{**BASE, "stratum": values})
    except ValueError as error:
        assert "outside" in str(error)  # noqa: PT017 - either outcome is right
        return
    policy = settings.stratum.policy
    assert policy.minimum <= policy.start <= policy.maximum
    assert 2.0**policy.start <= start < 2.0 ** (policy.start + 1)
    assert minimum is not None or start < 1 or policy.minimum >= 0, "an ASIC never sees a fraction (Q-44)"


def test_the_front_of_the_stratum_section(tmp_path: Path) -> None:
    path = tmp_path / "dmpool.toml"
    path.write_text(
        toml(BASE)
        + """
[stratum]
proxies = ["10.0.0.0/8", "fd00::/8"]
connections_per_account = 5
rented_hashrate = "accept"
public_host = "kz1.pool.example"
[stratum.tls]
listen = "0.0.0.0:4444"
certificate = "/etc/dmpool/chain.pem"
key = "/etc/dmpool/key.pem"
[stratum.device_classes.antminer-s19]
start_difficulty = 100000
"""
    )
    stratum = load(path).stratum
    assert stratum.tls is not None
    assert str(stratum.tls.listen) == "0.0.0.0:4444"
    assert (stratum.limits.connections_per_account, stratum.limits.connections) == (5, None)
    assert [str(network) for network in stratum.limits.proxies] == ["10.0.0.0/8", "fd00::/8"]
    changed = stratum.devices.classify("Antminer S19")
    assert (changed.start, changed.floor) == (16, 12), "100000 rounded down; the floor is the table's"
    rental = stratum.devices.classify("NiceHash/1.0.0")
    assert stratum.devices.refusal(rental) is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('proxies = ["10.0.0.0/33"]', ["stratum.proxies", "10.0.0.0/33"]),
        ('rented_hashrate = "maybe"', ["stratum.rented_hashrate", "maybe", "refuse"]),
        ('public_host = "kz1"', ["stratum.public_host", "kz1"]),
        ("connections = 0", ["stratum.connections", "0"]),
        (
            "[stratum.device_classes.s99]\nstart_difficulty = 5",
            ["stratum.device_classes", "s99", "antminer-s19"],
        ),
        ("[stratum.device_classes.cgminer]\nstart_difficulty = 0", ["start_difficulty", "0"]),
        ('[stratum.tls]\nkey = "k"', ["stratum.tls.certificate", "missing"]),
    ],
)
def test_a_mistake_in_the_front_is_named(tmp_path: Path, lines: str, words: list[str]) -> None:
    path = tmp_path / "dmpool.toml"
    path.write_text(f"{toml(BASE)}\n[stratum]\n{lines}\n")
    text = complaint(path)
    assert all(word in text for word in words), text
