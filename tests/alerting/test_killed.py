"""Killed between any two commits of judging, telling and delivering: nothing is lost, and hardly anything is told twice."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

from tests.alerting.killed import deliver, live, main, told, world_in
from tests.alerting.world import week

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.alerting.killed"])  # every process would read the code anew


def run(folder: Path, kill_after: int) -> int:
    """The process's end: 0, or the signal that killed it."""
    child = PROCESSES.Process(target=main, args=(folder, kill_after))
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return -child.exitcode


def sent(folder: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in (folder / "sent.txt").read_text(encoding="utf-8").splitlines())


def test_killed_between_judging_and_flushing_and_anywhere_else_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    calm = world_in(tmp_path / "calm")
    live(calm, tmp_path / "calm")
    assert len(told(calm)) == 4
    kills = 0
    for commits in range(100):
        folder = tmp_path / str(commits)
        folder.mkdir()
        end = run(folder, commits)
        assert end in {0, signal.SIGKILL}, f"after {commits} commits"
        world = world_in(folder)
        live(world, folder)
        deliver(world, folder, week(3).end + timedelta(days=1))  # what the dead process had leased is free again
        assert told(world) == told(calm), f"killed after {commits} commits"
        assert world.events() == calm.events()
        assert world.states() == calm.states()
        handed = sent(folder)
        assert set(handed) == {key for key, _, _ in told(world)}
        assert handed.total() - len(handed) <= 1
        world.store.close()
        if end == 0:
            break
        kills += 1
    assert kills > 5
    calm.store.close()
