"""What ``kpid explain`` says: exact parts along all dimensions, the planted cause first, plain words for what has no parts."""

from __future__ import annotations

import json

import pytest

from kpid.app import open_app
from kpid.cli import main
from kpid.commands.explain import explain_kpi
from kpid.commands.measure import instant_from_text
from kpid.cycle import sync
from kpid.errors import KpidError
from kpid.testing import FakeClock

CONFIG = """\
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 1h}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
"""
USERS = "native_id,name,team,region\nada,Ada Example,north,EMEA\nbob,Bob Example,north,EMEA\ncyd,Cyd Example,west,Americas\n"
NOW = "2026-11-10T09:12:00+01:00"
WON = {"2026-09": {"ada": 30, "bob": 30, "cyd": 30}, "2026-10": {"ada": 30, "bob": 9, "cyd": 31}}
CLOSED = 50


def deals():
    lines, number = ["native_id,created_at,closed_at,state,amount,currency,owner_id"], 0
    for month, won in WON.items():
        for owner, count in won.items():
            for place in range(CLOSED):
                number += 1
                state = "won" if place < count else "lost"
                lines.append(f"{number},2026-08-{1 + place % 28:02},{month}-{1 + place % 28:02},{state},100,EUR,{owner}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    (folder / "data").mkdir()
    (folder / "data" / "deals.csv").write_text(deals(), encoding="utf-8")
    (folder / "data" / "users.csv").write_text(USERS, encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text(NOW, None)))
    assert sync(app, "crm").error is None
    app.close()
    return folder


@pytest.fixture
def app(folder):
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text(NOW, None)))
    yield app
    app.close()


def test_ratio_is_split_exactly_and_the_planted_owner_comes_first(app):
    found = explain_kpi(app, kpi="win_rate", period="2026-10")
    assert found["change"] == pytest.approx(70 / 150 - 90 / 150)
    assert found["change_low"] < found["change"] < found["change_high"] < 0
    best = found["dimensions"][0]
    assert (best["dimension"], best["exact"]) == ("owner", True)
    assert best["parts"][0]["segment"] == "Bob Example"
    assert best["parts"][0]["effect"] == pytest.approx((9 - 30) / 150)
    for cut in found["dimensions"]:
        total = sum(part["effect"] for part in cut["parts"]) + cut["others"]["effect"]
        assert total == pytest.approx(found["change"], abs=1e-9), cut["dimension"]
    assert {"pipeline", "source"} <= set(found["alike"]), "what has one segment tells nothing"


def test_sentence_is_plain(app):
    said = explain_kpi(app, kpi="win_rate", period="2026-10", by=["owner"])["sentence"]
    assert said.startswith("Win rate fell 13.3 pt, from 60.0% in September 2026 to 46.7% in October 2026: owner Bob Example")
    assert "accounts for −14.0 pt (from 60.0% to 18.0% on 50 closed deals)" in said
    assert "Cyd" not in said, "who worked against it is no cause"


def test_kind_of_period_means_its_last_complete_one(app):
    found = explain_kpi(app, kpi="won_deals", period="month")
    assert (found["new"]["period"], found["old"]["period"]) == ("2026-10", "2026-09")
    assert found["change"] == -20


def test_other_period_may_be_named(app):
    found = explain_kpi(app, kpi="won_deals", period="2026-09", vs="2026-10")
    assert found["change"] == 20
    year = explain_kpi(app, kpi="won_deals", period="2026-10", vs="last_year")
    assert (year["old"]["period"], year["change"]) == ("2025-10", 70)


def test_median_says_that_it_cannot_be_split_and_shows_the_segments(app):
    found = explain_kpi(app, kpi="sales_cycle_days", period="2026-10", by=["owner"])
    assert "cannot be split exactly" in found["sentence"]
    cut = found["dimensions"][0]
    assert (cut["exact"], cut["parts"]) == (False, [])
    assert {row["segment"] for row in cut["rows"]} == {"Ada Example", "Bob Example", "Cyd Example"}


def test_period_without_a_value_leaves_nothing_to_compare(app):
    found = explain_kpi(app, kpi="win_rate", period="2026-10", vs="2026-01")
    assert found["change"] is None
    assert found["dimensions"] == []
    assert "nothing to compare" in found["sentence"]


def test_segment_can_be_explained_by_itself(app):
    found = explain_kpi(app, kpi="won_deals", period="2026-10", where={"team": ["north"]})
    assert found["change"] == -21
    assert "team" not in [cut["dimension"] for cut in found["dimensions"]]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"kpi": "win_rates"}, "win_rate"),
        ({"kpi": "win_rate", "by": ["ownr"]}, "owner"),
        ({"kpi": "win_rate", "period": "2026-13"}, "2017-12"),
        ({"kpi": "win_rate", "params": {"weight": "money"}}, "amount"),
    ],
)
def test_what_is_misspelt_is_refused_with_help(app, asked, hint):
    with pytest.raises(KpidError) as error:
        explain_kpi(app, **asked)
    assert hint in str(error.value.hint)


def test_period_to_come_is_refused(app):
    with pytest.raises(KpidError, match="has not begun"):
        explain_kpi(app, kpi="win_rate", period="2027-10")


@pytest.fixture
def kpid(capsys, folder):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(folder / "kpid.yml"), "--now", NOW, *arguments])
        return ended.value.code, capsys.readouterr().out

    return call


def test_command_line_prints_sentence_margin_and_tables(kpid):
    code, out = kpid("explain", "win_rate", "--period", "2026-10", "--by", "owner,team,pipeline")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("Win rate fell 13.3 pt")
    assert lines[1].startswith("95 % interval of the change: −")
    assert "by owner:" in lines
    assert any(line.split()[:1] == ["−14.0"] and line.rstrip().endswith("yes") for line in lines)
    assert lines[-1] == "one segment only: pipeline"


def test_command_line_gives_json(kpid):
    code, out = kpid("explain", "won_amount", "--period", "2026-10", "--format", "json")
    assert code == 0
    assert json.loads(out)["change"] == -2000
