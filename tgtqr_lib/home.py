"""Where things lie. `TGTQR_HOME` moves `data/` and `outputs/`; reading this module imports nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The folder that holds `data/`, `outputs/` and `settings.toml`."""

    root: Path

    @classmethod
    def find(cls, path: str | os.PathLike[str] | None = None) -> Home:
        """The home at `path`, else at `TGTQR_HOME`, else the project's own folder."""
        chosen = path or os.environ.get("TGTQR_HOME") or PROJECT
        return cls(Path(chosen).expanduser().absolute())

    @property
    def settings(self) -> Path:
        return self.root / "settings.toml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def ledger(self) -> Path:
        return self.data / "trading_data.db"

    @property
    def witness(self) -> Path:
        return self.data / "ledger.witness"

    @property
    def candles(self) -> Path:
        return self.data / "candles"

    @property
    def funding(self) -> Path:
        return self.data / "funding"

    @property
    def book(self) -> Path:
        return self.data / "book"

    @property
    def control(self) -> Path:
        return self.data / "control"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def ticks(self) -> Path:
        return self.outputs / "ticks"

    @property
    def log(self) -> Path:
        return self.outputs / "logs" / "trading_system.log"

    def make(self) -> Home:
        """Create the folders that are missing; returns the home itself."""
        for folder in (self.control, self.candles, self.ticks, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        return self
