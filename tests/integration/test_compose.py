"""configs/compose.yaml without a container engine: its schema, what it promises, and its files.

Each mounted file is read by the program that it is for: bitcoind, dmpool, Prometheus, Alertmanager.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.integration.bitcoind_process import bitcoind_or_skip
from tests.integration.free_port import free_port
from tests.integration.pool_process import PROGRAM
from tests.integration.prometheus_process import program_or_skip

HOUSE: Final = Path(__file__).parents[2]
CONFIGS: Final = HOUSE / "configs"
PROFILES: Final = ("roles", "one")
OPEN: Final = {"3333", "3334", "8443"}
"""Stratum, Stratum over TLS, the regulator's door."""


def variables() -> dict[str, str]:
    """What env.example gives."""
    lines = (CONFIGS / "compose/env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(profile: str = "roles") -> dict[str, Any]:
    """The file with its variables filled in, as the engine reads it."""
    given = variables() | {"COMPOSE_PROFILES": profile}

    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        assert name in given, f"{name} is not explained in env.example"
        assert default is None or default in ("", given[name]) or profile == "one", f"{name} has two defaults"
        return given[name]

    text = (CONFIGS / "compose.yaml").read_text("utf-8")
    text = re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", fill, text)
    read: dict[str, Any] = yaml.safe_load(text)
    return read


SERVICES: Final = sorted(compose()["services"])


def test_it_is_a_compose_file() -> None:
    program = Path(sys.executable).parent / "check-jsonschema"
    command = [program, "--builtin-schema", "vendor.compose-spec", CONFIGS / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert "healthcheck" in service
    assert "mem_limit" in service
    for port in service.get("ports", []):
        inside = port.rsplit(":", 1)[1]
        assert inside in OPEN or port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("profile", PROFILES)
def test_every_file_that_is_mounted_is_there(profile: str) -> None:
    file = compose(profile)
    for name, service in file["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (CONFIGS / source).exists() or source == "./compose/tls", f"{name}: {source}"
            else:
                assert source in file["volumes"], f"{name}: {source}"
        assert set(service.get("secrets", [])) <= file["secrets"].keys()


def test_with_each_profile_dmpool_waits_for_what_it_needs_and_has_room_for_its_miners() -> None:
    services = compose()["services"]
    for profile, names in (("roles", {"gateway", "ledger", "web"}), ("one", {"pool"})):
        assert {name for name, one in services.items() if one.get("profiles") == [profile]} == names
        for name in names:
            needs = {other: one["condition"] for other, one in services[name]["depends_on"].items()}
            assert needs == {"postgres": "service_healthy", "bitcoind": "service_healthy"}
            assert services[name]["ulimits"]["nofile"]["hard"] == 131072
            assert services[name]["healthcheck"]["test"][1:4] == ["dmpool", "health", "--alive"]
    assert services["postgres"]["networks"] == ["inside"]
    assert compose()["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize(("name", "server"), [("dmpool.toml", "bitcoind"), ("alertmanager.yml", "web")])
def test_who_lets_in_one_network_alone_is_called_by_its_name_there(name: str, server: str) -> None:
    """On two networks a service's own name may be found on either."""
    alias = f"{server}.dmpool"
    assert compose()["services"][server]["networks"]["inside"] == {"aliases": [alias]}
    named = re.findall(rf"//({server}[a-z.]*):", (CONFIGS / "compose" / name).read_text("utf-8"))
    assert set(named) == {alias}


def test_bitcoind_keeps_its_data_in_our_volume_and_needs_no_root() -> None:
    """The image's own script wants to be root, and names a folder with a volume that nobody keeps."""
    service = compose()["services"]["bitcoind"]
    assert service["entrypoint"] == ["bitcoind"]
    (folder,) = [word.partition("=")[2] for word in service["command"] if word.startswith("-datadir=")]
    assert f"bitcoind:{folder}" in service["volumes"]


def test_the_role_that_strangers_talk_to_sees_no_keys() -> None:
    services = compose()["services"]
    holders = {name for name, one in services.items() if "keys:/var/lib/dmpool/keys" in one["volumes"]}
    assert holders == {"ledger"}
    assert " /var/lib/dmpool/keys\n" in (HOUSE / "Dockerfile").read_text("utf-8"), (
        "a new volume has its owner"
    )


def test_no_secret_of_compose_can_be_committed_or_built_in() -> None:
    for name in (".gitignore", ".dockerignore"):
        kept_out = {line.rstrip("/") for line in (HOUSE / name).read_text("utf-8").splitlines()}
        assert {"configs/compose/secrets", "configs/compose/tls", "configs/compose/.env"} <= kept_out


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make_secrets.sh makes."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([CONFIGS / "compose/make_secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_the_secrets_are_made_once_and_for_one_reader_each(secrets: Path) -> None:
    assert {path.name for path in secrets.iterdir()} == compose()["secrets"].keys()
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o400}
    assert {path.name for path in secrets.iterdir() if not path.stat().st_size} == {"mail.password"}
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run([CONFIGS / "compose/make_secrets.sh", secrets], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert before["pgpass"].decode().split(":")[-1].strip() == before["postgres.password"].decode()
    if os.geteuid() == 0:
        users = {name: int(one["user"].split(":")[0]) for name, one in compose()["services"].items()}
        for name, service in compose()["services"].items():
            for secret in service.get("secrets", []):
                assert (secrets / secret).stat().st_uid == users[name], f"{name}: {secret}"


def test_bitcoind_and_dmpool_read_their_files_and_know_each_other(secrets: Path, tmp_path: Path) -> None:
    """The password that one has as a hash is the one that the other shows."""
    rpc, zmq = free_port(), free_port()
    here = [
        ("/run/secrets", str(secrets)),
        ("bitcoind.dmpool:8332", f"127.0.0.1:{rpc}"),
        ("=8332", f"={rpc}"),
    ]
    here += [
        ("bitcoind.dmpool:28332", f"127.0.0.1:{zmq}"),
        ("0.0.0.0:28332", f"127.0.0.1:{zmq}"),
        ("0.0.0.0", "127.0.0.1"),
    ]
    here += [('data_dir = "/var/lib', f'data_dir = "{tmp_path}')]
    here += [(f':{port}"', f':{free_port()}"') for port in (3333, 3334, 8080, 8443, 9090)]
    for name in ("bitcoin.conf", "dmpool.toml"):
        text = (CONFIGS / "compose" / name).read_text("utf-8")
        for old, new in here:
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
    files = [f"-datadir={tmp_path}", f"-conf={tmp_path / 'bitcoin.conf'}", "-chain=regtest"]
    alone = ["-connect=0", "-listen=0", "-disablewallet=1"]
    node = subprocess.Popen([bitcoind_or_skip(), *files, *alone], stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout is not None
        assert any("Done loading" in line for line in node.stdout), "bitcoind refuses its configuration"
        given = variables()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DMPOOL_")}
        environment |= {"DMPOOL_POOL__CHAIN": given["CHAIN"], "DMPOOL_POOL__ADDRESS": given["POOL_ADDRESS"]}
        assert environment.items() >= {
            (key, value)
            for key, value in compose()["services"]["gateway"]["environment"].items()
            if key.startswith("DMPOOL_")
        }
        done = subprocess.run(
            [PROGRAM, "check-config", "--config", tmp_path / "dmpool.toml"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        node.terminate()
        node.communicate(timeout=60)


@pytest.mark.parametrize("profile", PROFILES)
def test_prometheus_reads_its_files(profile: str, tmp_path: Path) -> None:
    for mount in compose(profile)["services"]["prometheus"]["volumes"]:
        source, target = mount.split(":")[:2]
        if target.startswith("/etc/prometheus/"):
            shutil.copy(CONFIGS / source, tmp_path / Path(target).name)
    file = tmp_path / "prometheus.yml"
    file.write_text(file.read_text().replace("/etc/prometheus/", f"{tmp_path}/"))
    done = subprocess.run(
        [program_or_skip("promtool"), "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (group,) = yaml.safe_load((tmp_path / "targets.yml").read_text())
    services = compose(profile)["services"]
    running = {f"{name}:9090" for name, one in services.items() if one.get("profiles") == [profile]}
    assert set(group["targets"]) == running


def amtool() -> str:
    """The program; skips the test with the remedy where there is none."""
    cached = HOUSE / ".cache/alertmanager/usr/bin/amtool"
    found = str(cached) if cached.exists() else shutil.which("amtool")
    if found is None:
        pytest.skip("no amtool: run tests/integration/install_alertmanager.sh")
    return found


@pytest.mark.parametrize("name", ["alertmanager.yml", "compose/alertmanager.yml"])
@pytest.mark.parametrize("mail", [False, True], ids=["inbox", "mail-too"])
def test_alertmanager_reads_its_file(name: str, mail: bool, tmp_path: Path) -> None:
    """As it stands, and with the second receiver that it has an example of."""
    text = (CONFIGS / name).read_text("utf-8")
    file = tmp_path / "alertmanager.yml"
    file.write_text(re.sub(r"^( +)#(- |  )", r"\1\2", text, flags=re.M) if mail else text)
    done = subprocess.run([amtool(), "check-config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    read = yaml.safe_load(file.read_text())
    first = read["route"]["routes"][0]
    assert (first["receiver"], first.get("continue", False)) == (
        ("mail", True) if mail else ("dmpool", False)
    )
    if mail:
        (sent,) = read["receivers"][1]["email_configs"]
        folder = "/run/secrets/" if "/" in name else ""
        assert sent["auth_password_file"] == f"{folder}mail.password"
        assert sent.get("require_tls", True)
    assert "mail.password" in compose()["services"]["alertmanager"]["secrets"]


def test_the_files_of_compose_say_what_those_of_a_machine_say() -> None:
    alone, within = (
        yaml.safe_load((CONFIGS / name).read_text()) for name in ("prometheus.yml", "compose/prometheus.yml")
    )
    for file in (alone, within):
        del file["scrape_configs"][0]["static_configs" if file is alone else "file_sd_configs"]
        file["alerting"]["alertmanagers"][0]["static_configs"] = []
    assert alone == within
    alone, within = (
        yaml.safe_load((CONFIGS / name).read_text())
        for name in ("alertmanager.yml", "compose/alertmanager.yml")
    )
    for file in (alone, within):
        hook = file["receivers"][0]["webhook_configs"][0]
        assert hook.pop("url").endswith(":8080/api/v1/alarms")
        hook["http_config"]["authorization"].pop("credentials_file")
    assert alone == within


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    service = compose()["services"]["grafana"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in service["volumes"])
    provisioning = CONFIGS / mounts["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"].strip("${}") in service["environment"]
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (CONFIGS / mounts[str(home.parent)] / home.name).exists()
    (provider,) = yaml.safe_load((provisioning / "dashboards/dmpool.yaml").read_text())["providers"]
    folder = CONFIGS / mounts[provider["options"]["path"]]
    boards = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert boards
    used = set(
        re.findall(r'"uid": ?"([^"]*prometheus[^"]*)"', "".join(json.dumps(board) for board in boards))
    )
    assert used <= {source["uid"], "${datasource}"}
