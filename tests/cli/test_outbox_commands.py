"""``kpid outbox`` and ``kpid alerts``, as a person uses them when something is stuck; and answers to slips of the pen."""

from __future__ import annotations

import json
import os

import pytest

from tests.journey.nursery import nursery
from tests.runtime.world import CONFIG, NOW, make_world

REFUSED = CONFIG.replace(
    "{notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}",
    '{notifier: webhook, url: "http://127.0.0.1:9/", secret: example}',
)


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    """A folder whose two messages could not be sent: the receiver refuses the connection."""
    shell = make_world(tmp_path_factory.mktemp("stuck"), REFUSED)
    shell.run("run", "--once", now=NOW)
    return shell


def states(shell):
    return {row["id"]: row["state"] for row in shell.json("outbox", "list")}


def test_messages_are_held_released_and_dismissed(stuck):
    assert states(stuck) == {1: "ready", 2: "ready"}
    assert stuck.run("outbox", "hold", "1").stdout == "1 message held back\n"
    assert states(stuck) == {1: "hold", 2: "ready"}
    doctor = stuck.run("doctor", ok=False).stdout
    assert "1 message held back by hand" in doctor

    assert stuck.json("outbox", "release", "1") == {"released": [1]}
    assert states(stuck)[1] == "ready"

    stuck.run("outbox", "hold", "1", "2")
    assert stuck.json("outbox", "dismiss", "1", "2") == {"dismissed": [1, 2]}
    assert states(stuck) == {1: "dead", 2: "dead"}
    assert "outbox" not in stuck.run("doctor", ok=False).stdout, "what was dismissed is no problem any more"

    assert stuck.json("outbox", "retry", "--all") == {"requeued": [2, 1]}
    assert states(stuck) == {1: "ready", 2: "ready"}


def test_a_list_of_messages_is_changed_whole_or_not_at_all(stuck):
    before = states(stuck)
    done = stuck.run("outbox", "hold", "1", "99", "--format", "json", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "99" in done.stderr
    assert states(stuck) == before


def test_a_message_is_shown_with_every_try(stuck):
    shown = stuck.run("outbox", "show", "1").stdout
    assert "Won deals" in shown
    assert "rule few-wins" in shown
    assert "retry" in shown
    assert stuck.run("outbox", "show", "99", ok=False).returncode == 1


def test_the_story_of_an_episode_is_told_period_by_period(stuck):
    lines = stuck.run("alerts", "show", "few-wins").stdout.splitlines()
    assert lines[0].endswith("few-wins - all: firing, level warn, episode 1")
    (fired,) = [line for line in lines if line.rstrip().endswith("fired")]
    assert "0 is < 1000" in fired
    assert any(line.startswith("2026-10") and "21 is < 1000" in line for line in lines)
    assert any("team" in line and "Warning" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("runs", "--schedule", "report:weakly"), "report:weekly", 1),
        (("runs", "--state", "dnoe"), "'done'", 2),
        (("outbox", "list", "--state", "sett"), "'sent'", 2),
        (("alerts", "list", "--status", "fring"), "'firing'", 2),
        (("alerts", "list", "--rule", "few-win"), "few-wins", 1),
        (("alerts", "show", "few-wins", "--episode", "7"), "1 episode", 1),
        (("alerts", "show", "few-wins", "--segment", "x"), "all", 1),
        (("report", "render", "weekly", "--out", "kpid.yml"), "kpid.yml: File exists", 1),
    ],
)
def test_slips_are_errors_on_stderr_and_print_nothing(stuck, arguments, says, code):
    done = stuck.run(*arguments, "--format", "json", now=NOW, ok=False)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "should not have happened" not in done.stderr


def test_paths_with_blanks_and_umlauts_work_from_anywhere(tmp_path):
    shell = make_world(tmp_path / "Verkauf & Öl" / "kpid")
    assert len(json.loads(shell.run("sync", "--format", "json", now=NOW).stdout)) == 1
    shell.env["KPID_CONFIG"] = str(shell.config.relative_to(tmp_path))
    done = _plain(shell, tmp_path, "--now", NOW, "measure", "--kpi", "won_deals", "--format", "json")
    assert json.loads(done.stdout)[-1]["value"] == 21
    assert not (tmp_path / "var").exists(), "paths are relative to the configuration, not to where one stands"


def _plain(shell, folder, *arguments):
    done = nursery().run(arguments, folder, os.environ | shell.env)
    assert done.returncode == 0, done.stderr
    return done
