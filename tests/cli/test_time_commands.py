"""What ``measure --vs``, ``forecast``, ``compare`` and ``restated`` print, as tables and as JSON."""

from __future__ import annotations

import json
import logging

import pytest

from kpid.cli import main
from tests.runtime.world import CONFIG, make_world

SOON = "2026-10-20T18:00:00+02:00"
LATER = "2026-11-10T09:12:00+01:00"


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
    """A company that measured in October and, after five of its deals had turned out lost, in November."""
    shell = make_world(tmp_path_factory.mktemp("time"), CONFIG + "kpis: {won_deals: {target: 30, target_period: month}}\n")
    shell.run("run", "--once", now="2026-11-02T08:00:00+01:00")
    deals = shell.folder / "data" / "deals.csv"
    deals.write_text(deals.read_text().replace("-31,won", "-31,lost").replace("-29,won", "-29,lost"), encoding="utf-8")
    shell.run("run", "--once", now=LATER)
    return shell


def test_measure_prints_what_it_compares_with(kpid, world):
    options = ("--kpi", "won_deals", "--period", "2026-10", "--vs", "previous", "--config", world.config)
    code, out, _ = kpid("--now", LATER, "measure", *options)
    assert code == 0
    header, row = (line for line in out.splitlines() if line.strip())
    assert header.split()[:6] == ["period", "versus", "compared", "was", "difference", "change"]
    assert row.split()[:5] == ["2026-10", "2026-09", "19", "0", "19"]
    _, out, _ = kpid("--now", LATER, "measure", *options, "--per-working-day", "--format", "json")
    assert json.loads(out)[0]["compared"] == pytest.approx(19 / 22)


def test_measure_prints_what_was_reported(kpid, world):
    options = ("--kpi", "won_deals", "--period", "2026-10", "--config", world.config)
    _, now, _ = kpid("--now", LATER, "measure", *options, "--format", "json")
    _, then, _ = kpid("--now", LATER, "measure", *options, "--as-reported", "first", "--format", "json")
    assert [json.loads(text)[0]["value"] for text in (now, then)] == [19, 21]
    _, out, _ = kpid("--now", LATER, "measure", *options, "--as-reported", "2026-11-02")
    assert "as reported 2026-11-02 08:00; restated since" in out


def test_restated_lists_what_changed(kpid, world):
    code, out, _ = kpid("--now", LATER, "restated", "--config", world.config)
    assert code == 0
    assert "won_deals" in out
    found = json.loads(kpid("--now", LATER, "restated", "--kpi", "won_deals", "--format", "json", "--config", world.config)[1])
    [row] = [one for one in found if (one["period"], one["segment"]) == ("2026-10", "all")]  # others are kept, too
    assert (row["from"], row["to"], row["segment"], row["because"]) == (21, 19, "all", "data")
    _, out, _ = kpid("--now", LATER, "restated", "--tolerance", "0.5", "--config", world.config)
    assert out == "nothing was restated\n"


def test_forecast_prints_pace_and_why_there_is_no_forecast(kpid, world):
    code, out, _ = kpid("--now", SOON, "forecast", "won_deals", "--config", world.config)
    assert code == 0
    assert "14 of 22 working days" in out
    assert "0 whole earlier periods with figures, 4 needed" in " ".join(out.split())
    [row] = json.loads(kpid("--now", SOON, "forecast", "won_deals", "--format", "json", "--config", world.config)[1])
    assert (row["target"], row["standing"], row["value"]) == (30, "far behind", 14)


def test_compare_prints_a_sentence(kpid, world):
    options = ("--event", "2026-10-16", "--months", "1", "--config", world.config)
    code, out, _ = kpid("--now", LATER, "compare", "win_rate", *options)
    assert code == 0
    assert out.startswith("Win rate:")
    assert "caused" not in out or "the figures do not say" in out
    code, _, err = kpid("--now", LATER, "compare", "win_rate", "--event", "soon", "--config", world.config)
    assert code == 1
    assert "Write 2017-06-01" in err
