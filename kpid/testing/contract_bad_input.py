"""The contract of connectors, what a person has to mend: it is said what is wrong and what to do, and no secret is told."""

from __future__ import annotations

from typing import Any

from kpid.errors import AuthError, ConnectorError
from kpid.plugin import Connector
from kpid.testing import faults
from kpid.testing.bench import SourceBench, compare, connected, expect_able, first_sync
from kpid.testing.contract_errors import expect_no_secret, sync_each
from kpid.testing.expecting import expect, expect_error
from kpid.testing.memory import MemorySync


class BadInputContract:
    """What comes of wrong credentials, missing fields and missing rights."""

    def test_refused_credentials_are_an_error_for_a_person(self, bench: SourceBench) -> None:
        bench.add(5)
        bench.revoke()
        with expect_error(AuthError) as caught:
            first_sync(bench)
        expect(bool(caught[0].hint), "an AuthError must say what to do")
        expect(len(bench.api.requests) <= 3, "refused credentials were used again and again")

    def test_a_missing_field_only_empties_its_column(self, bench: SourceBench) -> None:
        bench.add(8)
        column = bench.drop_field()
        rows = first_sync(bench).live(bench.entity)
        expect(len(rows) == len(bench.truth()), "records were lost with the field")
        expect(all(row.get(column) is None for row in rows.values()), f"{column} is not empty")

    def test_no_error_tells_a_secret(self, bench: SourceBench) -> None:
        bench.add(3)
        for status in (400, 401, 403, 404, 500):
            bench.api.fail(faults.status(status, {"message": f"you sent {' '.join(bench.secrets)}"}), times=10_000)
            with expect_error(ConnectorError) as caught:
                first_sync(bench)
            expect_no_secret(bench, caught[0])
            bench.api.forgive()

    def test_a_missing_right_is_named_and_spares_the_others(self, bench: SourceBench) -> None:
        expect_able(bench, "scopes")
        bench.add(5)
        with connected(bench.connector()) as connector:
            read = [reads.entity for reads in connector.reads()]
        entity, held = "accounts" if "accounts" in read else bench.entity, MemorySync()
        bench.lose_scope(entity)
        failed = sync_each(bench, held)
        expect(failed.keys() == {entity}, f"{entity} may not be read, and {sorted(failed) or 'nothing'} failed")
        error = failed[entity]
        expect(not error.transient and bool(error.hint), f"it is not said what to do: {error}")
        expect(not isinstance(error, AuthError), "a missing right for one entity must not end the whole source: SchemaError")
        if entity != bench.entity:
            compare(bench, held)
        with connected(bench.connector()) as connector:
            _expect_finding(connector)

    def test_a_field_that_is_not_there_is_named_and_spares_the_rest(self, bench: SourceBench) -> None:
        expect_able(bench, "fields")
        bench.add(5)
        held = MemorySync()
        with connected(bench.misspell_field()) as connector:
            _expect_finding(connector)
            held.run(connector)
        expect(bool(held.warnings), "nothing is said of the field that is not there")
        compare(bench, held)

    def test_a_pipeline_that_is_not_there_is_named(self, bench: SourceBench) -> None:
        expect_able(bench, "pipelines")
        bench.add(5)
        held, failed = MemorySync(), list[ConnectorError]()
        with connected(bench.rename_pipeline()) as connector:
            _expect_finding(connector)
            try:
                held.run(connector)
            except ConnectorError as error:
                failed.append(error)
        expect(bool(held.warnings) or any(error.hint and not error.transient for error in failed), "nothing is said of it")

    def test_check_says_what_works(self, bench: SourceBench) -> None:
        bench.add(1)
        with connected(bench.connector()) as connector:
            findings = connector.check()
        expect(bool(findings) and all(finding.ok for finding in findings), f"check found faults in a sound source: {findings}")
        bench.revoke()
        with connected(bench.connector()) as connector:
            findings = connector.check()
        expect(
            any(not finding.ok and bool(finding.hint) for finding in findings),
            "check did not see refused credentials",
        )


def _expect_finding(connector: Connector[Any]) -> None:
    found = [finding for finding in connector.check() if not finding.ok]
    expect(any(finding.hint for finding in found), f"check does not name it, or not what to do: {found}")
