"""The journey on a real pipeline: 8,800 deals of 2016-2017 from CSV files, judged as a company would.

Every expected figure is either the issue's or counted here, row by row, from the files.
"""

from __future__ import annotations

import csv
import email
import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from email import policy
from pathlib import Path
from typing import Any

import pytest

from tests.journey.shell import Shell, make_shell

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KPID_DATA") or HERE.parents[2] / "shared" / "data" / "crm_sales_opportunities")
NOW = "2018-01-02T08:00:00+01:00"
pytestmark = pytest.mark.skipif(
    not (DATA / "sales_pipeline.csv").is_file(), reason=f"the sales pipeline data is not at {DATA}: set KPID_DATA"
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    with (DATA / "sales_pipeline.csv").open(encoding="utf-8", newline="") as file:
        return [
            row
            | {
                "created": date.fromisoformat(row["engage_date"]) if row["engage_date"] else None,
                "closed": date.fromisoformat(row["close_date"]) if row["close_date"] else None,
                "won": row["deal_stage"] == "Won",
                "product": "GTX Pro" if row["product"] == "GTXPro" else row["product"],
            }
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = make_shell(
        tmp_path_factory.mktemp("journey"),
        (HERE / "crm_sales_opportunities.yml").read_text(encoding="utf-8"),
        KPID_DATA=str(DATA),
    )
    shell.run("run", "--once", now=NOW)
    return shell


def measure(
    shell: Shell, kpi: str, *arguments: str, first: str = "2016-01-01", last: str = "2018-01-01", period: str = "year"
) -> list[Any]:
    found = shell.json("measure", "--kpi", kpi, "--period", period, "--from", first, "--to", last, *arguments, now=NOW)
    assert isinstance(found, list)
    return found


def test_the_totals_are_the_issues(shell: Shell) -> None:
    assert sum(one["value"] for one in measure(shell, "won_deals")) == 4238
    assert sum(one["value"] for one in measure(shell, "lost_deals")) == 2473
    assert sum(one["value"] for one in measure(shell, "won_amount")) == 10_005_534
    rates = measure(shell, "win_rate")
    won, closed = sum(one["numerator"] for one in rates), sum(one["denominator"] for one in rates)
    assert round(100 * won / closed, 4) == 63.1501
    cycles = measure(shell, "sales_cycle_days", "--param", "stat=mean")
    days, deals = sum(one["numerator"] for one in cycles), sum(one["denominator"] for one in cycles)
    assert round(days / deals, 4) == 51.7820


def test_open_deals_are_those_of_the_crm_today(shell: Shell) -> None:
    today = measure(shell, "pipeline_open_amount", "--param", "as=count", period="day", first="2018-01-02", last="2018-01-03")
    assert [one["value"] for one in today] == [2089]


@pytest.mark.parametrize("day", ["2016-12-01", "2017-03-01", "2017-06-30", "2017-07-01", "2017-10-15", "2018-01-01"])
def test_open_deals_at_a_past_instant_are_right(shell: Shell, rows: list[dict[str, Any]], day: str) -> None:
    instant = date.fromisoformat(day)
    before = date.fromordinal(instant.toordinal() - 1).isoformat()
    found = measure(shell, "pipeline_open_amount", "--param", "as=count", period="day", first=before, last=day)
    expected = sum(
        1 for row in rows if row["created"] and row["created"] < instant and (row["closed"] is None or row["closed"] >= instant)
    )
    assert [one["value"] for one in found] == [expected]
    assert any("500" in warning for one in found for warning in one["warnings"]), "deals without a creation date are named"


@pytest.mark.parametrize(("by", "column"), [("owner", "sales_agent"), ("product", "product"), ("account", "account")])
def test_slices_add_up_and_are_right(shell: Shell, rows: list[dict[str, Any]], by: str, column: str) -> None:
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["closed"]:
            label = f"{row['closed'].year}-Q{(row['closed'].month + 2) // 3}"
            expected[row[column] or None, label][0] += row["won"]
            expected[row[column] or None, label][1] += 1
    found = {
        (one["dims"][by]["name"], one["period"]["label"]): [one["numerator"], one["denominator"]]
        for one in measure(shell, "win_rate", "--by", by, period="quarter")
    }
    assert found == dict(expected)
    totals = {one["period"]["label"]: one["denominator"] for one in measure(shell, "win_rate", period="quarter")}
    for label, total in totals.items():
        assert sum(closed for (_, quarter), (_, closed) in found.items() if quarter == label) == total


@pytest.mark.parametrize("by", ["team", "region"])
def test_slices_by_the_sellers_team_add_up(shell: Shell, by: str) -> None:
    slices = measure(shell, "won_amount", "--by", by)
    assert len({one["dims"][by]["name"] for one in slices}) > 2
    assert sum(one["value"] for one in slices) == 10_005_534


@pytest.mark.parametrize(("name", "period"), [("weekly-sales", "2017-W50"), ("monthly-sales", "2017-12")])
def test_reports_render(shell: Shell, name: str, period: str) -> None:
    out = shell.folder / f"report-{period}"
    shell.run("report", "render", name, "--period", period, "--out", str(out), now=NOW)
    suffixes = {path.suffix for path in out.iterdir()}
    assert {".html", ".txt", ".eml", ".png"} <= suffixes
    text = next(out.glob("*.txt")).read_text(encoding="utf-8")
    assert "Win rate" in text
    assert "n/a" not in text.split("Definitions")[0].split("\n")[0]


def months() -> Iterator[tuple[int, int]]:
    yield from ((2017, month) for month in range(3, 13))


def test_alerts_fire_and_resolve_as_the_numbers_say(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Month by month, as the daemon would have lived through 2017, against a count by hand."""
    text = (HERE / "crm_sales_opportunities.yml").read_text(encoding="utf-8")
    shell = make_shell(tmp_path, text.replace("name: win-rate-low,", "name: win-rate-low, catch_up: 1,"), KPID_DATA=str(DATA))
    counts: dict[tuple[str, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["closed"]:
            counts[row["sales_agent"], row["closed"].year, row["closed"].month][0] += row["won"]
            counts[row["sales_agent"], row["closed"].year, row["closed"].month][1] += 1
    firing: set[str] = set()
    stories: list[tuple[str, str]] = []
    for year, month in months():
        for owner in {owner for owner, *_ in counts}:
            won, closed = counts.get((owner, year, month), (0, 0))
            if closed < 20:
                continue
            if 100 * won < 55 * closed and owner not in firing:
                firing.add(owner)
                stories.append((owner, "fired"))
            elif 100 * won >= 58 * closed and owner in firing:
                firing.remove(owner)
                stories.append((owner, "resolved"))
        following = f"{year + month // 12}-{month % 12 + 1:02d}"
        shell.run("run", "--once", now=f"{following}-01T09:00:00+01:00")
        listed = shell.json("alerts", "list", now=f"{following}-01T09:05:00+01:00")
        assert {one["segment"] for one in listed if one["status"] in {"firing", "recovering"}} == firing, following
    assert {kind for _, kind in stories} == {"fired", "resolved"}, "the data shows both"
    words = [mail["Subject"] for mail in _alert_mails(shell)]
    assert sum("resolved" in subject.lower() for subject in words) > 0


def _alert_mails(shell: Shell) -> list[Any]:
    mails = [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in shell.mails()]
    return [mail for mail in mails if "win-rate-low" in str(mail["List-Id"])]
