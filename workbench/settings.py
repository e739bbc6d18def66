"""Settings: from `workbench.toml` in the project's folder, overruled by the environment.

    # workbench.toml
    data_dir = "data"
    database_url = "postgresql+psycopg://me:secret@localhost/trading"   # or the variable DATABASE_URL
    short_errors = false    # notebooks show whole tracebacks, as headless runs do

    [ib]                    # leave it out to use the built-in gateway
    port = 7497             # TWS paper 7497, live 7496; IB Gateway paper 4002, live 4001
    client_id = 1
    reset_region = "europe" # where your login's servers are, for the hours of their nightly reset; or america, asia

    [gateway]               # the built-in gateway
    tape = "simulated"      # or a folder of bars to replay
    start = "2026-11-20T09:25"
    speed = 10

    [indicators]            # beside the suite; see workbench.indicators.define
    sma_100 = {}
    fast = { function = "EMA", timeperiod = 9 }

    [jobs.screen]           # when notebooks run by themselves; see workbench.pipeline.jobs
    at = "open+5m, 10:00..15:00 every 30m"

    [pipeline]              # who is told when a run fails, by Apprise's URLs
    notify = ["mailto://me:secret@example.com"]

    [screen]                # what is not said is as usual; see workbench.screening.rules
    weights = { 1day = 0.6, 1hour = 0.4 }
    alert_score = 60
    [screen.conditions]     # beside the usual ones, or other than usual; false switches one off
    stretched = { within = 5 }
    gap = { long = "open < low_1", short = "open > high_1", points = 20, timeframes = ["1day"] }
    [screen.gates]
    price = "close >= 10"

In the environment: WORKBENCH_DATA_DIR, WORKBENCH_IB__PORT, WORKBENCH_GATEWAY__SPEED and so on.

The project's folder is the nearest one, from the working folder upwards, that holds a `workbench.toml` or a
`pyproject.toml`: a kernel works in `notebooks/`, the command line above it, and both find the same data. Relative
folders are relative to it. Without such a folder it is the working folder.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from workbench.errors import InvalidSettings
from workbench.ib.resets import Region
from workbench.pipeline.jobs import Duration

FILE = "workbench.toml"
SIMULATED = "simulated"
_SQLITE = "sqlite:///"
_MARKS = (FILE, "pyproject.toml")


def project_folder() -> Path:
    """Return the folder that settings and relative folders belong to; `.` when it is the working folder."""
    here = Path.cwd()
    marked = (folder for folder in (here, *here.parents) if any((folder / mark).is_file() for mark in _MARKS))
    found = next(marked, here)
    return Path() if found == here else found


class IBSettings(BaseModel):
    """Where IB listens. With neither host nor port the built-in gateway is used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    client_id: int = Field(default=1, ge=0)
    timeout: float = Field(default=20.0, gt=0)
    request_timeout_s: float = Field(default=60.0, gt=0)
    readonly: bool = True
    patience_s: float = Field(default=600.0, ge=0)
    watchdog_s: float = Field(default=30.0, gt=0)
    reset_region: Region = "america"
    market_data_lines: int = Field(default=100, ge=1)  # of the account; half as many messages a second are allowed
    gateway_speed: float = Field(default=1.0, gt=0)  # of a built-in gateway that was started with another speed


class GatewaySettings(BaseModel):
    """The built-in gateway: what it plays, from when (exchange time) and how fast."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tape: str = SIMULATED
    start: str | None = None
    speed: float = Field(default=1.0, gt=0, le=1000)
    seed: int = Field(default=1, ge=0)


class PipelineSettings(BaseModel):
    """The scheduler: whom it tells of failures, how long runs are kept, when live bars are recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notify: list[SecretStr] = Field(default_factory=list)  # Apprise URLs: mailto://, json:// and a hundred others
    keep_days: int = Field(default=90, ge=1)
    record_live: bool = False  # keep `workbench live` at work while the session is, following the watchlist
    record_symbols: list[str] = Field(default_factory=list)  # recorded always, before those of the watchlist
    record_before_open: Duration = timedelta(minutes=5)
    record_after_close: Duration = timedelta(minutes=2)


class Settings(BaseSettings):
    """All settings of a workbench."""

    model_config = SettingsConfigDict(
        env_prefix="WORKBENCH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    ib: IBSettings = IBSettings()
    gateway: GatewaySettings = GatewaySettings()
    indicators: dict[str, Any] = Field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pipeline: PipelineSettings = PipelineSettings()
    screen: dict[str, Any] = Field(default_factory=dict)
    short_errors: bool = True  # in notebooks: our errors in a few lines, the traceback by %tb
    data_dir: Path = Path("data")
    notebooks_dir: Path = Path("notebooks")
    runs_dir: Path = Path("papermill_runs")
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "WORKBENCH_DATABASE_URL", "database_url")
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, project_folder() / FILE)

    @field_validator("data_dir", "notebooks_dir", "runs_dir")
    @classmethod
    def _in_the_project(cls, folder: Path) -> Path:
        return project_folder() / folder

    @field_validator("indicators")
    @classmethod
    def _can_be_computed(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Refuse a wrong definition when the settings are read, not when a chart is drawn hours later."""
        if table:  # what is imported takes its time
            if str(project_folder().resolve()) not in sys.path:
                sys.path.append(str(project_folder().resolve()))  # for functions of one's own, `module:function`
            from workbench.indicators.define import check_suite, parse_indicators
            from workbench.indicators.suite import SUITE
            from workbench.market.bars import COLUMNS

            check_suite((*SUITE, *parse_indicators(table)), COLUMNS)
        return table

    @property
    def uses_built_in_gateway(self) -> bool:
        """Whether no gateway of IB's is configured."""
        return self.ib.host is None and self.ib.port is None

    @property
    def market_dir(self) -> Path:
        """The folder of this market's data: simulated and replayed bars live apart from IB's."""
        if not self.uses_built_in_gateway:
            return self.data_dir
        return self.data_dir / ("demo" if self.gateway.tape == SIMULATED else "replay")

    @property
    def secrets(self) -> list[str]:
        """What nobody may see in anything that a run leaves."""
        from workbench.pipeline.secrets import secrets_of_hook
        from workbench.store.engine import parse_url, secrets_of

        database = self.database.get_secret_value()
        hidden = secrets_of(parse_url(database))
        hooks = [secret for url in self.pipeline.notify for secret in secrets_of_hook(url.get_secret_value())]
        return [*hidden, *([database] if hidden else []), *hooks]

    @property
    def database(self) -> SecretStr:
        """The URL of the database: as configured, else SQLite beside the bars; a relative file is the project's."""
        if self.database_url is None:
            return SecretStr(f"{_SQLITE}{(self.market_dir / 'trading.db').as_posix()}")
        scheme, is_file, file = self.database_url.get_secret_value().partition(_SQLITE)
        if scheme or not is_file or not file or file.startswith(":"):
            return self.database_url
        return SecretStr(_SQLITE + (project_folder() / file).as_posix())


def load_settings(*, gateway: str = "", data_dir: str | Path | None = None) -> Settings:
    """Return the settings that hold in the working folder.

    `gateway` overrules which gateway is used: `host:port`, or `built-in`; `data_dir` where data are kept. Raises
    `InvalidSettings`, naming each setting that cannot be used.
    """
    try:
        settings = Settings() if data_dir is None else Settings(data_dir=Path(data_dir))
        return settings if not gateway else settings.model_copy(update={"ib": _overruled(settings.ib, gateway)})
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_input=False)
        ]
        raise InvalidSettings(f"settings ({FILE} and WORKBENCH_ variables): {'; '.join(problems)}") from None
    except InvalidSettings:
        raise
    except ValueError as error:
        raise InvalidSettings(f"{FILE} cannot be read: {error}") from error


def _overruled(ib: IBSettings, gateway: str) -> IBSettings:
    if gateway == "built-in":
        return ib.model_copy(update={"host": None, "port": None})
    host, colon, port = gateway.rpartition(":")
    if not (colon and host and port.isdigit()):
        raise InvalidSettings(f"gateway {gateway!r} is neither host:port, such as 127.0.0.1:7497, nor built-in")
    return IBSettings.model_validate(ib.model_dump() | {"host": host, "port": int(port)})
