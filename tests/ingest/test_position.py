"""Where a sync stands goes into the watermark and comes back, with what a newer version has put there."""

from __future__ import annotations

import json

import pytest

from kpid.ingest.position import Position, Side, position_from_json

SIDE = Side("fields", "2026-11-20T09:00:00+00:00", {"after": "7"}, "x", ("region",))
POSITIONS = [
    Position(),
    Position({"since": "x"}),
    Position({}, {"kind": "deals"}, "2026-11-20T09:00:00+00:00"),
    Position({"since": "x"}, None, None, ("amount", "name"), SIDE, "2026-11-20T09:00:00+00:00"),
    Position(side=Side("ids", "2026-11-20T09:00:00+00:00")),
    Position(listed_at="2026-11-20T09:00:00+00:00", rest={"later": [1]}),
]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_position_comes_back_as_it_was(position):
    kept = position.to_json()
    assert position_from_json(None if kept is None else json.loads(json.dumps(kept))) == position


def test_there_may_be_nothing_to_remember():
    assert Position().to_json() is None
    assert position_from_json({}) == Position()


def test_a_watermark_of_before_is_understood():
    assert position_from_json({"read": {"since": "x"}, "run": "r"}) == Position({"since": "x"}, None, "r")


def test_what_a_newer_version_has_kept_is_not_lost():
    newer = {"read": {"since": "x"}, "quota": {"left": 3}}
    assert position_from_json(newer).to_json() == newer
