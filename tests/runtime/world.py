"""A small company to run kpid on: a folder, a configuration, and the daemon as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.journey.nursery import OFF, Child
from tests.journey.shell import Shell, make_shell

DEALS = "native_id,created_at,closed_at,state,amount,currency\n" + "".join(
    f"d{day},2026-09-01,2026-10-{day:02d},{'won' if day % 3 else 'lost'},100,EUR\n" for day in range(1, 32)
)
CONFIG = """
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 1h, max_age: 3650d}
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}
rules:
  - {name: few-wins, kpi: won_deals, period: month, warn: "< 1000", to: [team]}
reports:
  weekly: {report: weekly_sales, every: "mon 07:30", to: [team]}
"""
NOW = "2026-11-10T09:12:00+01:00"


def make_world(folder: Path, configuration: str = CONFIG) -> Shell:
    """The folder with its data and configuration."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "deals.csv").write_text(DEALS, encoding="utf-8")
    return make_shell(folder, configuration)


def wait_until(what: str, holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Look until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.05)


@dataclass
class Daemon:
    """A daemon that runs as a process of its own."""

    shell: Shell
    log: Path
    process: subprocess.Popen[bytes] | Child = field(repr=False)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(f"{text!r} in\n{self.text()}", lambda: self.text().count(text) >= times or self.process.poll() is not None)
        assert self.text().count(text) >= times, self.text()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        return self.process.wait(60)


def start_daemon(shell: Shell, now: str | None = NOW, *, anew: bool = OFF) -> Daemon:
    """Start it and wait until it answers; ``anew``: Python starts it, as a person would."""
    log = shell.folder / "daemon.log"
    daemon = Daemon(shell, log, shell.start("run", now=now, log=log, anew=anew))
    socket = shell.folder / "var" / "kpid.db.sock"
    wait_until("the daemon's socket", lambda: socket.exists() or daemon.process.poll() is not None)
    assert daemon.process.poll() is None, daemon.text()
    return daemon
