"""Rule tests in which more happens than figures: what people do, what time brings, what does not come."""

from __future__ import annotations

from dataclasses import replace

import pytest

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

    def playing(test, head=""):
        """One test; Mondays are 5, 12, 19, 26 January 2026. Weeks end at 23:00 UTC on Sundays: 00:00 in Berlin."""
        body = "".join(f"    {line}\n" for line in test.strip().splitlines())
        file = tmp_path / "tests.yml"
        file.write_text(HEAD + head + "tests:\n  - name: it\n    start: 2026-01-05\n" + body)
        (result,) = RuleTester(setup).run(read_suite(file))
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
  - {at: 2, kind: fired, to: ["mail:ana", owner]}
  - {at: 3, kind: escalated, to: [owner, manager, "mail:manager of ana"]}
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
series: [{value: 100x3 20 100 65}]
do:
  - {at: 5, exclude: 4, comment: strike}
expect: {6: {all: firing}}
"""
    assert play(test).differences == ()
    without = play(test.replace("do:", "until: 1h").replace("  - {at: 5, exclude: 4, comment: strike}\n", ""))
    assert without.differences == () or without.differences, "an alert's own time is no baseline either"
    again = play(test.replace("strike}", "strike}\n  - {at: 5, after: 1h, end_exclude: 1}"))
    assert again.differences == without.differences


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
