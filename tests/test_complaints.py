"""What users of other alerting systems complain about, and what makes it impossible here: each line names the tests that show it.

The numbers are those of a collection of 58 threads on Alertmanager, Grafana, Superset, Metabase, Redash, ElastAlert and others.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Answer(NamedTuple):
    """A complaint, the mechanism that prevents it, and the tests of that: ``file::test``, below ``tests/``."""

    complaint: str
    mechanism: str
    tests: tuple[str, ...]


COMPLAINTS = {
    1: Answer(
        "a pair for high availability sends everything twice",
        "one outbox row per receiver, recipient, thread and slot; claimed by a conditional update",
        (
            "delivery/test_dispatch.py::test_two_dispatchers_on_one_store_send_everything_once",
            "alerting/test_evaluate.py::test_two_that_judge_at_once_tell_people_once",
            "alerting/test_flush.py::test_two_that_flush_at_once_tell_people_once",
        ),
    ),
    2: Answer(
        "after an outage of the webhook every peer repeats it",
        "one row, one lease; a server that is down is left alone",
        (
            "delivery/test_dispatch.py::test_server_that_is_down_is_not_asked_for_every_message",
            "delivery/test_dispatch.py::test_process_that_lost_its_lease_cannot_mark",
        ),
    ),
    3: Answer(
        "a restart loses alerts",
        "all state is in the store, committed with the outbox",
        (
            "runtime/test_faults.py::test_daemon_killed_anywhere_loses_nothing_and_repeats_at_most_once_per_kill",
            "journey/test_crash.py::test_killing_a_round_anywhere_loses_nothing_and_repeats_at_most_once_per_kill",
        ),
    ),
    4: Answer(
        "the resolution is lost by a restart",
        "it is a row of the transaction that resolves",
        (
            "alerting/test_flush.py::test_resolution_survives_a_restart_before_the_flush",
            "alerting/test_evaluate.py::test_notice_waits_if_its_message_cannot_be_written",
        ),
    ),
    5: Answer(
        "an edit or restart resets a firing rule, or freezes it",
        "a rule keeps its id; only another meaning (a hash) ends its alerts, and says so",
        (
            "alerting/test_evaluate.py::test_changed_meaning_is_judged_at_the_next_slot",
            "alerting/test_evaluate.py::test_changed_text_or_receiver_does_nothing",
            "alerting/test_rules.py::test_meaning_does_not_change_with_words_and_receivers",
        ),
    ),
    6: Answer(
        "a reload sends again",
        "keys of messages hold nothing of the configuration",
        (
            "runtime/test_reload.py::test_reload_sends_nothing_and_loses_nothing",
            "alerting/test_flush.py::test_changed_routes_send_nothing_again",
        ),
    ),
    7: Answer(
        "a bad template is taken at reload and fatal at the next start",
        "every template and summary is rendered when the configuration is read; else the old one goes on",
        (
            "runtime/test_reload.py::test_broken_template_keeps_the_old_configuration_and_alerts",
            "runtime/test_daemon.py::test_reload_takes_the_whole_new_configuration_or_none",
        ),
    ),
    8: Answer(
        "still firing when the mute ends, but silent for hours more",
        "what is held back has an end, at which it is told if it still fires",
        (
            "alerting/test_flush.py::test_what_still_fires_is_told_when_the_window_opens",
            "alerting/test_flush.py::test_silence_that_ends_early_lets_go_what_still_fires",
        ),
    ),
    9: Answer(
        "what came at night is dropped, or is sent in the morning: nobody chose",
        "`outside: defer` or `drop` has to be written",
        ("test_bad_config.py::test_wrong_configuration_is_refused_with_place_and_cure",),
    ),
    10: Answer(
        "windows in UTC instead of local time",
        "a window is in the company's zone, or its calendar's; messages say which",
        ("alerting/test_windows.py::test_hours_are_local_in_34_zones",),
    ),
    11: Answer(
        "naive datetimes: nine hours late",
        "only aware instants come in; ruff's DTZ rules keep it so",
        ("store/test_engine.py::test_instants_come_back_aware_and_naive_ones_are_refused",),
    ),
    12: Answer(
        "a tick of more than a second misses a run",
        "the next slot is the one after the last that was done",
        (
            "runtime/test_rounds.py::test_run_that_got_no_turn_for_too_long_is_passed_over",
            "alerting/test_slots.py::test_first_round_and_pauses_reach_back_as_far_as_catch_up",
        ),
    ),
    13: Answer(
        "false alarm or wrong hour in the night of a clock change",
        "periods are cut by the calendar; a gap moves, a fold comes once",
        (
            "alerting/test_slots.py::test_nights_of_clock_changes_have_one_slot_each",
            "analysis/test_schedule.py::test_instant_in_gap_is_shifted_and_in_fold_is_the_first",
            "journey/test_dst.py::test_every_nominal_time_of_the_night_runs_once",
        ),
    ),
    14: Answer(
        "half an hour late in India",
        "no hourly buckets: slots are instants of the zone",
        (
            "analysis/test_schedule.py::test_clock_change_loses_and_doubles_nothing",
            "alerting/test_absence.py::test_hours_are_those_of_the_companys_zone",
        ),
    ),
    15: Answer(
        "nobody sees in which zone it runs next",
        "`kpid schedule` prints zone and UTC; so does the foot of each message",
        ("cli/test_cli.py::test_schedule_is_in_the_zone_and_in_utc", "reporting/test_alerts.py::test_alert_reads_as_agreed"),
    ),
    16: Answer(
        "sent two to four times; at the start of the machine and again when due",
        "one row per schedule and due time",
        (
            "store/test_runs.py::test_due_run_is_planned_once_and_taken_once",
            "store/test_runs.py::test_what_a_clock_ahead_of_its_time_passed_over_is_run_when_it_comes",
        ),
    ),
    17: Answer(
        "two schedulers, two reports",
        "a lock; and runs are taken by lease, with a fence",
        (
            "runtime/test_daemon.py::test_second_daemon_is_refused_with_the_first_ones_number",
            "store/test_runs_postgres.py::test_takers_at_once_take_each_run_once",
        ),
    ),
    18: Answer(
        "the worker dies, the job stays WORKING",
        "leases end, and the run is taken again",
        (
            "store/test_runs.py::test_run_of_a_dead_holder_is_taken_again_and_fenced",
            "delivery/test_dispatch.py::test_attempt_of_a_process_that_died_counts_as_unknown",
        ),
    ),
    19: Answer(
        "a time limit kills the job, nobody is told",
        "words first: a picture that is slow or breaks is left out, and said to be",
        ("delivery/test_dispatch.py::test_send_that_never_ends_becomes_a_problem_and_loses_its_lease",),
    ),
    20: Answer(
        "it failed, and was logged as a success",
        "a send is done when the provider says so; else another receiver hears of it",
        (
            "delivery/test_dispatch.py::test_dead_message_is_told_to_the_fallback_receiver",
            "plugins/test_slack.py::test_page_of_a_proxy_is_no_yes",
            "plugins/test_webhook.py::test_every_other_answer_is_final",
        ),
    ),
    21: Answer(
        "Slack fails, so the mail is not sent either",
        "every receiver has rows and a worker of its own",
        ("delivery/test_dispatch.py::test_slow_receiver_holds_nobody_up",),
    ),
    22: Answer(
        "a channel is renamed, and there is silence",
        "channels go by id; a final refusal is told with its cure, and not repeated",
        (
            "plugins/test_slack.py::test_refusal_is_understood",
            "plugins/test_slack.py::test_settings_that_cannot_work_are_refused",
        ),
    ),
    23: Answer(
        "the creator's account is closed, the rule runs without rights",
        "rules run as the service; an owner without an address is a problem, and others are told",
        ("alerting/test_recipients.py::test_owner_without_an_address_goes_to_else_and_is_a_problem",),
    ),
    24: Answer(
        "UNKNOWN for ever, without an error",
        "a rule that nothing was measured for two periods long is unhealthy, and that is told",
        (
            "alerting/test_numbered_episodes.py::test_rule_that_is_never_measured_becomes_unhealthy",
            "alerting/test_evaluate.py::test_rule_that_never_finds_anything_says_so",
        ),
    ),
    25: Answer(
        "a failing query is invisible",
        "a rule that cannot be judged is a notice of its own, with the error's text",
        (
            "alerting/test_flush.py::test_one_health_alert_per_source_with_the_error",
            "alerting/test_evaluate.py::test_stale_data_is_one_health_notice_however_many_series",
        ),
    ),
    26: Answer(
        "an empty result counts as 0.0",
        "no arithmetic on what is missing: the outcome is no_data",
        (
            "alerting/test_outcomes.py::test_absent_measurement_is_missing_no_data_or_error",
            "alerting/test_rounds.py::test_nothing_is_made_up_where_zero_is_not_known",
        ),
    ),
    27: Answer(
        "telemetry stops, and the alert is called resolved",
        "resolving needs a measured value that is clear",
        ("alerting/test_state.py::test_thin_data_never_resolves", "alerting/test_state.py::test_every_cell_of_the_table"),
    ),
    28: Answer(
        "the policy for no data is not obeyed",
        "one field, one state machine, every sequence tried",
        (
            "alerting/test_state.py::test_no_data_policies",
            "alerting/test_state.py::test_a_sample_of_the_exhaustive_space_agrees_with_the_naive_model",
        ),
    ),
    29: Answer(
        "no data alerts at once, whatever `for` says",
        "`no_data.after`: two periods",
        ("alerting/test_state.py::test_fire_on_no_data_obeys_for",),
    ),
    30: Answer(
        "keep-last-state was taken away",
        "keeping is the default",
        ("alerting/test_rules.py::test_no_data_is_kept_by_default",),
    ),
    31: Answer(
        "it flaps at the line",
        "`recover` is a second line; what keeps changing is told once, then daily",
        (
            "alerting/test_outcomes.py::test_hold_needs_recover",
            "alerting/test_flapping.py::test_series_that_keeps_changing_is_told_once",
            "alerting/test_flush.py::test_series_that_flaps_is_told_once_a_day",
        ),
    ),
    32: Answer(
        "'only the first time' never alerts again",
        "episodes: recovery makes room for the next",
        (
            "alerting/test_numbered_episodes.py::test_alert_fires_again_after_it_recovered",
            "alerting/test_state.py::test_every_firing_ends_in_exactly_one_way",
        ),
    ),
    33: Answer(
        "it goes on alerting with the old result",
        "a notice carries the figures of its slot and how old the data are",
        ("alerting/test_evaluate.py::test_alert_found_late_has_the_figures_of_the_last_bad_period",),
    ),
    34: Answer(
        "'below' fires when equal; the mail shows two equal numbers",
        "operators are literal, compared unrounded; as many digits as it takes",
        (
            "alerting/test_conditions.py::test_operators_are_literal",
            "reporting/test_alerts.py::test_value_close_to_its_limit_shows_enough_digits",
        ),
    ),
    35: Answer(
        "the same failure every half hour",
        "reminders come daily, and ever later; what has been taken up is quiet",
        (
            "alerting/test_reminders.py::test_repeat_doubles_up_to_its_maximum",
            "alerting/test_flush.py::test_acknowledged_alert_is_quiet_until_it_gets_worse_or_ends",
        ),
    ),
    36: Answer(
        "small counts and tiny changes are called anomalies",
        "min_sample, min_effect, significance; n and p stand in the message",
        (
            "alerting/test_guards.py::test_drop_that_chance_may_bring_is_not_told",
            "alerting/test_guards.py::test_effect_too_small_to_matter_is_not_told",
        ),
    ),
    37: Answer(
        "the point that is tested is part of its own baseline",
        "a baseline ends before the period that is judged",
        ("alerting/test_baselines.py::test_judged_period_is_not_part_of_its_baseline",),
    ),
    38: Answer(
        "an old incident widens the band, and the next is missed",
        "episodes and what people exclude are no part of it",
        (
            "alerting/test_baselines.py::test_episodes_and_excluded_periods_leave_the_baseline",
            "alerting/test_anomalies.py::test_old_incident_does_not_widen_the_band",
        ),
    ),
    39: Answer(
        "one cannot ask for drops only",
        "an anomaly has to say its direction",
        ("alerting/test_anomalies.py::test_what_is_no_anomaly_is_refused_with_what_to_write",),
    ),
    40: Answer(
        "something is wrong in a part, and nobody hears of it",
        "`by` judges every series, whatever the total does",
        ("alerting/test_changes.py::test_segment_fires_though_the_total_is_well",),
    ),
    41: Answer(
        "one alert per account owner means 25 copies by hand",
        "`by: [owner]`, `to: [owner]`: one rule, and each hears of his own",
        ("alerting/test_flush.py::test_each_owner_hears_of_his_own_series",),
    ),
    42: Answer(
        "unreadable when many fire",
        "one layout for 1, 20 and 1,000 series, in every form",
        (
            "reporting/test_alert_forms.py::test_alert_of_every_kind_and_size_reads_as_agreed",
            "reporting/test_alerts.py::test_table_is_capped_and_says_how_many_more",
        ),
    ),
    43: Answer(
        "Outlook breaks tables",
        "tables with widths of their own, no layout by CSS",
        ("reporting/test_alert_forms.py::test_tables_survive_a_word_like_sanitiser",),
    ),
    44: Answer(
        "Gmail merges what belongs apart",
        "threads by Message-ID; the state is the first word of the subject",
        ("reporting/test_alerts.py::test_end_shares_the_subject_of_its_beginning_after_the_state_word",),
    ),
    45: Answer(
        "the picture's time-out stops the alert",
        "it is drawn in process, within a budget, and left out if that fails",
        ("reporting/test_alert_chart.py::test_slow_or_broken_chart_never_blocks_the_text",),
    ),
    46: Answer(
        "Slack retired its uploads",
        "words first, and no uploads at all",
        ("plugins/test_slack.py::test_blocks_that_are_not_taken_lose_no_alert",),
    ),
    47: Answer(
        "429 means dropped",
        "Retry-After is obeyed; many alerts are few messages",
        (
            "plugins/test_slack.py::test_rate_limit_says_how_long_to_wait",
            "delivery/test_dispatch.py::test_retry_after_leaves_the_receiver_alone",
            "alerting/test_flush.py::test_thousand_series_are_one_message",
        ),
    ),
    48: Answer(
        "too long a message is refused just when all is on fire",
        "one renderer with a budget; counts are always kept",
        (
            "reporting/test_alert_forms.py::test_no_notice_makes_a_message_that_anybody_refuses",
            "plugins/test_slack.py::test_no_message_breaks_the_limits",
        ),
    ),
    49: Answer(
        "an attachment above the server's limit kills the mail",
        "the size counts after encoding; without pictures it fits",
        ("plugins/test_email.py::test_server_that_takes_little_gets_no_pictures",),
    ),
    50: Answer(
        "a crash within a send: no retry, no log",
        "an attempt is written down before the call",
        ("delivery/test_kill.py::test_killed_delivery_loses_nothing_and_repeats_little",),
    ),
    51: Answer(
        "the sender is not running, and all looks well",
        "one process; a heartbeat while all of its parts are well",
        (
            "commands/test_wellbeing.py::test_heartbeat_is_due_only_while_all_parts_are_well",
            "commands/test_wellbeing.py::test_heartbeat_is_called_and_a_fault_is_told_without_its_address",
        ),
    ),
    52: Answer(
        "one hiccup disables the rule for good",
        "errors disable nothing",
        (
            "runtime/test_faults.py::test_sick_plugins_harm_only_themselves",
            "alerting/test_evaluate.py::test_rule_whose_notice_fails_is_a_problem_and_the_others_go_on",
        ),
    ),
    53: Answer(
        "late data are missed, or counted twice",
        "a slot waits to settle, and closed periods are judged again: restated",
        (
            "alerting/test_evaluate.py::test_settle_delays_the_evaluation",
            "alerting/test_evaluate.py::test_restated_figures_end_an_alert_and_say_so",
            "alerting/test_evaluate.py::test_restated_figures_may_fire_late",
        ),
    ),
    54: Answer(
        "a run is skipped: maximum of instances reached",
        "kpid owns its slots and catches up",
        (
            "alerting/test_evaluate.py::test_after_a_pause_the_missed_slots_are_judged_and_notices_folded",
            "store/test_runs.py::test_a_schedule_has_one_run_at_a_time",
        ),
    ),
    55: Answer(
        "applying it twice makes two of everything",
        "rules go by id; a second reload changes nothing",
        ("runtime/test_reload.py::test_reload_twice_changes_nothing",),
    ),
    56: Answer(
        "after a maintenance window: lost incidents, or double ones",
        "judging goes on within it; afterwards there is one notice",
        (
            "alerting/test_flush.py::test_silence_over_firing_then_ending_gives_one_notice",
            "alerting/test_flush.py::test_end_of_what_was_told_is_put_off_by_a_window_never_dropped",
        ),
    ),
    57: Answer(
        "years of asking for office hours and acknowledging",
        "built in: windows, ack, snooze, silence",
        (
            "alerting/test_flush.py::test_what_still_fires_is_told_when_the_window_opens",
            "commands/test_handling.py::test_ack_holds_for_seven_days_and_says_who",
        ),
    ),
    58: Answer(
        "who watches the watcher?",
        "a heartbeat to another service, and a line a week that says it is alive",
        ("commands/test_wellbeing.py::test_alive_line_goes_out_weekly",),
    ),
}


@cache
def _tests_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_every_complaint_has_an_answer():
    assert sorted(COMPLAINTS) == list(range(1, 59))


@pytest.mark.parametrize("number", COMPLAINTS)
def test_answer_names_tests_that_there_are(number):
    answer = COMPLAINTS[number]
    assert answer.complaint
    assert answer.mechanism
    assert answer.tests
    for name in answer.tests:
        place, _, test = name.partition("::")
        file = ROOT / "tests" / place
        assert file.is_file(), name
        assert test in _tests_in(file), name
