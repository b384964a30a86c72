"""History through the rules of a tick: `replay` slow and true, `run` and `sweep` fast and equal to it."""

from tgtqr_lib.backtest.bars import Bars, Gap
from tgtqr_lib.backtest.replay import replay
from tgtqr_lib.backtest.result import OpenPosition, Result, Stop, Trade
from tgtqr_lib.backtest.run import run
from tgtqr_lib.backtest.sweep import SweepResult, sweep

__all__ = [
    "Bars",
    "Gap",
    "OpenPosition",
    "Result",
    "Stop",
    "SweepResult",
    "Trade",
    "replay",
    "run",
    "sweep",
]
