"""Each connector from end to end: a CRM that behaves like the vendor's, one round of kpid, the weekly report at its end."""

from __future__ import annotations

import email
import json
from datetime import UTC, datetime
from email import policy
from pathlib import Path

import pytest

from kpid.testing import SourceBench
from tests.journey.connected import going_on, make_company, options_of
from tests.vendors import BENCHES

WEDNESDAY = datetime(2026, 11, 25, 10, tzinfo=UTC)
MONDAY = datetime(2026, 11, 30, 7, tzinfo=UTC)
"""Half an hour after the report is due."""


@pytest.fixture(params=BENCHES, ids=lambda kind: kind.__name__.removesuffix("Bench").lower())
def bench(request: pytest.FixtureRequest):
    with request.param() as bench:
        yield bench


def win(bench: SourceBench) -> int:
    """Deals that come and are won on a Wednesday; how many."""
    bench.add(1)
    bench.clock.set(WEDNESDAY)
    added = bench.add(30)
    for native_id in added[:7]:
        bench.change(native_id)
    truth = bench.truth()
    return sum(truth[native_id]["state"] == "won" for native_id in added)


def test_one_round_ends_with_the_weekly_report(bench: SourceBench, tmp_path: Path) -> None:
    won = win(bench)
    assert won >= 7
    bench.clock.set(MONDAY)
    shell = make_company(tmp_path, options_of(bench))
    now = MONDAY.isoformat()
    with going_on(bench.clock):
        done = shell.run("run", "--once", now=now)
    assert "synced crm: " in done.stdout
    assert "wrote report weekly-sales" in done.stdout

    (week,) = shell.json(
        "measure", "--kpi", "won_deals", "--period", "week", "--from", "2026-11-23", "--to", "2026-11-30", now=now
    )
    assert (week["value"], week["state"]) == (won, "ok")
    mails = [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in shell.mails()]
    (report,) = [mail for mail in mails if "weekly-sales" in str(mail["List-Id"])]
    text = report.get_body(("plain",)).get_content()
    assert any(str(won) in line.split() for line in text.splitlines() if "won" in line.lower()), text
    assert [str(mail["List-Id"]) for mail in mails if "few-wins" in str(mail["List-Id"])], "the rule fired"

    listed = shell.json("sources", now=now)
    ours = {row["entity"]: row for row in listed if row["source"] == "crm"}
    assert {row["state"] for row in ours.values()} <= {"done", "carried"}
    assert ours["deals"]["rows"] == len(bench.truth())
    assert not any(row["stale"] or row["error"] for row in ours.values()), ours
    found = json.loads(shell.run("doctor", "--format", "json", now=now, ok=False).stdout)
    assert [one for one in found if not one["ok"] and not one["subject"].startswith("data:")] == []
