from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpid.alerting.rulechecks import RuleTester
from kpid.alerting.ruletests import read_suite
from kpid.config.alerting import Route
from kpid.errors import ConfigError
from kpid.registry import load_plugins
from tests.alerting.world import World

RULES = """
rules:
  - name: close_rate_low
    kpi: close_rate
    period: week
    by: [owner]
    warn: "< 25%"
    critical: "< 20%"
    recover: ">= 27%"
    for: 2x
    keep_firing_for: 1x
    min_sample: 20
    no_data: {do: keep, after: 2x}
    labels: {team: sales}
    to: [owner, sales-leads]
  - {name: calls, kpi: calls_made, period: day, by: [team], warn: "< 10", to: [team]}
  - {name: silent, absence: {source: all}, to: [team]}
  - {name: strange, kpi: nothing_known, period: day, warn: "< 10", to: [team]}
"""
TEST = """
rules: [rules.yml]
tests:
  - name: two bad weeks fire, a thin week does not resolve, recovery does
    rule: close_rate_low
    start: 2026-01-05
    series:
      - {owner: ana, value: 0.31 0.24 0.19 0.19 0.35 0.30 0.30, n: 400x4 3 400x2}
    expect:                            # by period number
      2: {ana: pending warn}
      3: {ana: firing warn}
      4: {ana: firing critical}
      5: {ana: firing critical, data: insufficient}
      6: {ana: recovering}
      7: {ana: ok}
    notices:
      - {at: 3, kind: fired, to: owner}
      - {at: 4, kind: escalated, to: owner}
      - {at: 7, kind: resolved, to: owner}
"""

THIN = "n = 3, below the rule's minimum of 20"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES)
    setup = replace(World(tmp_path).setup(), kpis=load_plugins().kpis)

    def running(text, **changes):
        file = tmp_path / "tests.yml"
        file.write_text(text)
        return RuleTester(replace(setup, **changes)).run(read_suite(file))

    return running


def one_test(**parts):
    lines = "".join(f"    {key}: {value}\n" for key, value in parts.items())
    return f"rules: [rules.yml]\ntests:\n  - name: it\n    start: 2026-01-05\n{lines}"


def test_the_example_of_the_documents_passes(run):
    (result,) = run(TEST)
    assert result.differences == ()
    assert result.passed
    assert [line.state for line in result.lines] == [
        "ok",
        "pending warn",
        "firing warn",
        "firing critical",
        "firing critical insufficient",
        "recovering critical",
        "ok",
    ]
    assert [line.events for line in result.lines if line.events] == [("fired",), ("escalated",), ("resolved",)]


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        (
            "3: {ana: firing warn}",
            "3: {ana: firing critical}",
            "3 (2026-W04) ana: expected firing critical, found firing warn (19.0% is < 20%)",
        ),
        (
            "data: insufficient",
            "data: stale",
            f"5 (2026-W06) ana: expected firing critical stale, found firing critical insufficient ({THIN})",
        ),
        (
            "      - {at: 7, kind: resolved, to: owner}\n",
            "",
            "notices: not expected: resolved critical of ana at 7, to owner, sales-leads",
        ),
        (
            "{at: 4, kind: escalated, to: owner}",
            "{at: 5, kind: escalated, to: owner}",
            "notices: expected escalated at 5; at 5: nobody was told anything",
        ),
        (
            "kind: fired, to: owner",
            "kind: fired, to: manager",
            "notices: fired warn of ana at 3: expected to manager, it goes to owner, sales-leads",
        ),
        (
            "kind: fired, to: owner",
            "kind: fired, level: critical, segment: ana",
            "notices: expected fired critical of ana at 3; at 3: fired warn of ana at 3",
        ),
    ],
)
def test_what_differs_is_told(run, old, new, differs):
    assert old in TEST
    (result,) = run(TEST.replace(old, new))
    assert differs in result.differences
    assert not result.passed


def test_data_is_said_of_all_series_of_a_period(run):
    series = "[{owner: ana, value: 0.3 _}, {owner: ben, value: 0.3 _}]"
    (result,) = run(one_test(rule="close_rate_low", series=series, expect="{2: {ana: ok, data: no_data}}"))
    assert result.passed
    (result,) = run(one_test(rule="close_rate_low", series=series, expect="{2: {data: stale}}"))
    assert [text.split(":")[0] for text in result.differences] == ["2 (2026-W03) ana", "2 (2026-W03) ben"]


def test_a_series_that_goes_missing_is_forgotten(run):
    series = "[{owner: ana, value: 0.3 ~x4}, {owner: ben, value: 0.3x5}]"
    expect = "{2: {ana: missing}, 4: {ana: forgotten}, 5: {ana: forgotten, ben: ok clear}}"
    (result,) = run(one_test(rule="close_rate_low", series=series, expect=expect))
    assert result.differences == ()


def test_a_segment_without_rows_counts_as_nothing_where_others_have_some(run):
    series = "[{team: a, value: 20 ~}, {team: b, value: 20x2}]"
    (result,) = run(one_test(rule="calls", series=series, expect="{2: {a: firing}}", notices="[{at: 2, kind: fired}]"))
    assert result.differences == ()


def test_the_rules_own_health_is_told_too(run):
    series = "[{owner: ana, value: 0.3 !x2 0.3}]"
    (result,) = run(one_test(rule="close_rate_low", series=series, notices="[]"))
    assert result.differences == (
        "notices: not expected: unhealthy warn of the rule at 3, to owner, sales-leads",
        "notices: not expected: healthy warn of the rule at 4, to owner, sales-leads",
    )
    (result,) = run(one_test(rule="close_rate_low", series=series))
    assert result.passed, "notices that are left out are not looked at"


ROUTES = [
    Route.model_validate({"match": {"kind": "health"}, "to": ["ops"]}),
    Route.model_validate({"match": {"severity": "critical", "owner": "ana", "team": "sales"}, "to": ["cro"]}),
    Route.model_validate({"match": {"severity": "warn"}, "to": ["mail:lead@example.com"]}),
]


def test_who_is_told_is_said_by_routes(run):
    text = TEST.replace("kind: fired, to: owner", 'kind: fired, to: "mail:lead@example.com"').replace(
        "kind: escalated, to: owner", "kind: escalated, to: cro"
    )
    (result,) = run(
        text.replace("kind: resolved, to: owner", 'kind: resolved, to: ["mail:lead@example.com", cro]'), routes=ROUTES
    )
    assert result.differences == (), "those that heard of it hear that it is over"
    (result,) = run(text, routes=ROUTES)
    assert result.differences == (
        "notices: resolved critical of ana at 7: expected to owner, it goes to mail:lead@example.com, cro",
    )
    bad = one_test(rule="close_rate_low", series="[{owner: ana, value: 0.3 !x2}]", notices="[{at: 3, kind: unhealthy, to: ops}]")
    (result,) = run(bad, routes=ROUTES)
    assert result.differences == ()


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"rule": "close_rate_low", "series": "[{owner: ana, value: 1 x}]"}, "value: 'x' is not known here"),
        ({"rule": "close_rate_low", "series": "[{owner: ana, value: 1}, {owner: ana, value: 1}]"}, "two series of ana"),
        ({"rule": "close_rate_low", "series": "[{owner: ana, value: 1}]", "expect": "{2: {ana: ok}}"}, "there is no period 2"),
        ({"rule": "close_rate_low", "series": "[{owner: ana, value: 1}]", "expect": "{1: {anna: ok}}"}, "no series 'anna'"),
        ({"rule": "silent", "series": "[{value: 1}]"}, "unknown key 'value': A series of a rule on absence has"),
        ({"rule": "strange", "series": "[{value: 1}]"}, "there is no KPI 'nothing_known'"),
    ],
)
def test_mistakes_have_their_place(run, parts, says):
    with pytest.raises(ConfigError, match=says) as caught:
        run(one_test(**parts))
    assert "tests.yml:" in str(caught.value.where)


def test_all_mistakes_of_a_file_are_told(run):
    with pytest.raises(ConfigError) as caught:
        run(one_test(rule="close_rate_low", series='[{owner: ana, value: "#"}, {owner: ben, value: "#"}]'))
    assert len(caught.value.errors) == 2


def test_a_thousand_tests_make_the_rule_ready_once(run):
    body = TEST.split("tests:\n")[1]
    many = "".join(body.replace("two bad weeks", f"{number} times two bad weeks") for number in range(100))
    results = run(TEST.split("  - name", maxsplit=1)[0] + many)
    assert len(results) == 100
    assert all(result.passed for result in results)


_TEXT = st.text(alphabet="0123456789.%x_!?~ -anwrgm", max_size=14)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(_TEXT, st.integers(-5, 500), st.floats(0, 1), st.none(), st.lists(st.integers(), max_size=2)),
    n=st.one_of(_TEXT, st.integers(-5, 500)),
    owner=st.one_of(_TEXT, st.none(), st.integers()),
    expect=st.dictionaries(st.integers(-1, 4), st.sampled_from(["ok", "firing warn", "insufficient", "~"]), max_size=2),
)
def test_whatever_is_written_is_run_or_refused_with_its_place(run, value, n, owner, expect):
    test = {
        "name": "it",
        "rule": "close_rate_low",
        "start": "2026-01-05",
        "series": [{"owner": owner, "value": value, "n": n}],
        "expect": {number: {"data": state} for number, state in expect.items()},
    }
    places = []
    try:
        (result,) = run(yaml.safe_dump({"rules": ["rules.yml"], "tests": [test]}))
        places.append(result.where)
    except ConfigError as error:
        places.extend(str(one.where) for one in getattr(error, "errors", (error,)))
    assert places
    assert all("tests.yml:" in place for place in places)
