"""Who is meant by ``to:``: a receiver, one address of it, or the person behind a segment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kpid.alerting.contracts import Contact
from kpid.alerting.routes import PEOPLE, Way, destination_of
from kpid.config.alerting import Owners
from kpid.model import NoticeItem
from kpid.plugin.mail import address


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a notice goes: a receiver, and an address of it; empty: everybody behind the receiver."""

    receiver: str
    recipient: str
    way: Way


@dataclass(frozen=True, slots=True)
class Missing:
    """Somebody who should be told, and cannot be: ``who`` is an id of the CRM."""

    who: str
    why: str


def owner_of(item: NoticeItem) -> str | None:
    """The id of the person behind a series; None if it is nobody's."""
    return next((value for dimension, value in item.dims if dimension == "owner"), None)


def people_asked(ways: Iterable[Way]) -> bool:
    """Whether any of the ways asks for a person of the CRM."""
    return any(step in PEOPLE for way in ways for step in (way.to, *(to for one in way.escalate for to in one.to)))


def destinations(
    ways: Sequence[Way], item: NoticeItem, contacts: Mapping[str, Contact], owners: Owners | None
) -> tuple[list[Destination], list[Missing]]:
    """Where a series' notice goes, each place once, and who could not be found.

    Args:
        ways: as routed.
        item: the series.
        contacts: people by id, managers among them.
        owners: what ``owner`` and ``manager`` mean.
    """
    found: dict[tuple[str, str], Destination] = {}
    missing: list[Missing] = []
    for way in ways:
        if way.to in PEOPLE and owners is not None:
            contact, why = _person(way.to, owner_of(item), contacts)
            if contact is None:
                missing.append(Missing(owner_of(item) or "nobody", why))
                receiver, recipient = owners.else_, ""
            else:
                receiver, recipient = owners.via, contact.address
        else:
            receiver, recipient = destination_of(way.to)
        found.setdefault((receiver, recipient), Destination(receiver, recipient, way))
    return list(found.values()), missing


def _person(word: str, owner: str | None, contacts: Mapping[str, Contact]) -> tuple[Contact | None, str]:
    """The person, or why there is none."""
    if owner is None:
        return None, "the alert belongs to no owner"
    contact = contacts.get(owner)
    if contact is not None and word == "manager":
        if contact.manager_id is None:
            return None, f"{contact.name or owner} has no manager in the CRM"
        contact = contacts.get(contact.manager_id)
    if contact is None:
        return None, "the CRM does not know the person"
    called = contact.name or contact.id
    if not contact.is_active:
        return None, f"{called} is no longer active in the CRM"
    return _with_address(contact, called)


def _with_address(contact: Contact, called: str) -> tuple[Contact | None, str]:
    """The person, with an address that can be written to: what stands in the CRM may be anything."""
    if not contact.address:
        return None, f"{called} has no address in the CRM"
    try:
        return replace(contact, address=address(contact.address)), ""
    except ValueError:
        return None, f"{called} has something in the CRM for an address that is none"
