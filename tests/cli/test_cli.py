"""The command line as a person meets it: help, lists, errors and exit codes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from kpid import __version__
from kpid.cli import main
from tests.runtime.world import CONFIG, NOW, make_world

COMMANDS = [
    "run",
    "check",
    "sync",
    "sources",
    "measure",
    "forecast",
    "compare",
    "restated",
    "explain",
    "test",
    "backtest",
    "preview",
    "kpis",
    "kpis show",
    "alerts",
    "alerts list",
    "alerts show",
    "ack",
    "unack",
    "snooze",
    "silence",
    "silence add",
    "silence list",
    "silence end",
    "exclude",
    "why",
    "audit",
    "report",
    "report render",
    "report send",
    "outbox",
    "outbox list",
    "outbox show",
    "outbox retry",
    "outbox release",
    "outbox hold",
    "outbox dismiss",
    "runs",
    "schedule",
    "plugins",
    "doctor",
    "db",
    "db upgrade",
    "config",
    "config schema",
    "sample",
    "init",
]


@pytest.fixture
def kpid(capsys, monkeypatch):
    """Runs a command in this process: exit code, output, errors."""
    monkeypatch.delenv("KPID_CONFIG", raising=False)
    before = list(logging.getLogger().handlers)

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    yield call
    logging.getLogger().handlers[:] = before


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder in which a round has been done."""
    shell = make_world(tmp_path_factory.mktemp("world"))
    shell.run("run", "--once", now=NOW)
    return shell


# ---- help and wrong use


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(kpid, command):
    code, out, _ = kpid(*command.split(), "--help")
    assert code == 0
    assert out.startswith(f"Usage: kpid {command}")


def test_the_list_of_commands_is_whole(kpid):
    _, out, _ = kpid("--help")
    listed = {line.split()[0] for line in out.split("Commands:")[1].split("Exit codes:")[0].splitlines() if line.strip()}
    assert "75 another kpid" in " ".join(out.split())
    assert listed == {command.split()[0] for command in COMMANDS}


def test_version_is_printed(kpid):
    assert kpid("--version") == (0, f"kpid {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("measure",),
        ("outbox", "retry"),
        ("--now", "yesterday", "runs"),
        ("--now", "2026-11-10T09:00", "runs"),
        ("sample",),
    ],
)
def test_wrong_use_is_explained(kpid, arguments):
    code, _, err = kpid(*arguments)
    assert code == 2
    assert "Error" in err


def test_import_is_cheap():
    """What ``kpid --help`` costs: none of the heavy libraries."""
    heavy = ("duckdb", "pyarrow", "sqlalchemy", "apscheduler", "jinja2", "yaml", "rich")
    code = f"import sys, kpid.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- errors


def test_missing_configuration_is_named(kpid, tmp_path):
    code, _, err = kpid("check", "--config", tmp_path / "none.yml")
    assert code == 78
    assert "none.yml" in err
    assert "--config" in err


@pytest.mark.parametrize("place", ["before", "behind"])
def test_config_may_stand_before_or_behind_the_command(kpid, world, place):
    option = ("--config", world.config)
    code, out, err = kpid(*option, "runs") if place == "before" else kpid("runs", *option)
    assert (code, err) == (0, "")
    assert "report:weekly" in out


def test_config_may_come_from_the_environment(kpid, world, monkeypatch):
    monkeypatch.setenv("KPID_CONFIG", str(world.config))
    assert kpid("runs")[0] == 0


def test_every_mistake_is_told_with_its_place(kpid, tmp_path):
    shell = make_world(tmp_path, CONFIG.replace("currency:", "curency:").replace("few-wins, kpi", "few-wins, kip"))
    code, _, err = kpid("check", "--config", shell.config)
    assert code == 78
    assert err.count("kpid.yml:") >= 2
    assert "Traceback" not in err


def test_debug_prints_the_trace(kpid, tmp_path):
    assert "Traceback" in kpid("--debug", "check", "--config", tmp_path / "none.yml")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("measure", "--kpi", "win_rat"), "win_rate"),
        (("measure", "--kpi", "win_rate", "--period", "fortnight"), "fortnight"),
        (("measure", "--kpi", "win_rate", "--by", "colour"), "colour"),
        (("measure", "--kpi", "win_rate", "--from", "yesterday"), "yesterday"),
        (("measure", "--kpi", "win_rate", "--from", "2026-11-01", "--to", "2026-10-01"), "--to"),
        (("sync", "crn"), "crm"),
        (("report", "render", "weakly", "--out", "x"), "weekly"),
        (("report", "render", "weekly", "--period", "2026-W99", "--out", "x"), "2026-W99"),
        (("report", "send", "weekly", "--to", "teem"), "team"),
        (("alerts", "show", "few-win"), "few-wins"),
        (("outbox", "retry", "999"), "999"),
        (("outbox", "release", "1"), "1"),
    ],
)
def test_mistakes_are_answered_with_what_would_be_right(kpid, world, arguments, says):
    code, _, err = kpid("--now", NOW, *arguments, "--config", world.config)
    assert code in {1, 78}
    assert says in err
    assert "Traceback" not in err


# ---- what commands print


def test_measure_prints_numbers(kpid, world):
    code, out, _ = kpid(
        "--now",
        NOW,
        "measure",
        "--kpi",
        "win_rate",
        "--from",
        "2026-10-01",
        "--to",
        "2026-11-01",
        "--format",
        "json",
        "--config",
        world.config,
    )
    (one,) = json.loads(out)
    assert code == 0
    assert one["period"] == {"start": "2026-10-01T00:00:00+02:00", "end": "2026-11-01T00:00:00+01:00", "label": "2026-10"}
    assert (one["kpi"], one["dims"], one["numerator"], one["denominator"], one["n"]) == ("win_rate", {}, 21, 31, 31)
    assert one["value"] == pytest.approx(21 / 31, abs=1e-12)
    assert set(one) >= {"params", "state", "currency", "warnings"}


def test_measure_leaves_periods_without_rows_out_unless_asked(kpid, world):
    arguments = (
        "--now",
        NOW,
        "measure",
        "--kpi",
        "won_deals",
        "--from",
        "2026-09-01",
        "--to",
        "2026-11-01",
        "--config",
        world.config,
    )
    assert len(json.loads(kpid(*arguments, "--format", "json")[1])) == 1
    assert [one["value"] for one in json.loads(kpid(*arguments, "--fill", "--format", "json")[1])] == [0, 21]


def test_measure_writes_no_history(kpid, world):
    store = world.folder / "var" / "kpid.db"
    before = store.read_bytes()
    kpid("--now", NOW, "measure", "--kpi", "lost_deals", "--config", world.config)
    assert store.read_bytes() == before


def test_measure_prints_a_table(kpid, world):
    _, out, _ = kpid("--now", NOW, "measure", "--kpi", "win_rate", "--period", "quarter", "--config", world.config)
    assert "2026-Q4" in out
    assert "0.6774" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("alerts", "list"),
        ("outbox", "list"),
        ("runs",),
        ("schedule",),
        ("plugins",),
        ("doctor",),
        ("check",),
        ("alerts", "show", "few-wins"),
    ],
)
def test_lists_are_printed_as_table_and_as_json(kpid, world, arguments):
    code, table, err = kpid("--now", NOW, *arguments, "--config", world.config)
    assert code in {0, 1}, err
    assert table.strip()
    _, text, _ = kpid("--now", NOW, *arguments, "--format", "json", "--config", world.config)
    assert json.loads(text)


def test_alerts_tell_their_story(kpid, world):
    listed = json.loads(kpid("alerts", "list", "--format", "json", "--config", world.config)[1])
    assert [(one["rule"], one["status"]) for one in listed] == [("few-wins", "firing")]
    story = json.loads(kpid("alerts", "show", "few-wins", "--format", "json", "--config", world.config)[1])
    assert story["events"]
    assert story["notices"]


def test_schedule_is_in_the_zone_and_in_utc(kpid, world):
    found = json.loads(kpid("--now", NOW, "schedule", "--count", "2", "--format", "json", "--config", world.config)[1])
    weekly = [one for one in found if one["schedule"] == "report:weekly"]
    assert [one["due"] for one in weekly] == ["2026-11-16T07:30:00+01:00", "2026-11-23T07:30:00+01:00"]
    assert weekly[0]["due_at"] == "2026-11-16T06:30:00+00:00"


def test_report_is_rendered_into_a_folder(kpid, world, tmp_path):
    code, out, _ = kpid(
        "--now", NOW, "report", "render", "weekly", "--period", "2026-W44", "--out", tmp_path / "r", "--config", world.config
    )
    assert code == 0
    assert {file.suffix for file in (tmp_path / "r").iterdir()} >= {".html", ".txt", ".eml", ".png"}
    assert "2026-W44" in out


@pytest.mark.parametrize("command", ["render", "send"])
def test_report_of_long_ago_is_measured_for_it(tmp_path, kpid, command):
    """The history reaches back a quarter; a report of any period can be had all the same."""
    shell = make_world(tmp_path)
    shell.run("run", "--once", now="2027-09-01T09:00:00+02:00")
    folder = tmp_path / "r"
    rest = ("--out", folder) if command == "render" else ()
    code, _, err = kpid(
        "--now", "2027-09-01T10:00:00+02:00", "report", command, "weekly", "--period", "2026-W42", *rest, "--config", shell.config
    )
    assert (code, err) == (0, "")
    files = list(folder.glob("*.txt")) if command == "render" else shell.mails()
    texts = " ".join(file.read_text() for file in files)
    assert "Won deals" in texts


def test_report_by_hand_is_sent(tmp_path, kpid):
    shell = make_world(tmp_path)
    shell.run("run", "--once", now=NOW)
    before = len(shell.mails())
    assert kpid("--now", NOW, "report", "send", "weekly", "--config", shell.config)[0] == 0
    assert len(shell.mails()) == before + 1


def test_sync_says_what_it_read(kpid, tmp_path):
    shell = make_world(tmp_path)
    code, out, _ = kpid("--now", NOW, "sync", "--format", "json", "--config", shell.config)
    assert code == 0
    assert json.loads(out)[0] | {"entities": []} == {
        "source": "crm",
        "ok": True,
        "rows": 31,
        "changed": 31,
        "deletes": 0,
        "error": None,
        "deferred_until": None,
        "waits": None,
        "entities": [],
    }


def test_a_round_with_a_broken_source_ends_with_one(kpid, tmp_path):
    shell = make_world(tmp_path)
    (tmp_path / "data" / "deals.csv").write_text("native_id,state\nx,flying\n")
    shell.config.write_text(CONFIG.replace("path: data", "path: nowhere"))
    code, _, err = kpid("--now", NOW, "run", "--once", "--config", shell.config)
    assert code == 1
    assert "crm" in err
    code, out, _ = kpid("--now", NOW, "doctor", "--config", shell.config)
    assert code == 1
    assert "FAIL source:crm" in out


def test_first_run_in_an_empty_folder_writes_the_sample(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kpid", "run", "--once"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "config" / "var" / "mail").glob("*.eml"))) >= 2
    assert str(tmp_path / "config" / "var" / "mail") in done.stdout


def test_database_is_upgraded_once(kpid, tmp_path):
    shell = make_world(tmp_path)
    assert "now has schema" in kpid("db", "upgrade", "--config", shell.config)[1]
    assert "nothing to do" in kpid("db", "upgrade", "--config", shell.config)[1]


def test_schema_of_the_configuration_is_json(kpid):
    schema = json.loads(kpid("config", "schema")[1])
    assert "timezone" in schema["properties"]


def test_sample_is_the_same_for_the_same_seed(kpid, tmp_path):
    for name in ("a", "b"):
        assert kpid("--now", NOW, "sample", "--out", tmp_path / name, "--seed", "5")[0] == 0
    assert (tmp_path / "a" / "deals.csv").read_bytes() == (tmp_path / "b" / "deals.csv").read_bytes()
