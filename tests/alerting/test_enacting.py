"""Rule tests in which more happens than figures: what people do, what time brings, what does not come."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpid.alerting.rulechecks import RuleTester
from kpid.alerting.ruletests import read_suite
from kpid.config.model import Config
from kpid.config.times import work_calendars
from kpid.errors import ConfigError
from kpid.registry import load_plugins
from tests.alerting.world import World

RULES = """
rules:
  - {name: low, kpi: close_rate, period: week, by: [owner], warn: "< 25%", critical: "< 20%", labels: {team: sales}, to: [team]}
  - {name: beside, kpi: win_rate, period: week, by: [owner], warn: "< 25%", labels: {team: sales}, to: [team]}
  - {name: usual, kpi: won_deals, period: week, warn: "drop > 30% vs avg(4)", to: [team]}
  - {name: each, kpi: won_deals, period: week, by: [owner], warn: "drop > 30% vs avg(4)", to: [team]}
  - {name: late, kpi: close_rate, period: week, warn: "< 25%", settle: 6h, to: [team]}
  - {name: silent, absence: {source: all, after: 2x}, critical_after: 5h, to: [ops]}
  - {name: unsent, absence: {report: weekly, after: 3h}, to: [ops]}
"""
HEAD = "rules: [rules.yml]\n"
CHAIN = """
routes:
  - match: {team: sales}
    to: [team]
    group_wait: 30s
    group_interval: 5m
    repeat: off
    escalate: [{after: 4h, to: ["mail:cro@example.com"]}]
"""


@pytest.fixture
def play(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES)
    calendars = work_calendars(Config.model_validate({"timezone": "Europe/Berlin"}))
    setup = replace(World(tmp_path).setup(), kpis=load_plugins().kpis, calendars=calendars)

    def playing(test, head="", every=""):
        """One test; Mondays are 5, 12, 19, 26 January 2026. Weeks end at 23:00 UTC on Sundays: 00:00 in Berlin."""
        body = "".join(f"    {line}\n" for line in test.strip().splitlines())
        file = tmp_path / "tests.yml"
        file.write_text(HEAD + head + "tests:\n  - name: it\n    start: 2026-01-05\n" + body)
        configured = {"source:crm": timedelta(hours=1), "source:hr": timedelta(hours=1)} if every else {}
        (result,) = RuleTester(replace(setup, expected=configured)).run(read_suite(file))
        return result

    return playing


def test_an_acknowledgement_stops_the_escalation(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22x2, n: 400}]
do:
  - {at: 2, after: 2h, ack: ana, by: ben}
  - {at: 2, after: 3h, expect: {ana: firing warn acked}}
notices:
  - {at: 2, after: 30s, kind: fired, level: warn, to: team}
"""
    assert play(test, CHAIN).differences == ()
    found = play(test.replace("after: 2h", "after: 5h").replace("after: 3h", "after: 6h"), CHAIN)
    assert found.differences == (
        "notices: not expected: escalation warn of ana at 2 (Mon 19 Jan, 04:00 CET), to mail:cro@example.com",
    )


def test_the_chain_goes_on_when_an_acknowledgement_ends(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22x2, n: 400}]
do:
  - {at: 2, after: 2h, ack: ana, until: 3d}
until: 1d
notices:
  - {at: 2, kind: fired}
  - {at: 2, after: 3d2h, kind: escalation, to: "mail:cro@example.com"}
  - {at: 2, after: 74h, kind: reminder, to: team}
"""
    with pytest.raises(ConfigError, match="3d2h"):
        play(test, CHAIN)
    assert play(test.replace("3d2h", "74h"), CHAIN).differences == (), "four hours are long over"


def test_a_silence_holds_back_and_its_end_tells(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22x3, n: 400}, {owner: ben, value: 0.3 0.22x3, n: 400}]
do:
  - {at: 1, silence: {owner: ana}, until: 10d, comment: on leave}
notices:
  - {at: 2, kind: fired, segment: ben, to: team}
  - {at: 2026-01-22, kind: fired, segment: ana, held: silence 1}
"""
    found = play(test, "routes: [{match: {}, to: [team], group_wait: 0s, repeat: off}]\n")
    assert found.differences == ()
    ended = test.replace("comment: on leave}", "comment: x}\n  - {at: 2, after: 1d, end_silence: 1}").replace(
        "at: 2026-01-22,", "at: 2, after: 1d,"
    )
    assert play(ended, "routes: [{match: {}, to: [team], group_wait: 0s, group_interval: 0s, repeat: off}]\n").differences == ()


def test_what_is_over_before_it_was_told_is_told_to_nobody(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22 0.3, n: 400}]
do:
  - {at: 1, silence: {rule: low}, until: 60d}
expect: {2: {ana: firing warn}, 3: {ana: ok}}
notices: []
untold:
  - {kind: fired, segment: ana, by: over before it was told (it was held back by silence 1)}
  - {kind: resolved, segment: ana, by: over before it was told}
"""
    assert play(test).differences == ()
    found = play(test.replace("by: over before it was told}", "by: silence 2}"))
    assert [line.split(" ")[0] for line in found.differences] == ["untold:", "untold:"]


WINDOW = """
routes: [{match: {}, to: [team], group_wait: 0s, hours: office, repeat: off}]
windows:
  office: {days: mon-fri, times: "08:00-18:00", outside: defer}
"""


def test_a_window_defers(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22, n: 400}]
until: 2d
notices:
  - {at: 2026-01-19T08:00, kind: fired, held: window office}
"""
    assert play(test, WINDOW).differences == ()
    dropped = play(test, WINDOW.replace("defer", "drop"))
    assert dropped.differences == ("notices: expected fired at 2026-01-19 08:00; nobody was told anything",)
    told = "notices: []\nuntold: [{kind: fired, by: 'dropped: window office'}]"
    assert play(test.split("notices:", maxsplit=1)[0] + told, WINDOW.replace("defer", "drop")).differences == ()


def test_series_of_a_group_come_in_one_message(play):
    test = """
rule: low
series: [{owner: ana, value: 0.22, n: 400}, {owner: ben, value: 0.22, n: 400}, {owner: cem, value: 0.30, n: 400}]
notices:
  - {at: 1, after: 30s, kind: fired, segment: [ana, ben]}
"""
    assert play(test, CHAIN).differences == ()
    apart = CHAIN.replace("    repeat", "    group_by: [owner]\n    repeat")
    assert len(play(test, apart).differences) == 3


def test_two_rules_of_a_group_come_in_one_message(play):
    test = """
rule: low
series:
  - {owner: ana, value: 0.22, n: 400}
  - {rule: beside, owner: ana, value: 0.22, n: 400}
notices:
  - {at: 1, after: 30s, kind: fired, rule: low}
  - {at: 1, after: 30s, kind: fired, rule: beside}
"""
    found = play(test, CHAIN.replace("    repeat", "    group_by: []\n    repeat"))
    assert found.differences == ()
    assert [line.reason for line in found.lines if line.events == ("told: fired",)] == [
        "to team, with 1 more in one message",
        "to team, with 1 more in one message",
    ]


def test_reminders_come_until_somebody_snoozes(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22x2, n: 400}]
do:
  - {at: 2, after: 36h, snooze: ana, until: 3d}
notices:
  - {at: 2, after: 0s, kind: fired}
  - {at: 2, after: 24h, kind: reminder}
  - {at: 2, after: 108h, kind: reminder}
"""
    head = "routes: [{match: {}, to: [team], group_wait: 0s, repeat: 1d, repeat_max: 7d}]\n"
    assert play(test, head).differences == ()


def test_reminders_come_after_a_wait_and_after_what_has_held_back(play):
    """What was written down before its group was first told is of that group, too."""
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22x2, n: 400}, {owner: ben, value: 0.3 0.22x2, n: 400}]
do:
  - {at: 1, silence: {owner: ben}, until: 8d}
until: 1h
notices:
  - {at: 2026-01-19T00:00:30, kind: fired, segment: ana}
  - {at: 2026-01-20T00:00, kind: fired, segment: ben, held: silence 1}
  - {at: 2026-01-23T00:00, kind: reminder, segment: [ana, ben]}
"""
    head = "routes: [{match: {}, to: [team], group_wait: 30s, repeat: 3d, repeat_max: 30d}]\n"
    assert play(test, head).differences == ()


def test_owners_and_managers_are_told(play):
    head = """
routes:
  - {match: {severity: critical}, to: [owner, manager], group_wait: 0s, repeat: off}
  - {match: {}, to: [owner], group_wait: 0s, repeat: off}
owners: {via: mail, else: team}
"""
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22 0.1, n: 400}]
do: [{at: 1, expect: {ana: ok}}]
notices:
  - {at: 2, kind: fired, to: ["mail:ana@example.com", owner]}
  - {at: 3, kind: escalated, to: [owner, manager, "mail:manager-of-ana@example.com"]}
"""
    found = play(test, head)
    assert found.differences == ()


def test_late_figures_are_waited_for(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22, n: 400}]
do:
  - {at: 2, late: 36h}
  - {at: 2, after: 35h, expect: {ana: ok}}
notices: [{at: 2, after: 36h, kind: fired}]
"""
    assert play(test).differences == ()


def test_figures_that_come_too_late_are_stale_until_then(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22, n: 400}]
do:
  - {at: 2, late: 3d}
  - {at: 2, after: 49h, expect: {ana: ok stale}}
expect: {2: {ana: firing warn}}
notices: [{at: 2, after: 3d, kind: fired}]
"""
    assert play(test).differences == ()


def test_restated_figures_end_an_alert(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22 0.30, n: 400}]
do:
  - {at: 2, after: 2d, restate: {period: 2, owner: ana, value: 0.28, n: 420}}
  - {at: 2, after: 2d, expect: {ana: ok}}
notices:
  - {at: 2, kind: fired}
  - {at: 2, after: 1d, kind: reminder}
  - {at: 2, after: 2d, kind: restated}
"""
    assert play(test).differences == ()


def test_a_silent_source_makes_figures_stale_until_it_is_back(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3x2 0.22x2 0.3, n: 400}]
do:
  - {at: 2, silent: crm}
  - {at: 3, expect: {ana: ok stale}}
  - {at: 4, after: 1h, back: crm}
expect: {4: {ana: firing warn}, 5: {ana: ok}}
notices:
  - {at: 4, after: 0s, kind: unhealthy}
  - {at: 4, after: 1h, kind: fired}
  - {at: 5, kind: healthy}
  - {at: 5, kind: resolved}
"""
    found = play(test, "routes: [{match: {}, to: [team], group_wait: 0s, repeat: off}]\n")
    assert found.differences == ()


def test_an_excluded_period_leaves_what_is_usual(play):
    test = """
rule: usual
series: [{value: 100x3 500 100x2}]
do:
  - {at: 4, exclude: 4, comment: a fair}
  - {at: 5, expect: {all: ok}}
notices: []
"""
    assert play(test).differences == ()
    counted = play(test.replace("comment: a fair}", "comment: a fair}\n  - {at: 4, after: 1h, end_exclude: 1}"))
    assert counted.differences[:2] == (
        "Mon 9 Feb, 00:00 CET all: expected ok, found firing warn",
        "notices: not expected: fired warn of all at 5 (Mon 9 Feb, 00:00 CET), to team",
    )


def test_what_is_excluded_of_one_series_counts_for_the_others(play):
    test = """
rule: each
series: [{owner: ana, value: 100x3 500 100}, {owner: ben, value: 100x3 500 100}]
do: [{at: 4, exclude: 4, segment: ana}]
expect: {5: {ana: ok, ben: firing}}
"""
    assert play(test).differences == ()


def test_an_edited_rule_is_judged_anew(play):
    test = """
rule: low
series: [{owner: ana, value: 0.22x3, n: 400}]
do:
  - {at: 1, edit: {warn: "< 21%"}}
  - {at: 2, edit: {paused: true}}
notices:
  - {at: 1, kind: fired}
  - {at: 2, kind: rule_changed}
"""
    assert play(test, "routes: [{match: {}, to: [team], group_wait: 0s, repeat: off}]\n").differences == ()


def test_a_removed_rule_ends_its_alerts(play):
    test = """
rule: low
series: [{owner: ana, value: 0.22x3, n: 400}]
do: [{at: 1, after: 1h, remove: true}]
notices:
  - {at: 1, kind: fired}
  - {at: 1, after: 1h, kind: rule_removed}
"""
    assert play(test).differences == ()


def test_a_rule_that_waits_for_late_data_is_told_when_it_has_waited(play):
    found = play("rule: late\nseries: [{value: 0.22, n: 400}]\nnotices: [{at: 2026-01-12T06:00, kind: fired}]")
    assert found.differences == ()


# ---- what does not come


def test_a_silent_source_fires(play):
    test = """
rule: silent
series:
  - {source: crm, every: 1h, came: 1x2 _x6 1}
  - {source: erp, every: 6h, came: 1x5 _}
expect:
  4: {crm: ok, erp: ok}
  5: {crm: firing warn, erp: ok}
  8: {crm: firing critical}
  9: {crm: ok}
notices:
  - {at: 5, kind: fired, level: warn, segment: crm, to: ops}
  - {at: 8, kind: escalated, level: critical, segment: crm}
  - {at: 9, kind: resolved, segment: crm}
"""
    assert play(test).differences == ()


def test_a_source_that_never_came_fires_and_one_that_is_gone_expires(play):
    test = """
rule: silent
series:
  - {source: crm, every: 1h, came: _x5 ~x4}
  - {source: erp, every: 6h, came: 1}
expect: {3: {crm: ok}, 4: {crm: firing warn}}
notices:
  - {at: 4, kind: fired, segment: crm}
  - {at: 8, kind: expired, segment: crm}
"""
    assert play(test).differences == ()


def test_failing_syncs_are_no_news(play):
    test = "rule: silent\nseries: [{source: crm, every: 1h, came: 1 !x4}]\nexpect: {3: {crm: ok}, 4: {crm: firing}}"
    assert play(test).differences == ()


def test_a_report_that_was_not_written_fires(play):
    test = """
rule: unsent
series: [{report: weekly, every: 7d, came: 1 _x2 ! _x4 1}]
expect: {7: {weekly: ok}, 8: {weekly: firing warn}, 9: {weekly: ok}}
"""
    assert play(test).differences == ()


def test_a_silent_source_holds_back_what_is_made_of_it(play):
    head = """
routes: [{match: {}, to: [team], group_wait: 0s, group_interval: 0s, repeat: 1d}]
inhibit: [{if: {rule: silent}, mute: {source: crm}, equal: [source]}]
"""
    test = """
rule: low
series:
  - {owner: ana, value: 0.22x2, n: 400}
  - {rule: silent, source: crm, every: 6h, came: 1}
do:
  - {at: 1, after: 3d, silent: crm}
  - {at: 1, after: 5d, back: crm}
notices:
  - {at: 1, kind: fired, rule: low}
  - {at: 1, after: 1d, kind: reminder, rule: low}
  - {at: 1, after: 2d, kind: reminder, rule: low}
  - {at: 1, after: 3d, kind: reminder, rule: low}
  - {at: 1, after: 78h, kind: fired, rule: silent, level: critical}
  - {at: 1, after: 102h, kind: reminder, rule: silent}
  - {at: 1, after: 121h, kind: resolved, rule: silent}
  - {at: 1, after: 121h, kind: reminder, rule: low, held: inhibited by silent}
  - {at: 1, after: 145h, kind: reminder, rule: low}
"""
    found = play(test, head)
    assert found.differences == ()


def test_only_what_the_test_names_is_expected_to_come(play):
    found = play("rule: silent\nseries: [{source: crm, came: 1}, {source: erp, every: 1h, came: 1x9}]\nnotices: []", every="1h")
    assert found.differences == ()


def test_what_fires_last_is_told_after_its_wait(play):
    test = "rule: low\nseries: [{owner: ana, value: 0.3 0.22, n: 400}]\ndo: [{at: 1, expect: {ana: ok}}]\n"
    assert play(test + "notices: [{at: 2, kind: fired}]", CHAIN).differences == ()


def test_the_alert_about_a_rules_own_data_can_be_taken_up(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 !x3, n: 400}]
do: [{at: 3, after: 1h, ack: health}]
until: 2d
notices: [{at: 3, kind: unhealthy}]
"""
    assert play(test).differences == ()


# ---- mistakes

SHORT = """
rule: low
series: [{owner: ana, value: 0.3 0.22, n: 400}]
do:
  - STEP
notices: []
"""


@pytest.mark.parametrize(
    ("step", "says", "hint"),
    [
        ("{at: 1, akc: ana}", "unknown key 'akc'", "Did you mean 'ack'?"),
        ("{at: 1}", "nothing is done: a step has one of ack, unack", ""),
        ("{at: 1, ack: ana, snooze: ana, until: 1d}", "ack and snooze are two steps", ""),
        ("{at: 1, snooze: ana}", "snooze: needs an end: add until: 3d", ""),
        ("{at: 1, silence: {owner: ana}}", "silence: needs an end", ""),
        ("{at: 1, unack: ana, until: 3d}", "until: belongs to ack, silence, snooze, not to unack:", ""),
        ("{at: 1, ack: ana, segment: ana}", "segment: belongs to exclude, late", ""),
        ("{at: 1, ack: ana, until: soon}", "'soon' is neither a length of time nor an instant", ""),
        ("{at: never, ack: ana}", "'never' is no time here: write the number of a period, or an instant", ""),
        ("{at: -1, ack: ana}", "-1 is no time here", ""),
        ("{at: true, ack: ana}", "True is no time here", ""),
        ("{at: 1, after: a while, ack: ana}", "'a while' is not a length of time", ""),
        ("{at: 3, ack: ana}", "there is no period 3", "The series have 2"),
        ("{at: 1, ack: anna}", "there is no series 'anna'", "Did you mean 'ana'?"),
        ("{at: 1, expect: {anna: ok}}", "there is no series 'anna'", "Did you mean 'ana'?"),
        ("{at: 1, expect: {ana: fine}}", "'fine' is no state", ""),
        ("{at: 1, silence: {ownr: ana}, until: 1d}", "no alert has a label 'ownr'", "Did you mean 'owner'?"),
        ("{at: 1, exclude: 9}", "there is no period 9", "The series have 2"),
        ("{at: 1, exclude: 0}", "greater than or equal to 1", ""),
        ("{at: 1, exclude: 1, segment: ben}", "there is no series 'ben'", "There are: ana"),
        ("{at: 1, edit: {kpi: win_rate}}", "kpi: cannot be changed in a test", "a test of its own"),
        ("{at: 1, edit: {warn: about 3}}", "rule low: 'about 3': 'about' at position 1", ""),
        ("{at: 1, edit: {wran: '< 3%'}}", "unknown key 'wran'", "Did you mean 'warn'?"),
        ("{at: 1, restate: {owner: ana, value: 0.3}}", "period: says which figure", "from 1 to 2"),
        ("{at: 1, restate: {period: 1, owner: ana, value: x}}", "restate: value: 'x' is not known here", ""),
        ("{at: 1, after: 3h, late: 36h}", "late: at: is the number of the period", ""),
        ("{at: 1, late: 36h, segment: ben}", "there is no series 'ben'", "There are: ana"),
    ],
)
def test_mistakes_in_steps_have_their_place_and_a_hint(play, step, says, hint):
    with pytest.raises(ConfigError) as caught:
        play(SHORT.replace("STEP", step))
    assert says in str(caught.value)
    assert hint in (caught.value.hint or "")
    assert str(caught.value.where).endswith(("tests.yml:8", "tests.yml:6"))


@pytest.mark.parametrize(
    ("series", "says"),
    [
        ("{source: crm, every: 1h}", "came: is missing"),
        ("{source: crm, came: 1}", "every: is missing: write how often it is expected"),
        ("{source: crm, every: 0h, came: 1}", "every: must be longer than nothing"),
        ("{source: crm, every: often, came: 1}", "'often' is not a length of time"),
        ("{report: weekly, every: 1h, came: 1}", "unknown key 'report'"),
        ("{source: crm, every: 1h, came: 2}", "came: write 1"),
        ("{source: crm, every: 1h, came: 1 ?}", "came: write 1"),
        ("{source: crm, every: 1h, came: 1 x}", "came: 'x' is not known here"),
        ("{source: crm, every: 1h, came: 1}, {source: crm, every: 1h, came: 1}", "two series of crm"),
    ],
)
def test_mistakes_in_what_came_have_their_place(play, series, says):
    with pytest.raises(ConfigError) as caught:
        play(f"rule: silent\nseries:\n  - {series}".replace("}, {", "}\n  - {"))
    assert says in str(caught.value)
    assert str(caught.value.where).startswith(str(caught.value.where).split("tests.yml:")[0] + "tests.yml:")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rule: low", "rule: lwo", "there is no rule 'lwo'"),
        ("series: [{owner", "series: [{rule: besides, owner", "there is no rule 'besides'"),
        ("notices: []", "notices: [{at: 0, kind: fired}]", "periods are counted from 1"),
        ("notices: []", "notices: [{at: 1, kind: fired, rule: lo}]", "there is no rule 'lo'"),
        ("notices: []", "untold: [{kind: fired}]", "by is missing"),
        ("notices: []", "until: for ever", "'for ever' is neither a length of time nor an instant"),
    ],
)
def test_mistakes_beside_steps_are_told(play, old, new, says):
    with pytest.raises(ConfigError) as caught:
        play(SHORT.replace("STEP", "{at: 1, ack: all}").replace(old, new))
    assert says in str(caught.value)
    assert "tests.yml:" in str(caught.value.where)


def test_a_route_without_its_window_is_refused(play):
    with pytest.raises(ConfigError, match="there is no window 'ofice'") as caught:
        play(SHORT.replace("STEP", "{at: 1, silent: crm}"), WINDOW.replace("hours: office", "hours: ofice"))
    assert caught.value.hint == "Did you mean 'office'?"
    assert str(caught.value.where).endswith("tests.yml:3")


def test_what_cannot_be_done_fails_the_test(play):
    found = play(SHORT.replace("STEP", "{at: 1, ack: ana}").replace("notices: []", ""))
    assert found.differences == ("do: Mon 12 Jan, 00:00 CET: ack: no alert of ana is open",)
    found = play(SHORT.replace("STEP", "{at: 1, end_silence: 1}").replace("notices: []", ""))
    assert found.differences == ("do: Mon 12 Jan, 00:00 CET: end_silence: this silence is over, or was never there",)


@pytest.mark.parametrize("step", ["{at: 2, after: 500d, ack: ana}", "{at: 2030-01-01, silent: crm}"])
def test_a_test_that_never_ends_is_refused(play, step):
    with pytest.raises(ConfigError, match="it would run until 20") as caught:
        play(SHORT.replace("STEP", step))
    assert "400 days beyond its last period" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="it would run until 2027"):
        play("rule: silent\nseries: [{source: crm, every: 1h, came: 1}]\nuntil: 380d")
    with pytest.raises(ConfigError, match="is no time here"):
        play(SHORT.replace("STEP", "{at: 9999-12-31, ack: ana}"))


def test_an_acknowledgement_that_is_over_before_it_begins_fails_the_test(play):
    found = play(SHORT.replace("STEP", "{at: 2, ack: ana, until: 2026-01-10}").replace("notices: []", ""))
    assert found.differences == ("do: Mon 19 Jan, 00:00 CET: ack: until: is over by then",)


def test_two_people_and_one_alert(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22, n: 400}]
do:
  - {at: 2, after: 1h, ack: ana, by: ada}
  - {at: 2, after: 2h, ack: ana, by: ben}
  - {at: 2, after: 3h, unack: all}
  - {at: 2, after: 3h, expect: {ana: firing open}}
  - {at: 2, after: 4h, ack: ana, by: ben}
  - {at: 2, after: 5h, expect: {ana: acked}}
"""
    assert play(test).differences == ("do: Mon 19 Jan, 02:00 CET: ack: somebody else was first",)


def test_what_flaps_is_told_in_the_digest(play):
    test = """
rule: low
series: [{owner: ana, value: 0.3 0.22 0.3 0.22 0.3 0.22 0.3, n: 400}]
until: 1d
notices:
  - {at: 2, kind: fired}
  - {at: 3, kind: resolved}
  - {at: 4, kind: fired}
  - {at: 5, after: 0s, kind: flapping}
  - {at: 5, after: 8h, kind: digest, held: flapping}
  - {at: 6, after: 8h, kind: digest}
  - {at: 7, after: 8h, kind: digest}
"""
    assert play(test, "routes: [{match: {}, to: [team], group_wait: 0s, repeat: off}]\n").differences == ()


_STEPS = st.fixed_dictionaries(
    {"at": st.one_of(st.integers(-1, 4), st.sampled_from(["2026-01-14", "2026-01-19T08:00", "x"]))},
    optional={
        "after": st.sampled_from(["1h", "3d", "40d", "x"]),
        "ack": st.sampled_from(["ana", "all", "anna", ["ana", "ana"], 3]),
        "snooze": st.sampled_from(["ana", []]),
        "silence": st.sampled_from([{"owner": "ana"}, {"x": "y"}, {}, "ana"]),
        "exclude": st.sampled_from([1, [1, 2], 0, "1", None]),
        "edit": st.sampled_from([{"warn": "< 10%"}, {"paused": True}, {}, {"name": "x"}]),
        "late": st.sampled_from(["1h", "9d"]),
        "until": st.sampled_from(["1d", "2026-02-01", "2020-01-01", 5]),
        "remove": st.sampled_from([True, False]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=3))
def test_whatever_is_done_is_played_or_refused_with_its_place(play, steps):
    test = f"rule: low\nseries: [{{owner: ana, value: 0.3 0.22 0.3, n: 400}}]\ndo: {json.dumps(steps)}"
    try:
        places = [play(test).where]
    except ConfigError as error:
        places = [str(one.where) for one in getattr(error, "errors", (error,))]
    assert all("tests.yml:" in place for place in places)
