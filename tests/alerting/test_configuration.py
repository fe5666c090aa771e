"""The alert about the configuration goes by routes like any other: grouped, put off, taken up; never lost, never hidden."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.configuration import tell_in_order, tell_refused
from kpid.store import episodes, handling, problems
from tests.alerting.routed import Routed, owners, routes, window
from tests.alerting.world import rule

NOON = datetime(2026, 11, 17, 11, 0, tzinfo=UTC)
"""A Tuesday, in office hours."""
NIGHT = datetime(2026, 11, 17, 21, 0, tzinfo=UTC)
FAULT = "kpid.yml:3: unknown key"


def world(folder: Path, *given: dict[str, Any], **more: Any) -> Routed:
    found = Routed(folder, [rule()], recipients={"team": ("ada@example.com",), "ops": ("ops@example.com",), "mail": ()})
    found.more = {"routes": routes(*given), **more}
    return found


def refused(found: Routed, now: datetime = NOON, text: str = FAULT, to: tuple[str, ...] = ("team",)) -> int:
    return tell_refused(found.setup(), store=found.store, text=text, notes=("File: kpid.yml",), to=to, now=now)


def in_order(found: Routed, now: datetime) -> int:
    return tell_in_order(found.setup(), store=found.store, now=now)


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ({"kind": "health"}, "ops"),
        ({"rule": "kpid:*"}, "ops"),
        ({}, "ops"),
        ({"kind": "alert"}, "team"),
        ({"team": "sales"}, "team"),
    ],
)
def test_route_that_matches_takes_it_else_those_who_hear_of_health(tmp_path: Path, match: dict[str, str], told: str) -> None:
    found = world(tmp_path, {"match": match, "to": ["ops"]})
    assert refused(found) == 1
    assert [row.receiver for row in found.letters()] == [told]


def test_each_fault_is_told_once_and_its_end_to_those_that_heard(tmp_path: Path) -> None:
    found = world(tmp_path)
    later = [NOON + timedelta(minutes=minute) for minute in range(9)]
    assert refused(found, later[0]) == 1
    assert refused(found, later[1]) == 0
    assert refused(found, later[2], "kpid.yml:9: another fault") == 1
    assert refused(found, later[3]) == 0, "the first fault is known"
    found.more["routes"] = routes({"match": {"kind": "health"}, "to": ["ops"]})
    assert in_order(found, later[4]) == 1
    assert in_order(found, later[5]) == 0
    assert [row.receiver for row in found.letters()] == ["team"] * 3
    assert len({row.thread for row in found.letters()}) == 1
    assert refused(found, later[6]) == 1, "the same fault, on another day"
    last = found.letters()[-1]
    assert last.thread != found.letters()[0].thread


def test_it_waits_for_its_group_and_goes_with_it(tmp_path: Path) -> None:
    found = world(tmp_path, {"match": {}, "to": ["ops"], "group_by": [], "group_wait": "30s"})
    assert refused(found) == 1
    assert found.letters() == []
    found.tend(NOON + timedelta(seconds=31))
    assert len(found.letters()) == 1


@pytest.mark.parametrize("outside", ["defer", "drop"])
def test_closed_window_puts_it_off_even_one_that_drops(tmp_path: Path, outside: str) -> None:
    found = world(tmp_path, {"match": {}, "to": ["ops"], "hours": "office"}, windows=window(outside))
    refused(found, NIGHT)
    found.tend(NIGHT + timedelta(hours=1))
    assert found.letters() == []
    found.tend(NIGHT + timedelta(hours=11))
    assert [row.receiver for row in found.letters()] == ["ops"]


def test_silence_of_everything_does_not_hide_it(tmp_path: Path) -> None:
    found = world(tmp_path)
    with found.store.write() as conn:
        handling.add_silence(
            conn, matchers={}, starts_at=NOON, ends_at=NOON + timedelta(days=300), author="a", via="cli", comment="c", now=NOON
        )
    refused(found)
    assert len(found.letters()) == 1


def test_it_can_be_taken_up_and_climbs_until_it_is(tmp_path: Path) -> None:
    steps = [{"after": "4h", "to": ["ops"]}]
    found = world(tmp_path, {"match": {"kind": "health"}, "to": ["team"], "escalate": steps})
    refused(found)
    with found.store.read() as conn:
        (one,) = episodes.list_open(conn)
    assert one.label == "kpid's configuration"
    found.tend(NOON + timedelta(hours=5))
    assert [row.receiver for row in found.letters()] == ["team", "ops"]
    in_order(found, NOON + timedelta(hours=6))
    with found.store.read() as conn:
        assert episodes.list_open(conn) == []
    assert sorted(row.receiver for row in found.letters()) == ["ops", "ops", "team", "team"]


def test_owner_of_a_route_is_whoever_stands_in_for_owners(tmp_path: Path) -> None:
    found = world(tmp_path, {"match": {}, "to": ["owner"]}, owners=owners())
    refused(found)
    assert [row.receiver for row in found.letters()] == ["team"]
    with found.store.read() as conn:
        assert problems.list_problems(conn) == [], "that nobody owns it is no fault"


def test_what_was_not_sent_yet_is_sent_by_the_next_process(tmp_path: Path) -> None:
    """Killed between writing it down and sending it."""
    found = world(tmp_path)
    compose = found.more.pop("bundle", None)

    def killed(*_: Any) -> Any:
        raise SystemExit

    found.more["bundle"] = killed
    with pytest.raises(SystemExit):
        refused(found)
    assert found.letters() == []
    found.more["bundle"] = compose
    if compose is None:
        del found.more["bundle"]
    found.tend(NOON + timedelta(seconds=5))
    assert len(found.letters()) == 1


def test_fault_that_is_put_right_before_anybody_was_told_is_told_to_nobody(tmp_path: Path) -> None:
    found = world(tmp_path, {"match": {}, "to": ["ops"], "group_wait": "5m"})
    refused(found)
    in_order(found, NOON + timedelta(minutes=1))
    found.tend(NOON + timedelta(minutes=9))
    assert found.letters() == []
