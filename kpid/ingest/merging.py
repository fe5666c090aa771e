"""Merges: which records took whose place, and what refers to those that went.

A CRM moves what refers to a merged record over to the winner, but does not call that a change: such rows may never be read again.
So they are moved here, and rows that are read later and still name the loser are corrected before they are stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from kpid.plugin import Tombstone
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Batch, Warehouse
from kpid.warehouse.types import INSTANT, arrow_schema

Gone = tuple[str, datetime, str, str | None]
"""A record that is gone: id, when, why, and the id of the one that took its place."""

_OWN_PAST = {
    ("deal_stage_history", "deal_id"),
    ("deal_field_history", "deal_id"),
    ("ticket_status_history", "ticket_id"),
    ("ticket_schedule_history", "ticket_id"),
    ("owner_history", "object_id"),
}
"""What a merged record went through stays its own: put beside the winner's, it would be in two stages, of two amounts at once."""
_GRAVE = ("deleted_at", "deleted_reason", "merged_into_id")
_SHARED_PAST = {("account_status_history", "account_id"): ("status", "active")}
"""Only such rows move: the times as a customer add up. That one of two was no customer, or left, says nothing of the other."""
_ANYBODY = {"person_id", "recipient_id", "respondent_id"}
"""Texts that name a contact, a lead or somebody else, with or without the source; ``object_id`` names one of ``object_type``."""


def gone_rows(source: str, tombstones: Iterable[Tombstone], until: datetime) -> list[Gone]:
    """Tombstones with the ids of the warehouse; one without a time counts as of ``until``."""
    rows: list[Gone] = []
    for stone in tombstones:
        winner = f"{source}:{stone.merged_into}" if stone.merged_into else None
        rows.append((f"{source}:{stone.native_id}", stone.at or until, "merged" if winner else stone.reason, winner))
    return rows


class Merges:
    """What is known of a source's merges, kept in mind while it is synced.

    Args:
        warehouse: where they are stored.
        source: name of the source.
        filled: the tables that may have rows of it.
    """

    def __init__(self, warehouse: Warehouse, source: str, filled: Collection[str]) -> None:
        self._warehouse = warehouse
        self._source = source
        self._filled = frozenset(filled)
        self._winners: dict[str, dict[str, str]] = {}

    def winners(self, entity: str) -> dict[str, str]:
        """Of each record that was merged, the id of the one that it was merged into."""
        if entity not in self._winners:
            sql = f"SELECT id, merged_into_id FROM {entity} WHERE source_id = $1 AND merged_into_id IS NOT NULL"
            found = self._warehouse.query(sql, [self._source]) if entity in self._filled else None
            self._winners[entity] = (
                {} if found is None else dict(zip(*map(pa.ChunkedArray.to_pylist, found.columns), strict=True))
            )
        return self._winners[entity]

    def learn(self, entity: str, table: pa.Table | None, gone: Iterable[Gone] = ()) -> dict[str, str]:
        """Take to mind what rows about to be stored say of merges; the merges that are new."""
        known = self.winners(entity)
        told = {id_: winner for id_, _, _, winner in gone if winner}
        if table is not None:
            merged = pc.is_valid(table.column("merged_into_id"))
            if pc.any(merged).as_py():
                told |= _pairs(table.select(["id", "merged_into_id"]).filter(merged))
            if known:
                named = pc.is_in(table.column("id"), value_set=pa.array(list(known), pa.string()))
                for back in table.column("id").filter(pc.and_(named, pc.invert(merged))).to_pylist():
                    if back not in told:
                        del known[back]
        new = {id_: winner for id_, winner in told.items() if known.get(id_) != winner}
        known.update(new)
        return new

    def redirected(self, entity: str, table: pa.Table) -> pa.Table:
        """Rows with references to merged records corrected."""
        for name, target in references(entity):
            known = self.winners(target)
            column = table.column(name)
            if known and pc.any(pc.is_in(column, value_set=pa.array(list(known), pa.string()))).as_py():
                winners = pa.array([key if key is None else last_winner(key, known) for key in column.to_pylist()], pa.string())
                if (entity, name) in _SHARED_PAST:
                    kind, value = _SHARED_PAST[entity, name]
                    winners = pc.if_else(pc.fill_null(pc.equal(table.column(kind), value), False), winners, column)
                table = table.set_column(table.column_names.index(name), name, winners)
        for name, target in namings(entity):
            table = self._renamed(table, name, target)
        return table

    def _renamed(self, table: pa.Table, name: str, target: str) -> pa.Table:
        known, column = self.winners(target), table.column(name)
        losers = pa.array([*known, *(key.removeprefix(f"{self._source}:") for key in known)], pa.string())
        is_meant = pc.and_(pc.is_in(column, value_set=losers), pc.equal(table.column("source_id"), self._source))
        if name == "object_id":
            is_meant = pc.and_(is_meant, pc.fill_null(pc.equal(table.column("object_type"), target), False))
        if not known or not pc.any(is_meant).as_py():
            return table
        meant = zip(column.to_pylist(), is_meant.to_pylist(), strict=True)
        renamed = pa.array([self._winner_of(key, known) if is_one else key for key, is_one in meant], pa.string())
        return table.set_column(table.column_names.index(name), name, renamed)

    def _winner_of(self, key: str, known: Mapping[str, str]) -> str:
        prefix = f"{self._source}:"
        return last_winner(key, known) if key in known else last_winner(prefix + key, known).removeprefix(prefix)

    def point_to_winners(self, batch: Batch, entity: str, merged: Mapping[str, str]) -> None:
        """Stored rows that refer to a record that was merged now refer to the one that took its place.

        Args:
            batch: where they are stored; what it has written before is not looked at, and must not be one of these rows.
            entity: of the merged records.
            merged: of each record that went the one it was merged into, as :meth:`learn` gave them.
        """
        if not merged:
            return
        for table in sorted(self._filled):
            names = [name for name, target in (*references(table), *namings(table)) if target == entity]
            if names:
                losers = [*merged, *(key.removeprefix(f"{self._source}:") for key in merged)]
                named = " OR ".join(f"{name} IN (SELECT unnest($1::VARCHAR[]))" for name in names)
                found = self._warehouse.query(f'SELECT * FROM "{table}" WHERE {named}', [losers])
                if found.num_rows:
                    batch.upsert(table, self.redirected(table, found))

    def stubs(self, entity: str, gone: Iterable[Gone], now: datetime, known: Collection[str] = ()) -> pa.Table | None:
        """Rows for merged records that were never seen, so that what refers to them finds the winner.

        Args:
            entity: of the merged records.
            gone: what is gone.
            now: when they are stored.
            known: ids that are stored in the same batch.
        """
        merged = {row[0]: row for row in gone if row[3] and row[0] not in known}
        if not merged:
            return None
        sql = f"SELECT id FROM {entity} WHERE id IN (SELECT unnest($1::VARCHAR[]))"
        stored = set(self._warehouse.query(sql, [list(merged)]).column("id").to_pylist())
        rows = [
            {
                "id": id_,
                "source_id": self._source,
                "native_id": id_.removeprefix(f"{self._source}:"),
                "synced_at": now,
                "deleted_at": at,
                "deleted_reason": reason,
                "merged_into_id": winner,
                "is_test": True,
            }
            for id_, at, reason, winner in merged.values()
            if id_ not in stored
        ]
        return pa.Table.from_pylist(rows, schema=arrow_schema(entity)) if rows else None


def _pairs(table: pa.Table) -> dict[str, str]:
    keys, values = (column.to_pylist() for column in table.columns)
    return dict(zip(keys, values, strict=True))


def references(entity: str) -> list[tuple[str, str]]:
    """The columns of a table that refer to others, with the table that each refers to; not those that tell of the past."""
    columns = [column for column in ENTITIES[entity].columns if "ref" in column.info and column.name != "merged_into_id"]
    return [(column.name, column.info["ref"]) for column in columns if (entity, column.name) not in _OWN_PAST]


def namings(entity: str) -> list[tuple[str, str]]:
    """The columns of a table that may name records as texts, each with every table that it may mean."""
    names = {column.name for column in ENTITIES[entity].columns}
    found = [(name, target) for name in sorted(names & _ANYBODY) for target in ("contacts", "leads")]
    if "object_id" in names and (entity, "object_id") not in _OWN_PAST:
        found += [("object_id", target) for target in ("accounts", "contacts", "deals", "leads")]
    return found


def buried(table: pa.Table, until: datetime) -> pa.Table:
    """Rows that say into which record they were merged are gone, also where they do not say since when."""
    open_graves = pc.and_(pc.is_valid(table.column("merged_into_id")), pc.is_null(table.column("deleted_at")))
    if not pc.any(open_graves).as_py():
        return table
    since = pc.fill_null(table.column("updated_at"), pa.scalar(until, INSTANT))
    for name, value in (("deleted_at", since), ("deleted_reason", pa.scalar("merged"))):
        column = pc.if_else(open_graves, value, table.column(name))
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def laid_to_rest(table: pa.Table, gone: Iterable[Gone], stored: Mapping[str, Gone]) -> pa.Table:
    """Rows that are told to be gone as they are given: they come as gone, so that the same told again is no change.

    Args:
        table: rows about to be stored.
        gone: what is told to be gone with them.
        stored: how those of them that are stored as gone are: a grave keeps its time, and its reason unless it was a merge.
    """
    told = {row[0]: row for row in gone}
    ids, columns = table.column("id").to_pylist(), {name: table.column(name).to_pylist() for name in _GRAVE}
    for place, key in enumerate(ids):
        if key not in told or columns["deleted_at"][place] is not None:
            continue
        _, at, reason, winner = told[key]
        old = stored.get(key)
        if old is not None:
            at, reason, winner = (old[1], reason, winner) if winner and not old[3] else old[1:]
        for name, value in zip(_GRAVE, (at, reason, winner), strict=True):
            columns[name][place] = value
    for name, values in columns.items():
        number = table.column_names.index(name)
        table = table.set_column(number, table.schema.field(number), pa.array(values, table.schema.field(number).type))
    return table


def last_winner(key: str, merged: Mapping[str, str]) -> str:
    """Who has a record's place after all merges; a circle ends where it began."""
    seen = {key}
    while (following := merged.get(key)) is not None and following not in seen:
        seen.add(following)
        key = following
    return key
