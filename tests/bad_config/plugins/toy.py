"""A plugin of each kind, as small as can be: what the wrong configurations around it refer to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import Field

from kpid.plugin import (
    At,
    Connector,
    ConnectorInfo,
    Cursor,
    Definition,
    EntityReads,
    Finding,
    Kpi,
    Measure,
    Message,
    Notifier,
    Page,
    Param,
    Receipt,
    Report,
    Secret,
    Settings,
    count,
    entities,
    hookimpl,
)

deals, tickets = entities.deals, entities.tickets


class ToySettings(Settings):
    token: Secret = Field(description="Token of the toy CRM.")
    limit: int = Field(10, ge=1, description="How many rows a page has.")


class ToyConnector(Connector[ToySettings]):
    name = "toy"
    Settings = ToySettings

    def reads(self) -> Sequence[EntityReads]:
        return [EntityReads("deals")]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        yield Page({entity: []}, through=until)

    def check(self) -> Sequence[Finding]:
        return [Finding("toy", True, "reachable")]


class BoxSettings(Settings):
    to: tuple[str, ...] = Field(description="Addresses.")
    password: Secret | None = None


class BoxNotifier(Notifier[BoxSettings]):
    name = "box"
    Settings = BoxSettings

    def send(self, message: Message) -> Receipt:
        return Receipt()

    def check(self) -> Sequence[Finding]:
        raise RuntimeError("the box is shut")


WON = Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won"))
CLOSED = Measure(deals, At(deals.c.closed_at), count())

RATE = Kpi(
    id="toy_rate",
    name="Toy rate",
    category="toy",
    unit="ratio",
    better="up",
    define=Definition({"won": WON, "closed": CLOSED}, lambda m: m.won / m.closed, sample="closed"),
    dimensions=("owner", "region"),
    params={"mode": Param(("plain", "weighted"))},
)
TICKETS = Kpi(
    id="toy_tickets",
    name="Toy tickets",
    category="toy",
    unit="count",
    better="down",
    define=Definition({"n": Measure(tickets, At(tickets.c.created_at), count())}, lambda m: m.n),
    dimensions=("owner",),
)


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    return [ConnectorInfo(ToyConnector, "A toy CRM")]


@hookimpl
def kpid_notifiers() -> Sequence[type[Notifier]]:
    return [BoxNotifier]


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    return [RATE, TICKETS]


@hookimpl
def kpid_reports() -> Sequence[Report]:
    return [Report("toy_report", "Toy report", kpis=("toy_rate",))]
