"""What is wrong now, for ``kpid doctor``: one row per subject, gone once it is well again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from kpid.store.tables import problems


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should know of.

    ``count`` says how many rows it concerns, or how often it happened; ``first_at`` and ``last_at`` when it was seen.
    """

    subject: str
    text: str
    hint: str
    count: int
    first_at: datetime
    last_at: datetime


def note(connection: Connection, subject: str, text: str, hint: str, now: datetime, *, count: int | None = None) -> None:
    """Remember a problem.

    Args:
        connection: a transaction of the store.
        subject: what is wrong: ``source:crm/deals``, ``plugin:x``, ``report:y``, ``data:deals/closed_at``; one row per subject.
        text: one sentence.
        hint: what to do about it.
        now: the current instant.
        count: how many rows it concerns; None counts how often it was noted.
    """
    subject = subject[:300]
    known = connection.execute(select(problems.c.count).where(problems.c.subject == subject)).scalar()
    if known is None:
        row = {"subject": subject, "text": text, "hint": hint, "count": 1 if count is None else count}
        connection.execute(insert(problems).values(**row, first_at=now, last_at=now))
        return
    connection.execute(
        update(problems)
        .where(problems.c.subject == subject)
        .values(text=text, hint=hint, count=known + 1 if count is None else count, last_at=now)
    )


def clear(connection: Connection, subject: str) -> bool:
    """It is well again; whether it was a problem."""
    return connection.execute(delete(problems).where(problems.c.subject == subject[:300])).rowcount > 0


def clear_all(connection: Connection, subjects: Collection[str]) -> int:
    """These are well again; how many of them were problems."""
    held = sorted({subject[:300] for subject in subjects})
    return connection.execute(_CLEAR_ALL, {"subjects": held}).rowcount if held else 0


def which_of(connection: Connection, subjects: Collection[str]) -> set[str]:
    """Those of these subjects that something is wrong with."""
    held = {subject[:300]: subject for subject in subjects}
    if not held:
        return set()
    return {held[subject] for subject in connection.scalars(_WHICH_OF, {"subjects": sorted(held)})}


_WHICH_OF = select(problems.c.subject).where(problems.c.subject.in_(bindparam("subjects", expanding=True)))
_CLEAR_ALL = delete(problems).where(problems.c.subject.in_(bindparam("subjects", expanding=True)))


def clear_others(connection: Connection, prefix: str, keep: Collection[str]) -> int:
    """Of the subjects that begin with ``prefix``, only ``keep`` are still wrong; how many were cleared."""
    held = {subject[:300] for subject in keep}
    known = connection.execute(select(problems.c.subject).where(problems.c.subject.startswith(prefix, autoescape=True))).scalars()
    gone = [subject for subject in known if subject not in held]
    if gone:
        connection.execute(delete(problems).where(problems.c.subject.in_(gone)))
    return len(gone)


def list_problems(connection: Connection) -> list[Problem]:
    """All problems, by subject."""
    return [Problem(**row._mapping) for row in connection.execute(select(problems).order_by(problems.c.subject))]
