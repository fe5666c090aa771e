from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.groups import FLAPPING, FlushFacts, Held, plan_flush
from kpid.alerting.routes import Pace
from kpid.store.groups import GroupId, GroupRow
from kpid.store.notices import ENDING, NoticeRow, Past, Story

NOW = datetime(2026, 1, 12, 8, tzinfo=UTC)
KINDS = (
    "fired",
    "escalated",
    "eased",
    "resolved",
    "expired",
    "reminder",
    "escalation",
    "flapping",
    "steady",
    "unhealthy",
    "healthy",
)
GROUP = GroupId("team", "", "g")
STORY = Story("low", "ana", 1, "team", "")


def row(number: int, kind: str, **given: object) -> NoticeRow:
    plain = NoticeRow(
        key=f"{number:064}",
        kind=kind,
        rule_uid="low",
        series_key="ana",
        episode=1,
        receiver="team",
        recipient="",
        group_key="g",
        thread="t",
        route="",
        frame="f",
        item={},
        level="warn",
        slot=NOW,
        not_before=NOW,
        created_at=NOW,
        id=number,
    )
    return replace(plain, **given)


def facts(**given: object) -> FlushFacts:
    return replace(FlushFacts(NOW, {}, {}), **given)


def kinds(*rows: NoticeRow, **given: object) -> list[str]:
    plan = plan_flush(rows, facts(**given))
    return [line.kind for flush in plan.flushes for line in flush.lines]


def test_newest_row_stands_for_the_episode() -> None:
    assert kinds(row(1, "fired")) == ["fired"]
    assert kinds(row(1, "fired"), row(2, "escalated")) == ["fired"]
    assert kinds(row(1, "escalated"), row(2, "eased"), pasts={STORY: Past(1, 3)}) == ["eased"]
    assert kinds(row(1, "escalated"), row(2, "resolved"), pasts={STORY: Past(1, 3)}) == ["resolved"]


def test_what_is_over_before_it_was_told_is_dropped_and_says_why() -> None:
    plan = plan_flush([row(1, "fired", held_by="silence 3"), row(2, "resolved")], facts())
    assert plan.flushes == []
    assert [(one.kind, why) for one, why in plan.dropped] == [
        ("fired", "over before it was told (it was held back by silence 3)"),
        ("resolved", "over before it was told (it was held back by silence 3)"),
    ]


def test_end_of_an_episode_from_before_there_were_notices_is_told() -> None:
    assert kinds(row(1, "resolved"), pasts={STORY: Past(0, 1)}) == ["resolved"]


def test_new_alert_does_not_wait_for_the_interval_its_end_does() -> None:
    group = {GROUP: GroupRow("t", NOW, NOW - timedelta(minutes=1), 0, 1)}
    slow = {"groups": group, "pace": lambda one: Pace(interval=timedelta(hours=1))}
    assert kinds(row(1, "fired"), **slow) == ["fired"]
    plan = plan_flush([row(1, "resolved")], facts(pasts={STORY: Past(1, 2)}, **slow))
    assert plan.flushes == []
    assert plan.held[0][1].until == NOW + timedelta(minutes=59)


def test_group_counts_what_is_open() -> None:
    (flush,) = plan_flush([row(1, "fired"), row(2, "fired", series_key="bob")], facts()).flushes
    assert (flush.group.open, flush.group.thread, flush.group.first_at) == (2, None, NOW)
    known = {GROUP: replace(flush.group, thread="t")}
    (flush,) = plan_flush([row(3, "resolved")], facts(groups=known, pasts={STORY: Past(1, 2)})).flushes
    assert (flush.group.open, flush.group.thread) == (1, "t")


def test_digest_is_one_line_for_all_episodes_of_a_series() -> None:
    held = [row(number, kind, held_by=FLAPPING, episode=number // 2) for number, kind in enumerate(("fired", "resolved") * 3, 2)]
    assert kinds(*held) == ["digest"]
    (flush,) = plan_flush(held, facts()).flushes
    assert len(flush.folded) == 5
    assert flush.group.open == 0


rows_of = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(["ana", "bob"]),
        st.integers(1, 2),
        st.sampled_from(["", "ada@example.com"]),
        st.sampled_from(["g", "h"]),
        st.sampled_from(["", "silence 3", FLAPPING]),
        st.sampled_from([-1, 0, 60]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(
    given_rows=rows_of,
    told=st.integers(0, 2),
    gate=st.sampled_from([None, "holds", "drops"]),
    interval=st.sampled_from([0, 3600]),
)
def test_each_row_has_one_fate_and_nothing_is_lost(given_rows: list[tuple], told: int, gate: str | None, interval: int) -> None:
    rows = [
        row(
            number, kind, series_key=key, episode=episode, recipient=who, group_key=group, held_by=held,
            not_before=NOW + timedelta(seconds=later),
        )
        for number, (kind, key, episode, who, group, held, later) in enumerate(given_rows, 1)
    ]  # fmt: skip
    pasts = {one.story: Past(told, told + 1) for one in rows}
    groups = {GroupId("team", "", "g"): GroupRow("t", NOW, NOW, 0, 1)}
    verdict = None if gate is None else Held("window office", NOW + timedelta(hours=1), gate == "drops")
    plan = plan_flush(
        rows,
        facts(
            pasts=pasts,
            groups=groups,
            gate=lambda one: verdict if one.series_key == "ana" else None,
            pace=lambda one: Pace(interval=timedelta(seconds=interval)),
        ),
    )
    sent = [line.row.id for flush in plan.flushes for line in flush.lines]
    folded = [one.id for flush in plan.flushes for one in flush.folded] + [one.id for one, _ in plan.folded]
    dropped = [one.id for one, _ in plan.dropped]
    held = [one.id for one, _ in plan.held]
    fates = [*sent, *folded, *dropped, *held]
    assert len(fates) == len(set(fates))
    assert all(why for _, why in plan.dropped)
    assert all(until.until > NOW for _, until in plan.held)
    left = {one.id: one for one in rows if one.id not in fates}
    assert all(one.not_before > NOW or _goes_with_one_that_waits(one, rows) for one in left.values())
    assert all(one.kind not in ENDING or not told for one, why in plan.dropped)


def _goes_with_one_that_waits(one: NoticeRow, rows: list[NoticeRow]) -> bool:
    """The row that stands for its episode, its group, or all episodes of a series that flaps, is not due yet."""
    later = [other for other in rows if other.not_before > NOW]
    return any(other.group_key == one.group_key or other.story == one.story or _flaps_with(other, one) for other in later)


def _flaps_with(one: NoticeRow, other: NoticeRow) -> bool:
    return one.held_by == other.held_by == FLAPPING and (one.series_key, one.recipient) == (other.series_key, other.recipient)
