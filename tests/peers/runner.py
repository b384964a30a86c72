"""One peer, run again and again on request: written for the peers' environment, imports nothing of ours.

  python runner.py ENGINE FILE      ENGINE: vectorbt, vectorbt-rules, vectorbt-sweep, backtesting.py

For every line on standard input the engine goes once from the Parquet file to trades and equity, and
one JSON object comes back: seconds, and the entries and exits (ms) or the trades of a sweep.

The strategy: at the close of every quarter hour, long above the mean of the last 60 closes, flat below it;
an order fills at the next minute's open with a fee of 0.1 %. The sweep has the windows and bands it is
given. Columns of FILE: ts (int64 ms, the open), open, high, low, close, volume.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd

FEE, NOTIONAL, CASH, WINDOW, QUARTER = 0.001, 0.95, 100.0, 60, 15
CHUNK = 50  # columns at a time: more take more memory and are slower


def read(path):
    frame = pd.read_parquet(path, columns=["ts", "open", "close"])
    frame.index = pd.to_datetime(frame["ts"], unit="ms")  # naive: zones cost vectorbt 20 s
    return frame


def decided(times):
    """Rows that close on a quarter hour and have a next minute."""
    rows = np.flatnonzero((times // 60_000 + 1) % QUARTER == 0)
    return rows[rows + 1 < len(times)]


class Vectorbt:
    """`Portfolio.from_signals` on minute rows, by the Rust engine: the fastest way through one run."""

    def __init__(self):
        import vectorbt

        self.vbt = vectorbt
        vectorbt.settings["engine"] = "rust"

    def __call__(self, path):
        frame = read(path)
        times, close = frame["ts"].to_numpy(), frame["close"].to_numpy()
        n, rows = len(frame), decided(times)
        rows = rows[rows >= WINDOW - 1]
        mean = self.vbt.MA.run(frame["close"], WINDOW).ma.to_numpy()[rows]
        entries, exits, size = np.zeros(n, bool), np.zeros(n, bool), np.full(n, np.nan)
        entries[rows[close[rows] > mean] + 1] = True
        exits[rows[close[rows] < mean] + 1] = True
        size[rows + 1] = NOTIONAL / close[rows]
        portfolio = self.vbt.Portfolio.from_signals(
            frame["close"], entries=entries, exits=exits, size=size, price=frame["open"],
            fees=FEE, init_cash=CASH, freq="1min",
        )  # fmt: skip
        equity = portfolio.value().to_numpy()
        records = portfolio.trades.records
        closed = records["status"].to_numpy() == 1
        return {
            "entries": times[records["entry_idx"].to_numpy()].tolist(),
            "exits": times[records["exit_idx"].to_numpy()[closed]].tolist(),
            "equity": float(equity[-1]),
        }


class VectorbtRules(Vectorbt):
    """`from_order_func` with daily and total limits in callbacks: as many rules as it can carry."""

    def __init__(self):
        super().__init__()
        from numba import njit
        from vectorbt.portfolio import nb
        from vectorbt.portfolio.enums import NoOrder

        @njit
        def prepare(_):
            return np.zeros(1), np.zeros(2, np.bool_)

        @njit
        def order(c, start, flags, close, opened, mean, quarter, midnight, total, daily, cash):
            i = c.i
            if i == 0:
                return NoOrder
            j = i - 1  # the minute that has just closed
            equity = c.cash_now + c.position_now * close[j] - cash
            if midnight[j]:
                start[0], flags[0] = equity, False
            flags[0] = flags[0] or equity - start[0] <= -daily
            if equity <= -total and not flags[1]:
                flags[1] = True
                if c.position_now > 0:
                    return nb.order_nb(size=-c.position_now, price=opened[i], fees=FEE)
            if quarter[j] and not flags[1]:
                if c.position_now == 0:
                    if close[j] > mean[j] and not flags[0]:
                        return nb.order_nb(size=NOTIONAL / close[j], price=opened[i], fees=FEE)
                elif close[j] < mean[j]:
                    return nb.order_nb(size=-c.position_now, price=opened[i], fees=FEE)
            return NoOrder

        self.prepare, self.order = prepare, order

    def __call__(self, path):
        frame = read(path)
        times = frame["ts"].to_numpy()
        mean = self.vbt.MA.run(frame["close"], WINDOW).ma.to_numpy()
        quarter = (times // 60_000 + 1) % QUARTER == 0
        midnight = (times + 60_000) % 86_400_000 == 0
        portfolio = self.vbt.Portfolio.from_order_func(
            frame["close"], self.order, frame["close"].to_numpy(), frame["open"].to_numpy(), mean,
            quarter, midnight, 1e9, 1e9, CASH, pre_sim_func_nb=self.prepare, init_cash=CASH,
            freq="1min", use_numba=True,
        )  # fmt: skip
        equity = portfolio.value().to_numpy()
        records = portfolio.trades.records
        closed = records["status"].to_numpy() == 1
        return {
            "entries": times[records["entry_idx"].to_numpy()].tolist(),
            "exits": times[records["exit_idx"].to_numpy()[closed]].tolist(),
            "equity": float(equity[-1]),
        }


class VectorbtSweep(Vectorbt):
    """Means on minutes, the portfolio on decided rows alone, many columns at once: an expert's way."""

    def __call__(self, path, windows, bands):
        frame = read(path)
        close, opened = frame["close"].to_numpy(), frame["open"].to_numpy()
        rows = decided(frame["ts"].to_numpy())
        now, price = close[rows][:, None], opened[rows + 1][:, None]
        trades = []
        for first in range(0, len(windows), max(1, CHUNK // len(bands))):
            some = windows[first : first + max(1, CHUNK // len(bands))]
            means = self.vbt.MA.run(frame["close"], some).ma.to_numpy()
            means = means.reshape(len(close), len(some))[rows]
            shape = len(rows), len(some) * len(bands)
            entries, exits = np.empty(shape, bool), np.empty(shape, bool)
            for b, bps in enumerate(bands):
                entries[:, b :: len(bands)] = now > means * (1 + bps / 10_000)
                exits[:, b :: len(bands)] = now < means * (1 - bps / 10_000)
            portfolio = self.vbt.Portfolio.from_signals(
                pd.Series(close[rows]), entries=entries, exits=exits, size=NOTIONAL / now,
                price=price, fees=FEE, init_cash=CASH, freq="15min",
            )  # fmt: skip
            trades += np.asarray(portfolio.trades.closed.count()).tolist()
            portfolio.final_value()
        return {"trades": trades}


class BacktestingPy:
    """backtesting.py, which trades whole units only: so a unit is a billionth of a coin."""

    UNIT = 1e-9

    def __call__(self, path):
        from backtesting import Backtest, Strategy

        frame = pd.read_parquet(path)
        times = frame["ts"].to_numpy()
        prices = frame[["open", "high", "low", "close"]] * self.UNIT
        prices.columns = ["Open", "High", "Low", "Close"]
        prices["Volume"] = frame["volume"]
        prices.index = pd.DatetimeIndex(pd.to_datetime(times, unit="ms"))
        quarter = ((times // 60_000 + 1) % QUARTER == 0).tolist()
        means = frame["close"].rolling(WINDOW).mean().to_numpy() * self.UNIT

        class Seed(Strategy):
            def init(self):
                pass  # a declared indicator would keep it from the first decision

            def next(self):
                now = len(self.data) - 1
                if not quarter[now]:
                    return
                close, mean = self.data.Close[-1], means[now]
                if not self.position:
                    if close > mean:
                        self.buy(size=round(NOTIONAL / close))
                elif close < mean:
                    self.position.close()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test = Backtest(prices, Seed, cash=CASH, commission=FEE, finalize_trades=False)
            found = test.run()
        trades = found["_trades"]
        live = [trade.entry_bar for trade in found["_strategy"].trades]
        return {
            "entries": times[[*trades["EntryBar"], *live]].tolist(),
            "exits": times[trades["ExitBar"].to_numpy()].tolist(),
            "equity": float(found["_equity_curve"]["Equity"].iloc[-1]),
        }


ENGINES = {
    "vectorbt": Vectorbt,
    "vectorbt-rules": VectorbtRules,
    "vectorbt-sweep": VectorbtSweep,
    "backtesting.py": BacktestingPy,
}


def main():
    engine, path = ENGINES[sys.argv[1]](), sys.argv[2]
    print(json.dumps({"ready": sys.argv[1]}), flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        began = time.perf_counter()
        found = engine(path, **given)
        print(json.dumps({"seconds": time.perf_counter() - began} | found), flush=True)


if __name__ == "__main__":
    main()
