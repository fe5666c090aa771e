"""Alerts taken up, put off, silenced and left out; each with its line in a log that nobody can change."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kpid.commands import handling, silencing
from kpid.commands.alerts import list_alerts, show_alert
from kpid.commands.why import why
from kpid.errors import KpidError
from kpid.store import audit
from kpid.store import handling as store
from tests.commands.handled import NOW, end, fire, opened, tell


@pytest.fixture
def app(tmp_path):
    with opened(tmp_path) as app:
        yield app


def episode(app, number):
    with app.store.read() as conn:
        return store.load_episode(conn, number)


def log(app, **wanted):
    with app.store.read() as conn:
        return list(reversed(audit.list_audit(conn, **wanted)))


def test_ack_holds_for_seven_days_and_says_who(app):
    number = fire(app)
    told = handling.ack(app, ids=[number], by="ada", comment="calling them")
    assert (told["left"], told["done"][0]["handling"], told["done"][0]["by"]) == ([], "acked", "ada")
    one = episode(app, number)
    assert one.handled_until == NOW + timedelta(days=7)
    assert (one.handled_via, one.comment) == ("cli", "calling them")
    (row,) = log(app)
    assert (row.actor, row.via, row.action, row.subject) == ("ada", "cli", "ack", f"episode:{number}")
    assert row.body["changed"]
    assert row.body["comment"] == "calling them"


def test_two_who_ack_at_once_one_wins_and_both_are_written_down(app):
    number = fire(app)
    ready = threading.Barrier(2)
    told = {}

    def go(name):
        ready.wait(10)
        told[name] = handling.ack(app, ids=[number], by=name)

    threads = [threading.Thread(target=go, args=(name,)) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    winner = episode(app, number).handled_by
    loser = ({"ada", "bob"} - {winner}).pop()
    assert told[winner]["done"]
    assert told[loser]["left"][0]["why"] == f"{winner} was first"
    assert {(row.actor, row.body["changed"]) for row in log(app)} == {(winner, True), (loser, False)}


def test_ack_that_has_run_out_holds_nobody_up(app):
    number = fire(app)
    handling.ack(app, ids=[number], by="ada", until="1h")
    app.clock.sleep(3_700)
    assert handling.ack(app, ids=[number], by="bob")["done"][0]["by"] == "bob"


def test_own_ack_can_be_made_longer(app):
    number = fire(app)
    handling.ack(app, ids=[number], by="ada", until="1h")
    handling.ack(app, ids=[number], by="ada", until="2026-11-20")
    assert episode(app, number).handled_until.isoformat() == "2026-11-19T23:00:00+00:00", "midnight of the company's zone"


def test_alert_that_is_over_is_left_as_it_is(app):
    number = fire(app)
    end(app, number)
    for action in (handling.ack, handling.unack):
        assert "over" in action(app, ids=[number], by="ada")["left"][0]["why"]
    assert episode(app, number).handling == "open"
    assert len(log(app)) == 2


def test_unack_gives_it_back(app):
    number = fire(app)
    handling.ack(app, ids=[number], by="ada")
    assert handling.unack(app, ids=[number], by="bob")["done"][0]["handling"] == "open"
    assert handling.unack(app, ids=[number], by="bob")["left"][0]["why"] == "nobody has taken it up"


def test_snooze_next_lasts_until_the_next_evaluation(app):
    number = fire(app)
    handling.snooze(app, ids=[number], by="ada", until="next")
    assert episode(app, number).handled_until.isoformat() == "2026-11-30T23:00:00+00:00"


@pytest.mark.parametrize(
    "until", ["", "soon", "yesterday", "2020-01-01", "0s", "400d", "99999w", "2026-13-01", "next week", "\x00"]
)
def test_nonsense_for_until_is_refused_and_changes_nothing(app, until):
    number = fire(app)
    with pytest.raises(KpidError):
        handling.snooze(app, ids=[number], by="ada", until=until)
    assert episode(app, number).handling == "open"
    assert log(app) == []


def test_unknown_number_changes_none_of_them(app):
    number = fire(app)
    with pytest.raises(KpidError, match="no alert 99"):
        handling.ack(app, ids=[number, 99], by="ada")
    assert episode(app, number).handling == "open"


@pytest.mark.parametrize("number", [0, -1, 10**30])
def test_number_that_cannot_be_is_unknown(app, number):
    with pytest.raises(KpidError, match="there is no alert"):
        handling.ack(app, ids=[number], by="ada")
    with pytest.raises(KpidError, match="there is no alert"):
        show_alert(app, number=number)
    with pytest.raises(KpidError, match="is over"):
        silencing.end_silence(app, number=number, by="ada")
    with pytest.raises(KpidError, match="nothing is left out"):
        silencing.end_exclusion(app, number=number, by="ada")


def test_many_are_taken_up_at_once(app):
    numbers = [fire(app, owner=f"crm:{number}") for number in range(1, 601)]
    end(app, numbers[0])
    told = handling.ack(app, ids=numbers, by="ada")
    assert ([one["id"] for one in told["left"]], len(told["done"])) == ([numbers[0]], 599)
    with pytest.raises(KpidError, match="at once"):
        handling.ack(app, ids=range(1, 1_100), by="ada")


@pytest.mark.parametrize("by", ["", " \n\t", "x" * 400])
def test_nobody_cannot_ack(app, by):
    with pytest.raises(KpidError):
        handling.ack(app, ids=[fire(app)], by=by)


def test_texts_are_written_down_as_one_line(app):
    number = fire(app)
    handling.ack(app, ids=[number], by="ada\x1b[31m", comment="a\nb\u202ec")
    assert (episode(app, number).handled_by, episode(app, number).comment) == ("ada [31m", "a b c")


# ---- silences and exclusions


def test_silence_is_written_down_listed_and_ended(app):
    told = silencing.silence(app, match={"rule": ["few-*"], "owner": ["!crm:2"]}, until="8h", comment="moving house", by="ada")
    (one,) = silencing.list_silences(app)
    assert (one["id"], one["matchers"], one["author"]) == (told["id"], {"rule": ["few-*"], "owner": ["!crm:2"]}, "ada")
    silencing.end_silence(app, number=told["id"], by="bob")
    assert silencing.list_silences(app) == []
    assert silencing.list_silences(app, everything=True)[0]["ended_by"] == "bob"
    assert [row.action for row in log(app, subject=f"silence:{told['id']}")] == ["silence", "end silence"]
    with pytest.raises(KpidError, match="is over"):
        silencing.end_silence(app, number=told["id"], by="bob")


@pytest.mark.parametrize(
    ("match", "until", "comment", "says"),
    [
        ({}, "8h", "x", "something to match"),
        ({"ruel": ["few-wins"]}, "8h", "x", "no alert has a label 'ruel'"),
        ({"rule": [""]}, "8h", "x", "lacks a value"),
        ({"rule": ["!"]}, "8h", "x", "lacks a value"),
        ({"rule": []}, "8h", "x", "lacks a value"),
        ({"rule": ["few-wins"]}, "8h", " ", "needs a comment"),
        ({"rule": ["few-wins"]}, "2y", "x", "neither a length of time"),
        ({"rule": ["few-wins"]}, "next", "x", "neither a length of time"),
        ({"rule": ["few-wins"]}, "500d", "x", "more than a year"),
    ],
)
def test_silence_that_cannot_be_is_refused(app, match, until, comment, says):
    with pytest.raises(KpidError, match=says):
        silencing.silence(app, match=match, until=until, comment=comment, by="ada")
    assert log(app) == []


def test_exclusion_of_a_rule_and_of_a_kpi(app):
    span = {"start": "2026-03-01", "end": "2026-04-01", "comment": "the system was down", "by": "ada"}
    told = silencing.exclude(app, rule="few-wins", **span)
    assert (told["rule"], told["kpi"]) == ("few-wins", "won_deals")
    assert told["starts_at"] == "2026-02-28T23:00:00+00:00"
    assert silencing.exclude(app, rule="won_deals", **span)["rule"] == ""
    silencing.end_exclusion(app, number=told["id"], by="ada")
    assert [one["rule_uid"] for one in silencing.list_exclusions(app)] == [""]
    with pytest.raises(KpidError, match="neither a rule nor a KPI"):
        silencing.exclude(app, rule="few-winners", **span)
    with pytest.raises(KpidError, match="no time at all"):
        silencing.exclude(app, rule="few-wins", **span | {"end": "2026-03-01"})
    with pytest.raises(KpidError, match="no series"):
        silencing.exclude(app, rule="few-wins", **span, segment="Nobody")


# ---- the log


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_audit_log_cannot_be_changed(app, change):
    handling.ack(app, ids=[fire(app)], by="ada")
    with pytest.raises(DBAPIError, match="append"), app.store.write() as conn:
        conn.execute(text(change))
    assert [row.actor for row in log(app)] == ["ada"]


def test_audit_is_listed_since_a_day(app):
    handling.ack(app, ids=[fire(app)], by="ada")
    assert len(silencing.list_audit(app, since="2026-11-01")) == 1
    assert silencing.list_audit(app, since="2026-11-11") == []
    with pytest.raises(KpidError, match="is no day"):
        silencing.list_audit(app, since="lately")


# ---- lists and stories


def test_story_by_number_has_what_was_told_held_back_and_done(app):
    number = fire(app)
    tell(app, ("few-wins", "few-wins/crm:1", 1))
    tell(app, ("few-wins", "few-wins/crm:1", 1), flush_id="f2", state="dropped", held_by="window office", why="outside: drop")
    handling.ack(app, ids=[number], by="ada", comment="on it")
    story = show_alert(app, number=number)
    assert [(one["state"], one["why"]) for one in story["told"]] == [("sent", ""), ("dropped", "outside: drop")]
    assert [(one["actor"], one["action"]) for one in story["audit"]] == [("ada", "ack")]
    assert story["handling"].startswith("acked by ada until")
    with pytest.raises(KpidError, match="no alert 99"):
        show_alert(app, number=99)


def test_alert_that_is_over_still_has_its_story(app):
    number = fire(app)
    end(app, number)
    story = show_alert(app, number=number)
    assert (story["status"], story["handling"]) == ("resolved", "")


def test_rule_that_cannot_be_judged_is_in_the_list(app):
    number = fire(app, owner=None, series_key="")
    (one,) = list_alerts(app)
    assert (one["id"], one["status"], one["segment"]) == (number, "unhealthy", "the rule's own data")
    assert why(app, number=number)["guards"]["recover" if "recover" in why(app, number=number)["guards"] else "for"]
