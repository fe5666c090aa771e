"""A company says which of its records count: figures before and after, and what it is told of it."""

from __future__ import annotations

from tests.journey.shell import make_shell

NOW = "2026-11-10T09:12:00+01:00"
CONFIG = """
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 1h, max_age: 3650d}
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}
reports:
  monthly: {report: weekly_sales, every: "day 1 07:00", period: month, to: [team]}
kpis:
  won_here: {unit: count, measures: {n: {entity: deals, at: closed_at, where: "state = 'won'"}}}
  won_by_hand:
    unit: count
    sql: "select closed_at from deals where state = 'won'"
    columns: {closed_at: instant}
    measures: {n: {at: closed_at}}
"""
POPULATION = """
rules:
  - {name: few-wins, kpi: won_deals, period: month, warn: "< 1000", to: [team]}
population:
  exclude_pipelines: [Partner]
  exclude_teams: [Training]
  own_domains: [example.com]
"""
FILES = {
    "deals": "native_id,created_at,closed_at,state,amount,currency,pipeline_id,owner_id,account_id\n"
    + "".join(
        f"d{n},2026-09-01,2026-10-{n:02d},won,100,EUR,{pipeline},{owner},{account}\n"
        for n, (pipeline, owner, account) in enumerate(
            [("new", "ada", "acme"), ("new", "ada", ""), ("", "", "acme"), ("partner", "ada", "acme"), ("new", "bob", "acme"),
             ("new", "ada", "us"), ("new", "ada", "lab")], 1)
    ),
    "pipelines": "native_id,name\nnew,New business\npartner,Partner\n",
    "users": "native_id,name,team\nada,Ada Example,Sales\nbob,Bob Example,Training\n",
    "accounts": "native_id,name,domain,lifecycle\nacme,Acme Example,acme.example,customer\n"
    "us,Ours,https://www.example.com/about,customer\nlab,Laboratory,,internal\n",
}  # fmt: skip


def test_only_the_records_of_the_population_count(tmp_path):
    (tmp_path / "data").mkdir()
    for name, text in FILES.items():
        (tmp_path / "data" / f"{name}.csv").write_text(text, encoding="utf-8")
    shell = make_shell(tmp_path, CONFIG)
    shell.run("sync", now=NOW)

    def won(kpi):
        [row] = shell.json("measure", "--kpi", kpi, "--period", "2026-10", now=NOW)
        return row["value"]

    assert [won(kpi) for kpi in ("won_deals", "won_here", "won_by_hand")] == [6, 6, 6]  # the laboratory is internal anyway
    assert "Counted" not in shell.run("kpis", "show", "won_deals").stdout
    shell.config.write_text(CONFIG + POPULATION, encoding="utf-8")
    assert [won(kpi) for kpi in ("won_deals", "won_here")] == [3, 3]
    assert won("won_by_hand") == 4  # nobody's, since it declares no owner_id: teams do not matter
    counted = "no deals of pipeline Partner, no records of team Training, no records of our own (example.com)"
    assert f"Counted: {counted}" in shell.run("measure", "--kpi", "won_deals", "--period", "2026-10", now=NOW).stdout
    assert counted in shell.run("kpis", "show", "won_deals").stdout
    found = {one["subject"]: one for one in shell.json("check")}["population"]
    assert found["ok"], found
    assert found["text"] == "2 of 3 accounts and 4 of 7 deals left out"

    shell.run("run", "--once", now=NOW)
    alerts = [mail.read_text(encoding="utf-8") for mail in shell.mails() if "few-wins" in mail.name]
    assert alerts
    assert all("no records of team Training" in " ".join(text.split()) for text in alerts)
    shell.run("report", "render", "monthly", "--period", "2026-10", "--out", str(tmp_path / "out"), now=NOW)
    [text] = (tmp_path / "out").glob("*.txt")
    assert f"Counted: {counted}" in " ".join(text.read_text(encoding="utf-8").split())

    shell.config.write_text(CONFIG + "population: {pipelines: [New busines]}\n", encoding="utf-8")
    found = {one["subject"]: one for one in shell.json("check")}["population"]
    assert found["warning"]
    assert found["text"].startswith("no pipeline is called 'New busines'; 1 of 3 accounts and 7 of 7 deals left out")
    assert "New business" in found["hint"]
    assert found["where"].endswith(f"kpid.yml:{(CONFIG + 'population:').count(chr(10)) + 1}")
    [row] = shell.json("measure", "--kpi", "won_deals", "--period", "2026-10", "--fill", now=NOW)
    assert (row["state"], row["reason"]) == ("undefined", "population: no pipeline is called 'New busines'")
