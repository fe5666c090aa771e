"""What the KPIs of the data find: each kind of problem once, listed by record; bad data is never a silent 0."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import kpid_quality
import pytest

from kpid.errors import KpidError
from kpid.testing.kpis import NOW, measure_rows

KPIS = {kpi.id: kpi for kpi in kpid_quality.kpid_kpis()}
DAY = datetime(2017, 12, 10, 12, tzinfo=UTC)
TODAY, LATER = "2018-01-02", NOW + timedelta(days=3)
FINE = {"state": "open", "created_at": DAY, "amount": Decimal(5), "currency": "EUR", "probability": Decimal("0.5")}


def found(rows, folder, by=("problem",), kpi="data_problems", **options):
    made = measure_rows(KPIS[kpi], rows, TODAY, folder=folder, by=by, **options)
    return {tuple(segment.id for segment in m.dims): m.value for m in made}


def one(kpi, rows, folder, **options):
    [measurement] = measure_rows(KPIS[kpi], rows, TODAY, folder=folder, **options)
    return measurement


PROBLEMS = {
    "closed_before_created": ("deals", {"state": "won", "closed_at": DAY - timedelta(days=1)}),
    "closed_in_the_future": ("deals", {"state": "won", "closed_at": LATER}),
    "created_in_the_future": ("deals", {"created_at": LATER}),
    "closed_without_date": ("deals", {"state": "won"}),
    "closed_without_reason": ("deals", {"state": "lost", "closed_at": DAY, "loss_reason": " "}),
    "created_at_missing": ("deals", {"created_at": None}),
    "state_unknown": ("deals", {"state": "wn"}),
    "amount_missing": ("deals", {"amount": None}),
    "amount_zero": ("deals", {"amount": Decimal(0)}),
    "amount_negative": ("deals", {"amount": Decimal(-1)}),
    "exchange_rate_missing": ("deals", {"currency": "USD"}),
    "currency_missing": ("deals", {"currency": None}),
    "probability_off_scale": ("deals", {"probability": Decimal(60)}),
    "overdue": ("deals", {"expected_close_date": date(2018, 1, 1)}),
    "score_off_scale": ("survey_responses", {"kind": "nps", "score": Decimal(11)}),
    "score_not_whole": ("survey_responses", {"kind": "nps", "score": Decimal("9.5")}),
    "negative_duration": ("activities", {"type": "call", "duration_s": -1}),
    "ended_before_begun": ("activities", {"type": "call", "occurred_at": DAY, "ended_at": DAY - timedelta(hours=1)}),
    "completed_in_the_future": ("activities", {"type": "call", "status": "completed", "occurred_at": LATER}),
    "converted_before_created": ("leads", {"created_at": DAY, "converted_at": DAY - timedelta(days=1)}),
    "solved_before_created": ("tickets", {"created_at": DAY, "last_solved_at": DAY - timedelta(days=1)}),
    "replied_before_created": ("tickets", {"created_at": DAY, "first_reply_at": DAY - timedelta(days=1)}),
    "ordered_in_the_future": ("orders", {"ordered_at": LATER, "net_amount": Decimal(1)}),
}


def test_each_problem_is_listed_with_its_record(tmp_path):
    rows = {"deals": [{"id": "fine", **FINE}]}
    for name, (table, columns) in PROBLEMS.items():
        rows.setdefault(table, []).append({"id": name, **(FINE if table == "deals" else {}), **columns})
    listed = found(rows, tmp_path, ("problem", "record"))
    assert {(name, f"crm:{name}") for name in PROBLEMS} == set(listed)
    assert set(listed.values()) == {1}


def test_odd_currencies_are_unknown_and_have_no_rate(tmp_path):
    rows = {"deals": [{"id": "1", **FINE, "currency": "Euro"}, {"id": "2", **FINE}]}
    assert found(rows, tmp_path) == {("currency_unknown",): 1, ("exchange_rate_missing",): 1}


def test_probabilities_that_are_all_100_percent(tmp_path):
    certain = [{"id": str(n), **FINE, "probability": Decimal(1)} for n in range(3)]
    assert found({"deals": certain}, tmp_path) == {("probability_all_100_percent",): 3}
    (tmp_path / "b").mkdir()
    assert found({"deals": [*certain, {"id": "x", **FINE}]}, tmp_path / "b") == {}


def test_deleted_records_have_no_problems(tmp_path):
    rows = {
        "deals": [{"id": "1", **FINE, "amount": None, "deleted_at": DAY}, {"id": "2", **FINE, "amount": None, "is_test": True}]
    }
    assert one("data_problems", rows, tmp_path).value == 0


def test_duplicates_by_domain_name_and_address(tmp_path):
    rows = {
        "accounts": [{"id": "1", "name": "Acme", "domain": "a.example"}, {"id": "2", "name": "ACME Inc", "domain": "A.example "},
                     {"id": "3", "name": "Beta"}, {"id": "4", "name": "beta"}, *({"id": n, "name": None} for n in "56")],
        "contacts": [{"id": "1", "email": "ada@example.com"}, {"id": "2", "email": "ADA@example.com"}],
    }  # fmt: skip
    rate = one("duplicate_rate", rows, tmp_path)
    assert (rate.numerator, rate.denominator) == (3, 8)
    (tmp_path / "b").mkdir()
    assert found(rows, tmp_path / "b", ("entity", "problem")) == {("accounts", "duplicate"): 2, ("contacts", "duplicate"): 1}


def test_owner_is_missing_if_nobody_or_gone(tmp_path):
    users = [{"id": "ada", "is_active": True}, {"id": "bob", "is_active": False}, {"id": "cy", "active_to": DAY}]
    deals = [{"id": name, "state": "open", "owner_id": name} for name in ("ada", "bob", "cy", "stranger")]
    rows = {"users": users, "deals": [*deals, {"id": "x", "state": "open"}, {"id": "y", "state": "won"}], "leads": [{"id": "l"}]}
    share = one("missing_owner_share", rows, tmp_path)
    assert (share.numerator, share.denominator) == (4, 6)


def test_completeness_wants_all_fields_and_takes_zero_for_an_amount(tmp_path):
    full = {"amount": Decimal(0), "expected_close_date": DAY.date(), "owner_id": "ada", "lead_source": "web", "account_id": "a"}
    deals = [
        {"id": "1", "state": "open", **full},
        {"id": "2", "state": "open", **full, "lead_source": " "},
        {"id": "3", "state": "won"},
    ]
    share = one("field_completeness", {"deals": deals}, tmp_path)
    assert (share.numerator, share.denominator) == (1, 2)
    (tmp_path / "b").mkdir()
    assert one("field_completeness", {"deals": deals}, tmp_path / "b", params={"required": "amount , owner"}).value == 1


@pytest.mark.parametrize(("required", "text"), [("amout", "no field 'amout'"), (" , ", "no field is required")])
def test_fields_that_are_none_are_refused(required, text):
    with pytest.raises(KpidError, match=text):
        KPIS["field_completeness"].definition({"required": required})
