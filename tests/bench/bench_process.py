"""Prints what the process itself costs: import of the command line, start of the daemon, memory when idle.

    python tests/bench/bench_process.py [--seconds 30]

Bars: import of ``kpid.cli`` 0.5 s CPU; idle daemon 150 MB resident. A figure over its bar is printed as such, not hidden.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def child_cpu(*command: str) -> float:
    """CPU seconds of one child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_import(times: int) -> None:
    bare = [child_cpu(sys.executable, "-c", "pass") for _ in range(times)]
    loaded = [child_cpu(sys.executable, "-c", "import kpid.cli") for _ in range(times)]
    cost = statistics.median(loaded) - statistics.median(bare)
    print(f"import kpid.cli      {cost:6.2f} s CPU  (bar 0.50; {times} runs, with Python {min(loaded):.2f}-{max(loaded):.2f})")


def measure_daemon(seconds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("kpid.yml", "kpis", "rules", "reports"):
            source = ROOT / "config" / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        kpid = [sys.executable, "-m", "kpid"]
        subprocess.run([*kpid, "sample", "--out", str(folder / "var" / "sample")], check=True, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        log = (folder / "log").open("wb")
        daemon = subprocess.Popen([*kpid, "run", "--config", str(folder / "kpid.yml")], stdout=log, stderr=log)
        try:
            watch(psutil.Process(daemon.pid), folder / "var" / "mail", began, seconds)
        finally:
            daemon.send_signal(signal.SIGTERM)
            began = time.monotonic()
            code = daemon.wait(60)
        print(f"stop on SIGTERM      {time.monotonic() - began:6.2f} s      (exit {code})")


def watch(process: psutil.Process, mails: Path, began: float, seconds: int) -> None:
    while not list(mails.glob("*.eml")) and time.monotonic() - began < 120:
        time.sleep(0.1)
    print(f"first mail after     {time.monotonic() - began:6.2f} s")
    peak = 0.0
    for _ in range(seconds):
        time.sleep(1)
        peak = max(peak, process.memory_info().rss / 1e6)
    busy = process.cpu_times()
    time.sleep(10)
    later = process.cpu_times()
    idle = (later.user + later.system - busy.user - busy.system) / 10
    print(f"idle daemon          {process.memory_info().rss / 1e6:6.0f} MB     (bar 150; highest seen {peak:.0f})")
    print(f"of it private        {process.memory_full_info().uss / 1e6:6.0f} MB     (the rest: code that it runs now)")
    print(f"idle daemon          {100 * idle:6.2f} % of one CPU, {process.num_threads()} threads")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=35, help="how long to watch the daemon")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}")
    measure_import(7)
    measure_daemon(arguments.seconds)


if __name__ == "__main__":
    main()
