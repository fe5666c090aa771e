"""What comes in a rule test with steps, and when: figures into history, syncs and reports, as ingest and measuring bring them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert

from kpid.alerting.notation import CellKind
from kpid.alerting.scenes import Scene
from kpid.alerting.written_arrivals import WrittenArrivals
from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed
from kpid.store import arrivals, history, syncs
from kpid.store.tables import runs

_DEFINITION = "as the test says"
_ENTITY = "all"


@dataclass
class Supply:
    """The figures of one rule on their way into history.

    Attributes:
        scene: the rule, and all its figures.
        missed: what has not come because a source is silent: the need, and the figures as they ought to be.
    """

    scene: Scene
    missed: list[tuple[SeriesNeed, list[Measurement]]] = field(default_factory=list)

    def come(self, conn: Connection, place: int, now: datetime, *, silent: str = "", late: Collection[Dims] = ()) -> None:
        """All that is measured when a period is over.

        Args:
            conn: a transaction.
            place: of the period, from 0.
            now: when.
            silent: what is silent: then the figures are stale.
            late: series whose figures are still on their way.
        """
        for need, figures in self._due(place):
            shown = figures
            if silent:
                self.missed.append((need, figures))
                shown = [_stale(one, silent) for one in figures]
            elif late and need == self.scene.plan.need:
                shown = [_on_its_way(one) if one.dims in late else one for one in figures]
            more = [self.scene.periods[place]] if need == self.scene.plan.need else []
            _measured(conn, need, shown, [*(one.period for one in shown), *more], now)

    def come_late(self, conn: Connection, place: int, now: datetime) -> None:
        """What was on its way has come."""
        period = self.scene.periods[place]
        self.change(conn, [one for one in self.scene.past.figures if one.period == period], now)

    def come_back(self, conn: Connection, now: datetime) -> None:
        """The source delivers again: what it has missed is measured anew."""
        for need, figures in self.missed:
            self._put(conn, need, figures, now)
        self.missed.clear()

    def change(self, conn: Connection, figures: Sequence[Measurement], now: datetime) -> None:
        """Figures of the rule's own series are others now; those of other series stay."""
        self._put(conn, self.scene.plan.need, figures, now)

    def _put(self, conn: Connection, need: SeriesNeed, figures: Sequence[Measurement], now: datetime) -> None:
        spans = {one.period for one in figures}
        if not spans:
            return
        known = history.current(conn, need, start=min(one.start for one in spans), end=max(one.end for one in spans))
        new = {(one.dims, one.period) for one in figures}
        others = [one for one in known if one.period in spans and (one.dims, one.period) not in new]
        _measured(conn, need, [*figures, *others], spans, now)

    def _due(self, place: int) -> Iterable[tuple[SeriesNeed, list[Measurement]]]:
        """By family what is over when a period is, and was not when the one before was."""
        plan, past, period = self.scene.plan, self.scene.past, self.scene.periods[place]
        since = self.scene.periods[place - 1].end if place else None
        families: list[tuple[SeriesNeed, Sequence[Measurement]]] = [(plan.need, past.figures)]
        families += zip(plan.members, past.members, strict=False)
        families += [(need, found) for need, found in ((plan.total, past.total), (plan.days, past.days)) if need is not None]
        for need, figures in families:
            due = {
                (one.dims, one.period): one
                for one in figures
                if one.period.end <= period.end and (since is None or one.period.end > since)
            }
            if due or need == plan.need:
                yield need, list(due.values())


def _measured(
    conn: Connection, need: SeriesNeed, figures: Sequence[Measurement], periods: Iterable[Period], now: datetime
) -> None:
    history.append(conn, need, figures, periods=periods, definition=_DEFINITION, now=now)
    history.save_family(conn, need, _DEFINITION, 1, now)


def _on_its_way(one: Measurement) -> Measurement:
    reason = "the source has not delivered to the end of the period"
    return replace(one, state=MeasurementState.INCOMPLETE, reason=reason)


def _stale(one: Measurement, source: str) -> Measurement:
    return replace(one, state=MeasurementState.STALE, reason=f"nothing comes from {source}")


def arrive(conn: Connection, one: WrittenArrivals, place: int, end: datetime, silent: Collection[str]) -> None:
    """What a source delivers, or what becomes of a report, at the end of an hour; see :mod:`kpid.alerting.written_arrivals`.

    Args:
        conn: a transaction.
        one: the source or report.
        place: of the hour, from 0.
        end: of the hour.
        silent: sources from which nothing comes, whatever is written.
    """
    kind = one.cell(place)
    if kind not in {CellKind.FIGURE, CellKind.ERROR} or one.name in silent:
        return
    came = kind is CellKind.FIGURE
    if one.dimension == "source":
        syncs.finish(conn, syncs.start(conn, one.name, _ENTITY, end), "done" if came else "failed", end)
        return
    values = {"due": end.isoformat(), "timezone": "UTC", "due_at": end, "reason": "", "finished_at": end}
    state = "done" if came else "failed"
    conn.execute(insert(runs).values(schedule=f"{arrivals.REPORT}{one.name}", state=state, **values))


def expected_at(found: Iterable[WrittenArrivals], place: int) -> dict[str, timedelta]:
    """What the configuration expects in an hour, as ``source:crm`` or ``report:weekly``."""
    return {f"{one.dimension}:{one.name}": one.every for one in found if one.cell(place) is not CellKind.MISSING}
