"""What every connector must keep, as a class of tests: subclass :class:`ConnectorContract` and give it a bench.

class TestHubSpot(ConnectorContract):
@pytest.fixture
def bench(self):
with HubSpotBench() as bench:
yield bench
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from kpid.errors import AuthError, ConnectorError
from kpid.plugin import Connector, entities
from kpid.testing import faults
from kpid.testing.api import FakeApi, Fault
from kpid.testing.clock import FakeClock
from kpid.testing.expecting import expect, expect_error
from kpid.testing.memory import MemorySync


class SourceBench(ABC):
    """A source under test: a fake of the vendor's API, and the connector that reads it.

    Attributes:
        api: the fake; faults are planned on it.
        clock: shared by the fake and the connector.
        entity: the entity that the contract changes and looks at.
        secrets: texts that must not appear in any error.
    """

    api: FakeApi
    clock: FakeClock
    entity: str
    secrets: tuple[str, ...]

    @abstractmethod
    def connector(self) -> Connector[Any]:
        """A fresh connector, as a new process would have."""

    @abstractmethod
    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        """Add records of ``entity``; gives their native ids. ``same_instant``: all with one modified time."""

    @abstractmethod
    def change(self, native_id: str) -> None:
        """Change a record."""

    @abstractmethod
    def delete(self, native_id: str) -> None:
        """Delete a record as a user does."""

    @abstractmethod
    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        """What a complete sync must hold: the live records of ``entity`` by native id, with the columns to compare."""

    @abstractmethod
    def revoke(self) -> None:
        """Make the credentials invalid."""

    @abstractmethod
    def drop_field(self) -> str:
        """Take away a field that is not essential, as an administrator does; gives the column that it fed."""


class _ReadingContract:
    """What comes of records."""

    def test_an_empty_source_gives_no_rows(self, bench: SourceBench) -> None:
        synced = _synced(bench)
        expect(not synced.live(bench.entity), "an empty source gave rows")

    def test_a_first_read_gives_every_record(self, bench: SourceBench) -> None:
        bench.add(250)
        _compare(bench, _synced(bench))

    def test_rows_have_canonical_columns_and_text_ids(self, bench: SourceBench) -> None:
        bench.add(5)
        for entity, rows in _synced(bench).rows.items():
            columns = entities.ENTITIES[entity].c
            for native_id, row in rows.items():
                expect(isinstance(native_id, str) and bool(native_id), f"{entity}: native id {native_id!r}")
                unknown = row.keys() - set(columns.keys())
                expect(not unknown, f"{entity}: columns {sorted(unknown)} are not canonical")

    def test_a_second_read_changes_nothing(self, bench: SourceBench) -> None:
        bench.add(30)
        synced = _synced(bench)
        before = {entity: {key: dict(row) for key, row in rows.items()} for entity, rows in synced.rows.items()}
        _later(bench)
        _sync(bench, synced)
        expect(synced.rows == before, "a second read of an unchanged source changed rows")

    def test_additions_changes_and_deletions_are_seen(self, bench: SourceBench) -> None:
        first = bench.add(60)
        synced = _synced(bench)
        bench.add(3)
        bench.change(first[7])
        bench.delete(first[20])
        _later(bench)
        _sync(bench, synced)
        _compare(bench, synced)

    def test_records_of_one_instant_are_not_lost(self, bench: SourceBench) -> None:
        bench.add(10)
        synced = _synced(bench)
        bench.add(450, same_instant=True)
        _later(bench)
        _sync(bench, synced)
        _compare(bench, synced)

    def test_records_that_come_with_an_instant_already_seen_are_not_lost(self, bench: SourceBench) -> None:
        bench.add(5, same_instant=True)
        synced = _synced(bench)
        bench.add(5, same_instant=True)
        _later(bench)
        _sync(bench, synced)
        _compare(bench, synced)

    def test_a_sync_killed_at_any_page_goes_on(self, bench: SourceBench) -> None:
        bench.add(220)
        synced = MemorySync()
        for pages in (1, 1, 2, 1, 7, 100):
            _sync(bench, synced, entity=bench.entity, stop_after=pages)
        _compare(bench, synced)
        bench.add(220)
        _later(bench)
        for pages in (1, 1, 2, 1, 7, 100):
            _sync(bench, synced, entity=bench.entity, stop_after=pages)
        _sync(bench, synced)  # the last one may only have finished what a killed one began
        _compare(bench, synced)


class _FaultContract:
    """What comes of faults."""

    def test_a_limit_is_waited_for(self, bench: SourceBench) -> None:
        bench.add(5)
        bench.api.fail(faults.limited("17"))
        _compare(bench, _synced(bench))
        expect(17.0 in bench.clock.sleeps, "the 17 seconds of Retry-After were not waited for")

    def test_passing_faults_are_survived(self, bench: SourceBench) -> None:
        bench.add(20)
        for fault in _PASSING:
            bench.api.fail(fault(), times=2)
            _compare(bench, _synced(bench))

    def test_a_lasting_fault_is_an_error_worth_another_try(self, bench: SourceBench) -> None:
        bench.add(5)
        for fault in _PASSING:
            bench.api.fail(fault(), times=10_000)
            with expect_error(ConnectorError) as caught:
                _synced(bench)
            expect(isinstance(caught[0], ConnectorError) and caught[0].transient, f"not transient: {caught[0]}")
            bench.api.forgive()

    def test_refused_credentials_are_an_error_for_a_person(self, bench: SourceBench) -> None:
        bench.add(5)
        bench.revoke()
        with expect_error(AuthError) as caught:
            _synced(bench)
        expect(bool(caught[0].hint), "an AuthError must say what to do")
        expect(len(bench.api.requests) <= 3, "refused credentials were used again and again")

    def test_a_missing_field_only_empties_its_column(self, bench: SourceBench) -> None:
        bench.add(8)
        column = bench.drop_field()
        rows = _synced(bench).live(bench.entity)
        expect(len(rows) == len(bench.truth()), "records were lost with the field")
        expect(all(row.get(column) is None for row in rows.values()), f"{column} is not empty")

    def test_no_error_tells_a_secret(self, bench: SourceBench) -> None:
        bench.add(3)
        for status in (400, 401, 403, 404, 500):
            bench.api.fail(faults.status(status, {"message": f"you sent {' '.join(bench.secrets)}"}), times=10_000)
            with expect_error(ConnectorError) as caught:
                _synced(bench)
            seen: BaseException | None = caught[0]
            while seen is not None:
                text = f"{seen!s} {seen!r} {vars(seen)}"
                expect(not any(secret in text for secret in bench.secrets), f"an error of status {status} tells a secret")
                seen = seen.__cause__ or seen.__context__
            bench.api.forgive()

    def test_check_says_what_works(self, bench: SourceBench) -> None:
        bench.add(1)
        with _closing(bench.connector()) as connector:
            findings = connector.check()
        expect(bool(findings) and all(finding.ok for finding in findings), f"check found faults in a sound source: {findings}")
        bench.revoke()
        with _closing(bench.connector()) as connector:
            findings = connector.check()
        expect(
            any(not finding.ok and bool(finding.hint) for finding in findings),
            "check did not see refused credentials",
        )


_PASSING: tuple[Callable[[], Fault], ...] = (
    faults.bad_gateway,
    faults.cut,
    faults.half,
    faults.reset,
    faults.html_ok,
    lambda: faults.status(503),
    lambda: faults.limited(None),
)


@contextmanager
def _closing(connector: Connector[Any]) -> Iterator[Connector[Any]]:
    try:
        yield connector
    finally:
        connector.close()


class ConnectorContract(_ReadingContract, _FaultContract):
    """The tests. ``bench`` is a fixture of the subclass that gives a :class:`SourceBench` with no records in it."""


def _synced(bench: SourceBench) -> MemorySync:
    synced = MemorySync()
    _sync(bench, synced)
    return synced


def _sync(bench: SourceBench, synced: MemorySync, *, entity: str | None = None, stop_after: int | None = None) -> None:
    with _closing(bench.connector()) as connector:
        synced.run(connector, entity=entity, stop_after=stop_after)


def _later(bench: SourceBench) -> None:
    bench.clock.advance(timedelta(minutes=15))


def _compare(bench: SourceBench, synced: MemorySync) -> None:
    truth, held = bench.truth(), synced.live(bench.entity)
    missing, extra = sorted(truth.keys() - held.keys()), sorted(held.keys() - truth.keys())
    expect(not missing, f"{len(missing)} records are missing: {missing[:5]}")
    expect(not extra, f"{len(extra)} records are too many: {extra[:5]}")
    for native_id, columns in truth.items():
        row = held[native_id]
        for name, value in columns.items():
            expect(row.get(name) == value, f"{native_id}.{name}: {row.get(name)!r} instead of {value!r}")
