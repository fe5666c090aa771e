"""Random weeks through the real evaluation on a real store: whatever comes, thin or stale data never fires and never resolves."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kpid.config.model import Rule
from kpid.model import MeasurementState, segment_key
from kpid.store import history
from kpid.store.tables import evaluations, events, metadata, outbox, series
from tests.alerting.world import World, rule, week

HOUR = timedelta(hours=1)
OWNERS = ("ada", "bob", "cy")
FIRST, LAST = 2, 16
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)
NOTHING = MeasurementState.STALE, MeasurementState.INCOMPLETE, MeasurementState.ERROR
ENDS = {"resolved", "expired", "restated", "rule_changed", "rule_removed", "paused"}
_STATES = {"breach", "hold", "clear"}


def figure(rng: random.Random) -> Any:
    """What a week says of an owner; None for no row."""
    dice = rng.random()
    if dice < 0.1:
        return None
    if dice < 0.2:
        return (rng.randrange(5), 5)  # thin
    if dice < 0.25:
        return (0, 0)  # undefined
    return rng.choice([GOOD, GOOD, BAD, BAD, WORSE, (108, 400)])


class Story:
    """A world in which the weeks go by; after every evaluation it checks what must always hold."""

    def __init__(self, folder: Path, rules: list[Rule], url: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.world = World(folder, rules, url=url)
        self.figures: dict[int, dict[str, Any]] = {}
        self.seen = 0

    def put(self, number: int, values: dict[str, Any], now: Any) -> None:
        self.figures[number] = values
        known = {owner: value for owner, value in values.items() if value is not None}
        for one in {self.world.need(one).key: one for one in self.world.rules}.values():
            self.world.put(one, week(number), known, now)

    def evaluate(self, now: Any) -> None:
        result = self.world.evaluate(now)
        assert result.failed == ()
        self.check_evaluations()
        self.check_events()

    def check_evaluations(self) -> None:
        """Every verdict that has just been given rests on a figure that is whole, large enough and says so."""
        with self.world.store.read() as conn:
            rows = conn.execute(select(evaluations).where(evaluations.c.id > self.seen).order_by(evaluations.c.id)).all()
            rules = {one.uid: one for one in self.world.rules}
            current = {
                uid: {(segment_key(m.dims), m.period.end): m for m in history.current(conn, self.world.need(one))}
                for uid, one in rules.items()
            }
            segments = {
                (row.rule_uid, row.series_key): row.segment for row in conn.execute(select(*_series_columns()))
            }  # fmt: skip
        for row in rows:
            self.seen = max(self.seen, row.id)
            kind, now = row.outcome["kind"], current[row.rule_uid].get((segments[row.rule_uid, row.series_key], row.slot))
            if kind not in _STATES or now is None or now.state is not MeasurementState.OK:
                continue
            one = rules[row.rule_uid]
            assert now.n >= (one.min_sample or 0)
            assert row.outcome["value"] == str(now.value)
            assert (kind == "breach") == (now.value < _limit(one.warn)), (row.outcome, now)
            if kind == "clear" and one.recover:
                assert now.value >= _limit(one.recover)

    def check_events(self) -> None:
        """An episode is opened once, closed at most once, and silent afterwards; what ends it is a figure, a rule, or time."""
        with self.world.store.read() as conn:
            rows = conn.execute(select(events).where(events.c.series_key != "").order_by(events.c.seq)).all()
            judged = {
                (row.rule_uid, row.series_key, row.slot): row.outcome["kind"]
                for row in conn.execute(select(evaluations).order_by(evaluations.c.id))
            }
        open_: dict[tuple[str, str], int] = {}
        last: dict[tuple[str, str], int] = {}
        for row in rows:
            key, kind = (row.rule_uid, row.series_key), row.kind
            if kind in {"unhealthy", "healthy"}:
                continue
            if kind == "fired":
                assert key not in open_, "fired while firing"
                assert row.episode == last.get(key, 0) + 1
                open_[key] = last[key] = row.episode
            elif key in open_:
                assert row.episode == open_[key]
            if row.body["from"] in {"firing", "recovering"} and row.body["to"] not in {"firing", "recovering"}:
                assert kind in ENDS
                assert open_.pop(key) == row.episode
            if kind in {"resolved", "fired", "escalated"} and row.slot == max(s for u, k, s in judged if (u, k) == key):
                assert judged[*key, row.slot] in {"resolved": {"clear"}}.get(kind, {"breach"})
        firing = {key for key, status in self.statuses().items() if status.split()[0] in {"firing", "recovering"}}
        assert firing == set(open_)

    def statuses(self) -> dict[tuple[str, str], str]:
        with self.world.store.read() as conn:
            rows = conn.execute(select(*_series_columns())).all()
        return {(row.rule_uid, row.series_key): f"{row.status} {row.level}" for row in rows}

    def counts(self) -> list[int]:
        with self.world.store.read() as conn:
            return [len(conn.execute(select(table)).all()) for table in (evaluations, events, outbox)]


def _series_columns() -> Any:
    return (series.c.rule_uid, series.c.series_key, series.c.segment, series.c.status, series.c.level)


def _limit(text: str) -> Decimal:
    return Decimal(text.split()[1].rstrip("%")) / 100


def make_rules(rng: random.Random) -> list[Rule]:
    times = {"for": rng.choice(["0x", "2x", "3x"]), "keep_firing_for": rng.choice(["0x", "1x", "2x"]), "min_sample": 20}
    band = {"recover": ">= 27%"} if rng.random() < 0.5 else {}
    first = rule(name="low", critical="< 20%", catch_up=20, **times, **band)
    return [first, rule(name="lower", warn="< 20%", catch_up=20, min_sample=20)]


@pytest.mark.parametrize("seed", range(12))
def test_week_by_week_ends_where_judging_all_at_once_ends(tmp_path: Path, seed: int) -> None:
    """Sources that stop and come back, late data, downtime and clocks that jump: in the end the figures alone decide."""
    rng = random.Random(seed)
    rules = make_rules(rng)
    story = Story(tmp_path / "live", rules)
    down = 0
    for number in range(FIRST, LAST):
        truth = {owner: figure(rng) for owner in OWNERS}
        now = week(number).end + HOUR
        if rng.random() < 0.3 and number < LAST - 1:
            doubt = rng.choice(NOTHING)
            story.put(number, {owner: value and doubt for owner, value in truth.items()}, now)
            story.evaluate(now + timedelta(days=rng.choice([0, 3])))
            now += timedelta(days=4)
        story.put(number, truth, now)
        if rng.random() < 0.3 and number > FIRST:  # late data for the week before
            again = dict.fromkeys(OWNERS, GOOD) | {rng.choice(OWNERS): rng.choice([BAD, WORSE])}
            story.put(number - 1, again, now)
        down = rng.randrange(3) if down == 0 and rng.random() < 0.2 else max(down - 1, 0)
        if down == 0 or number == LAST - 1:
            story.evaluate(now)
            before = story.counts()
            story.evaluate(now)
            story.evaluate(now - rng.choice([HOUR, timedelta(days=9)]))
            assert story.counts() == before
    anew = Story(tmp_path / "anew", rules)
    for number, values in story.figures.items():
        anew.put(number, values, week(LAST).end)
    anew.evaluate(week(LAST - 1).end + 5 * timedelta(days=1))
    assert story.statuses() == anew.statuses()


def test_postgresql_tells_the_same_story(tmp_path: Path, postgres: str) -> None:
    rules = make_rules(random.Random(5))
    stories = [Story(tmp_path / "lite", rules), Story(tmp_path / "postgres", rules, postgres)]
    for story in stories:
        rng = random.Random(6)
        for number in range(FIRST, LAST):
            story.put(number, {owner: figure(rng) for owner in OWNERS}, week(number).end)
            story.evaluate(week(number).end + HOUR)
    lite, other = stories
    assert (lite.statuses(), lite.counts()) == (other.statuses(), other.counts())
    assert lite.world.titles() == other.world.titles()
    metadata.drop_all(other.world.store.engine)
    other.world.store.close()


@pytest.mark.parametrize("seed", range(8))
def test_edited_paused_and_removed_rules_keep_their_episodes_in_order(tmp_path: Path, seed: int) -> None:
    rng = random.Random(1000 + seed)
    story = Story(tmp_path / "live", make_rules(rng))
    for number in range(FIRST, LAST):
        if rng.random() < 0.5:
            low = rule(
                name="low",
                critical="< 20%",
                warn=rng.choice(["< 25%", "< 28%"]),
                min_sample=rng.choice([3, 20]),
                paused=rng.random() < 0.2,
            )
            story.world.rules = [low, *story.world.rules[1:]]
        now = week(number).end + HOUR
        story.put(number, {owner: figure(rng) for owner in OWNERS}, now)
        for jump in rng.sample([timedelta(0), HOUR, -HOUR, timedelta(days=9), -timedelta(days=9)], 3):
            story.evaluate(now + jump)
