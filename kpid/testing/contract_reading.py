"""The contract of connectors, what comes of records: nothing is lost, doubled or kept too long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from kpid.errors import ConnectorError
from kpid.plugin import entities
from kpid.testing.api import Answer, Fault, Request
from kpid.testing.bench import SourceBench, compare, connected, expect_able, first_sync, later, sync_into
from kpid.testing.expecting import expect
from kpid.testing.memory import MemorySync


class ReadingContract:
    """What comes of records. ``bench`` is a fixture of the subclass that gives a bench with no records in it."""

    def test_an_empty_source_gives_no_rows(self, bench: SourceBench) -> None:
        held = first_sync(bench)
        expect(not held.live(bench.entity), "an empty source gave rows")

    def test_a_first_read_gives_every_record(self, bench: SourceBench) -> None:
        bench.add(250)
        compare(bench, first_sync(bench))
        passed, hasty = getattr(bench.api, "refused", ()), getattr(bench.api, "calls_while_waiting", 0)
        expect(not passed and not hasty, f"limits were passed: {list(passed)}, and {hasty} requests came during a pause")

    def test_rows_have_canonical_columns_and_text_ids(self, bench: SourceBench) -> None:
        bench.add(5)
        for entity, rows in first_sync(bench).rows.items():
            columns = entities.ENTITIES[entity].c
            for native_id, row in rows.items():
                expect(isinstance(native_id, str) and bool(native_id), f"{entity}: native id {native_id!r}")
                unknown = row.keys() - set(columns.keys())
                expect(not unknown, f"{entity}: columns {sorted(unknown)} are not canonical")

    def test_a_second_read_changes_nothing(self, bench: SourceBench) -> None:
        bench.add(30)
        held = first_sync(bench)
        before = {entity: {key: dict(row) for key, row in rows.items()} for entity, rows in held.rows.items()}
        later(bench)
        sync_into(bench, held)
        expect(held.rows == before, "a second read of an unchanged source changed rows")

    def test_additions_changes_and_deletions_are_seen(self, bench: SourceBench) -> None:
        first = bench.add(60)
        held = first_sync(bench)
        bench.add(3)
        bench.change(first[7])
        bench.delete(first[20])
        later(bench)
        sync_into(bench, held, reconcile=_deletes_silently(bench))
        compare(bench, held)

    def test_records_of_one_instant_are_not_lost(self, bench: SourceBench) -> None:
        bench.add(10)
        held = first_sync(bench)
        bench.add(450, same_instant=True)
        later(bench)
        sync_into(bench, held, **bench.small_pages)
        compare(bench, held)

    def test_records_that_come_with_an_instant_already_seen_are_not_lost(self, bench: SourceBench) -> None:
        bench.add(5, same_instant=True)
        held = first_sync(bench)
        bench.add(5, same_instant=True)
        later(bench)
        sync_into(bench, held)
        compare(bench, held)

    def test_a_sync_killed_at_any_page_goes_on(self, bench: SourceBench) -> None:
        bench.add(220)
        held = MemorySync()
        for pages in (1, 1, 2, 1, 7, 100):
            sync_into(bench, held, entity=bench.entity, stop_after=pages, **bench.small_pages)
        compare(bench, held)
        bench.add(220)
        later(bench)
        for pages in (1, 1, 2, 1, 7, 100):
            sync_into(bench, held, entity=bench.entity, stop_after=pages, **bench.small_pages)
        sync_into(bench, held, **bench.small_pages)  # the last one may only have finished what a killed one began
        compare(bench, held)

    def test_a_servers_clock_that_is_wrong_loses_nothing(self, bench: SourceBench) -> None:
        expect_able(bench, "clock")
        first, held = bench.add(12), MemorySync()
        for minutes in (-10, 10):
            bench.skew(timedelta(minutes=minutes))
            sync_into(bench, held)
            bench.change(first[1])
            bench.add(2)
            later(bench, 1)
            bench.add(1)
            sync_into(bench, held)
        later(bench)
        sync_into(bench, held)
        compare(bench, held)

    def test_what_shows_late_is_not_lost(self, bench: SourceBench) -> None:
        expect_able(bench, "late")
        first = bench.add(20)
        held = first_sync(bench)
        later(bench)
        bench.hide(first[4])
        sync_into(bench, held)
        later(bench, 3)
        sync_into(bench, held)
        compare(bench, held)

    def test_what_was_deleted_and_restored_lives(self, bench: SourceBench) -> None:
        expect_able(bench, "restore")
        first = bench.add(20)
        held, silently = first_sync(bench), _deletes_silently(bench)
        bench.delete(first[3])
        later(bench)
        sync_into(bench, held, reconcile=silently)
        compare(bench, held)
        bench.restore(first[3])
        later(bench)
        sync_into(bench, held, reconcile="listing" in bench.can)  # some come back with an old date
        compare(bench, held)

    def test_a_page_that_comes_twice_loses_and_doubles_nothing(self, bench: SourceBench) -> None:
        expect_able(bench, "pages")
        bench.add(150)
        bench.api.fail(_twice(bench.pages), times=10_000)
        held = MemorySync()
        with suppress(ConnectorError):  # to say that a page came twice is as well
            sync_into(bench, held, **bench.small_pages)
        bench.api.forgive()
        later(bench)
        sync_into(bench, held, **bench.small_pages)
        compare(bench, held)

    def test_the_history_of_stages_ends_where_the_record_is(self, bench: SourceBench) -> None:
        expect_able(bench, "history")
        first = bench.add(6)
        held = first_sync(bench)
        later(bench)
        bench.change(first[1])
        later(bench)
        sync_into(bench, held)
        spans: dict[str, list[Mapping[str, Any]]] = {native_id: [] for native_id in first}
        for row in held.live("deal_stage_history").values():
            spans[row["deal_id"]].append(row)
        for native_id, rows in spans.items():
            rows.sort(key=lambda row: str(row["valid_from"]))
            ends = [row["valid_to"] for row in rows]
            touching = [str(row["valid_from"]) for row in rows[1:]] == [str(end) for end in ends[:-1]] and ends[-1:] == [None]
            expect(touching, f"the stages of {native_id} do not touch, or do not go on: {rows}")
            stage = held.live(bench.entity)[native_id]["stage_id"]
            expect(rows[-1]["stage_id"] == stage, f"{native_id} is in {stage}, and its history ends in {rows[-1]['stage_id']}")
        expect(len(spans[first[1]]) > 1, "a move left no trace in the history")

    def test_an_unchanged_source_is_asked_little(self, bench: SourceBench) -> None:
        bench.add(30)
        held = first_sync(bench)
        for _ in range(2):  # the first one may look again at what came last
            later(bench)
            before = len(bench.api.requests)
            sync_into(bench, held)
        calls = len(bench.api.requests) - before
        expect(calls <= bench.quiet_calls, f"{calls} requests although nothing has changed; {bench.quiet_calls} should do")


def _twice(pattern: str) -> Fault:
    """The second answer to such requests is the first one again."""
    told: list[Answer] = []

    def fault(request: Request, answer: Answer) -> Answer:
        if re.search(pattern, request.text()):
            told.append(answer)
        return told[0] if len(told) == 2 and told[-1] is answer else answer

    return fault


def _deletes_silently(bench: SourceBench) -> bool:
    """Whether only a comparison of ids finds what was deleted."""
    with connected(bench.connector()) as connector:
        (reads,) = (reads for reads in connector.reads() if reads.entity == bench.entity)
    return reads.deletes == "none" and reads.listing
