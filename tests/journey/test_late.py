"""Down over two due Mondays: one late report that says so, and the other one accounted for."""

from __future__ import annotations

import email
from email import policy
from pathlib import Path
from typing import Any

from tests.journey.shell import Shell, make_shell

DEALS = "native_id,created_at,closed_at,state,amount,currency\n" + "".join(
    f"d{day},2026-09-01,2026-10-{day:02d},{'won' if day % 3 else 'lost'},100,EUR\n" for day in range(1, 32)
)
CONFIG = """
timezone: Europe/Berlin
currency: EUR
sources:
  crm: {connector: files, path: data, every: 15m, max_age: 3650d}
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com]}
reports:
  weekly: {report: weekly_sales, every: "mon 07:30", to: [team]}
"""


def reports(shell: Shell) -> list[Any]:
    return [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in shell.mails()]


def body(mail: Any) -> str:
    return " ".join(mail.get_body(("plain",)).get_content().split())


def test_down_over_two_mondays_gives_one_late_report_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deals.csv").write_text(DEALS)
    shell = make_shell(tmp_path, CONFIG)
    shell.run("run", "--once", now="2026-10-28T09:00:00+01:00")
    assert len(reports(shell)) == 1, "a new user sees a report at once"
    assert "late" not in body(reports(shell)[0]).lower()

    shell.run("run", "--once", now="2026-11-10T09:12:00+01:00")
    late = [mail for mail in reports(shell) if "W45" in body(mail) or "week 45" in body(mail).lower()]
    assert len(reports(shell)) == 2
    assert len(late) == 1, [mail["Subject"] for mail in reports(shell)]
    assert "late" in body(late[0]).lower()

    runs = shell.json("runs", now="2026-11-10T09:13:00+01:00")
    skipped = [run for run in runs if run["state"] == "skipped" and run["schedule"] == "report:weekly"]
    assert [run["due"][:10] for run in skipped] == ["2026-11-02"]
    assert skipped[0]["reason"]

    shell.run("run", "--once", now="2026-11-10T09:30:00+01:00")
    assert len(reports(shell)) == 2, "nothing is sent twice"
