"""``kpid compare``: did it help? Both counts, the difference in points, a test, and words that claim no cause."""

from __future__ import annotations

from datetime import date

import pytest

from kpid.app import open_app
from kpid.commands.before_after import compare_event
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
HEAD = "native_id,created_at,closed_at,state,amount,currency,owner_id\n"
AFTER = {"ada": 8, "bob": 4}
"""Of ten deals a month each of them wins 4 before June 2017; Ada 8 from June on."""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before_after")
    (folder / "data").mkdir()
    lines = []
    for number in range(24):  # 2016-07 to 2018-06
        month = date(2016 + (number + 6) // 12, (number + 6) % 12 + 1, 1)
        for owner, wins in AFTER.items():
            won = wins if month >= date(2017, 6, 1) else 4
            for deal in range(10):
                state, created = ("won" if deal < won else "lost"), month.replace(day=5 + deal - (month >= date(2017, 6, 1)) * 3)
                lines.append(f"{month}-{owner}-{deal},{created},{month.replace(day=20)},{state},{deal + 1},EUR,{owner}\n")
    (folder / "data" / "deals.csv").write_text(HEAD + "".join(lines), encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text("2018-07-02T09:00:00+02:00", None)))
    assert sync(app, "crm").error is None
    yield app
    app.close()


def test_rate_after_is_compared_with_the_same_number_of_months_before(app):
    [found] = compare_event(app, kpi="win_rate", event="2017-06-01", months=6, settle_months=1)
    assert found["before"] == {"period": "2016-11-01..2017-05-01", "value": 0.4, "n": 120, "state": "ok"}
    assert found["after"] == {"period": "2017-07-01..2018-01-01", "value": 0.6, "n": 120, "state": "ok"}
    assert (found["difference"], found["test"], found["significant"]) == (pytest.approx(0.2), "two proportions", True)
    assert found["p"] == pytest.approx(0.00195, rel=0.01)
    assert (found["difference_low"], found["difference_high"]) == (
        pytest.approx(0.0739, abs=1e-3),
        pytest.approx(0.3176, abs=1e-3),
    )
    assert found["sentence"].startswith("Win rate: 40.0% (n 120) before, 60.0% (n 120) after")
    assert "associated with the event" in found["sentence"]
    assert "+20.0 pt" in found["sentence"]
    assert "p 0.002" in found["sentence"]
    assert "[1 Nov 2016 – 30 Apr 2017; 1 Jul – 31 Dec 2017]" in found["sentence"]


def test_segment_that_did_not_change_is_not_said_to_have(app):
    ada, bob = compare_event(app, kpi="win_rate", event="2017-06-01", months=6, by=["owner"])
    assert (ada["segment"], ada["significant"], ada["p"] < 0.001) == ("crm:ada", True, True)
    assert (bob["difference"], bob["significant"], bob["p"]) == (0, False, 1)
    assert "not more than chance may bring" in bob["sentence"]


def test_too_few_cases_say_nothing(app):
    [found] = compare_event(app, kpi="win_rate", event="2017-06-01", months=1, where={"owner": ["crm:ada"]})
    assert found["significant"] is False
    assert "10 and 10 closed deals, at least 30 needed on both sides" in found["sentence"]


def test_months_that_are_not_over_say_nothing(app):
    [found] = compare_event(app, kpi="win_rate", event="2018-01-15", months=6)
    assert found["after"]["state"] == "incomplete"
    assert "nothing can be said" in found["sentence"]
    with pytest.raises(KpidError, match="nothing is over yet"):
        compare_event(app, kpi="win_rate", event="2018-07-15")


def test_durations_and_counts_are_compared_by_the_months(app):
    [cycle] = compare_event(app, kpi="sales_cycle_days", event="2017-06-01", months=6)
    assert cycle["test"] == "rank sum of months"
    assert (cycle["before"]["n"], cycle["after"]["n"]) == (48, 72)
    assert cycle["p"] == pytest.approx(2 / 924)
    [wins] = compare_event(app, kpi="won_deals", event="2017-06-01", months=6)
    assert (wins["before"]["value"], wins["after"]["value"], wins["difference"]) == (8, 12, 4)
    assert "a month" in wins["sentence"]


def test_no_sentence_claims_a_cause(app):
    for kpi in ("win_rate", "won_deals", "sales_cycle_days"):
        [found] = compare_event(app, kpi=kpi, event="2017-06-01", months=6)
        assert "caused by it, the figures do not say" in found["sentence"]
        assert "because" not in found["sentence"]


def test_side_without_rows_cannot_be_compared(app):
    [found] = compare_event(app, kpi="win_rate", event="2016-07-01", months=3)
    assert (found["difference"], found["p"], found["significant"]) == (None, None, False)
    assert "cannot be compared" in found["sentence"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"event": "June"}, "not a day"), ({"kpi": "winrate"}, "no KPI"), ({"months": 0}, "0 months"), ({"by": ["onwer"]}, "onwer")],
)
def test_what_makes_no_sense_is_refused(app, wrong, says):
    with pytest.raises(KpidError, match=says):
        compare_event(app, **{"kpi": "win_rate", "event": "2017-06-01", **wrong})
