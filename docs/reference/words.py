"""Sentences of the reference that the code does not have: MEANING, what a name means; TO_DO, what to do about it.

`python docs/make_reference.py` names every sentence that is missing here, and every one whose name the code no
longer has. A group is a heading of codes.md or a table of settings.md.
"""

MEANING = {
    "settings": {
        "market": "where prices come from: the kit's own simulator, or Bybit's public data. Orders are filled on "
        "paper with either",
        "symbols": "what is watched and traded, some of BTCUSDT and ETHUSDT, each once",
        "strategy": "the name of a registered one, see [strategies](strategies.md)",
        "parameters": "of the strategy; those that are not given have its defaults",
    },
    "settings limits": {
        "limits.position_usdt": "what a symbol may cost, fees in",
        "limits.daily_loss_usdt": "how far equity may fall below the start of the UTC day",
        "limits.total_loss_usdt": "how far equity may fall below what the account began with",
    },
    "environment": {
        "TGTQR_HOME": "Where `data/`, `outputs/` and `settings.toml` lie, unless `--home` says otherwise.",
        "TGTQR_PASSWORD_HASH": "The page's password as a hash; `tgtqr dashboard password` prints the line.",
        "TGTQR_RECORDED_DATA": "Where tests find recorded candles; without it those tests skip.",
        "TGTQR_DASHBOARD_NOTEBOOK": "Set by the page's server for its kernels; not for people.",
        "TGTQR_TRACEBACK": "Any value shows Python's own traceback of a fault of the kit, for a bug report.",
    },
    "reasons": {},
    "acts": {
        "FILLED": "The whole quantity was bought or sold, at the prices of the book.",
        "PARTIAL": "The book held less than the quantity inside the limit; the rest of the order is gone.",
        "REFUSED": "A rule refused on the state of that moment; the reason names it.",
        "NO_QUOTE": "There was no fresh quote to fill at, so nothing was done; the reason is DATA_STALE.",
    },
    "states": {
        "done": "It ran to its end, also when a rule refused an order or doubt made it hold.",
        "refused": "The gate kept an order back.",
        "failed": "An error ended it; what was not booked then was not done.",
        "missed": "It was not started within a minute of its time; a late tick never trades.",
        "already_done": "It had ended before, so nothing was done again.",
        "unfinished": "It began and has no end yet.",
    },
    "gate": {
        "ACTIVE": "Armed and watched: entries and exits are allowed.",
        "REDUCING": "Entries are refused while a cause lasts, exits are allowed.",
        "STOPPED": "Latched: no new exposure, and what is held is sold by the next beat or tick.",
    },
    "ended": {
        "BREACH": "Equity fell below a floor, of a day or of the account. The account ends when it is the account's.",
        "SPENT": "Nothing is held and no entry would ever pass the account's floor again.",
    },
    "problems": {
        "CANDLES_DISORDERED": "Candles came in the wrong order, or one twice.",
        "CANDLES_UNREADABLE": "The exchange's reply could not be read as candles.",
        "CANDLE_CONTRADICTS": "High or low lies inside open and close.",
        "CANDLE_NOT_FINITE": "A value is infinite or no number.",
        "CANDLE_NOT_POSITIVE": "A price is zero or negative, or the volume is negative.",
        "CANDLE_OFF_GRID": "It does not open on a whole minute.",
        "CANDLE_TWICE": "Two candles of the same minute differ.",
        "CANDLE_UNREADABLE": "A row of the reply is no candle.",
        "CHECKSUMS_UNREADABLE": "`SHA256SUMS` of a folder cannot be read.",
        "CONTENT_WRONG": "The file is what was written, but holds rows that cannot be.",
        "FILE_ALTERED": "The file is not what was written.",
        "FILE_LOST": "The file is listed and not there.",
        "FILE_UNLISTED": "The file is there and not listed.",
        "FUNDING_UNREADABLE": "The funding rates could not be read, or contradict themselves.",
        "GAPS_UNREADABLE": "The record of minutes that the exchange does not have cannot be read.",
        "QUOTE_UNREADABLE": "Order book or ticker could not be read, or contradict themselves.",
        "STRANGE_FILE": "Something lies in the lake that does not belong there.",
        "WRITE_CUT_SHORT": "A write was interrupted; what can be read is whole.",
    },
    "reruns": {
        "MATCH": "The same decision and the same page.",
        "VALUE-DRIFT": "The same signals, orders and reasons with other numbers or words.",
        "DECISION-DRIFT": "Another signal, order or reason.",
    },
    "comparing": {
        "NOT_DECIDED": "One side has no decision for this symbol, so there is no reason to compare.",
    },
    "probe states": {
        "passed": "The probe looked and found nothing wrong; its detail says how much it looked at.",
        "FAILED": "A promise is broken; the detail names the first minute.",
        "not judged": "It means nothing before another probe passes, or its premise is missing.",
    },
    "exit": {
        "130": "ended by Ctrl-C",
        "143": "ended by SIGTERM, as by `kill` or a service manager",
    },
}

NOTHING = "Nothing"
NEXT = "Nothing; the next tick asks again"
RESTORE = "Restore the file from a backup, or delete it and its line in `SHA256SUMS`, then bring its month in again"
AGAIN = "Fetch or import that span again; `tgtqr data verify` says whether it is well"

TO_DO = {
    "rules": {
        "GATE_STOPPED": "Look why (`tgtqr status`), then `tgtqr arm --reason ...`; see "
        "[after a stop](../how_to/after_a_stop.md)",
        "LEDGER_WITNESS": "`tgtqr ledger verify` names the event; restore `data/` from a backup, or stop and arm anew "
        "to take the ledger as it is",
        "DISK_SPACE": "Free some space; `tgtqr archive prune --keep 90d` helps",
        "CLOCK_OFFSET": "Set this machine's clock, best by NTP",
        "MONITOR_LEASE": "Run the watch: `tgtqr up`, `tgtqr watch`, or cron by `tgtqr schedule install`",
        "DECISION_LATE": "Nothing; the next tick decides anew. When it is often so, the machine is too slow or sleeps",
        "SYMBOL_UNKNOWN": "Ask why the exchange does not list the symbol; `symbols` names those to watch",
        "NOT_SPOT": "Report it: only spot is traded",
        "DATA_INVALID": "Read the sentence; it names the [problem](#data-problems). The next tick asks again",
        "DATA_LATE": NEXT + ". `late_candle_wait_s` says how long a tick waits",
        "DATA_UNCLOSED": NEXT + "; when it stays, the exchange's clock is behind its candles",
        "DATA_GAP": "Nothing; it ends when the window has passed the missing minute",
        "DATA_JUMP": "Look at the candle. It ends when the window has passed it",
        "DATA_STALE": NEXT + "; when it stays, the connection is slow",
        "DATA_TICKER": NEXT + "; when it stays, candles or ticker stand still",
        "DATA_BOOK": NEXT,
        "DATA_FUNDING": NEXT + "; the strategy's [needs](strategies.md) say what it reads",
        "CLIENT_ID_USED": "Nothing; the order was placed before and is not placed twice",
        "LONG_ONLY": "Nothing; more is never sold than is held",
        "PRICE_COLLAR": "Report it: limits are made inside the collar",
        "ORDERS_TICK": "Nothing; at most two orders a tick",
        "ORDERS_DAY": "Ask why there were so many; it ends at 00:00 UTC",
        "POSITION_LIMIT": "Lower `order_target_usdt` below `limits.position_usdt` less the fee, or loosen the limit",
        "DAILY_BUDGET": "Wait for 00:00 UTC; entries are allowed again then",
        "TOTAL_BUDGET": "Nothing until what is held is sold; when nothing is held and this stays, the budget is spent, "
        "see [after a stop](../how_to/after_a_stop.md)",
    },
    "reasons": {
        "SIGNAL_LONG": NOTHING,
        "SIGNAL_FLAT": NOTHING,
        "SIGNAL_HOLD": "Read the sentence: it says what was in doubt. The next tick asks again",
        "SIGNAL_TIE": NOTHING,
        "SIGNAL_IN_BAND": NOTHING,
        "ALREADY_LONG": NOTHING,
        "ALREADY_FLAT": NOTHING,
        "POSITION_TRIM": NOTHING,
        "SIGNAL_FILTERED": "Nothing; the sentence says what does not agree",
        "SIGNAL_FUNDING_BAND": NOTHING,
        "SIGNAL_NO_FUNDING": "Nothing; the next tick asks again",
        "BELOW_ONE_LOT": "Raise `order_target_usdt`, if the limit allows it",
    },
    "acts": {
        "FILLED": NOTHING,
        "PARTIAL": "Nothing; the next tick decides about what is held",
        "REFUSED": "See the rule that is its reason",
        "OUTSIDE_COLLAR": "Nothing; the next tick decides anew. After a stop the next beat tries again",
        "NO_QUOTE": "Nothing; the next tick decides anew. After a stop the next beat tries again",
    },
    "states": {
        "done": NOTHING,
        "refused": "See the rule that is its reason",
        "failed": "Read the reason and the log, `outputs/logs/trading_system.log`. The next tick runs as usual",
        "missed": "Nothing once; often: is the machine asleep, or the scheduler not running?",
        "already_done": NOTHING,
        "unfinished": "Nothing; the next tick gives it an end",
    },
    "tick reasons": {
        "MISSED": "Nothing; it is not made up for",
        "TICK_FAILED": "Read the sentence and the log; report it when it looks like a fault of the kit",
        "CRASHED": "Nothing; the next start settled it, and nothing is done twice",
        "EXCHANGE_UNREACHABLE": NEXT
        + "; when it stays, look at the network and at `exchange_host`",
        "NOTEBOOK_FAILED": "Open the notebook named in the log; `cell_timeout_s` helps a slow machine",
        "DATA_TROUBLE": NEXT,
        "UNFINISHED": "Nothing; the next tick gives it an end",
    },
    "gate": {
        "ACTIVE": NOTHING,
        "REDUCING": "See the rule that is its reason; it opens by itself when the cause is gone",
        "STOPPED": "Look why, then `tgtqr arm --reason ...`; see [after a stop](../how_to/after_a_stop.md)",
    },
    "ended": {
        "BREACH": "Read the post-mortem; then `tgtqr arm`, or `tgtqr account new` when the account ended",
        "SPENT": "Read what it was spent on; then `tgtqr account new --reason ...`",
    },
    "problems": {
        "CANDLES_DISORDERED": NEXT,
        "CANDLES_UNREADABLE": NEXT,
        "CANDLE_CONTRADICTS": NEXT,
        "CANDLE_NOT_FINITE": NEXT,
        "CANDLE_NOT_POSITIVE": NEXT,
        "CANDLE_OFF_GRID": NEXT,
        "CANDLE_TWICE": NEXT,
        "CANDLE_UNREADABLE": NEXT,
        "CHECKSUMS_UNREADABLE": "Restore it from a backup, or write it anew with `sha256sum` if the files are well",
        "CONTENT_WRONG": AGAIN,
        "FILE_ALTERED": RESTORE,
        "FILE_LOST": RESTORE,
        "FILE_UNLISTED": "Delete it, or write its line in `SHA256SUMS` if you trust it",
        "FUNDING_UNREADABLE": NEXT,
        "GAPS_UNREADABLE": RESTORE,
        "QUOTE_UNREADABLE": NEXT,
        "STRANGE_FILE": "Move it elsewhere",
        "WRITE_CUT_SHORT": "Do that import or fetch again; what a killed writer left, the next write removes",
    },
    "reruns": {
        "MATCH": NOTHING,
        "VALUE-DRIFT": "Look at the differences: mostly a library or the page's code changed",
        "DECISION-DRIFT": "Find the change: an edited notebook, or code that decides otherwise "
        "(`tgtqr impact` finds every tick it alters)",
    },
    "comparing": {
        "NOT_DECIDED": "Look at the tick: it was missed, or did not see that symbol",
    },
    "parity": {
        "missing_input": "Read the evidence; the exchange did not answer for funding or book in that tick",
        "revised_candle": "Nothing; the exchange corrected a candle afterwards",
        "late_candle": "Nothing; a longer `late_candle_wait_s` may have caught it",
        "settings_change": "Nothing; the backtest knows one setting a day",
        "code_change": "`tgtqr impact` says what else the code decides otherwise",
        "missed_tick": "See why the tick was missed or did not end",
        "fill_price": "Nothing; compare `simulator.spread_bps` or the book when it is much",
        "gate": "Nothing; a backtest has no gate",
    },
    "probes": {
        "values": "Return `np.where(...)` of 1.0, 0.0 and `np.nan`, as many as there are rows",
        "determinism": "Keep no state, use no chance and do not write into the history",
        "look-ahead": "Let row t use rows up to t only: no centred windows, no mean of the whole series",
        "warm-up": "Make `lookback` as long as the longest window, and hold where `history.contiguous(lookback)` "
        "is false",
        "reference": "Compare the window of `reference` with that of `targets`: one of them is off by one",
        "fees": "Report it: fees are not made by a strategy",
        "open candle": "Report it: candles are closed before a strategy sees them",
        "parity": "Keep to whole price steps: float sums over a long and a short history differ",
    },
    "probe states": {
        "passed": NOTHING,
        "FAILED": "Put it right; the first minute is where to look",
        "not judged": "Put right what failed first",
    },
    "exit": {
        "0": NOTHING,
        "1": "Read the sentence; for a tick: the next one runs as usual",
        "2": "Read the sentence: it names what was given and what was expected",
        "3": "`tgtqr status` says why the gate is shut and what opens it",
        "4": "Try again later; in a script, the next run does",
        "5": "Read which place differs before you trust the result",
        "75": "Nothing; in a script, the next run does it",
        "130": NOTHING,
        "143": NOTHING,
    },
}
