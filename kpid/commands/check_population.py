"""What a configured population leaves out, and names of it that the data does not know: ``kpid check`` where there is data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.sql.expression import FromClause

from kpid.app import App
from kpid.commands.plain import plain
from kpid.config.problems import near_miss
from kpid.metrics.dialects import compile_statement
from kpid.metrics.dimensions import dimension_of
from kpid.metrics.scope import Scope, kept, restricted
from kpid.metrics.scoping import known_names, scope_of
from kpid.model import Finding
from kpid.plugin.entities import ENTITIES
from kpid.plugin.expressions import counts

_TOLD = ("accounts", "contacts", "deals", "activities", "orders", "tickets", "leads")
_KEYS = {"pipeline": ("pipelines", "exclude_pipelines"), "team": ("teams", "exclude_teams")}


def told_population(app: App) -> list[dict[str, Any]]:
    """The findings, as other commands give them."""
    return [plain(finding) for finding in population_findings(app)]


def population_findings(app: App) -> Iterator[Finding]:
    """A warning for each name that the data does not know, and one if nothing is left; else how much is left out."""
    population, where = app.config.population, app.loaded.place("population")
    scope = scope_of(population, app.warehouse, lambda table: bool(_count(app, table, None)))
    if scope is None:
        yield Finding("population", True, "every record counts", where=where)
        return
    known = known_names(app.warehouse) if scope.strange else {}
    for noun, name in scope.strange:
        keys = [(key, getattr(population, key)) for key in _KEYS[noun]]
        place = next(app.loaded.place("population", key, names.index(name)) for key, names in keys if name in names)
        hint = near_miss(name, known[noun], what=f"The data has the {noun}s")
        yield Finding("population", False, f"no {noun} is called {name!r}; {_left_out(app, scope)}", hint, place, warning=True)
    if not scope.strange:
        yield Finding("population", True, _left_out(app, scope), where=where)


def _left_out(app: App, scope: Scope) -> str:
    """``4 of 12 deals and 3 of 40 activities left out``."""
    parts = []
    for table in _TOLD:
        if table in restricted(scope) or (scope.has_teams and "owner_id" in ENTITIES[table].c):
            whole = _count(app, table, None)
            gone = whole - _count(app, table, scope)
            parts += [f"{gone:,} of {whole:,} {table}"] if gone else []
    return f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]} left out" if parts else "nothing is left out"


def _count(app: App, table: str, scope: Scope | None) -> int:
    """How many living rows a table has, or how many of them count: by the owner's team of today."""
    entity = ENTITIES[table]
    source: FromClause = entity
    conditions = counts(entity)
    if scope is not None:
        conditions += kept(scope, table, entity)
        if scope.has_teams and (team := dimension_of(entity, "team")) is not None:
            source = entity.outerjoin(*team.joins[0])
            conditions += scope.in_team(team.expression)
    statement = select(func.count().label("n")).select_from(source).where(*conditions)
    found = app.warehouse.query(*compile_statement(statement, app.warehouse.dialect, {"now": app.clock.now()}))
    return int(found["n"].to_pylist()[0])
