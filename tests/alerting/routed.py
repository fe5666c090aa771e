"""A world with routes, windows, people: what a real configuration adds to the plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from kpid.alerting.contracts import AlertingSetup, Contact, Opening, Telling
from kpid.alerting.flush import flush_notices
from kpid.alerting.tending import Tended, tend
from kpid.alerting.windows import openings_of
from kpid.config.alerting import Inhibit, Owners, Route, Window
from kpid.model import Notice
from kpid.plugin.notifier import Message
from kpid.store.tables import notices
from tests.alerting.world import World


def bundle(told: Sequence[Notice], telling: Telling) -> Message:
    """What several notices say, for tests to look at."""
    items = [item for notice in told for item in notice.items]
    title = ", ".join(f"{item.segment or notice.rule} {item.kind}" for notice in told for item in notice.items)
    facts = {"held": [item.held for item in items], "values": [str(item.value) for item in items], "kind": telling.kind}
    reasons = [item.reason for item in items]
    return Message("", "alert", title, "", told[0].now, facts={**facts, "reasons": reasons}, actions=telling.actions)


def routes(*given: dict[str, Any]) -> list[Route]:
    """Routes; without waits where they do not say."""
    return [Route.model_validate({"group_wait": "0s", "group_interval": "0s", **one}) for one in given]


def window(outside: str = "defer", **given: Any) -> Mapping[str, Opening]:
    """Office hours in Berlin."""
    office = {"days": "mon-fri", "times": "08:00-18:00", "outside": outside, **given}
    return openings_of({"office": Window.model_validate(office)}, {}, "Europe/Berlin")


def owners() -> Owners:
    return Owners.model_validate({"via": "mail", "else": "team"})


def inhibit(**given: Any) -> list[Inhibit]:
    return [Inhibit.model_validate(given)]


@dataclass
class Routed(World):
    """A world whose setup has more in it."""

    more: dict[str, Any] = field(default_factory=dict)
    people: Mapping[str, Contact] = field(default_factory=dict)

    def setup(self) -> AlertingSetup:
        people = {"contacts": lambda ids: {key: self.people[key] for key in ids if key in self.people}}
        return replace(super().setup(), **{"bundle": bundle, **people, **self.more})

    def flush(self, now: datetime) -> int:
        return flush_notices(self.setup(), store=self.store, now=now)

    def tend(self, now: datetime) -> Tended:
        return tend(self.setup(), store=self.store, now=now)

    def told(self) -> list[str]:
        """``receiver recipient: title`` of all messages."""
        return [f"{row.receiver} {row.recipient}: {row.message['title']}" for row in self.letters()]

    def fates(self) -> list[str]:
        """What has become of all notices: ``resolved dropped``."""
        with self.store.read() as conn:
            return [f"{row.kind} {row.state}" for row in conn.execute(select(notices).order_by(notices.c.id))]

    def rows(self) -> list[Any]:
        with self.store.read() as conn:
            return list(conn.execute(select(notices).order_by(notices.c.id)))
