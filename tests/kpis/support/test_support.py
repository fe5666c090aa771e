"""Edges of the support KPIs that the catalogue names, on tables written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import kpid_support
import pytest

from kpid.analysis.periods import Calendar, period_from_label
from kpid.errors import KpidError
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import MeasurementState, SeriesNeed
from kpid.testing.kpis import measure_rows, open_warehouse
from tests.kpis.company import CALENDARS

KPIS = {kpi.id: kpi for kpi in kpid_support.kpid_kpis()}
MONDAY = datetime(2017, 12, 4, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def one(kpi, rows, folder, label="2017-12", **options):
    [measurement] = measure_rows(KPIS[kpi], rows, label, folder=folder, **options)
    return measurement


def ticket(key="1", at=MONDAY, **more):
    return {"id": key, "created_at": at, "status": "open", **more}


def comment(key, at, role="agent", of="1", **more):
    return {"id": key, "ticket_id": of, "author_role": role, "is_public": True, "at": at, **more}


def status(key, name, start, end=None, of="1"):
    return {"id": key, "ticket_id": of, "status": name, "valid_from": start, "valid_to": end}


def test_spam_is_no_ticket(tmp_path):
    rows = {"tickets": [ticket(), ticket("2", category="Spam"), ticket("3", status="spam"), ticket("4", is_test=True)]}
    assert one("tickets_created", rows, tmp_path).value == 1


def test_backlog_at_an_hour_goes_by_the_clock_on_the_wall(tmp_path):
    """On 29 October 2017 the clock was put back at three: 4:30 is 3:30 UTC, and the day has 25 hours."""
    at = [datetime(2017, 10, 29, hour, 30, tzinfo=UTC) for hour in (3, 4, 21, 22)]
    rows = {"tickets": [ticket(str(n), one) for n, one in enumerate(at)]}
    backlog = {
        hour: one("ticket_backlog", rows, tmp_path / f"{hour}", "2017-10-29", params={"at_hour": f"{hour}"}).value
        for hour in (4, 5, 6, 22, 23, 24)
    }
    assert backlog == {4: 0, 5: 1, 6: 2, 22: 2, 23: 3, 24: 4}
    with pytest.raises(KpidError, match="no hour of the day"):
        KPIS["ticket_backlog"].definition({"at_hour": "25"})


def test_backlog_by_age(tmp_path):
    end = datetime(2017, 12, 31, 23, tzinfo=UTC)
    ages = [timedelta(hours=23), 2 * DAY, 5 * DAY, 29 * DAY, 31 * DAY]
    rows = {"tickets": [ticket(str(n), end - age) for n, age in enumerate(ages)]}
    found = measure_rows(KPIS["ticket_backlog"], rows, "2017-12", folder=tmp_path, by=["age_band"])
    assert {m.dims[0].id: m.value for m in found} == {
        "0-1 days": 1, "1-3 days": 1, "3-7 days": 1, "7-30 days": 1, "over 30 days": 1,
    }  # fmt: skip


def test_backlog_of_the_past_follows_the_status_history(tmp_path):
    rows = {
        "tickets": [ticket(at=MONDAY - 40 * DAY, status="open")],
        "ticket_status_history": [
            status("1", "open", MONDAY - 40 * DAY, MONDAY - 20 * DAY), status("2", "solved", MONDAY - 20 * DAY, MONDAY),
            status("3", "open", MONDAY),
        ],
    }  # fmt: skip
    found = [one("ticket_backlog", rows, _folder(tmp_path, label), label).value for label in ("2017-10", "2017-11", "2017-12")]
    assert found == [1, 0, 1]


def _folder(path, name):
    (path / name).mkdir()
    return path / name


def test_unsolved_ticket_without_a_date_is_told(tmp_path):
    found = one("ticket_backlog", {"tickets": [ticket(), ticket("2", None)]}, tmp_path)
    assert found.value == 1
    assert "1 unsolved tickets left out: nobody knows since when they are open" in found.warnings


def test_bots_and_notes_are_no_replies(tmp_path):
    comments = [comment("1", MONDAY + HOUR, "bot"), comment("2", MONDAY + 2 * HOUR, is_public=False),
                comment("3", MONDAY + 3 * HOUR, "end_user"), comment("4", MONDAY + 4 * HOUR)]  # fmt: skip
    assert one("first_reply_time", {"tickets": [ticket()], "ticket_comments": comments}, tmp_path).value == 4 * 3600


def test_second_comment_is_the_reply_on_a_ticket_that_we_opened(tmp_path):
    ours = [comment("1", MONDAY), comment("2", MONDAY + 5 * HOUR)]
    rows = {"tickets": [ticket(created_by_agent=True)], "ticket_comments": ours}
    assert one("first_reply_time", rows, tmp_path).value == 5 * 3600
    rows["ticket_comments"] = [comment("0", MONDAY - HOUR, "end_user"), *ours]
    assert one("first_reply_time", rows, _folder(tmp_path, "b")).value == 0


def test_ticket_that_we_opened_counts_if_the_requester_waits(tmp_path):
    ours = {
        "tickets": [ticket(created_by_agent=True), ticket("2", first_reply_at=MONDAY)],
        "ticket_comments": [comment("1", MONDAY)],
    }
    assert one("ticket_response_rate", ours, tmp_path).denominator == 1
    ours["ticket_comments"].append(comment("2", MONDAY + HOUR, "end_user"))
    found = one("ticket_response_rate", ours, _folder(tmp_path, "b"))
    assert (found.numerator, found.denominator) == (1, 2)


def test_tickets_without_comments_take_the_reply_of_the_crm(tmp_path):
    rows = {"tickets": [ticket(first_reply_at=MONDAY + HOUR), ticket("2")], "ticket_comments": [comment("1", MONDAY, of="2")]}
    found = one("first_reply_time", rows, tmp_path, params={"stat": "mean"})
    assert (found.value, found.n) == (1800, 2)


def test_unanswered_and_impossible_replies_are_told_not_counted(tmp_path):
    rows = {"tickets": [ticket(first_reply_at=MONDAY + HOUR), ticket("2"), ticket("3", first_reply_at=MONDAY - HOUR)]}
    found = one("first_reply_time", rows, tmp_path)
    assert (found.value, found.n) == (3600, 1)
    assert "1 tickets have no reply yet: they are in no duration" in found.warnings
    assert "1 tickets were answered before they were created: left out" in found.warnings


def test_response_within_a_time(tmp_path):
    rows = {
        "tickets": [
            ticket(first_reply_at=MONDAY + 4 * HOUR),
            ticket("2", first_reply_at=MONDAY + 4 * HOUR + timedelta(seconds=1)),
        ]
    }
    assert one("ticket_response_rate", rows, tmp_path, params={"within": "4h"}).numerator == 1
    with pytest.raises(KpidError, match="no duration"):
        KPIS["ticket_response_rate"].definition({"within": "soon"})


def test_business_hours_of_the_last_schedule_or_of_each(tmp_path):
    """Zendesk takes the schedule that a ticket came under last; fivetran adds up those that it was under."""
    friday, monday = datetime(2017, 12, 8, 15, tzinfo=UTC), datetime(2017, 12, 11, 9, tzinfo=UTC)  # 16:00 to 10:00
    saturday = datetime(2017, 12, 9, 11, tzinfo=UTC)
    history = [
        {"id": str(n), "ticket_id": "1", "schedule_id": name, "valid_from": since}
        for n, (name, since) in enumerate((("office", friday), ("six", saturday)))
    ]
    rows = {"tickets": [ticket(at=friday, first_reply_at=monday)], "ticket_schedule_history": history}
    warehouse = open_warehouse(tmp_path, rows)
    setup = MetricsSetup(warehouse, KPIS, Calendar("Europe/Berlin"), "EUR", calendars=CALENDARS)
    period = period_from_label(None, "2017-12", setup.calendar)
    found = {}
    for schedule in ("last", "history"):
        need = SeriesNeed("first_reply_time", "month", (), (("clock", "business"), ("schedule", schedule)))
        [measured] = figures(need, setup, start=period.start, end=period.end, now=datetime(2018, 1, 2, tzinfo=UTC), fill=True)
        found[schedule] = measured.value / 3600
    warehouse.close()
    assert found == {"last": 2 + 9 + 2, "history": 1 + 5 + 2}


def test_wait_outside_opening_hours_is_zero_not_null(tmp_path):
    night = datetime(2017, 12, 9, 20, tzinfo=UTC)
    rows = {"tickets": [ticket(at=night, first_reply_at=night + HOUR)]}
    found = one("first_reply_time", rows, tmp_path, params={"clock": "business"})
    assert (found.value, found.n) == (0, 1)


def test_reopened_ticket_moves_its_full_resolution_into_the_later_period(tmp_path):
    before = MONDAY - 20 * DAY
    solved = ticket(at=before - DAY, status="solved", first_solved_at=before, last_solved_at=MONDAY)
    found = {
        (which, label): one(
            "resolution_time", {"tickets": [solved]}, _folder(tmp_path, which + label), label, params={"which": which}
        )
        for which in ("full", "first")
        for label in ("2017-11", "2017-12")
    }
    values = {key: None if m.value is None else m.value / 86_400 for key, m in found.items()}
    assert values == {("full", "2017-11"): None, ("full", "2017-12"): 21, ("first", "2017-11"): 1, ("first", "2017-12"): None}


def test_ticket_that_is_open_again_is_not_resolved(tmp_path):
    rows = {"tickets": [ticket(first_solved_at=MONDAY, last_solved_at=MONDAY, status="open")]}
    assert one("resolution_time", rows, tmp_path).state is MeasurementState.UNDEFINED


def test_requester_waits_while_new_open_or_on_hold(tmp_path):
    names = ("new", "open", "pending", "on_hold", "solved")
    history = [status(str(n), name, MONDAY + n * HOUR, MONDAY + (n + 1) * HOUR) for n, name in enumerate(names)]
    rows = {"tickets": [ticket(status="solved", last_solved_at=MONDAY + 4 * HOUR)], "ticket_status_history": history}
    assert one("resolution_time", rows, tmp_path, params={"which": "requester_wait"}).value == 3 * 3600


def test_ten_to_midnight_is_not_the_same_day_but_within_24_hours(tmp_path):
    late = datetime(2017, 12, 5, 22, 50, tzinfo=UTC)  # 23:50 in Berlin
    rows = {"tickets": [ticket(at=late, status="solved", first_solved_at=late + timedelta(minutes=20))]}
    assert one("same_day_close_rate", rows, tmp_path).value == 0
    assert one("same_day_close_rate", rows, _folder(tmp_path, "b"), params={"basis": "24h"}).value == 1


def test_first_contact_needs_one_reply_and_no_reopening(tmp_path):
    tickets = [ticket(str(n), status="solved", last_solved_at=MONDAY + HOUR) for n in range(4)]
    comments = [comment("a", MONDAY, of="0"), comment("b", MONDAY, of="1"), comment("c", MONDAY + HOUR, of="1"),
                comment("d", MONDAY, of="2")]  # fmt: skip
    history = [status("1", "solved", MONDAY + HOUR, MONDAY + 2 * DAY, "2"), status("2", "open", MONDAY + 2 * DAY, None, "2")]
    rows = {"tickets": tickets, "ticket_comments": comments, "ticket_status_history": history}
    found = one("first_contact_resolution_rate", rows, tmp_path)
    assert (found.numerator, found.denominator) == (1, 3)
    assert "1 solved tickets left out: nobody knows how many replies they took" in found.warnings


def test_reopening_counts_within_its_days_and_is_awaited(tmp_path):
    again = [status("1", "solved", MONDAY, MONDAY + 14 * DAY), status("2", "open", MONDAY + 14 * DAY)]
    rows = {"tickets": [ticket(status="open")], "ticket_status_history": again}
    found = one("reopen_rate", rows, tmp_path)
    assert (found.value, found.state) == (1, MeasurementState.INCOMPLETE)
    assert "followed until 2018-01-14" in found.reason
    assert one("reopen_rate", rows, _folder(tmp_path, "b"), params={"days": "13"}).value == 0


def test_ticket_solved_in_two_periods_counts_in_both(tmp_path):
    """The later solving does not hide that the earlier one did not last."""
    start = MONDAY - 20 * DAY
    history = [status("1", "solved", start, start + DAY), status("2", "open", start + DAY, MONDAY), status("3", "solved", MONDAY)]
    rows = {"tickets": [ticket(status="solved", last_solved_at=MONDAY)], "ticket_status_history": history}
    assert one("reopen_rate", rows, tmp_path, "2017-11").value == 1
    assert one("reopen_rate", rows, _folder(tmp_path, "b"), "2017-12").value == 0


@pytest.mark.parametrize("kpi", sorted(set(KPIS) - {"tickets_created", "ticket_backlog"}))
def test_no_tickets_are_undefined_not_zero(kpi, tmp_path):
    assert one(kpi, {}, tmp_path).value is None
