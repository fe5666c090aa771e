"""What comes with records goes with them: links of an activity, comments of a ticket, costs of a campaign.

A source tells that a record is gone, and nothing of what hung on it. Histories stay: figures of the past go by them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from kpid.ingest.merging import references
from kpid.ingest.run import Run
from kpid.plugin import EntityReads
from kpid.plugin.entities import ENTITIES

_ALONE = """SELECT c.id, p.deleted_at, p.deleted_reason FROM {child} c JOIN {parent} p ON p.id = c.{name}
WHERE c.source_id = $1 AND c.deleted_at IS NULL AND p.deleted_at IS NOT NULL AND p.merged_into_id IS NULL"""


def bury_followers(run: Run, reads: Sequence[EntityReads]) -> dict[str, int]:
    """Mark rows as gone whose record is, since then; how many, by the entity of the records.

    It looks at all that is stored, so that a run that was killed before it came to this leaves nothing for good.
    """
    return {one.entity: sum(_bury(run, one.entity, child, name) for child, name in _followers(one)) for one in reads}


def left_out(run: Run, entity: str, parents: Collection[str], child: str, given: Collection[str]) -> list[str]:
    """Ids of rows that hang on records and are not among those that were given as all of them.

    Args:
        run: the sync.
        entity: of the records.
        parents: their ids.
        child: the table of what hangs on them.
        given: the ids of its rows that were given.
    """
    found: list[str] = []
    for name, target in references(child) if run.warehouse.may_hold(entity, parents) else ():
        if target == entity:
            sql = f"SELECT id FROM {child} WHERE deleted_at IS NULL AND {name} IN (SELECT unnest($1::VARCHAR[]))"
            found += run.warehouse.query(sql, [list(parents)]).column("id").to_pylist()
    return sorted(set(found).difference(given))


def _followers(reads: EntityReads) -> Iterator[tuple[str, str]]:
    """Tables of what comes with records, with the column that names the record; not where a read as a whole finds them gone."""
    for child in reads.carries if reads.mode != "full" else ():
        is_history = "valid_from" in ENTITIES[child].c
        yield from ((child, name) for name, target in references(child) if target == reads.entity and not is_history)


def _bury(run: Run, parent: str, child: str, name: str) -> int:
    found = run.warehouse.query(_ALONE.format(child=child, parent=parent, name=name), [run.source]).to_pylist()
    if not found:
        return 0
    with run.warehouse.batch() as batch:
        return batch.tombstone(child, [(row["id"], row["deleted_at"], row["deleted_reason"], None) for row in found])
