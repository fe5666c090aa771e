"""The contract of connectors, what comes of their declarations: ids, counts, fetches and names are what they are said to be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kpid.plugin import Connector, EntityReads
from kpid.testing.bench import SourceBench, compare, connected, expect_able, first_sync, later, sync_into
from kpid.testing.expecting import expect


class CoreContract:
    """What the ingest core relies on."""

    def test_nobody_is_contacted_by_declarations(self, bench: SourceBench) -> None:
        with connected(bench.connector()) as connector:
            for reads in connector.reads():
                connector.asks(reads.entity)
                connector.since(reads.entity, bench.clock.now())
            connector.fills()
            connector.capabilities()
        expect(not bench.api.requests, "a declaration contacted the source")

    def test_what_is_asked_for_is_told_by_declarations(self, bench: SourceBench) -> None:
        with connected(bench.connector()) as connector, connected(bench.connector()) as another:
            for reads in connector.reads():
                names = connector.asks(reads.entity)
                is_text = isinstance(names, frozenset) and all(isinstance(name, str) for name in names)
                expect(is_text, f"asks({reads.entity!r}) is {names!r}")
                expect(names == another.asks(reads.entity), f"asks({reads.entity!r}) differs from connector to connector")
            before = connector.asks(bench.entity)
        expect_able(bench, "fields")
        options = bench.add_field("region", {})
        with connected(bench.connector(**options)) as connector:
            more = connector.asks(bench.entity) - before
        expect(bool(more) and bool(before), "a field that is named later is not told: old rows would never get it")
        expect(not bench.api.requests, "a declaration contacted the source")

    def test_a_listing_names_every_living_record(self, bench: SourceBench) -> None:
        expect_able(bench, "listing")
        first = bench.add(120)
        bench.delete(first[3])
        later(bench)
        with connected(bench.connector()) as connector:
            _expect_declared(_reads(connector, bench), "listing")
            listed = [native_id for page in connector.ids(bench.entity, None, _until(connector)) for native_id, _ in page.ids]
        expect(len(listed) == len(set(listed)), "a listing names a record twice")
        expect(set(listed) == bench.truth().keys(), "a listing does not name exactly the living records")

    def test_records_are_fetched_by_id_complete(self, bench: SourceBench) -> None:
        expect_able(bench, "listing")
        first = bench.add(12)
        bench.delete(first[3])
        with connected(bench.connector()) as connector:
            if not _reads(connector, bench).by_id:
                return
            pages = list(connector.fetch(bench.entity, first[:8]))
        got = {row["native_id"]: row for page in pages for row in page.rows.get(bench.entity, ())}
        expect(got.keys() == set(first[:8]) - {first[3]}, "fetch gives other records than were asked for and are there")
        held = first_sync(bench).live(bench.entity)
        for native_id, row in got.items():
            expect(dict(row) == held[native_id], f"fetch gives {native_id} with other values than a read does")

    def test_a_purged_record_is_found_by_comparing_ids(self, bench: SourceBench) -> None:
        expect_able(bench, "purge", "listing")
        first = bench.add(20)
        held = first_sync(bench)
        bench.purge(first[4])
        later(bench)
        sync_into(bench, held, reconcile=True)
        compare(bench, held)

    def test_the_count_is_the_number_of_living_records(self, bench: SourceBench) -> None:
        expect_able(bench, "count")
        first = bench.add(30)
        bench.delete(first[2])
        later(bench)
        with connected(bench.connector()) as connector:
            _expect_declared(_reads(connector, bench), "counted")
            counted = connector.count(bench.entity)
        expect(counted in {None, len(bench.truth())}, f"the count is {counted} instead of {len(bench.truth())}")


def _reads(connector: Connector[Any], bench: SourceBench) -> EntityReads:
    return next(reads for reads in connector.reads() if reads.entity == bench.entity)


def _expect_declared(reads: EntityReads, what: str) -> None:
    expect(getattr(reads, what) is True, f"{reads.entity} can do it, and its reads do not say `{what}`")


def _until(connector: Connector[Any]) -> datetime:
    return connector.server_time() or connector.context.clock.now()
