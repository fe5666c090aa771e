"""A company with alerts that somebody must take up: a real store, episodes put in by hand, an app over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from kpid.app import App, open_app
from kpid.store.tables import episodes, frames, notices
from kpid.testing import FakeClock

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
SECRET = "an-invented-secret-of-32-letters"
CONFIG = f"""
timezone: Europe/Berlin
receivers:
  team: {{notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [ada@example.com]}}
rules:
  - {{name: few-wins, kpi: won_deals, period: month, by: [owner], warn: "< 1000", to: [team], labels: {{team: sales}}}}
  - {{name: low-calls, kpi: calls_made, period: week, warn: "< 5", to: [team]}}
web: {{listen: "127.0.0.1:0", url: "https://kpid.example.com", secret: {SECRET}}}
"""


@contextmanager
def opened(folder: Path, configuration: str = CONFIG, now: datetime = NOW) -> Iterator[App]:
    """An app over a store of its own."""
    file = folder / "kpid.yml"
    file.write_text(configuration, encoding="utf-8")
    app = open_app(file, FakeClock(now), warehouse="none")
    try:
        yield app
    finally:
        app.close()


def fire(app: App, rule: str = "few-wins", owner: str | None = "crm:1", number: int = 1, **changes: Any) -> int:
    """An episode that fires, as judging writes it down; its number."""
    key = f"{rule}/{owner}"
    row = {
        "rule_uid": rule,
        "series_key": key,
        "episode": number,
        "dedup_key": f"{key}/{number}"[:64],
        "segment": {"owner": owner} if owner else {},
        "names": {"owner": f"Owner {owner}"} if owner else {},
        "labels": {"team": "sales"},
        "thread": f"{rule}@1",
        "level": "warn",
        "opened_slot": NOW - timedelta(days=9),
        "opened_at": NOW - timedelta(days=9),
        "updated_at": NOW - timedelta(days=9),
    }
    with app.store.write() as conn:
        added = conn.execute(insert(episodes).values(**row | changes))
        return int((added.inserted_primary_key or (0,))[0])


def end(app: App, number: int, kind: str = "resolved") -> None:
    """The episode is over."""
    with app.store.write() as conn:
        conn.execute(update(episodes).where(episodes.c.id == number).values(ended_at=NOW, ended_slot=NOW, end_kind=kind))


def tell(app: App, *numbers: tuple[str, str, int], flush_id: str = "f1", **changes: Any) -> None:
    """A message told of these (rule, series key, episode)."""
    with app.store.write() as conn:
        if conn.execute(frames.select()).first() is None:
            conn.execute(insert(frames).values(sha256="0" * 64, body={}))
        for rule, key, episode in numbers:
            row = {
                "key": f"{flush_id}/{key}/{episode}"[:64],
                "kind": "fired",
                "rule_uid": rule,
                "series_key": key,
                "episode": episode,
                "receiver": "team",
                "recipient": "ada@example.com",
                "group_key": "g",
                "frame": "0" * 64,
                "flush_id": flush_id,
                "item": {},
                "level": "warn",
                "slot": NOW,
                "state": "sent",
                "not_before": NOW,
                "created_at": NOW,
            }
            conn.execute(insert(notices).values(**row | changes))
