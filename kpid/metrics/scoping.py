"""What a configured population comes to in a warehouse: names looked up, and the records that are the company's own found.

An account is internal if the CRM says so (``lifecycle``), or if its domain is one of the company's own; without a domain, if all
mail addresses of its contacts are. What was merged is what it was merged into. Of a company that has none, one look at the
accounts is all that it costs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, or_, select

from kpid.config.population import Population
from kpid.metrics.dialects import compile_statement
from kpid.metrics.scope import Ids, Scope
from kpid.model import canonical_json
from kpid.plugin.entities import accounts, contacts, deals, leads, pipelines, teams, users
from kpid.warehouse import Warehouse

_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^@/]*@)?([^/:?#\s]+)")
_PIECE = 5_000
"""So many ids go into one question."""
Row = Sequence[Any]


def scope_of(population: Population, warehouse: Warehouse, has_rows: Callable[[str], bool]) -> Scope | None:
    """Look a population up.

    Args:
        population: as configured.
        warehouse: where the facts are.
        has_rows: whether a canonical table has any.

    Returns:
        What counts; None where everything does.
    """
    ask = _Asker(warehouse)
    internal = _internal(population.own_domains, ask)
    known = _pipelines(ask) if population.pipelines or population.exclude_pipelines else {}
    in_team = _teams(ask) if population.teams or population.exclude_teams else set()
    wanted = _meant(population.pipelines, known)
    scope = Scope(
        internal=tuple((name, ids) for name, ids in internal.items() if ids),
        pipelines=wanted if population.pipelines else None,
        without_pipelines=_meant(population.exclude_pipelines, known),
        teams=tuple(sorted(population.teams)),
        without_teams=tuple(sorted(population.exclude_teams)),
        has_links=any(internal.values()) and has_rows("activity_links"),
        strange=(
            *_strange("pipeline", (*population.pipelines, *population.exclude_pipelines), {*known, *known.values()}),
            *_strange("team", (*population.teams, *population.exclude_teams), in_team),
        ),
        nowhere=(
            *(["pipeline"] if population.pipelines and not wanted else []),
            *(["team"] if population.teams and in_team.isdisjoint(population.teams) else []),
        ),
        identity=_identity(population, known, internal),
    )
    return None if scope == Scope() else scope


def _identity(population: Population, known: dict[str, str], internal: dict[str, Ids]) -> str:
    """Changes when other records count; internal records only by their accounts, or each new one would begin a new series."""
    said = {name: list(ids) for name, ids in population.model_dump().items() if ids}
    meant = [_meant(names, known) for names in (population.pipelines, population.exclude_pipelines)]
    text = canonical_json([said, meant, internal.get("accounts", ())])
    return hashlib.sha256(text.encode()).hexdigest() if said or internal.get("accounts") else ""


class _Asker:
    """Puts questions to a warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def rows(self, *columns: ColumnElement[Any], where: ColumnElement[bool] | None = None) -> list[Row]:
        """The columns of the rows for which a condition holds."""
        statement: Select[Any] = select(*columns)
        statement = statement if where is None else statement.where(where)
        table = self._warehouse.query(*compile_statement(statement, self._warehouse.dialect))
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def of(self, key: ColumnElement[str], ids: Iterable[str], *columns: ColumnElement[Any]) -> list[Row]:
        """The same of rows whose key is one of the ids."""
        wanted = sorted(ids)
        pieces = [wanted[start : start + _PIECE] for start in range(0, len(wanted), _PIECE)]
        return [row for piece in pieces for row in self.rows(*columns, where=key.in_(piece))]


# ---- names


def _pipelines(ask: _Asker) -> dict[str, str]:
    """Names by id."""
    return {key: name or key for key, name in ask.rows(pipelines.c.id, pipelines.c.name)}


def _teams(ask: _Asker) -> set[str]:
    found = [*ask.rows(users.c.team), *ask.rows(teams.c.name)]
    return {name for (name,) in found if name}


def _meant(names: Iterable[str], known: dict[str, str]) -> Ids:
    wanted = set(names)
    return tuple(sorted(key for key, name in known.items() if key in wanted or name in wanted))


def _strange(noun: str, names: Iterable[str], known: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((noun, name) for name in dict.fromkeys(names) if name not in known)


def known_names(warehouse: Warehouse) -> dict[str, set[str]]:
    """The names that can be meant: ``pipeline`` and ``team``."""
    ask = _Asker(warehouse)
    return {"pipeline": set(_pipelines(ask).values()), "team": _teams(ask)}


# ---- the company's own records


def _internal(domains: Ids, ask: _Asker) -> dict[str, Ids]:
    """Ids of internal records by table."""
    a, c, lead = accounts.c, contacts.c, leads.c
    told = ask.rows(a.id, a.lifecycle, a.domain, where=or_(a.lifecycle == "internal", _mentions(a.domain, domains)))
    own = {key for key, lifecycle, domain in told if lifecycle == "internal" or is_own(domain, domains)}
    colleagues: list[Row] = []
    if domains:
        mailed = ask.rows(c.id, c.account_id, c.email, where=_mentions(c.email, domains))
        colleagues = [row for row in mailed if is_own(row[2], domains)]
        own |= _by_contacts({account for _, account, _ in colleagues if account} - own, domains, ask)
    own = _merged(own, ask) if own else own
    people = {key for key, account, _ in colleagues if account is None}
    asked: dict[str, set[str]] = {"accounts": own, "contacts": people, "deals": set(), "leads": set()}
    if domains:
        asked["leads"] = {
            key for key, mail in ask.rows(lead.id, lead.email, where=_mentions(lead.email, domains)) if is_own(mail, domains)
        }
    if own:
        asked["contacts"] |= {key for (key,) in ask.of(c.account_id, own, c.id)}
        asked["deals"] = {key for (key,) in ask.of(deals.c.account_id, own, deals.c.id)}
        asked["leads"] |= {key for (key,) in ask.of(lead.converted_account_id, own, lead.id)}
    return {name: tuple(sorted(ids)) for name, ids in asked.items()}


def _mentions(text: ColumnElement[str], domains: Ids) -> ColumnElement[bool]:
    """What may be of one of the domains; :func:`is_own` knows."""
    return or_(false(), *(func.lower(text).like(f"%{domain}%") for domain in domains))


def is_own(text: str | None, domains: Ids) -> bool:
    """Whether a domain, web address or mail address is of one of the domains, or of a part of one (``mail.example.com``)."""
    found = _HOST.match((text or "").strip().lower())
    host = found[1].rstrip(".") if found else ""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _by_contacts(candidates: set[str], domains: Ids, ask: _Asker) -> set[str]:
    """Accounts without a domain whose contacts all have addresses of ours."""
    nameless = {
        key for key, domain in ask.of(accounts.c.id, candidates, accounts.c.id, accounts.c.domain) if not (domain or "").strip()
    }
    c = contacts.c
    found = ask.of(c.account_id, nameless, c.account_id, c.email, c.deleted_at, c.merged_into_id, c.is_test)
    living = [(account, email) for account, email, *gone in found if email and not any(gone)]
    return {account for account, _ in living} - {account for account, email in living if not is_own(email, domains)}


def _merged(own: set[str], ask: _Asker) -> set[str]:
    """What was merged is what it was merged into, however often."""
    found = ask.rows(accounts.c.id, accounts.c.merged_into_id, where=accounts.c.merged_into_id.is_not(None))
    into: dict[str, str] = {row[0]: row[1] for row in found}

    def last(key: str) -> str:
        seen = {key}
        while (after := into.get(key)) is not None and after not in seen:
            seen.add(key := after)
        return key

    return {key for key in {*own, *into} if last(key) in own}
