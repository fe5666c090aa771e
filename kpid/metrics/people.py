"""People and sources behind figures: who an owner is, and which sources feed a KPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from kpid.errors import KpidError
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup
from kpid.plugin.entities import users

_MOST = 500


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the CRM. ``address`` is empty where it is not known."""

    id: str
    name: str
    address: str
    is_active: bool
    manager_id: str | None


@dataclass
class People:
    """Reads people and sources from the warehouse; each is asked for once.

    Attributes:
        setup: where the facts are.
    """

    setup: MetricsSetup
    _found: dict[str, Person] = field(default_factory=dict)
    _sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _feeding: dict[str, set[str]] | None = None

    def of(self, ids: Sequence[str]) -> Mapping[str, Person]:
        """People by id; those that the CRM does not know are left out."""
        unknown = sorted(set(ids) - set(self._found))
        for start in range(0, len(unknown), _MOST):
            self._read(unknown[start : start + _MOST])
        return {key: self._found[key] for key in ids if key in self._found}

    def _read(self, ids: Sequence[str]) -> None:
        u = users.c
        wanted = select(u.id, u.name, u.email, u.is_active, u.manager_id).where(u.id.in_(ids), u.deleted_at.is_(None))
        warehouse = self.setup.warehouse
        table = warehouse.query(*compile_statement(wanted, warehouse.dialect, {}))
        for key, name, email, active, manager in zip(*(column.to_pylist() for column in table.columns), strict=True):
            self._found[key] = Person(key, name or key, (email or "").strip(), active is not False, manager)

    def sources_of(self, kpi: str) -> tuple[str, ...]:
        """The sources that deliver what a KPI is made of, by name; none where that is not known."""
        if kpi not in self._sources:
            self._sources[kpi] = self._sources_of(kpi)
        return self._sources[kpi]

    def _sources_of(self, kpi: str) -> tuple[str, ...]:
        known, settings = self.setup.kpis.get(kpi), self.setup.settings.get(kpi)
        if known is None:
            return ()
        try:
            measures = known.definition(dict(settings.params) if settings else {}).measures
        except KpidError:  # told when it is measured
            return ()
        if self._feeding is None:
            self._feeding = {}
            for mark in self.setup.warehouse.watermarks():
                self._feeding.setdefault(mark.entity, set()).add(mark.source)
        return tuple(
            sorted({source for one in measures.values() for source in self._feeding.get(str(one.entity.description), ())})
        )
