"""What hangs on Salesforce's records: cases' histories and replies, owners of the past, guests; and record types as pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from kpid_salesforce.case_rows import status_rows

from kpid.testing import MemorySync
from tests.vendors.salesforce import SalesforceBench

HOUR = timedelta(hours=1)


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench(entities=("users", "pipelines", "deals", "activities", "tickets")) as bench:
        yield bench


def synced(bench, held=None, **options):
    held, connector = held or MemorySync(), bench.connector(**options)
    try:
        held.run(connector)
    finally:
        connector.close()
    return held


def later(bench, hours=1):
    bench.clock.advance(HOUR * hours)
    return bench.clock.now()


def write(bench, ticket, role, *, via="mail", **values):
    return bench.crm.create("comments", {"ticket_id": ticket, "author_role": role, "via": via, **values})


def instant(text):
    return None if text is None else datetime.fromisoformat(text)


# -- cases -------------------------------------------------------------------------------------------------------------------


def test_the_first_reply_is_the_first_public_word_of_a_person_of_ours(bench):
    ticket = bench.crm.create("tickets", {"subject": "Question", "status": "open"})
    held = synced(bench)
    assert (held.live("tickets")[ticket]["first_reply_at"], held.live("tickets")[ticket]["reply_count_public"]) == (None, 0)
    for role, values in (
        ("end_user", {}), ("bot", {}), ("agent", {"via": "comment", "is_public": False}), ("agent", {"mail_status": "5"}),
    ):  # fmt: skip
        later(bench)
        write(bench, ticket, role, **values)
    assert synced(bench, held).live("tickets")[ticket]["first_reply_at"] is None
    replied_at = later(bench)
    write(bench, ticket, "agent")
    later(bench)
    write(bench, ticket, "agent", via="comment")
    row = synced(bench, held).live("tickets")[ticket]  # though the case itself did not change
    assert (instant(row["first_reply_at"]), row["reply_count_public"]) == (replied_at, 2)
    comments = held.live("ticket_comments").values()
    assert sorted((one["author_role"], one["is_public"]) for one in comments) == [
        ("agent", False), ("agent", True), ("agent", True), ("bot", True), ("end_user", True),
    ]  # fmt: skip
    assert synced(bench).live("tickets") == held.live("tickets")


def test_a_first_read_of_cases_is_as_later_ones_are(bench):
    tickets = [bench.crm.create("tickets", {"subject": str(number), "status": "open"}) for number in range(30)]
    for ticket in tickets:
        later(bench)
        write(bench, ticket, "agent")
    for bulk_above in (0, 2000):
        rows = synced(bench, bulk_above=bulk_above, page_size=7).live("tickets").values()
        assert [row["reply_count_public"] for row in rows] == [1] * 30


def test_states_of_cases_are_told_with_their_times(bench):
    made = bench.clock.now()
    ticket = bench.crm.create("tickets", {"subject": "Question", "status": "open"})
    closed_at = later(bench)
    bench.crm.edit("tickets", ticket, status="closed", closed_at=closed_at)
    opened_at = later(bench)
    bench.crm.edit("tickets", ticket, status="open", closed_at=None)
    held = synced(bench)
    rows = sorted(held.rows["ticket_status_history"].values(), key=lambda row: row["valid_from"])
    found = [(row["status"], instant(row["valid_from"]), instant(row["valid_to"])) for row in rows]
    assert found == [("open", made, closed_at), ("closed", closed_at, opened_at), ("open", opened_at, None)]
    row = held.live("tickets")[ticket]
    assert (instant(row["first_solved_at"]), row["reopen_count"]) == (closed_at, 1)


def test_an_organisation_without_e_mails_on_cases_is_read_all_the_same(bench):
    ticket = bench.crm.create("tickets", {"subject": "Question", "status": "open"})
    bench.api.forbidden |= {"EmailMessage", "CaseHistory", "CaseStatus", "TaskRelation"}
    held = synced(bench)
    assert held.live("tickets")[ticket]["reply_count_public"] == 0
    assert held.rows.get("ticket_status_history", {}) == {}
    bench.api.forbidden.add("CaseComment")
    assert synced(bench).live("tickets")[ticket]["reply_count_public"] is None  # nobody tells: that is not zero


CLOSED = {"Closed": True, "New": False, "Waiting": False}


def change(at, new=None, old=None):
    return {"CreatedDate": at, **({"Field": "created"} if new is None else {"Field": "Status", "OldValue": old, "NewValue": new})}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], []),
        ([change("0")], [("open", "0", None)]),
        ([change("0"), change("3", "Waiting", "New")], [("open", "0", "3"), ("pending", "3", None)]),
        ([change("3", "Waiting", "New")], [("pending", "3", None)]),
        ([change("0"), change("3", "Other", "New"), change("4", "Closed", "Other")], [("open", "0", "4"), ("closed", "4", None)]),
        ([change("0"), change("3", "Closed", "New"), change("3", "New", "Closed")], [("open", "0", None)]),
    ],
)
def test_states_follow_from_changes(changes, expected):
    case = {"Id": "500", "CreatedDate": "0", "Status": "New"}
    rows = status_rows(case, changes, CLOSED, {"Waiting": "pending"})
    assert [(row["status"], row["valid_from"], row["valid_to"]) for row in rows] == expected


# -- owners, guests, e-mails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bulk_above", [0, 2000])
def test_owners_of_the_past_are_told(bench, bulk_above):
    people = [bench.crm.create("users", {"name": f"Ada Example {number}"}) for number in range(3)]
    made = bench.clock.now()
    deal, other = (bench.crm.add_deal(owner_id=people[0]) for _ in range(2))
    given = later(bench)
    bench.crm.edit("deals", deal, owner_id=people[1])
    held = synced(bench, bulk_above=bulk_above)
    again = later(bench)
    bench.crm.edit("deals", deal, owner_id=people[2])
    later(bench)
    synced(bench, held, bulk_above=bulk_above)
    rows = sorted(held.rows["owner_history"].values(), key=lambda row: row["valid_from"])
    assert [(row["owner_id"], instant(row["valid_from"]), instant(row["valid_to"])) for row in rows] == [
        (people[0], made, given), (people[1], given, again), (people[2], again, None),
    ]  # fmt: skip
    assert {(row["object_type"], row["object_id"]) for row in rows} == {("deals", f"crm:{deal}")}
    assert other not in {row["object_id"] for row in rows}


def test_guests_and_further_subjects_of_activities_are_links(bench):
    contact, other, gone = (bench.crm.create("contacts", {"name": name}) for name in "abc")
    lead = bench.crm.create("leads", {"name": "Ada Example"})
    at = bench.clock.now()
    meeting = {"subject": "Demo", "scheduled_start": at, "contact_id": contact, "guests": [other, lead]}
    event = bench.crm.create("meetings", meeting)
    bench.crm.create("meetings", {"subject": "No", "scheduled_start": at, "guests": [gone], "answer": "Declined"})
    links = synced(bench).live("activity_links").values()
    assert sorted((row["activity_id"], row["object_type"], row["object_id"]) for row in links) == sorted(
        [(event, "contacts", f"crm:{other}"), (event, "leads", f"crm:{lead}")]
    )


def test_who_declines_or_is_taken_off_a_meeting_is_no_guest_any_more(bench):
    lead, other = (bench.crm.create("leads", {"name": name}) for name in "ab")
    event = bench.crm.create("meetings", {"subject": "Demo", "scheduled_start": bench.clock.now()})
    first, second = (bench.crm.create("invitations", {"activity": event, "lead_id": one}) for one in (lead, other))
    held = synced(bench)
    assert sorted(held.live("activity_links")) == [first, second]
    bench.crm.edit("invitations", first, answer="Declined")
    later(bench)
    assert sorted(synced(bench, held).live("activity_links")) == [second], "the meeting itself has not changed"
    bench.crm.edit("invitations", first, answer="Accepted")
    bench.crm.delete("invitations", second, touch=True)
    later(bench)
    assert sorted(synced(bench, held).live("activity_links")) == [first]
    bench.api.forbidden.add("EventRelation")
    bench.crm.edit("meetings", event, subject="Second demo")
    later(bench)
    assert sorted(synced(bench, held).live("activity_links")) == [first], "what may not be read any more is not gone"


def test_e_mails_say_who_wrote_to_whom(bench):
    there, back = (bench.crm.create("emails", {"subject": "Offer", "direction": way}) for way in ("outbound", "inbound"))
    rows = synced(bench).live("activities")
    assert (rows[there]["direction"], rows[back]["direction"]) == ("outbound", "inbound")


def test_roles_are_teams(bench):
    bench.api.metadata["UserRole"] = {"00E1": {"name": "Sales"}, "00E2": {"name": "North", "parent": "00E1"}}
    assert {key: row["parent_id"] for key, row in synced(bench).live("teams").items()} == {"00E1": None, "00E2": "00E1"}
    bench.api.forbidden.add("UserRole")
    assert synced(bench).live("teams") == {}


# -- record types ------------------------------------------------------------------------------------------------------------


def test_record_types_are_pipelines_with_the_stages_of_their_sales_process(bench):
    kind, first, offer = "012KP0000000001AAA", bench.crm.stage_ids["first"], bench.crm.stage_ids["offer"]
    bench.api.metadata["RecordType"] = {kind: {"name": "Renewals"}}
    bench.api.offered[kind] = [first]
    plain, renewal = bench.crm.add_deal(), bench.crm.add_deal(record_type=kind)
    later(bench)
    bench.crm.move(renewal, "offer")
    for bulk_above in (0, 2000):
        held = synced(bench, pipelines="record_types", bulk_above=bulk_above)
        assert {key: row["name"] for key, row in held.rows["pipelines"].items()} == {"sales": "Sales", kind: "Renewals"}
        deals = held.live("deals")
        assert [(deals[key]["pipeline_id"], deals[key]["stage_id"]) for key in (plain, renewal)] == [
            ("sales", first), (kind, f"{kind}-{offer}"),
        ]  # fmt: skip
        stages = held.rows["stages"]
        assert all(row["stage_id"] in stages for row in held.rows["deal_stage_history"].values())
        assert (stages[f"{kind}-{first}"]["active_to"], stages[f"{kind}-{first}"]["name"]) == (None, stages[first]["name"])
        assert stages[f"{kind}-{offer}"]["active_to"] is not None
        assert held.warnings == []


def test_stages_of_record_types_that_nobody_tells_are_all_stages(bench):
    bench.api.metadata["RecordType"] = {"012KP0000000001AAA": {"name": "Renewals"}}
    held = synced(bench, pipelines="record_types")
    assert all(row["active_to"] is None for row in held.rows["stages"].values())
    assert ["which stages" in warning for warning in held.warnings] == [True]
    bench.api.hidden |= {("deals", "RecordTypeId")}
    bench.add(2)
    assert {row["pipeline_id"] for row in synced(bench, pipelines="record_types").live("deals").values()} == {"sales"}
