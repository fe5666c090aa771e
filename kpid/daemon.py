"""The daemon: does what is due when it is due, answers commands, and stops without losing anything.

What runs is decided by the run table (``kpid.commands.rounds``); ``kpid.timing`` only says when to look. The main thread ticks by
the monotonic clock, so that a wall clock that is set back or forward is noticed within half a minute.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from kpid import __version__, control, cycle, logs
from kpid.analysis.wording import count_text
from kpid.app import App, open_app
from kpid.clock import Clock, ShiftedClock, SystemClock
from kpid.commands import COMMANDS, rounds
from kpid.commands.check_templates import refuse_all_mistakes
from kpid.commands.overview import overview
from kpid.commands.sync import Turns, sync_one
from kpid.commands.wellbeing import call_heartbeat, say_alive
from kpid.config.load import load_config
from kpid.errors import KpidError
from kpid.listening import hearing
from kpid.registry import secrets_of
from kpid.reloading import read_again, tell_well
from kpid.store import runs
from kpid.store.runs import Run
from kpid.supervision import Health, ProgramCode, Signals, give_back_memory, serve, share_one_heap, tell_systemd
from kpid.timing import EveryTrigger, Jobs, ScheduleTrigger, Timer
from kpid.web.doing import serving_pages

log = logging.getLogger(__name__)

TICK = 30.0
DELIVER_EVERY = timedelta(seconds=5)
DRAIN = 40.0
STEP = 5.0
"""A wall clock that is further off than this after a tick was set."""
REPORT_PATIENCE = 900.0
"""So long a report that is due waits for syncs that are due."""
PATIENCE = 900.0
"""Seconds after which a part of us that has said nothing is not well."""
_DELIVER = "deliver"


class Daemon:
    """Everything that runs, over one app that a reload replaces whole."""

    def __init__(self, app: App, file: Path, pause: rounds.Pause | None) -> None:
        self.app = app
        self.stopping = threading.Event()
        self._file = file
        self._pause = pause
        self._turns = Turns()
        self._delivering = threading.Lock()
        self._held: dict[str, Run] = {}
        self._waiting: dict[str, float] = {}
        self._machine = SystemClock()
        self._seen: tuple[datetime, float] | None = None
        self._code = ProgramCode()
        self._rested = False
        self._doors = ExitStack()
        self._health = Health(self._machine, PATIENCE)
        self._timer = Timer(self._machine, alone=(_DELIVER,))

    def start(self) -> None:
        """Begin to work."""
        self._schedule_all()
        self._timer.start()

    def _schedule_all(self) -> None:
        config, clock = self.app.config, self.app.clock
        jobs: Jobs = {
            name: (ScheduleTrigger(schedule, clock), self._work, (name,)) for name, schedule in rounds.schedules(config).items()
        }
        jobs[_DELIVER] = (EveryTrigger(DELIVER_EVERY), self._deliver, ())
        if config.heartbeat is not None:
            jobs["heartbeat"] = (EveryTrigger(config.heartbeat.every), self.beat, ())
        self._timer.plan(jobs)

    def tick(self) -> None:
        """Every half minute: look at the clock, plan what is due, keep what we hold, wake what has work."""
        now, ticks = self.app.clock.now(), self.app.clock.monotonic()
        if self._seen is not None:
            step = (now - self._seen[0]).total_seconds() - (ticks - self._seen[1])
            if abs(step) > STEP:
                log.warning("the clock was set by %+.0f s: all due times are looked up again", step)
                self._schedule_all()
        new_day = self._seen is not None and self._seen[0].date() != now.date()
        self._seen = now, ticks
        try:
            if new_day:
                rounds.tidy(self.app, now)
            rounds.plan(self.app, now)
            with self.app.store.write() as connection:
                runs.beat(connection, now)
                runs.renew_runs(connection, list(self._held.values()), now=now)
                due = {run.schedule for prefix in (rounds.SYNC, rounds.REPORT) for run in runs.unended_runs(connection, prefix)}
            say_alive(self.app, now)
        except KpidError as error:
            self._health.ill("tick")
            log.error("the state store: %s", error)
            return
        except Exception:  # the tick's end: the next one comes
            self._health.ill("tick")
            log.exception("due times could not be looked up")
            return
        self._health.well("tick")
        for name in due - set(self._held):
            self._timer.wake(name)
        if not self._rested and not due:
            self._rested = True
            self._rest()

    def _rest(self) -> None:
        """Work is done: give back what it took."""
        self.app.warehouse.give_back_memory()
        with suppress(KpidError):  # its next use will tell
            self.app.store.give_back_memory()
        give_back_memory()
        self._code.let_go()

    def _work(self, name: str) -> None:
        """The job of one schedule: plan, then do what is due until nothing is."""
        app = self.app
        try:
            rounds.plan(app, app.clock.now())
            while not self.stopping.is_set() and not self._had_better_wait(app, name):
                run = rounds.take(app, [name], app.clock.now())
                if run is None:
                    return
                self._held[name] = run
                try:
                    if self._do(app, run) is not None:
                        return  # what failed or waits is not taken again in the same breath
                finally:
                    del self._held[name]
        except KpidError as error:
            log.error("%s could not be done: %s", name, error)
        except (Exception, SystemExit):  # the job's end: the tick comes again
            log.exception("%s could not be done", name)

    def _had_better_wait(self, app: App, name: str) -> bool:
        """A report waits for the syncs that are due, so that it shows what they bring."""
        if not name.startswith(rounds.REPORT) or not rounds.waits_for_sync(app):
            self._waiting.pop(name, None)
            return False
        since = self._waiting.setdefault(name, app.clock.monotonic())
        return app.clock.monotonic() - since < REPORT_PATIENCE

    def _do(self, app: App, run: Run) -> str | None:
        kind, _, name = run.schedule.partition(":")
        with logs.about(schedule=run.schedule, due=run.due, run=str(run.fence)):
            if kind == "sync":
                why = rounds.attempt(app, run, lambda: sync_one(app, name, self._turns))
                for other in rounds.schedules(app.config):
                    if other.startswith(rounds.REPORT) and other in self._waiting:
                        self._timer.wake(other)
            else:
                why = rounds.attempt(app, run, lambda: rounds.publish(app, run, self._pause))
                if why is None:
                    log.info("report %s is written", name)
        self._rested = False
        self._rest()
        self._timer.wake(_DELIVER)
        return why

    def _deliver(self) -> None:
        try:
            with self._delivering:
                done = cycle.deliver(self.app, stop=self.stopping.is_set)
        except KpidError as error:
            self._health.ill(_DELIVER)
            log.error("messages could not be delivered: %s", error)
            return
        except (Exception, SystemExit):  # the job's end: it is tried again in seconds
            self._health.ill(_DELIVER)
            log.exception("messages could not be delivered")
            return
        self._health.well(_DELIVER)
        if done.sent or done.dead:
            log.info("sent %s, %d given up", count_text(done.sent, "message"), done.dead)

    def answer(self, name: str, args: dict[str, Any], now: str | None, progress: control.Progress) -> Any:
        """Do a command for somebody else."""
        if name not in COMMANDS:
            raise KpidError(f"the running daemon (kpid {__version__}) does not know {name!r}", hint="Is it an older version?")
        command = COMMANDS[name]
        self._rested = False
        app = self.app if now is None else replace(self.app, clock=ShiftedClock(datetime.fromisoformat(now)))
        told: dict[str, Any] = {"progress": progress} if command.progress else {}
        ours: dict[str, dict[str, Any]] = {"sync": {"turns": self._turns}, "report send": {"deliver": False}}
        told |= ours.get(name, {})
        try:
            return command.function()(app, **args, **told)
        except KpidError:
            raise
        except (Exception, SystemExit) as error:
            log.exception("kpid %s failed", name)
            raise KpidError(f"{type(error).__name__}: {error}", hint="The daemon's log says more") from error
        finally:
            if command.need == "write":
                self._timer.wake(_DELIVER)

    def reload(self) -> None:
        """Read the configuration again: the whole new one, or the old one goes on and the error is told."""
        old = self.app
        new = read_again(self._file, old)
        if new is None:
            self._timer.wake(_DELIVER)
            return
        self._doors.close()
        idle = self._delivering.acquire(timeout=DRAIN)
        self.app = new
        if idle:
            for notifier in old.notifiers.values():
                notifier.close()
            self._delivering.release()
        _started(new)
        self._schedule_all()
        with suppress(KpidError):  # it is noted, and the rest goes on
            self.open_doors()
        self.tick()
        log.info("the configuration was read again")

    def open_doors(self) -> None:
        """Serve the pages and hear the buttons, where they are configured; ConfigError if that address cannot be had."""
        wake = partial(self._timer.wake, _DELIVER)
        self._doors.enter_context(hearing(self.app, wake, self._machine))
        self._doors.enter_context(serving_pages(self.app, wake, self._health.is_well))

    def beat(self) -> None:
        """Say outside that kpid works; only if it does."""
        if self._health.is_well():
            call_heartbeat(self.app)

    def drain(self) -> bool:
        """Stop: finish the current sends and runs, give back what cannot be finished. False: a thread is still busy."""
        self.stopping.set()
        self._doors.close()
        self._timer.stop()
        until = self._machine.monotonic() + DRAIN
        idle = self._delivering.acquire(timeout=DRAIN)
        while self._held and self._machine.monotonic() < until:
            self._machine.sleep(0.05)
        left = list(self._held.values())
        with suppress(KpidError), self.app.store.write() as connection:
            for run in left:
                log.warning("%s due %s is not finished: the next start takes it up", run.schedule, run.due)
                runs.release_run(connection, run)
            runs.beat(connection, self.app.clock.now())
        return idle and not left


def _started(app: App) -> None:
    """An app is in use: log its way, and say what it does."""
    settings = app.config.logging
    logs.set_up(settings.format, settings.level, secrets_of(app.loaded, app.plugins))
    tell_well(app, app.clock.now())
    for line in overview(app):
        log.info(line)


def run_daemon(file: Path, clock: Clock) -> int:
    """Run until told to stop.

    Args:
        file: the configuration.
        clock: where the time comes from.

    Returns:
        The exit code: 0 after an orderly stop.

    Raises:
        ConfigError, StoreError: it cannot start.
        BusyError: another kpid runs on these stores.
    """
    share_one_heap()
    guarded = control.guarded_file(load_config(file).config)
    path = control.socket_path_for(guarded)
    machine = SystemClock()
    signals = Signals()
    with ExitStack() as stack:
        lock = control.lock_path_for(guarded)
        stack.enter_context(control.hold(lock, "daemon", machine, wait=TICK, socket_path=path))
        stack.enter_context(signals.caught())
        app = open_app(file, clock)
        stack.callback(app.close)
        refuse_all_mistakes(app)
        _started(app)
        log.info("kpid %s, process %d, configuration %s", __version__, os.getpid(), file)
        daemon = Daemon(app, file, rounds.begin(app, app.clock.now()))
        daemon.open_doors()
        daemon.start()
        with control.answering(path, daemon.answer):
            serve(signals, machine, TICK, tick=daemon.tick, reload=daemon.reload)
            tell_systemd("STOPPING=1")
            log.info("stopping: current work is finished first")
            idle = daemon.drain()
        if not idle:
            log.warning("stopped with work left: the next start takes it up")
            logging.shutdown()
            os._exit(0)  # a thread hangs; everything that counts is in the store
        daemon.app.close()
        log.info("stopped")
    return 0
