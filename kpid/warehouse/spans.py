"""Which ids a table holds, as ranges: rows whose ids lie in none of them are new, without looking each of them up.

A first read of a million rows would otherwise look through all that it has stored before, again and again. CRMs number their
records, and their listings go by number: so most batches lie between those before. Ids in no order make one wide range, and are
looked up as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Span = tuple[int, str, str]
"""Ids of one length, from one to another: numbers of different length are not in the order of their texts."""

READ_SPANS = "SELECT length(id), min(id), max(id) FROM {entity} WHERE id IS NOT NULL GROUP BY length(id), rowid // 20000"
"""Rows that were stored together are beside each other."""


class Spans:
    """Ranges of ids, by table. They may hold more than the table does, never less; for one writer, and readers beside it."""

    def __init__(self) -> None:
        self._of: dict[str, Mapping[int, Sequence[Span]]] = {}

    def knows(self, entity: str) -> bool:
        """Whether the table's ranges have been read."""
        return entity in self._of

    def may_hold(self, entity: str, ids: Iterable[str]) -> bool:
        """Whether any of these ids may be stored; False is certain."""
        known = self._of.get(entity)
        if known is None:
            return True
        return any(span[1] <= last and first <= span[2] for n, first, last in spans(ids) for span in known.get(n, ()))

    def add(self, entity: str, told: Iterable[Span]) -> None:
        """The table holds these, too."""
        known = dict(self._of.get(entity, {}))
        for new in told:
            spans_of_length, (length, first, last) = known.get(new[0], ()), new
            met = [span for span in spans_of_length if span[1] <= last and first <= span[2]] + [new]
            apart = [span for span in spans_of_length if span not in met]
            known[length] = [*apart, (length, min(span[1] for span in met), max(span[2] for span in met))]
        self._of[entity] = known


def spans(ids: Iterable[str]) -> list[Span]:
    """The ranges in which these ids lie."""
    by_length: dict[int, list[str]] = {}
    for key in ids:
        by_length.setdefault(len(key), []).append(key)
    return [(length, min(keys), max(keys)) for length, keys in by_length.items()]
