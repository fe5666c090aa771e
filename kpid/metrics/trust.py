"""How far a measurement can be trusted: how far the sources have come, and what speaks against the number. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kpid.model import MeasurementState, Period
from kpid.warehouse import Watermark

_ORDER = list(MeasurementState)
Doubt = tuple[MeasurementState, str]
"""A state and the sentence that explains it."""


@dataclass(frozen=True)
class Coverage:
    """How far each source has delivered each entity, and how old that may be before it is stale.

    ``sources`` narrows it to what the rows of these sources depend on; None: of all.
    """

    watermarks: Sequence[Watermark]
    max_ages: Mapping[str, timedelta]
    sources: frozenset[str] | None = None

    def through(self, entities: Iterable[str]) -> datetime | None:
        """Up to when all sources have delivered all of the entities; None if one never has."""
        marks = [self._of(entity) for entity in entities]
        if not marks or not all(marks):
            return None
        known = [mark.through for group in marks for mark in group]
        return None if None in known else min(through for through in known if through is not None)

    def delivers(self, entity: str) -> bool:
        """Whether any source delivers the entity."""
        return bool(self._of(entity))

    def doubts(self, entities: Sequence[str], period: Period, now: datetime) -> list[Doubt]:
        """Why the data of a period may be old or not all there."""
        found: list[Doubt] = []
        for entity in entities:
            marks = self._of(entity)
            if not marks:
                found.append((MeasurementState.INCOMPLETE, f"no source delivers {entity}"))
            for mark in marks:
                found += self._doubts_of(mark, period, now)
        if period.end > now:
            found.append((MeasurementState.INCOMPLETE, "the period is not over"))
        return found

    def _doubts_of(self, mark: Watermark, period: Period, now: datetime) -> list[Doubt]:
        if mark.through is None:
            return [(MeasurementState.INCOMPLETE, f"{mark.source} has not delivered {mark.entity} yet")]
        stand = f"{mark.source} has delivered {mark.entity} up to {_stamp(mark.through)}"
        max_age = self.max_ages.get(mark.source)
        if max_age is not None and now - mark.through > max_age:
            return [(MeasurementState.STALE, f"{stand} only")]
        if mark.through < period.end <= now:
            return [(MeasurementState.INCOMPLETE, f"{stand} only: before the end of the period")]
        return []

    def _of(self, entity: str) -> list[Watermark]:
        marks = [mark for mark in self.watermarks if mark.entity == entity]
        return [mark for mark in marks if self.sources is None or mark.source in self.sources] or marks


def verdict(doubts: Sequence[Doubt]) -> tuple[MeasurementState, str, tuple[str, ...]]:
    """The gravest state with its reason; what else there is to say become warnings."""
    if not doubts:
        return MeasurementState.OK, "", ()
    ordered = sorted(doubts, key=lambda doubt: _ORDER.index(doubt[0]))
    state, reason = ordered[0]
    return state, reason, tuple(dict.fromkeys(text for _, text in ordered[1:] if text != reason))


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
