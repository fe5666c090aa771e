"""What the user does not get to see: Salesforce leaves out without a word what nobody has shared with it.

``UserPermissionAccess`` tells whether the user sees everything; if not, the organisation's own counts of records (which want the
permission View Setup and Configuration, and are of some hours ago) tell whether that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kpid.plugin import ConnectorError, DeferredError, Finding
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.objects import CARRIED
from kpid_salesforce.reading import Reading
from kpid_salesforce.soql import soql

DOUBT = 50
SHARE = 0.1
"""Counts are old and rough: a smaller difference says nothing."""
LOST: Mapping[str, str] = {
    "OpportunityFieldHistory": "who owned deals in the past",
    "CaseHistory": "when cases were in which state",
    "CaseComment": "first replies by comment",
    "EmailMessage": "first replies by e-mail, and who wrote to whom",
    "TaskRelation": "further people of tasks",
    "EventRelation": "guests of events",
    "EmailMessageRelation": "whom e-mails without a task were written to",
}


class Rights:
    """Looks at the user's rights.

    Args:
        api: the organisation.
        reading: its objects.
        source: the source's name.
    """

    def __init__(self, api: Endpoints, reading: Reading, source: str) -> None:
        self._api = api
        self._reading = reading
        self._subject = f"{source}: rights"

    def seen(self, counts: Mapping[str, int]) -> Iterator[Finding]:
        """Whether the user sees all records. ``counts``: how many it sees, by object."""
        sees_all = self._sees_all()
        if sees_all:
            yield Finding(self._subject, True, "the user sees all records (View All Data)")
            return
        there = self._there(counts)
        partly = {name for name, count in there.items() if count - counts.get(name, count) > max(DOUBT, SHARE * count)}
        for name in sorted(partly):
            text = f"the user sees {counts[name]:,} of about {there[name]:,} records of {name}"
            hint = f"Give the user's permission set View All Data, or View All Records on {name}"
            yield Finding(self._subject, False, text, hint, warning=True)
        if not partly and sees_all is False:
            yield self._unsure(is_counted=bool(there))

    def _unsure(self, *, is_counted: bool) -> Finding:
        if is_counted:
            return Finding(self._subject, True, "the user lacks View All Data, but sees about as many records as there are")
        hint = "Give the user's permission set View All Data; or View Setup and Configuration, so that counts can be compared"
        return Finding(self._subject, False, "the user may see a part of the records only", hint, warning=True)

    def _sees_all(self) -> bool | None:
        """None: nobody tells."""
        try:
            found = self._reading.all(soql(("Id", "PermissionsViewAllData"), "UserPermissionAccess", (), (), 1))
        except DeferredError:
            raise
        except ConnectorError:
            return None
        return bool(found[0].get("PermissionsViewAllData")) if found else None

    def _there(self, names: Iterable[str]) -> Mapping[str, int]:
        try:
            return self._api.record_counts(names)
        except DeferredError:
            raise
        except ConnectorError:
            return {}

    def beside(self, entity: str) -> Iterator[Finding]:
        """What hangs on an entity's records and cannot be read: the entity can, without it."""
        for name in dict.fromkeys(kind.name for kind in CARRIED.get(entity, ()) if kind.name in LOST):
            if not all(self._reading.is_there(kind) for kind in CARRIED[entity] if kind.name == name):
                text = f"{name} cannot be read: {LOST[name]} are not known"
                hint = "Not every organisation has it; if yours does, the user's permission set must let it be read"
                yield Finding(f"{self._subject.partition(':')[0]}: {entity}", False, text, hint, warning=True)
