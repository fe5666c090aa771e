"""KPIs and dimensions of the company's own, from a CRM's export to an alert, without a line of Python."""

from __future__ import annotations

import pytest

from tests.journey.shell import Shell, make_shell

NOW = "2026-11-16T09:00:00+01:00"
DEALS = """native_id,created_at,closed_at,state,amount,currency,owner_id,Deal Tier,seats
d1,2026-10-01,2026-11-02,won,60000,EUR,ada,gold,10
d2,2026-10-02,2026-11-03,lost,70000,EUR,ada,gold,many
d3,2026-10-03,2026-11-10,won,80000,EUR,ada,silver,5
d4,2026-10-04,,open,400,EUR,ada,,
d5,2026-10-04,2026-11-11,lost,90000,EUR,ada,silver,3
d6,2026-10-04,2026-11-12,lost,90000,EUR,ada,silver,"3; drop table deals"
"""
CONFIG = """
timezone: Europe/Berlin
currency: EUR
state: sqlite:///var/kpid.db
warehouse: duckdb:///var/crm.duckdb
sources:
  crm: {connector: files, path: data, every: 15m, max_age: 3650d, entities: {deals: {file: deals.csv, extra: [Deal Tier, seats]}}}
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}
rules:
  - {name: big-deals, kpi: big_win_rate, period: week, by: [tier], warn: "< 60%", to: [team]}
  - {name: wins-by-tier, kpi: won_deals, period: week, where: {tier: gold}, warn: "> 1000", to: [team]}
"""
KPIS = """
fields:
  deals.tier: {from: extra.Deal Tier, dimension: true}
  deals.seats: {from: extra.seats, type: number}
kpis:
  big_win_rate:
    name: Big win rate
    unit: ratio
    better: up
    period: week
    target: 70%
    measures:
      won:    {entity: deals, at: closed_at, where: "state = 'won' and amount >= 50000 and extra.\\"Deal Tier\\" is not null"}
      closed: {entity: deals, at: closed_at, where: "state in ('won', 'lost')", label: closed deals}
    formula: won / closed
    sample: closed
  seats_sold: {unit: count, measures: {n: {entity: deals, at: closed_at, sum: seats, where: "state = 'won'"}}}
  seats_by_sql:
    unit: count
    sql: select closed_at as at, owner_id, 1 as n from deals where state = 'won' and created_at < closed_at
    columns: {at: instant, owner_id: text, n: number}
    measures: {n: {at: at, sum: n}}
"""


@pytest.fixture
def shell(tmp_path) -> Shell:
    for name, text in {"data/deals.csv": DEALS, "kpis/own.yml": KPIS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return make_shell(tmp_path, CONFIG)


def test_own_kpi_is_checked_measured_and_alerted_on(shell):
    said = shell.run("check", now=NOW).stdout
    assert "3 defined here: big_win_rate, seats_sold, seats_by_sql, 2 custom fields" in said
    shell.run("run", "--once", now=NOW)
    for kpi, value in (("seats_sold", 15), ("seats_by_sql", 2)):
        [found] = shell.json("measure", "--kpi", kpi, "--period", "month", "--from", "2026-11-01", now=NOW)
        assert found["value"] == value, kpi
    rows = shell.json("measure", "--kpi", "big_win_rate", "--period", "month", "--from", "2026-11-01", "--by", "tier", now=NOW)
    assert {row["dims"]["tier"]["id"]: round(row["value"], 4) for row in rows} == {"gold": 0.5, "silver": 0.3333}
    [mail] = shell.mails()
    assert "big-deals" in mail.read_text(encoding="utf-8")
    assert "silver" in mail.read_text(encoding="utf-8")
    listed = shell.json("plugins", now=NOW)
    assert {row["name"] for row in listed if row["distribution"].endswith("kpid.yml")} == {
        "big_win_rate",
        "seats_sold",
        "seats_by_sql",
    }


def test_mistake_in_an_own_kpi_stops_kpid_with_its_place(shell):
    file = shell.folder / "kpis" / "own.yml"
    file.write_text(KPIS.replace("amount >= 50000", "amont >= 50000"), encoding="utf-8")
    for command in (("check",), ("run", "--once"), ("measure", "--kpi", "won_deals")):
        done = shell.run(*command, now=NOW, ok=False)
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert "own.yml:13:72" in said, said
        assert "deals has no column 'amont'" in said
        assert "Did you mean 'amount'?" in said
        assert "Traceback" not in said
