"""Queries as Salesforce writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

CHUNK = 400
"""Ids in one query: beside them there is room for fields in an address of 16,000 characters."""


def soql(
    fields: Sequence[str], name: str, conditions: Sequence[str] = (), order: Sequence[str] = (), limit: int | None = None
) -> str:
    """A query; without fields it counts."""
    parts = [f"SELECT {','.join(fields) or 'COUNT()'} FROM {name}"]
    if conditions:
        parts.append(f"WHERE {' AND '.join(conditions)}")
    if order:
        parts.append(f"ORDER BY {','.join(order)}")
    if limit is not None:
        parts.append(f"LIMIT {limit}")
    return " ".join(parts)


def literal(at: datetime) -> str:
    """An instant, as queries write it."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def quoted(text: str) -> str:
    """A text, as queries write it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def among(field: str, values: Iterable[str]) -> str:
    """A condition that names the values that will do."""
    return f"{field} IN ({','.join(quoted(value) for value in values)})"


def stem(name: str) -> str:
    """The field that a path begins with: of ``UserRole.Name`` it is ``UserRoleId``, of ``Plan__r.Name`` it is ``Plan__c``."""
    relation, is_path, _ = name.partition(".")
    if not is_path:
        return name
    return f"{relation.removesuffix('__r')}__c" if relation.endswith("__r") else f"{relation}Id"
