from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from kpid.alerting.contracts import AlertingSetup, Contact, Opening, Sight, Telling
from kpid.alerting.evaluate import AlertingSetup as Reexported
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.series import SeriesState, Spell, Status, state_from_dump
from kpid.analysis.workdays import WorkCalendar
from kpid.config.alerting import RowsText
from kpid.model import Level, Rows, SeriesNeed
from kpid.plugin.notifier import Action, Message, Press
from tests.alerting.world import CALENDAR, compose, week

NOW = datetime(2026, 1, 12, tzinfo=UTC)


def test_spells_and_the_first_bad_slot_are_kept_with_a_series() -> None:
    spells = (Spell(NOW - timedelta(weeks=9), NOW - timedelta(weeks=7)), Spell(NOW - timedelta(weeks=1)))
    state = SeriesState(Status.FIRING, Level.WARN, spells=spells, since_at=NOW)
    assert state_from_dump(state.dump()) == state
    assert set(SeriesState().dump()) == set()


def test_what_a_judgement_rests_on_is_kept_with_it() -> None:
    outcome = Outcome(
        OutcomeKind.INSUFFICIENT,
        p=0.0123456789,
        baseline=Decimal("0.31"),
        baseline_label="8 weeks",
        effect=Decimal("-0.2"),
        unguarded=OutcomeKind.BREACH,
    )
    back = outcome_from_dump(outcome.dump())
    assert back.p == 0.012346
    assert (back.baseline, back.baseline_label, back.effect, back.unguarded) == (
        Decimal("0.31"),
        "8 weeks",
        Decimal("-0.2"),
        OutcomeKind.BREACH,
    )
    assert outcome_from_dump(back.dump()) == back


def test_setup_without_more_knows_no_targets_people_rows_or_buttons() -> None:
    setup = AlertingSetup((), {}, CALENDAR, {}, compose, {})
    need = SeriesNeed("win_rate", "week")
    wanted = RowsText.model_validate({"show": ["name"]})
    assert Reexported is AlertingSetup
    assert setup.flapping.changes == 4
    assert (setup.targets(need, week(2), (), NOW), setup.rows(need, week(2), (), wanted)) == (None, None)
    assert (setup.contacts(["crm:ana"]), setup.actions("episode:1", "", NOW), setup.sources_of("win_rate")) == ({}, (), ())


def test_sight_knows_nothing_but_what_it_is_given() -> None:
    sight = Sight(None, week(2))
    assert sight.at(week(1)) is None
    assert (sight.before, sight.target, sight.total, sight.others_present) == ((), None, None, False)


def test_capabilities_are_not_printed() -> None:
    action = Action("ack", "Acknowledge", "x0x0", "https://kpid.example.com/a/x0x0")
    telling = Telling("ada@example.com", "reminder", (action,), "held back by window office", "critical sales")
    message = Message("k", "alert", "t", "t", NOW, actions=telling.actions)
    assert "x0x0" not in repr((message, telling, Press("ack", "x0x0", "ada")))


def test_values_compare_by_what_they_say() -> None:
    assert Contact("crm:1", "Ada Example") == Contact("crm:1", "Ada Example", "", True, None)
    assert Opening(WorkCalendar("UTC"), "drop") == Opening(WorkCalendar("UTC"), "drop")
    assert Rows(("name",), (("A",),), 3).total == 3
