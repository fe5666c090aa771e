from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kpid.alerting.contracts import Contact
from kpid.alerting.recipients import destinations, owner_of
from kpid.alerting.routes import Way
from kpid.model import Level, NoticeItem
from kpid.store import problems
from tests.alerting.routed import Routed, owners, routes
from tests.alerting.world import rule, week

HOUR = timedelta(hours=1)
BAD = (96, 400)
ITEM = NoticeItem("fired", "k", "Ana", Level.WARN, 1, None, 0, "", None, None, "", "", "", dims=(("owner", "crm:1"),))
ANA = Contact("crm:1", "Ana Example", "ana@example.com", manager_id="crm:9")
EVE = Contact("crm:9", "Eve Example", "eve@example.com")
PEOPLE = {"crm:1": ANA, "crm:9": EVE}


def places(*to: str, people: dict[str, Contact] = PEOPLE) -> tuple[list[tuple[str, str]], list[str]]:
    found, missing = destinations([Way(one) for one in to], ITEM, people, owners())
    return [(place.receiver, place.recipient) for place in found], [one.why for one in missing]


def test_receivers_addresses_and_people() -> None:
    assert places("team", "mail:cro@example.com", "owner", "manager", "team") == (
        [("team", ""), ("mail", "cro@example.com"), ("mail", "ana@example.com"), ("mail", "eve@example.com")],
        [],
    )
    assert owner_of(ITEM) == "crm:1"


@pytest.mark.parametrize(
    ("people", "why"),
    [
        ({}, "the CRM does not know the person"),
        ({"crm:1": Contact("crm:1", "Ana Example")}, "Ana Example has no address in the CRM"),
        (
            {"crm:1": Contact("crm:1", "Ana Example", "a@example.com", is_active=False)},
            "Ana Example is no longer active in the CRM",
        ),
        *(
            (
                {"crm:1": Contact("crm:1", "Ana Example", hostile)},
                "Ana Example has something in the CRM for an address that is none",
            )
            for hostile in ("ana", "a@example.com, eve@example.com", "a@example.com\r\nBcc: eve@example.com", "a b@example.com")
        ),
    ],
)
def test_who_cannot_be_told_is_replaced(people: dict[str, Contact], why: str) -> None:
    assert places("owner", people=people) == ([("team", "")], [why])


def test_person_without_a_manager() -> None:
    alone = {"crm:1": Contact("crm:1", "Ana Example", "ana@example.com")}
    assert places("manager", people=alone) == ([("team", "")], ["Ana Example has no manager in the CRM"])


def test_owner_without_an_address_goes_to_else_and_is_a_problem(tmp_path: Path) -> None:
    world = Routed(tmp_path, [rule(to=["owner"])], {"team": ("ada@example.com",), "mail": ()}, more={"owners": owners()})
    world.people = {"crm:ana": Contact("crm:ana", "Ana Example", is_active=False, address="ana@example.com")}
    world.put(world.rules[0], week(2), {"ana": BAD})
    world.evaluate(week(2).end + HOUR)
    assert world.told() == ["team ada@example.com: Ana fired"]
    with world.store.read() as conn:
        (problem,) = problems.list_problems(conn)
    assert problem.subject == "owner:crm:ana"
    assert "Ana Example is no longer active in the CRM" in problem.text


def test_managers_of_routes_are_looked_up_too(tmp_path: Path) -> None:
    given = routes({"match": {"owner": "Ana"}, "to": ["manager"]})
    world = Routed(tmp_path, [rule()], {"team": ("ada@example.com",), "mail": ()}, more={"owners": owners(), "routes": given})
    world.people = {
        "crm:ana": Contact("crm:ana", "Ana Example", "ana@example.com", manager_id="crm:eve"),
        "crm:eve": Contact("crm:eve", "Eve Example", "eve@example.com"),
    }
    world.put(world.rules[0], week(2), {"ana": BAD, "bob": BAD})
    world.evaluate(week(2).end + HOUR)
    assert world.told() == ["mail eve@example.com: Ana fired", "team ada@example.com: Bob fired"]
