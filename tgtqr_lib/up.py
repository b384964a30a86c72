"""Scheduler and watch in the foreground, by the exchange's clock.

Four jobs: a look at the gate every second, a beat each exchange minute, a tick each quarter hour, and at 00:05 the
report of the day that ended. APScheduler runs them; ticks and beats have a thread, a ledger connection and an
exchange connection each, and the report is a process of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from tgtqr_lib import after_stop, alerting, journal, latch
from tgtqr_lib.after_day import DayReports
from tgtqr_lib.clock import FIRST_START_S, MINUTE, TICK, boundary_of, floor_minute, iso
from tgtqr_lib.desk import Desk, one_at_a_time, open_desk
from tgtqr_lib.domain import Busy, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.kernel import Kernels, kernels
from tgtqr_lib.market.exchange_clock import ExchangeClock
from tgtqr_lib.settings import Settings
from tgtqr_lib.tick import TickResult, run_tick
from tgtqr_lib.watch import Beat, beat

LOOK_S = 1.0
RETRY = timedelta(seconds=5)
MAIN_ONLY = 1
EXECUTORS = ("look", "beat", "tick", "report")


class ExchangeTrigger(BaseTrigger):
    """Fires `FIRST_START_S` after every `step` of the exchange's clock, whatever its rate."""

    def __init__(self, clock: ExchangeClock, step: timedelta) -> None:
        self._clock = clock
        self._step = step

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The host's time of the next firing; a little later when the exchange does not answer."""
        try:
            shown = self._clock.now()
            floor = boundary_of(shown) if self._step == TICK else floor_minute(shown)
            target = floor + timedelta(seconds=FIRST_START_S)
            if target <= shown:
                target += self._step
            wait = self._clock.seconds_until(target)
        except TgtqrError:
            wait = None
        pause = RETRY if wait is None else timedelta(seconds=max(wait, 0.0))
        return datetime.now(UTC) + pause


@dataclass
class Now:
    """What the status line and the page of a running kit show; replaced whole, never changed."""

    beat: Beat | None = None
    tick: TickResult | None = None
    trouble: str | None = None
    stopped: str | None = None


@dataclass
class Running:
    """The jobs of a home that is up."""

    home: Home
    settings: Settings
    clock: ExchangeClock
    pool: Kernels | None
    now: Now = field(default_factory=Now)
    told: Callable[[str], None] = print
    silent: bool = False  # whether the exchange was found not to answer
    reports: DayReports | None = None  # of a home whose ticks run here
    replan: Callable[[], None] = lambda: (
        None
    )  # takes the next times of beat and tick from the clock again
    _local: threading.local = field(default_factory=threading.local)
    _stack: ExitStack = field(default_factory=ExitStack)
    _beating: threading.Lock = field(default_factory=threading.Lock)

    def desk(self) -> Desk:
        """The desk of this thread, opened when it first asks."""
        if not hasattr(self._local, "desk"):
            self._local.desk = self._stack.enter_context(open_desk(self.home, self.settings))
        return self._local.desk

    def look(self) -> None:
        """Look at the gate and the clock; a stop that was not there before gets its beat at once."""
        self._look_at_clock()
        stopped = latch.stopped_because(self.home)
        fresh = stopped is not None and self.now.stopped is None and self.now.beat is not None
        self.now.stopped = stopped
        if fresh:
            self.told(f"STOPPED: {stopped}")
            self.beat()

    def _look_at_clock(self) -> None:
        """Tell when the exchange stops answering and when it is back; plan anew when its clock jumped."""
        jumps = self.clock.jumps
        try:
            self.clock.now()
        except TgtqrError as error:
            if not self.silent:
                self.silent = True
                self.told(f"the exchange does not answer: {error}")
            return
        back, self.silent = self.silent, False
        if back:
            self.told("the exchange answers again")
        if back or self.clock.jumps != jumps:
            self.replan()

    def beat(self) -> None:
        """One beat, unless one is under way."""
        with self._beating:
            try:
                with one_at_a_time(self.home.control / "watch.lock", "beat"):
                    seen = beat(self.desk())
            except Busy:
                return  # somebody else watches
            except TgtqrError as error:
                self._trouble("beat", error)
                alerting.after_failed_beat(self.home, error)
                return
        self.now.beat, self.now.trouble = seen, None
        for sale in seen.sales:
            self.told(f"safety sale {sale.result}: {sale.text}")
        for name in seen.missed:
            self.told(f"tick {name} was missed")
        after_stop.look(self.desk(), seen.stopped)
        alerting.after_beat(self.desk(), seen)

    def tick(self) -> None:
        """The tick of the latest quarter hour."""
        if self.pool is None:
            return
        self.pool.prepare()
        try:
            result = run_tick(self.desk(), self.pool)
        except TgtqrError as error:
            self._trouble("tick", error)
            return
        self.now.tick = result
        self.told(f"tick {result.tick_id} {result.state}: {result.text}")
        alerting.after_tick(self.desk())

    def report(self) -> None:
        """The report of the newest day that ended, once."""
        if self.reports is None:
            return
        try:
            at = self.clock.now()
        except TgtqrError:
            return  # the look tells it, and the next minute asks again
        self.reports.look(at)

    def _trouble(self, what: str, error: TgtqrError) -> None:
        text = f"{what}: {error}"
        if text != self.now.trouble:
            self.told(text)
        self.now.trouble = text
        journal.event("trouble", what=what, text=str(error))


@contextmanager
def running(
    home: Home, settings: Settings, *, ticks: bool, told: Callable[[str], None] = print
) -> Iterator[Running]:
    """Run the jobs of `home` until the block ends; a tick under way then ends first.

    `ticks` is False for a watch alone. Raises `Busy` when the home is up already, and what the exchange
    raises when it does not answer at the start.
    """
    lock = home.control / ("up.lock" if ticks else "watching.lock")
    with ExitStack() as stack:
        stack.enter_context(one_at_a_time(lock, "scheduler" if ticks else "watch"))
        desk = stack.enter_context(open_desk(home, settings))
        clock = ExchangeClock(desk.exchange.time)
        pool = stack.enter_context(kernels(home.outputs)) if ticks else None
        jobs = Running(home, settings, clock, pool, told=told)
        jobs.reports = DayReports(home, told) if ticks else None
        stack.enter_context(jobs._stack)
        scheduler = _scheduler(jobs, clock, ticks)
        jobs.beat()
        scheduler.start()
        try:
            yield jobs
        finally:
            if jobs.reports is not None:
                jobs.reports.end()
            scheduler.shutdown(wait=True)


def _scheduler(jobs: Running, clock: ExchangeClock, ticks: bool) -> BackgroundScheduler:
    """Every job once at a time; what could not run in time is left out, the ledger says it was missed."""
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={name: ThreadPoolExecutor(MAIN_ONLY) for name in EXECUTORS},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 30},
    )
    scheduler.add_job(jobs.look, "interval", seconds=LOOK_S, executor="look")
    scheduler.add_job(jobs.beat, ExchangeTrigger(clock, MINUTE), executor="beat")
    if ticks:
        scheduler.add_job(jobs.tick, ExchangeTrigger(clock, TICK), executor="tick")
        scheduler.add_job(jobs.report, ExchangeTrigger(clock, MINUTE), executor="report")
    planned = [job.id for job in scheduler.get_jobs() if isinstance(job.trigger, ExchangeTrigger)]

    def replan() -> None:
        for name in planned:
            job = scheduler.get_job(name)
            scheduler.modify_job(
                name, next_run_time=job.trigger.get_next_fire_time(None, datetime.now(UTC))
            )

    jobs.replan = replan
    # what it says of jobs that came too late is our own affair: the ledger and the status line tell it
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    return scheduler


def status_line(jobs: Running) -> str:
    """Gate, exchange time, equity, next tick and last tick in one line."""
    try:
        shown = jobs.clock.now()
    except TgtqrError:
        return "exchange does not answer; asking again"
    left = boundary_of(shown) + TICK - shown
    minutes, seconds = divmod(int(left.total_seconds()), 60)
    seen = jobs.now.beat
    facts: dict[str, Any] = {
        "gate": "STOPPED" if jobs.now.stopped else "armed",
        "time": iso(shown.replace(microsecond=0)),
        "equity": "-" if seen is None or seen.equity is None else f"{seen.equity:f} USDT",
        "next tick": f"{minutes:02d}:{seconds:02d}",
    }
    if jobs.now.tick is not None:
        facts["last"] = f"{jobs.now.tick.tick_id} {jobs.now.tick.state}"
    if jobs.now.trouble:
        facts["trouble"] = jobs.now.trouble
    return "  ".join(
        [facts.pop("gate"), facts.pop("time"), *(f"{k} {v}" for k, v in facts.items())]
    )
