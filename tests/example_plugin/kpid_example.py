"""An example plugin for kpid: a connector, a KPI, a notifier, a report and a template filter, each as small as it can be.

The connector ``inline`` reads deals that stand in the configuration itself; the notifier ``logfile`` appends messages to a file.
Neither needs a network, a vendor or a scope.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from kpid.plugin import (
    At,
    Connector,
    ConnectorInfo,
    Cursor,
    Definition,
    DeliveryError,
    EntityReads,
    Finding,
    Kpi,
    Measure,
    Message,
    Notifier,
    Page,
    Receipt,
    Report,
    Row,
    Settings,
    count,
    entities,
    hookimpl,
)

deals = entities.deals
LARGE = Decimal(10_000)


# --- a connector ----------------------------------------------------------------------------------


class InlineDeal(Settings):
    """A deal as it is written in the configuration."""

    id: str
    name: str
    owner: str | None = None
    state: Literal["open", "won", "lost"] = "open"
    amount: Decimal | None = None
    created: date
    closed: date | None = None


class InlineSettings(Settings):
    """Settings of an inline source."""

    deals: tuple[InlineDeal, ...] = Field(description="The deals, one mapping each.")


def row_from_deal(deal: InlineDeal, zone: ZoneInfo, currency: str | None) -> Row:
    """The canonical row of a deal. A date stands for its first moment in the company's zone."""
    return {
        "native_id": deal.id,
        "name": deal.name,
        "owner_id": deal.owner,
        "state": deal.state,
        "amount": deal.amount,
        "currency": currency,
        "created_at": datetime.combine(deal.created, datetime.min.time(), zone),
        "closed_at": datetime.combine(deal.closed, datetime.min.time(), zone) if deal.closed else None,
    }


class InlineConnector(Connector[InlineSettings]):
    """Deals that stand in the configuration."""

    name = "inline"
    Settings = InlineSettings

    def reads(self) -> Sequence[EntityReads]:
        """Deals, all of them each time: one that is no longer written down is gone."""
        return [EntityReads("deals", mode="full", deletes="absence")]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """Everything on one page."""
        rows = [row_from_deal(deal, self.context.timezone, self.context.currency) for deal in self.settings.deals]
        yield Page({entity: rows}, through=until, total=len(rows))

    def check(self) -> Sequence[Finding]:
        """There is nobody to contact."""
        return [Finding("inline", True, f"{len(self.settings.deals)} deals in the configuration")]


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """The inline connector."""
    return [ConnectorInfo(InlineConnector, "Deals that stand in the configuration")]


# --- a KPI ----------------------------------------------------------------------------------------

LARGE_WIN_SHARE = Kpi(
    id="large_win_share",
    name="Share of large wins",
    category="sales",
    unit="ratio",
    better="up",
    define=Definition(
        {
            "large": Measure(deals, At(deals.c.closed_at), count((deals.c.state == "won") & (deals.c.amount >= LARGE))),
            "won": Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won")),
        },
        lambda m: m.large / m.won,
        sample="won",
    ),
    min_sample=5,
    dimensions=("owner", "team", "region"),
    formula_text="won deals of 10,000 and more / won deals, by the date of closing",
    why="Shows whether the company is moving up-market or living off small deals.",
    misleads="One amount decides; a deal of 9,999 counts as small, and currencies are not converted.",
)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """One KPI."""
    return [LARGE_WIN_SHARE]


# --- a notifier -----------------------------------------------------------------------------------


class LogfileSettings(Settings):
    """Settings of a log file receiver."""

    file: Path = Field(Path("var/messages.log"), description="Where messages go; relative to the configuration's folder.")


def line_from_message(message: Message) -> str:
    """One line of JSON. What came from a CRM stays inside its quotes."""
    entry = {"at": message.created_at.isoformat(), "key": message.key, "status": message.status, "title": message.title}
    return json.dumps(entry, ensure_ascii=False)


class LogfileNotifier(Notifier[LogfileSettings]):
    """Appends one line per message to a file."""

    name = "logfile"
    Settings = LogfileSettings

    def send(self, message: Message) -> Receipt:
        """Write the line. A failure is worth another try: the disk may have room again."""
        file = self.context.folder / self.settings.file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as log:
                log.write(line_from_message(message) + "\n")
        except OSError as error:
            raise DeliveryError(f"the line could not be written: {error.strerror}", where=str(file)) from error
        return Receipt(provider_id=message.key, detail=f"appended to {file}")

    def find(self, message: Message) -> Receipt | None:
        """Whether an earlier attempt, whose end nobody saw, wrote the line after all."""
        file = self.context.folder / self.settings.file
        if file.exists() and f'"key": {json.dumps(message.key)}' in file.read_text(encoding="utf-8"):
            return Receipt(provider_id=message.key, detail=f"found in {file}")
        return None

    def check(self) -> Sequence[Finding]:
        """Whether the folder is there or can be made."""
        folder = (self.context.folder / self.settings.file).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return [Finding(str(folder), False, f"cannot be made: {error.strerror}", "Choose another `file`")]
        return [Finding(str(folder), True, "messages can be written here")]


@hookimpl
def kpid_notifiers() -> Sequence[type[LogfileNotifier]]:
    """The log file."""
    return [LogfileNotifier]


# --- a report and a template filter ---------------------------------------------------------------


@hookimpl
def kpid_reports() -> Sequence[Report]:
    """A report without templates of its own looks like every report."""
    return [
        Report(
            id="large_wins",
            name="Large wins",
            kpis=("large_win_share",),
            period="month",
            summary="How much of the business is large deals",
        )
    ]


def dots(share: float, of: int = 5) -> str:
    """A share as filled and empty dots: ``0.6 | dots`` is ``●●●○○``."""
    filled = max(0, min(of, round(share * of)))
    return "●" * filled + "○" * (of - filled)


@hookimpl
def kpid_template_filters() -> Mapping[str, Callable[..., str]]:
    """The filter ``dots``."""
    return {"dots": dots}
