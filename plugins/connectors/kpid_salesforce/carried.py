"""What hangs on records, and comes with them: histories, what was written on cases, who took part in activities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kpid.plugin import SchemaError
from kpid_salesforce.activity_rows import addressed, called, directed, link_rows
from kpid_salesforce.case_rows import comment_row, mail_row, replied, solved, status_rows
from kpid_salesforce.families import Families
from kpid_salesforce.history import history_rows, owner_rows
from kpid_salesforce.objects import (
    CASE_HISTORY,
    COMMENTS,
    HISTORY,
    LINKS,
    MAILS,
    OWNERS,
    STATUSES,
    TASK_CALLS,
    TASK_MAILS,
    Kind,
)  # fmt: skip
from kpid_salesforce.reading import Reading
from kpid_salesforce.soql import soql
from kpid_salesforce.values import Place, Record, Row

Rows = dict[str, list[Row]]


class Carried:
    """Asks for it.

    Args:
        reading: the organisation's objects.
        families: those of them that hang on others.
        source: name of the source, for ids in columns that may point to several tables.
        ticket_states: what statuses of open cases mean.
    """

    def __init__(self, reading: Reading, families: Families, source: str, ticket_states: Mapping[str, str]) -> None:
        self._reading = reading
        self._families = families
        self._source = source
        self._ticket_states = ticket_states
        self._closed: Mapping[str, bool] | None = None

    def with_deals(self, deals: Sequence[str], place: Place) -> Rows:
        """Histories of some deals."""
        self._reading.known(HISTORY)  # no rights to it is an error, not an empty history
        stages = self.histories(HISTORY, self._families.of(HISTORY, deals), place)
        return {**stages, **self.histories(OWNERS, self._families.of(OWNERS, deals), place)}

    def histories(self, kind: Kind, records: Iterable[Record], place: Place) -> Rows:
        """What records of a history, whole deals of them, say."""
        if kind is HISTORY:
            return history_rows(records, by_record_type=place.by_record_type)
        return {"owner_history": owner_rows(records, self._source)}

    def with_activities(self, name: str, records: Sequence[Record], rows: Sequence[Row]) -> Rows:
        """Who and what activities are about beside their own references; tasks are told what stands behind them."""
        ids = [str(record["Id"]) for record in records]
        if name == "Task":
            directed(rows, self._families.of(TASK_MAILS, [str(record["Id"]) for record in records if _may_be_mail(record)]))
            called(rows, _grouped(self._families.of(TASK_CALLS, ids), TASK_CALLS.of))
        if name not in LINKS:
            return {}
        relations = self._families.of(LINKS[name], ids)
        if name == "EmailMessage":
            addressed(rows, relations)
        return {"activity_links": link_rows(rows, relations, LINKS[name].of, self._source)}

    def whole(self, names: Collection[str]) -> tuple[str, ...]:
        """Of what hangs on records of some objects, the tables of which all comes with them.

        Where the rights to it are missing nothing comes, and nothing is to look gone.
        """
        readable = all(name in LINKS and self._reading.is_there(LINKS[name]) for name in names)
        return ("activity_links",) if names and readable else ()

    def with_cases(self, cases: Sequence[Record], rows: Sequence[Row]) -> Rows:
        """What was written on cases, and their states; the cases are told what follows from that."""
        ids = [str(case["Id"]) for case in cases]
        readable = [kind for kind in (COMMENTS, MAILS) if self._reading.is_there(kind)]
        comments = [comment_row(one) for one in self._families.of(COMMENTS, ids)]
        comments += [mail_row(one) for one in self._families.of(MAILS, ids)]
        by_case, changes = _grouped(comments, "ticket_id"), _grouped(self._families.of(CASE_HISTORY, ids), "CaseId")
        intervals = list[Row]()
        for case, row in zip(cases, rows, strict=True):
            if readable:
                replied(row, by_case.get(str(case["Id"]), ()))
            told = changes.get(str(case["Id"]), [])
            mine = status_rows(case, told, self._closed_statuses(), self._ticket_states) if told else []
            solved(row, mine, told)
            intervals += mine
        return {"ticket_comments": comments, "ticket_status_history": intervals}

    def _closed_statuses(self) -> Mapping[str, bool]:
        """Which statuses of cases are closed ones, by API name and by label; empty if nobody tells."""
        if self._closed is None:
            try:
                fields = self._reading.known(STATUSES)
                found = self._reading.all(soql(fields, STATUSES.name, (), ("Id",)))
            except SchemaError:
                found = []
            names = ("MasterLabel", "ApiName")
            self._closed = {str(one[name]): bool(one.get("IsClosed")) for name in names for one in found if one.get(name)}
        return self._closed


def _may_be_mail(task: Record) -> bool:
    """Of an e-mail on a case Salesforce may make a task of any kind, for the case's owner."""
    return task.get("TaskSubtype") in {"Email", "ListEmail"} or str(task.get("WhatId")).startswith("500")


def _grouped(records: Iterable[Record], key: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for record in records:
        found.setdefault(str(record.get(key)), []).append(record)
    return found
