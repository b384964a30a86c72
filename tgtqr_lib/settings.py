"""Typed settings: the environment over `.env` over `settings.toml` over the defaults.

Environment and `.env` give a key as `TGTQR_<KEY>`, a nested one with two underscores
(`TGTQR_LIMITS__DAILY_LOSS_USDT=1.50`). An unknown key and a limit above the hard one are errors.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tgtqr_lib.credentials import learn, read_env_file
from tgtqr_lib.domain import DomainError, Limits
from tgtqr_lib.home import Home
from tgtqr_lib.limits import COLLAR_BPS, HARD, ORDER_TARGET_USDT, SYMBOLS

PREFIX = "TGTQR_"
# names with the prefix that are not settings: where the home lies, and where tests find recorded data
NOT_SETTINGS = frozenset(
    {
        "TGTQR_HOME",
        "TGTQR_TRACEBACK",
        "TGTQR_RECORDED_DATA",
        "TGTQR_PASSWORD_HASH",
        "TGTQR_DASHBOARD_NOTEBOOK",
        "TGTQR_ALERTS",
    }
)
# of these, what `.env` may hold as well; the others concern a process, not a home
SECRETS = frozenset({"TGTQR_PASSWORD_HASH", "TGTQR_ALERTS"})
LARGEST_SCALE = 100


class LimitSettings(BaseModel):
    """Limits in USDT; each at most the hard one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position_usdt: Decimal = HARD.position_usdt
    daily_loss_usdt: Decimal = HARD.daily_loss_usdt
    total_loss_usdt: Decimal = HARD.total_loss_usdt

    @field_validator("*")
    @classmethod
    def _within_the_hard_limit(cls, value: Decimal, info: Any) -> Decimal:
        hard = getattr(HARD, info.field_name)
        if not value.is_finite() or value < 0:
            raise ValueError(f"is not a limit; expected 0 to {hard}")
        if value > hard:
            raise ValueError(f"is above the hard limit; expected at most {hard}")
        return value

    @property
    def limits(self) -> Limits:
        """As `Limits`; the value at which a holding is trimmed is always the hard one."""
        return Limits(
            self.position_usdt, self.daily_loss_usdt, self.total_loss_usdt, HARD.trim_usdt
        )


class SimulatorSettings(BaseModel):
    """The market that is served when `market` is `simulator`.

    url         of a running simulator; None starts one inside the command
    seed        of the synthetic market
    candles     a Parquet file of recorded one-minute candles to serve instead
    spread_bps  between best bid and best ask, basis points of the mid
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    seed: int = Field(default=1, ge=0)
    candles: Path | None = None
    spread_bps: Annotated[Decimal, Field(ge=0, le=1000)] = Decimal(1)


class Settings(BaseSettings):
    """What the owner can choose.

    account                 where orders go: paper, or an account of Bybit's demo or testnet
    demo_limits_scale       times which every limit counts on a demo or testnet account
    order_target_usdt       quote units that weight 1 buys
    collar_bps              how far from the last close an order may trade, basis points
    exchange_host           of Bybit's public data
    exchange_timeout_s      time budget of one question to the exchange, retries included
    late_candle_wait_s      how long a missing last minute is asked for again
    cell_timeout_s          time budget of one cell of the tick notebook
    post_mortem_after_stop  whether a post-mortem is written by itself after every stop
    record_book             whether watch and ticks keep a look at the order books every minute, in data/book/
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    market: Literal["simulator", "bybit"] = "simulator"
    account: Literal["paper", "demo", "testnet"] = "paper"
    demo_limits_scale: Annotated[Decimal, Field(ge=1, le=LARGEST_SCALE)] = Decimal(1)
    symbols: tuple[str, ...] = SYMBOLS
    strategy: str = "ma_trend"
    parameters: dict[str, int] = Field(default_factory=dict)
    order_target_usdt: Annotated[Decimal, Field(gt=0, le=HARD.position_usdt)] = ORDER_TARGET_USDT
    collar_bps: Annotated[int, Field(ge=0, le=COLLAR_BPS)] = COLLAR_BPS
    limits: LimitSettings = LimitSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    exchange_host: str = "https://api.bybit.com"
    exchange_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    late_candle_wait_s: Annotated[float, Field(ge=0, le=20)] = 20.0
    cell_timeout_s: Annotated[int, Field(ge=5, le=600)] = 60
    post_mortem_after_stop: bool = True
    record_book: bool = False

    @field_validator("account", mode="before")
    @classmethod
    def _never_real_money(cls, value: Any) -> Any:
        if value not in ("paper", "demo", "testnet"):
            real = str(value).strip().lower() in ("real", "live", "mainnet", "production", "prod")
            what = "would be real money, which this kit never trades" if real else "is not known"
            raise ValueError(f"{what}; expected paper, demo or testnet")
        return value

    @field_validator("demo_limits_scale")
    @classmethod
    def _not_on_paper(cls, value: Decimal, info: ValidationInfo) -> Decimal:
        if value != 1 and info.data.get("account") == "paper":
            raise ValueError("is for a demo or testnet account; expected 1 with account paper")
        return value

    @field_validator("symbols")
    @classmethod
    def _known_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            if symbol not in SYMBOLS:
                raise ValueError(f"holds {symbol!r}; expected some of {', '.join(SYMBOLS)}")
        if not value or len(set(value)) != len(value):
            raise ValueError("names no symbol, or one twice")
        return tuple(symbol for symbol in SYMBOLS if symbol in value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # what is passed to the constructor is the content of the files, so the environment goes first
        return env_settings, init_settings


class _EnvFile(EnvSettingsSource):
    """The variables of `.env`, taken as those of the environment are."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._values


def load(home: Home) -> Settings:
    """The settings of `home`. Raises `DomainError` naming the key, its value and the expectation."""
    return _load(home.settings, home.root / ".env")


def load_file(path: Path) -> Settings:
    """The settings of the file at `path`, under the environment's. Raises `DomainError` as `load` does."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise DomainError(f"{path}: {what}; expected settings as in settings.toml")
    return _load(path)


def _load(path: Path, env_file: Path | None = None) -> Settings:
    content = _read(path)
    places: dict[str, Mapping[str, str]] = {"environment": os.environ}
    learn(os.environ)  # every command that does something loads settings first
    if env_file is not None and (found := read_env_file(env_file)):
        _check_own(env_file, found)
        places[".env"] = found
    names = set(Settings.model_fields)
    for place, variables in places.items():
        for name in sorted(variables):
            key = _key(name)
            if key and name not in NOT_SETTINGS and key not in names:
                raise DomainError(
                    f"{place}: {name} is not a setting; expected one of {sorted(names)} "
                    f"with {PREFIX} before it"
                )
    try:
        if ".env" in places:
            content = _over(_EnvFile(places[".env"])(), content)
        return Settings(**content)
    except ValidationError as error:
        raise DomainError(_sentence(error, path, places)) from None
    except SettingsError as error:  # its text names the field alone
        place, name = next(
            (p, n)
            for p, found in places.items()
            for n in sorted(found)
            if f'"{_key(n)}"' in str(error)
        )
        raise DomainError(
            f"{place}: {name} {places[place][name]} is not JSON; "
            f'expected something like ["BTCUSDT"] or {{"window": 60}}'
        ) from None


def _check_own(path: Path, variables: Mapping[str, str]) -> None:
    """Raise `DomainError` for a name in `.env` that is read from the environment alone."""
    for name in sorted(NOT_SETTINGS - SECRETS):
        if name not in variables:
            continue
        if name == "TGTQR_HOME" and Path(variables[name]).expanduser().absolute() == path.parent:
            continue  # it says where it lies, and is right
        raise DomainError(f".env: {name} is read from the environment alone; take it out of {path}")


def _over(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """`lower` with the values of `upper`, table by table."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _over(value, below) if both else value
    return merged


def _key(variable: str) -> str | None:
    """The top-level key that an environment variable sets, in either case; None without the prefix."""
    name = variable.upper()
    return name.removeprefix(PREFIX).split("__")[0].lower() if name.startswith(PREFIX) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DomainError(f"{path.name}: not readable as TOML ({error})") from None


def _sentence(error: ValidationError, path: Path, places: Mapping[str, Mapping[str, str]]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
    where = next((place for place, found in places.items() if variable in found), path.name)
    if first["type"] == "extra_forbidden":
        known = LimitSettings if key.startswith("limits.") else Settings
        known = SimulatorSettings if key.startswith("simulator.") else known
        return f"{where}: unknown key {key!r}; expected one of {sorted(known.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key} {first['input']!s} {message[0].lower()}{message[1:]}"
