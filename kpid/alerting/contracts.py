"""What the parts of alerting hand each other: the sight of a series, people behind segments, all that judging needs. Frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

from kpid.alerting.series import Spell
from kpid.analysis.periods import Calendar
from kpid.analysis.workdays import WorkCalendar
from kpid.config.alerting import Flapping, Inhibit, Owners, Route, RowsText, Rule
from kpid.config.model import KpiSettings
from kpid.model import Dims, Measurement, Notice, Period, Rows, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Action, Message


@dataclass(frozen=True)
class Sight:
    """All that is known of one series when one of its periods is judged.

    Attributes:
        current: the measurement of the period; None if there is none.
        period: the one that is judged.
        before: earlier periods of its kind, oldest first; the last one is the period before.
        at: the measurement of another period of the series; None if there is none.
        spells: times in which the series was not as usual.
        strict: however long an open one lasts, it never counts as usual.
        excluded: spans that people have taken out of what is usual.
        target: what the series ought to reach in the period (of a to-date period: in the whole of it).
        total: the measurement of all segments together.
        reference: the period to compare with, by its name (``last_year``).
        members: the sights of the other conditions of a composite, in their order.
        others_present: other series of the rule have been measured for the period.
        failure: why the period could not be measured at all; empty if it could.
        days: daily figures of the series, oldest first, for forecasts and seasonal curves.
        work: the company's working days.
        calendar: how time is cut; None only where no condition asks for it.
    """

    current: Measurement | None
    period: Period
    before: Sequence[Period] = ()
    at: Callable[[Period], Measurement | None] = lambda period: None
    spells: Sequence[Spell] = ()
    excluded: Sequence[tuple[datetime, datetime]] = ()
    target: Decimal | None = None
    total: Measurement | None = None
    reference: Callable[[str], Period] | None = None
    members: tuple[Sight, ...] = ()
    others_present: bool = False
    failure: str = ""
    days: Sequence[Measurement] = ()
    work: WorkCalendar | None = None
    calendar: Calendar | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """A person of the CRM who may be told. ``address`` is empty where it is not known."""

    id: str
    name: str
    address: str = ""
    is_active: bool = True
    manager_id: str | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """How one recipient is told, besides the facts.

    Attributes:
        recipient: who.
        kind: of message: ``fired``, ``reminder``, ``escalation``, ``digest`` ...
        actions: what he may do about it.
        held: why he hears of it only now.
        route: by which route it came.
        page: whether he can be shown a page with pictures.
    """

    recipient: str = ""
    kind: str = "fired"
    actions: tuple[Action, ...] = ()
    held: str = ""
    route: str = ""
    page: bool = True


@dataclass(frozen=True, slots=True)
class Opening:
    """A window made ready: when it is open, and what becomes of what comes at other times."""

    hours: WorkCalendar
    outside: Literal["defer", "drop"]


Compose: TypeAlias = Callable[[Sequence[Notice], Telling], Message]
"""Makes one message of one or several notices for one recipient; its key is filled in later."""


def no_target(need: SeriesNeed, period: Period, dims: Dims, now: datetime) -> Decimal | None:
    """There are no targets."""
    return None


def no_contacts(ids: Sequence[str]) -> Mapping[str, Contact]:
    """Nobody is known."""
    return {}


def no_rows(need: SeriesNeed, period: Period, dims: Dims, wanted: RowsText) -> Rows | None:
    """No records are listed."""
    return None


def no_actions(subject: str, recipient: str, now: datetime) -> tuple[Action, ...]:
    """There is nothing to press."""
    return ()


def no_sources(kpi: str) -> tuple[str, ...]:
    """Nobody knows which sources feed a KPI."""
    return ()


@dataclass(frozen=True)
class AlertingSetup:
    """What judging and telling need. What other steps know comes as functions, put in by the composition root.

    Attributes:
        rules: as configured.
        kpis: by id.
        calendar: how time is cut.
        recipients: the recipients behind each receiver.
        compose: makes a message of a notice; key and recipient are filled in here.
        settings: what the company adds to KPIs.
        bundle: makes a message of several notices.
        routes: who hears of what.
        inhibit: what holds back what.
        windows: when people want to hear, by name.
        owners: what ``owner`` and ``manager`` mean.
        flapping: when a series flaps.
        sources_of: the sources that feed a KPI, by its id.
        targets: what a series ought to reach in a period, as known at an instant.
        contacts: people by their id.
        rows: the records behind a figure.
        actions: what a recipient may do about a subject (``flush:...``, ``episode:17``).
        calendars: working days by name; ``""`` is the company's own.
        expected: the usual time between two syncs or two reports: ``source:crm``, ``report:weekly``.
        updating: receivers whose messages can be changed when they have been sent.
        pageless: receivers that show no pages: their messages are text and facts.
    """

    rules: Sequence[Rule]
    kpis: Mapping[str, Kpi]
    calendar: Calendar
    recipients: Mapping[str, Sequence[str]]
    compose: Callable[[Notice], Message]
    settings: Mapping[str, KpiSettings]
    bundle: Compose | None = None
    routes: Sequence[Route] = ()
    inhibit: Sequence[Inhibit] = ()
    windows: Mapping[str, Opening] = field(default_factory=dict)
    owners: Owners | None = None
    flapping: Flapping = field(default_factory=lambda: Flapping.model_validate({}))
    sources_of: Callable[[str], tuple[str, ...]] = no_sources
    targets: Callable[[SeriesNeed, Period, Dims, datetime], Decimal | None] = no_target
    contacts: Callable[[Sequence[str]], Mapping[str, Contact]] = no_contacts
    rows: Callable[[SeriesNeed, Period, Dims, RowsText], Rows | None] = no_rows
    actions: Callable[[str, str, datetime], tuple[Action, ...]] = no_actions
    calendars: Mapping[str, WorkCalendar] = field(default_factory=dict)
    expected: Mapping[str, timedelta] = field(default_factory=dict)
    updating: frozenset[str] = frozenset()
    pageless: frozenset[str] = frozenset()
