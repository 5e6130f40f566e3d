"""The configuration: one TOML file and the environment, typed and checked before anything is started.

Every mistake is a `ConfigError` of one line: the key, the value, and what to write instead. The environment
overrides the file: `DMPOOL_STRATUM__LISTEN` is `stratum.listen`. Secrets never appear in a message.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pool.log_section import LogSection
from pool.notices.section import NoticesSection
from pool.pool_section import PoolSection, Section
from pool.settlement_config import SettlementSection
from pool.signing_section import SigningSection
from pool.telemetry.logs import LogsSection
from stratum.device_class import TABLE, DeviceClass, DeviceClasses
from stratum.difficulty import exponent_at_most
from stratum.limits import ServerLimits
from stratum.vardiff import DifficultyPolicy

ENVIRONMENT_PREFIX = "DMPOOL_"
RULES_FILE = Path(__file__).resolve().parent.parent / "configs" / "rules.toml"
"""The rules that come with the program."""
VERSION_BITS_OF_MINERS = 0x1FFFFFE0
"""The bits of a block's version that consensus leaves to miners (BIP323)."""
SECRET_KEYS = ("url", "password")
SECRET_SECTIONS = ("nodes", "database", "signing")
"""Sections whose values are not shown: a url or a secret may stand where something else is wanted."""


class ConfigError(Exception):
    """A configuration that cannot be used: key, value and remedy in one line."""


class Listen(Section):
    """Where a server listens."""

    host: str
    port: int

    @property
    def everywhere(self) -> bool:
        """Whether this is every address of the machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _listen(value: object) -> object:
    if isinstance(value, Listen):
        return value
    if not isinstance(value, str):
        raise ValueError('write it as "host:port", for example "127.0.0.1:8080"')  # noqa: TRY004
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError('write it as "host:port", for example "127.0.0.1:8080"')
    return Listen(host=host.strip("[]"), port=int(port))


class NodeSection(Section):
    """One bitcoind."""

    url: SecretStr
    """http://user:password@host:port, or without user and password beside a cookie_file."""
    cookie_file: Path | None = None
    zmq: str | None = None
    """Its zmqpubhashblock address, for example tcp://127.0.0.1:28332."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError('write it as "http://user:password@127.0.0.1:8332"')
        return value

    @field_validator("zmq")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("tcp://", "ipc://")):
            raise ValueError('write it as "tcp://127.0.0.1:28332"')
        return value


class TlsSection(Section):
    """Stratum over TLS, on a port of its own."""

    listen: Annotated[Listen, NoDecode] = Listen(host="0.0.0.0", port=3334)  # noqa: S104 - as the plain one
    certificate: Path
    """The chain, PEM; read again when it changes."""
    key: Path

    _parse_listen = field_validator("listen", mode="before")(_listen)


class DeviceClassSection(Section):
    """Another start and floor for one device class."""

    start_difficulty: float | None = Field(default=None, gt=0, le=2**40)
    min_difficulty: float | None = Field(default=None, gt=0, le=2**40)


class StratumSection(Section):
    """The miners' front."""

    listen: Annotated[Listen, NoDecode] = Listen(host="0.0.0.0", port=3333)  # noqa: S104 - miners come from outside
    tls: TlsSection | None = None
    proxies: tuple[IPvAnyNetwork, ...] = ()
    """Load balancers that may say with a PROXY header for whom they connect."""
    connections: int | None = Field(default=None, ge=1)
    """In all; none: what the limit of open files allows."""
    connections_per_address: int = Field(default=60_000, ge=1)
    connections_per_account: int = Field(default=200_000, ge=1)
    accept_per_second: float = Field(default=2000, ge=1)
    """Connections that are let in; in a storm the rest waits in line."""
    rented_hashrate: Literal["refuse", "accept"] = "refuse"
    """NiceHash and its like: devices that nobody registered (O-07)."""
    empty_block_first: bool = True
    """Send a job without transactions when a new block is known before the node's full template."""
    ask_version: bool = False
    """Ask each miner for its software's version (client.get_version)."""
    public_host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")
    """The name by which miners know this gateway; a drain can send them to another name of its domain."""
    device_classes: dict[str, DeviceClassSection] = Field(default_factory=dict)
    start_difficulty: float = Field(default=16384, gt=0, le=2**40)
    min_difficulty: float | None = Field(default=None, gt=0, le=2**40)
    """Unless given: the start difficulty / 16, and at least 1 when that one is at least 1."""
    max_difficulty: float = Field(default=2**40, gt=0, le=2**40)
    shares_per_minute: float = Field(default=12, gt=0, le=6000)
    version_mask: str = "1fffe000"

    _parse_listen = field_validator("listen", mode="before")(_listen)

    @field_validator("version_mask")
    @classmethod
    def _rollable(cls, value: str) -> str:
        mask = int(value, 16) if re.fullmatch("[0-9a-fA-F]{8}", value) else 0
        if not mask or mask & ~VERSION_BITS_OF_MINERS:
            raise ValueError(
                f'write 8 hex digits with bits inside "{VERSION_BITS_OF_MINERS:08x}", for example "1fffe000"'
            )
        return value

    @model_validator(mode="after")
    def _ordered(self) -> StratumSection:
        if not self.policy.minimum <= self.policy.start <= self.policy.maximum:
            lowest = 2.0**self.policy.minimum if self.min_difficulty is None else self.min_difficulty
            raise ValueError(
                f"start_difficulty {self.start_difficulty:g} is outside min_difficulty "
                f"{lowest:g} and max_difficulty {self.max_difficulty:g}; "
                f"change one of the three"
            )
        return self

    @field_validator("device_classes")
    @classmethod
    def _known_classes(cls, value: dict[str, DeviceClassSection]) -> dict[str, DeviceClassSection]:
        names = [device.name for device in TABLE]
        for name in value:
            if name not in names:
                raise ValueError(f"{name!r} is no device class; there are {', '.join(names)}")
        return value

    @property
    def devices(self) -> DeviceClasses:
        """The table of device classes with the changes made here."""
        table = tuple(_changed(device, self.device_classes.get(device.name)) for device in TABLE)
        return DeviceClasses(table, self.rented_hashrate)

    @property
    def limits(self) -> ServerLimits:
        """What the server takes."""
        return ServerLimits(
            connections=self.connections,
            connections_per_address=self.connections_per_address,
            connections_per_account=self.connections_per_account,
            accept_per_second=self.accept_per_second,
            proxies=self.proxies,
        )

    @property
    def policy(self) -> DifficultyPolicy:
        """The same as powers of two, rounded down."""
        start = exponent_at_most(self.start_difficulty)
        lowest = max(start - 4, min(start, 0))
        return DifficultyPolicy(
            start=start,
            minimum=lowest if self.min_difficulty is None else exponent_at_most(self.min_difficulty),
            maximum=exponent_at_most(self.max_difficulty),
            shares_per_minute=self.shares_per_minute,
        )


def _changed(device: DeviceClass, section: DeviceClassSection | None) -> DeviceClass:
    if section is None:
        return device
    start, floor = section.start_difficulty, section.min_difficulty
    return replace(
        device,
        start=device.start if start is None else exponent_at_most(start),
        floor=device.floor if floor is None else exponent_at_most(floor),
    )


class DatabaseSection(Section):
    """PostgreSQL."""

    url: SecretStr | None = None
    """postgresql://user:password@host/database; none: the embedded PostgreSQL in data_dir."""

    @field_validator("url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("postgresql://", "postgresql+asyncpg://")
        ):
            raise ValueError('write it as "postgresql://user:password@host/database"')
        return value


class ComplianceSection(Section):
    """How the register of licensed miners is kept."""

    four_eyes: frozenset[Literal["payout_address", "licence_status"]] | None = None
    """Changes that a second compliance officer must approve; none given: both in production."""
    token_file: Path | None = None
    """Holds the token of the person whom a command of this machine acts for."""


class WebSection(Section):
    """The status page."""

    listen: Annotated[Listen, NoDecode] = Listen(host="127.0.0.1", port=8080)
    _parse_listen = field_validator("listen", mode="before")(_listen)


class DoorTlsSection(TlsSection):
    """The web over TLS, on a port of its own: the way in for regulators without a proxy before it."""

    listen: Annotated[Listen, NoDecode] = Listen(host="0.0.0.0", port=8443)  # noqa: S104 - regulators come from outside


class DoorSection(Section):
    """The regulator's door: reports, forms and archive under /api/v1, and the portal."""

    public_url: str | None = Field(default=None, pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    """How the web role is reached from outside."""
    open_reports: bool = False
    """Whether anybody may read reports and forms, without a token; the archive never."""
    tls: DoorTlsSection | None = None
    client_certificates: Path | None = None
    """The authorities (PEM) whose client certificates are taken on the TLS port."""
    proxies: tuple[IPvAnyNetwork, ...] = ()
    """Reverse proxies that say with X-Forwarded-For for whom they ask."""
    requests_per_minute: int = Field(default=300, ge=1, le=1_000_000)
    """Of one regulator."""
    public_requests_per_minute: int = Field(default=120, ge=1, le=1_000_000)
    """Of one address without a token, where reports are open."""

    @model_validator(mode="after")
    def _certificates_over_tls(self) -> DoorSection:
        if self.client_certificates is not None and self.tls is None:
            raise ValueError("client_certificates: they are shown over TLS; add a [door.tls] section")
        return self


class MetricsSection(Section):
    """Prometheus metrics."""

    listen: Annotated[Listen, NoDecode] = Listen(host="127.0.0.1", port=9090)
    _parse_listen = field_validator("listen", mode="before")(_listen)


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_dir: Annotated[Path, Field()]
    rules_file: Path = RULES_FILE
    """The rules of law as dated data."""
    pool: PoolSection
    nodes: tuple[NodeSection, ...] = ()
    stratum: StratumSection = StratumSection()
    database: DatabaseSection = DatabaseSection()
    compliance: ComplianceSection = ComplianceSection()
    web: WebSection = WebSection()
    metrics: MetricsSection = MetricsSection()
    settlement: SettlementSection | None = None
    """How miners are paid; none: not by this program."""
    signing: SigningSection = SigningSection()
    log: LogSection = LogSection()
    logs: LogsSection = LogsSection()
    door: DoorSection = DoorSection()
    notices: NoticesSection = NoticesSection()
    demo_miners: int = Field(default=0, ge=0, le=32, exclude=True)
    """Simulated miners that `dmpool run` without a configuration brings along."""

    @property
    def production(self) -> bool:
        """Whether real money is mined: what the law asks of the pool itself is then enforced (O-20, O-22)."""
        return self.pool.chain == "main"

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if not self.nodes and self.pool.chain != "regtest":
            raise ValueError(
                f"nodes: none is given, but the embedded chain is regtest and pool.chain is "
                f'"{self.pool.chain}"; add a [[nodes]] section'
            )
        if self.settlement is not None and not self.nodes:
            raise ValueError(
                "nodes: none is given, and settlement.wallet is a wallet on one; add a [[nodes]] section"
            )
        if self.pool.chain == "main" and self.stratum.start_difficulty < 1:
            raise ValueError(
                f"stratum.start_difficulty: {self.stratum.start_difficulty:g} on main would flood the pool; "
                f"fractions are for tests"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what was read from the file (passed to the constructor)."""
        return env_settings, init_settings


DEMO: dict[str, Any] = {
    "data_dir": ".dmpool",
    "pool": {
        "name": "Demo Digital Mining Pool",
        "bin": "230440000105",
        "chain": "regtest",
        "address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    },
    "stratum": {"start_difficulty": 2**-17, "min_difficulty": 2**-18, "shares_per_minute": 150},
    "door": {"open_reports": True},
    "demo_miners": 3,
}
"""What runs without a configuration file: the embedded chain, embedded PostgreSQL and three miners."""


def load(path: Path | None) -> Settings:
    """The settings of a file and the environment, or of the demo; raises ConfigError."""
    values = DEMO if path is None else _read(path)
    source = "the demo configuration" if path is None else str(path)
    unknown = _unknown_environment()
    if unknown:
        raise ConfigError(f"environment: {unknown}: no such key; see the example in configs/")
    if path is not None and "demo_miners" in values:
        raise ConfigError(f"{source}: demo_miners: no such key; remove it")
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None
    except SettingsError as error:
        raise ConfigError(f"environment: {error}; set its keys one by one, or use the file") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a configuration file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _explain(error: ValidationError) -> str:
    errors = error.errors()
    # A misspelt key also leaves one missing: the misspelling is what to mend.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"] if part != "Listen")
    if first["type"] == "extra_forbidden":
        return f"{key}: no such key; remove it or correct its name"
    if first["type"] == "missing":
        return f"{key}: is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    if not key:
        return message
    if isinstance(value, dict | BaseModel):
        return f"{key}.{message}" if first["type"] == "value_error" else f"{key}: {message}"
    name = key.rsplit(".", 1)[-1]
    secret = name in SECRET_KEYS or (key.partition(".")[0] in SECRET_SECTIONS and name != "zmq")
    shown = "(secret)" if secret else repr(value)
    return f"{key}: {shown}: {message}"


def _unknown_environment() -> str | None:
    for name in os.environ:
        if name.startswith(ENVIRONMENT_PREFIX):
            section, _, rest = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            key = rest.partition("__")[0]
            field = Settings.model_fields.get(section)
            keys = getattr(field.annotation, "model_fields", None) if field else None
            if field is None or (key and keys is not None and key not in keys):
                return name
    return None
