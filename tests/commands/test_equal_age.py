"""Cohorts are compared at equal age: the older one as it was when it was as old as the newer one is now."""

from __future__ import annotations

from kpid.app import open_app
from kpid.commands.before_after import compare_event
from kpid.commands.measure import instant_from_text, measure
from kpid.cycle import sync
from kpid.testing import FakeClock

CONFIG = """\
timezone: Europe/Berlin
currency: EUR
plugins_dir: plugins
sources:
  crm: {connector: files, path: data, every: 1h}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
"""
PLUGIN = '''\
"""Share of the deals created in a period that are won by now."""
from kpid.plugin import NOW, At, Definition, Kpi, Measure, count, entities, hookimpl

deals = entities.deals
CLOCK = At(deals.c.created_at)
WON = (deals.c.state == "won") & (deals.c.closed_at < NOW)
MEASURES = {"won": Measure(deals, CLOCK, count(WON)), "all": Measure(deals, CLOCK, count(), label="deals")}
DEFINITION = Definition(MEASURES, lambda m: m.won / m.all, "all")
WORDS = {"formula_text": "x", "why": "x", "misleads": "x"}


@hookimpl
def kpid_kpis():
    return [Kpi("turned_out", "Won by now", "sales", "ratio", "up", DEFINITION, additivity="C", **WORDS)]
'''


def company(folder):
    """Of ten deals created on the first of each month one is won every third day from the fourth on."""
    rows = ["native_id,created_at,closed_at,state\n"]
    for month in ("2024-01", "2024-02", "2024-03", "2024-04"):
        for number in range(10):
            day = 4 + 3 * number
            closed = f"{month}-{day:02}" if day <= 29 else ""
            won = closed and closed < "2024-04-11"
            rows.append(f"{month}-{number},{month}-01,{closed if won else ''},{'won' if won else 'open'}\n")
    (folder / "data").mkdir()
    (folder / "plugins").mkdir()
    (folder / "data" / "deals.csv").write_text("".join(rows), encoding="utf-8")
    (folder / "plugins" / "kpid_turned_out.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(instant_from_text("2024-04-11T09:12:00+02:00", None)))
    assert sync(app, "crm").error is None
    return app


def test_running_cohort_is_compared_with_the_earlier_one_when_it_was_as_old(tmp_path):
    app = company(tmp_path)
    [march] = measure(app, kpi="turned_out", period="2024-03")
    assert march["value"] == 0.9
    [april] = measure(app, kpi="turned_out", period="2024-04", vs="previous")
    assert (april["value"], april["reference"]["value"]) == (0.3, 0.3)  # on 12 March three of its ten were won
    [march] = measure(app, kpi="turned_out", period="2024-03", vs="previous")
    assert (march["value"], march["reference"]["value"]) == (0.9, 0.9)
    app.close()


def test_cohorts_before_and_after_an_event_are_as_old_as_each_other(tmp_path):
    app = company(tmp_path)
    [found] = compare_event(app, kpi="turned_out", event="2024-04-01", months=1)
    assert (found["before"]["value"], found["after"]["value"]) == (0.3, 0.3)
    app.close()
