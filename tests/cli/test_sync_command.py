"""``kpid sync``: what is read, from when on, what a person is told, and the bar that shows how far it is."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from kpid.app import open_app
from kpid.cli import main
from kpid.cli.output import pace_text, progress_shown
from kpid.commands.once import run_once
from kpid.commands.sync import Turns, instant_of, sync_one, sync_sources
from kpid.errors import KpidError
from kpid.store import runs
from kpid.testing.hubspot import policy
from kpid.testing.hubspot_life import fill
from tests.vendors.hubspot import HubSpotBench

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def bench():
    with HubSpotBench() as bench:
        fill(bench.portal, 10)
        yield bench


@pytest.fixture
def config(tmp_path, bench):
    """A portal and a folder of files."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deals.csv").write_text("native_id,name,state\nd1,One,open\n", encoding="utf-8")
    text = {
        "timezone": "Europe/Berlin", "currency": "EUR",
        "sources": {"crm": {"connector": "hubspot", **bench.options()}, "files": {"connector": "files", "path": "data"}},
    }  # fmt: skip
    file = tmp_path / "kpid.yml"
    file.write_text(json.dumps(text), encoding="utf-8")
    return file


@pytest.fixture
def app(config, bench):
    app = open_app(config, bench.clock)
    yield app
    app.close()


@pytest.fixture
def kpid(config, capsys, bench):
    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--now", bench.clock.now().isoformat(), *arguments, "--config", str(config)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def read(done):
    return {(one["source"], entity["entity"]): entity["rows"] for one in done for entity in one["entities"]}


# ---- which entities


def test_only_the_named_entities_are_read_of_the_sources_that_fill_them(app):
    assert set(read(sync_sources(app, entities=["deals"]))) == {("crm", "deals"), ("files", "deals")}
    assert set(read(sync_sources(app, entities=["contacts", "accounts"]))) == {("crm", "accounts"), ("crm", "contacts")}


def test_an_entity_that_comes_with_another_is_read_with_it(app):
    assert set(read(sync_sources(app, source="crm", entities=["stages", "pipelines"]))) == {("crm", "pipelines")}


@pytest.mark.parametrize(
    ("source", "entity", "what", "hint"),
    [
        (None, "daels", "no source fills 'daels'", "Did you mean 'deals'?"),
        ("files", "contacts", "source files does not fill 'contacts'", "Filled are: deals"),
        ("crn", "deals", "there is no source 'crn'", "Did you mean 'crm'?"),
    ],
)
def test_what_nobody_fills_is_an_error(app, source, entity, what, hint):
    with pytest.raises(KpidError) as caught:
        sync_sources(app, source=source, entities=[entity])
    assert (caught.value.what, caught.value.hint) == (what, hint)


def test_options_reach_the_sync(kpid):
    code, out, _ = kpid("sync", "--entity", "deals", "--entity", "users", "--since", "7d")
    assert code == 0
    assert {line.split()[1] for line in out.splitlines()[1:] if line.startswith("crm ")} == {"users", "deals"}
    assert kpid("sync", "--full", "--since", "7d")[0] == 2


# ---- since when


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2026-11-01", datetime(2026, 10, 31, 23, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("2026-11-01T08:00:00+01:00", datetime(2026, 11, 1, 7, tzinfo=UTC)),
        ("2026-11-01T08:00:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ],
)
def test_since_is_a_length_of_time_a_day_or_an_instant(text, instant):
    assert instant_of(text, NOW, BERLIN) == instant


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("yesterday", "'yesterday' is no time"),
        ("2026-13-01", "'2026-13-01' is no time"),
        ("2026-11-01T08:00:00", "lacks its offset"),
        ("2027-01-01", "is to come"),
    ],
)
def test_since_must_be_a_time_in_the_past(text, what):
    with pytest.raises(KpidError, match=what):
        instant_of(text, NOW, BERLIN)


def test_what_changed_since_is_read_again(app, bench):
    first = read(sync_sources(app, source="crm"))
    bench.later(60)
    quiet = read(sync_sources(app, source="crm", entities=["deals"]))
    again = read(sync_sources(app, source="crm", entities=["deals"], since="800d"))
    assert (quiet["crm", "deals"], again["crm", "deals"]) == (0, first["crm", "deals"])


# ---- left alone


def test_a_source_that_wants_to_be_left_alone_is_no_failure(app, bench):
    bench.api.fail(policy("DAILY"), times=99)
    (done,) = sync_sources(app, source="crm")
    assert (done["ok"], done["error"]) == (True, None)
    assert done["waits"].startswith("waits until ")
    assert "goes on after" not in done["waits"]
    assert datetime.fromisoformat(done["deferred_until"]) > bench.clock.now()
    bench.api.forgive()
    calls = len(bench.api.requests)
    assert sync_sources(app, source="crm")[0]["waits"] == done["waits"]
    assert len(bench.api.requests) == calls
    assert sync_sources(app, source="crm", force=True)[0]["waits"] is None
    assert len(bench.api.requests) > calls


def test_a_run_of_a_source_that_is_left_alone_is_done_and_says_so(app, bench):
    bench.api.fail(policy("DAILY"), times=99)
    done = run_once(app)
    assert done.failures == ()
    ((source, why),) = done.deferred
    assert (source, why[:12]) == ("crm", "waits until ")
    with app.store.read() as connection:
        (run,) = runs.list_runs(connection, schedule="sync:crm")
    assert (run.state, run.reason) == ("done", why)


def test_the_daemons_sync_of_a_source_that_is_left_alone_has_a_remark(app, bench):
    bench.api.fail(policy("DAILY"), times=99)
    assert sync_one(app, "crm", Turns()).text.startswith("waits until ")
    assert sync_one(app, "files", Turns()) is None


def test_a_person_is_told_how_to_ask_at_once(kpid, bench):
    bench.api.fail(policy("DAILY"), times=99)
    code, out, err = kpid("sync", "crm")
    assert (code, err) == (0, "")
    assert "crm waits until " in out
    assert "`kpid sync crm --force`" in out


# ---- how far


def test_progress_says_rows_per_second_and_what_is_left():
    drawn, time = io.StringIO(), iter(range(1_000))
    terminal = Console(file=drawn, force_terminal=True, width=160, color_system=None)
    with progress_shown(terminal, lambda: float(next(time))) as told:
        for done in range(0, 60_001, 10_000):
            told("crm/deals", done, 120_000)
            told("crm/contacts", done, None)
            told("measuring", done // 10_000, 6)
    text = drawn.getvalue()
    for words in ("crm/deals", "60000/120000", "rows/s, ", " left", "crm/contacts", "60000/?"):
        assert words in text
    assert [line for line in text.splitlines() if "measuring" in line and "rows/s" in line] == []


@pytest.mark.parametrize(
    ("rate", "remaining", "seconds", "text"),
    [
        (12_300.4, 1_500_000, 122.0, "12,300 rows/s, 2 min left"),
        (12_300.4, None, None, "12,300 rows/s"),
        (None, 5, 50.0, "50 s left"),
        (12_300.4, 0, 0.0, "12,300 rows/s"),
        (None, None, None, ""),
    ],
)
def test_a_pace_is_told_as_far_as_it_is_known(rate, remaining, seconds, text):
    assert pace_text(rate, remaining, seconds) == text


def test_no_bar_is_drawn_where_nobody_looks():
    with progress_shown() as told:
        assert told is None
