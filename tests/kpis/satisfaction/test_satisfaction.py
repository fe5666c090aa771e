"""Edges of the satisfaction KPIs that the catalogue names, on tables written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import kpid_satisfaction
import pytest

from kpid.analysis.intervals import nps_interval
from kpid.model import MeasurementState
from kpid.testing.kpis import measure_rows

KPIS = {kpi.id: kpi for kpi in kpid_satisfaction.kpid_kpis()}
DAY = datetime(2017, 12, 10, 12, tzinfo=UTC)


def one(kpi, rows, folder, label="2017-12", **options):
    [measurement] = measure_rows(KPIS[kpi], rows, label, folder=folder, **options)
    return measurement


def answers(kind, *scores, **more):
    return [
        {"id": f"{kind}{n}", "kind": kind, "score": None if s is None else Decimal(str(s)), "submitted_at": DAY, **more}
        for n, s in enumerate(scores)
    ]


def test_nps_has_its_margin(tmp_path):
    found = one("nps", {"survey_responses": answers("nps", *[9] * 20, *[7] * 50, *[3] * 30)}, tmp_path)
    low, high = nps_interval(20, 30, 100)
    assert found.value == -10
    assert (float(found.low), float(found.high)) == pytest.approx((low, high))


def test_nps_refuses_what_is_no_score_and_keeps_passives(tmp_path):
    found = one("nps", {"survey_responses": answers("nps", 10, 7, 8, 11, -1, 9.5, None)}, tmp_path)
    assert (found.numerator, found.denominator) == (1, 3)


def test_nps_without_answers_is_undefined(tmp_path):
    assert one("nps", {"survey_responses": answers("nps", 11)}, tmp_path).state is MeasurementState.UNDEFINED


def test_answer_that_is_still_to_come_replaces_none(tmp_path):
    wave = {"respondent_id": "r", "wave_id": "w"}
    rows = [*answers("nps", 10, **wave), {**answers("nps", 0, **wave)[0], "id": "x", "submitted_at": DAY + timedelta(days=60)}]
    assert one("nps", {"survey_responses": rows}, tmp_path).value == 100


def test_satisfied_is_4_and_5_of_5_and_good_of_good_and_bad(tmp_path):
    good_bad = answers("csat", 1, 0, scale_min=Decimal(0), scale_max=Decimal(1))
    offered = {"id": "offered", "kind": "csat", "score": None, "submitted_at": DAY}
    rows = [*answers("csat", 5, 4, 3, 6), *({**row, "id": f"g{row['id']}"} for row in good_bad), offered]
    found = one("csat", {"survey_responses": rows}, tmp_path)
    assert (found.numerator, found.denominator) == (3, 5)


def test_mean_satisfaction_is_on_the_scale_of_five(tmp_path):
    rows = [*answers("csat", 5, 2), {**answers("csat", 10, scale_min=Decimal(0), scale_max=Decimal(10))[0], "id": "x"}]
    found = one("csat", {"survey_responses": rows}, tmp_path, params={"form": "mean"})
    assert found.value == 4


def test_ratings_by_the_channel_of_their_ticket(tmp_path):
    rows = {"survey_responses": answers("csat", 5, ticket_id="1"), "tickets": [{"id": "1", "channel": "phone"}]}
    [found] = measure_rows(KPIS["csat"], rows, "2017-12", folder=tmp_path, by=["channel"])
    assert (found.dims[0].id, found.value) == ("phone", 1)


def test_few_answers_are_told(tmp_path):
    sends = [{"id": str(n), "kind": "nps", "sent_at": DAY, "delivered_at": DAY} for n in range(11)]
    rows = {
        "survey_sends": [*sends, {"id": "bounced", "kind": "nps", "sent_at": DAY}],
        "survey_responses": answers("nps", 9, send_id="1"),
    }
    found = one("survey_response_rate", rows, tmp_path)
    assert (found.numerator, found.denominator) == (1, 11)
    assert "fewer than 10 % answered: who did may not speak for the others" in found.warnings


def test_surveys_that_can_still_be_answered_are_awaited(tmp_path):
    rows = {
        "survey_sends": [
            {"id": "1", "kind": "nps", "sent_at": DAY, "delivered_at": DAY, "closes_at": datetime(2018, 2, 1, tzinfo=UTC)}
        ]
    }
    found = one("survey_response_rate", rows, tmp_path)
    assert (found.state, found.reason) == (MeasurementState.INCOMPLETE, "1 surveys can still be answered")


def test_several_answers_to_one_survey_are_one(tmp_path):
    sends = [{"id": "1", "kind": "nps", "sent_at": DAY, "delivered_at": DAY}]
    found = one("survey_response_rate", {"survey_sends": sends, "survey_responses": answers("nps", 9, 8, send_id="1")}, tmp_path)
    assert (found.numerator, found.denominator) == (1, 1)
