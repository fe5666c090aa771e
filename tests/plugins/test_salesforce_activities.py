"""Salesforce's e-mails and calls as activities, each of them once, whether a task was made of it or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from kpid_salesforce.activity_rows import call_row, message_row
from kpid_salesforce.mapping import MAPPERS
from kpid_salesforce.values import Place

from kpid.plugin import SchemaError
from kpid.testing import MemorySync
from tests.vendors.salesforce import SalesforceBench

HOUR = timedelta(hours=1)


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench(entities=("users", "accounts", "contacts", "deals", "activities", "tickets")) as bench:
        bench.api.lacks.clear()
        yield bench


def synced(bench, held=None, *, reconcile=False, **options):
    bench.clock.advance(HOUR)
    held, connector = held or MemorySync(), bench.connector(**options)
    try:
        held.run(connector, reconcile=reconcile)
    finally:
        connector.close()
    return held


def checked(bench, **options):
    connector = bench.connector(**options)
    found = {finding.text: finding for finding in connector.check() if finding.subject == "crm: activities"}
    connector.close()
    return found


def call(bench, **values):
    now = bench.clock.now().replace(microsecond=0)
    spoken = {"occurred_at": now, "ended_at": now + timedelta(minutes=3), "duration_s": 170, "disposition": "completed"}
    return bench.crm.create("voice_calls", {**spoken, **values})


def wrote(bench, ticket, role="end_user", **values):
    at = bench.clock.now().replace(microsecond=0) - HOUR
    return bench.crm.create("comments", {"ticket_id": ticket, "author_role": role, "via": "mail", "at": at, **values})


def instant(text):
    return None if text is None else datetime.fromisoformat(text)


# -- calls -------------------------------------------------------------------------------------------------------------------


def test_a_call_without_a_task_is_a_call(bench):
    (deal,) = bench.add(1)
    owner = bench.crm.create("users", {"name": "Ada Example"})
    spoken, missed = call(bench, deal_id=deal, owner_id=owner), call(bench, type="Inbound", missed=True, duration_s=None)
    failed = call(bench, disposition="busy", duration_s=0)
    rows = synced(bench).live("activities")
    row = rows[spoken]
    assert (row["type"], row["direction"], row["status"], row["outcome"]) == ("call", "outbound", "completed", None)
    assert (row["deal_id"], row["owner_id"], row["duration_s"]) == (deal, owner, 170)
    assert instant(row["ended_at"]) - instant(row["occurred_at"]) == timedelta(minutes=3)
    assert (rows[missed]["direction"], rows[missed]["outcome"], rows[failed]["outcome"]) == ("inbound", "missed", "busy")


@pytest.mark.parametrize("bulk_above", [0, 2000])
def test_a_call_of_which_there_is_a_task_is_that_task(bench, bulk_above):
    task = bench.crm.create("calls", {"subject": "Logged", "outcome": "Left word", "status": "planned"})
    first = call(bench, task=task, type="Inbound", connected_at=bench.clock.now())
    call(bench, task=task, type="Transfer", duration_s=30)
    rows = synced(bench, bulk_above=bulk_above).live("activities")
    assert rows.keys() == {task}
    row, begun = rows[task], bench.crm.kinds["voice_calls"].true(first).values["occurred_at"]
    assert (row["type"], row["direction"], row["outcome"], row["duration_s"]) == ("call", "inbound", "Left word", 200)
    assert (instant(row["occurred_at"]), row["status"], row["subject"]) == (begun, "completed", "Logged")


def test_a_call_that_is_logged_later_is_counted_once_from_then_on(bench):
    spoken = call(bench)
    held = synced(bench)
    assert held.live("activities").keys() == {spoken}
    task = bench.crm.create("tasks", {"subject": "Logged"})
    held = synced(bench, held)
    assert held.live("activities").keys() == {spoken, task}
    bench.crm.edit("voice_calls", spoken, task=task)
    held = synced(bench, held)
    assert {key: row["type"] for key, row in held.live("activities").items()} == {task: "call"}
    bench.crm.delete("tasks", task, touch=True)
    held = synced(bench, synced(bench, held), reconcile=True)
    assert held.live("activities").keys() == {spoken}


def test_most_organisations_have_no_calls_and_nothing_is_said_of_it(bench):
    bench.api.lacks.add("VoiceCall")
    call(bench)
    task = bench.crm.create("calls", {"subject": "Logged"})
    held = synced(bench, reconcile=True)
    assert (held.live("activities").keys(), held.warnings, held.counts["activities"]) == ({task}, [], 1)
    assert list(checked(bench)) == ["can be read"]


def test_calls_that_were_named_have_to_be_there(bench):
    bench.api.lacks.add("VoiceCall")
    (finding,) = checked(bench, activity_objects=["VoiceCall"]).values()
    assert (finding.ok, "VoiceCall" in finding.text) == (False, True)
    with pytest.raises(SchemaError, match="VoiceCall"):
        synced(bench, activity_objects=["VoiceCall"])


def test_calls_that_cannot_be_seen_any_more_are_not_gone(bench):
    spoken = call(bench)
    held = synced(bench)
    bench.api.lacks.add("VoiceCall")
    with pytest.raises(SchemaError, match="VoiceCall"):
        synced(bench, held, reconcile=True)
    assert spoken in held.live("activities")


# -- e-mails -----------------------------------------------------------------------------------------------------------------


def test_an_e_mail_on_a_case_is_an_e_mail(bench):
    (deal,) = bench.add(1)
    account = bench.crm.living("deals")[deal].values["account_id"]
    asker, clerk = bench.crm.create("contacts", {"name": "Ada Example"}), bench.crm.create("users", {"name": "Bo Example"})
    ticket = bench.crm.create("tickets", {"subject": "Question", "account_id": account, "requester_id": asker})
    asked, answered = wrote(bench, ticket, subject="Help"), wrote(bench, ticket, "agent", author_id=clerk)
    robot, draft = wrote(bench, ticket, "bot"), wrote(bench, ticket, "agent", mail_status="5")
    held = synced(bench)
    rows = {key.replace("02s", "00a"): row for key, row in held.live("activities").items()}
    assert rows.keys() == {asked, answered, robot}
    told = {key: [rows[key][name] for name in ("direction", "owner_id", "is_automated", "subject")] for key in rows}
    assert told == {
        asked: ["inbound", None, False, "Help"],
        answered: ["outbound", clerk, False, None],
        robot: ["outbound", None, True, None],
    }
    assert {(row["type"], row["status"], row["account_id"], row["contact_id"]) for row in rows.values()} == {
        ("email", "completed", account, asker)
    }
    assert instant(rows[asked]["occurred_at"]) == bench.crm.kinds["comments"].true(asked).values["at"]
    bench.crm.edit("comments", draft, mail_status="3")
    assert len(synced(bench, held).live("activities")) == 4


def test_relations_say_whom_an_e_mail_went_to(bench):
    ticket, clerk = bench.crm.create("tickets", {"subject": "Question"}), bench.crm.create("users", {"name": "Bo Example"})
    contact, lead = bench.crm.create("contacts", {"name": "Ada Example"}), bench.crm.create("leads", {"name": "Cy Example"})
    sent = wrote(bench, ticket, "agent", parties=[("FromAddress", clerk), ("ToAddress", contact), ("CcAddress", lead)])
    came = wrote(bench, ticket, parties=[("ToAddress", clerk), ("FromAddress", lead)])
    held = synced(bench)
    rows = {key.replace("02s", "00a"): row for key, row in held.live("activities").items()}
    assert [(rows[key]["contact_id"], rows[key]["lead_id"]) for key in (sent, came)] == [(contact, None), (None, lead)]
    links = {(row["activity_id"].replace("02s", "00a"), row["object_id"]) for row in held.live("activity_links").values()}
    assert links == {(sent, f"crm:{clerk}"), (sent, f"crm:{lead}"), (came, f"crm:{clerk}")}


def test_an_e_mail_of_which_there_is_a_task_is_that_task(bench):
    at = bench.clock.now().replace(microsecond=0) - HOUR
    mail = bench.crm.create("emails", {"subject": "Offer", "status": "planned", "direction": "inbound"}, at=at)
    ticket = bench.crm.create("tickets", {"subject": "Question"})
    todo = bench.crm.create("tasks", {"subject": "Answer it", "status": "planned", "account_id": ticket})
    wrote(bench, ticket, task=todo)
    rows = synced(bench, reconcile=True).live("activities")
    assert {key: (row["type"], row["direction"], row["status"]) for key, row in rows.items()} == {
        mail: ("email", "inbound", "completed"), todo: ("email", "inbound", "completed"),
    }  # fmt: skip
    assert instant(rows[mail]["occurred_at"]) == at


def test_e_mails_can_be_left_out(bench):
    wrote(bench, bench.crm.create("tickets", {"subject": "Question"}))
    spoken = call(bench)
    assert synced(bench, activity_objects=["VoiceCall"]).live("activities").keys() == {spoken}
    assert synced(bench, activity_objects=[]).live("activities") == {}


def test_without_the_task_of_an_e_mail_it_cannot_be_told_whether_it_is_counted(bench):
    bench.api.hidden |= {("comments", "ActivityId")}
    bench.crm.create("emails", {"subject": "Offer"})
    wrote(bench, bench.crm.create("tickets", {"subject": "Question"}))
    assert len(synced(bench).live("activities")) == 1


def test_fields_of_cases_that_may_not_be_seen_are_not_asked_for(bench):
    bench.api.hidden |= {("tickets", "AccountId")}
    wrote(bench, bench.crm.create("tickets", {"subject": "Question", "requester_id": "003KP0000000009AAA"}))
    (row,) = synced(bench).live("activities").values()
    assert (row["account_id"], row["contact_id"]) == (None, "003KP0000000009AAA")
    bench.api.forbidden.add("Case")
    (row,) = synced(bench, entities=["activities"]).live("activities").values()
    assert (row["account_id"], row["contact_id"]) == (None, None)


def test_rows_of_activities_have_the_same_columns():
    place = Place(None)
    plain = MAPPERS["Task"]({"Id": "1"}, place).keys()
    assert message_row({"Id": "1"}, place).keys() == call_row({"Id": "1"}, place).keys() == plain
