"""The contract of connectors, what a person has to mend: it is said what is wrong and what to do, and no secret is told."""

from __future__ import annotations

from kpid.errors import AuthError, ConnectorError
from kpid.testing import faults
from kpid.testing.bench import SourceBench, connected, first_sync
from kpid.testing.expecting import expect, expect_error


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
            seen: BaseException | None = caught[0]
            while seen is not None:
                text = f"{seen!s} {seen!r} {vars(seen)}"
                expect(not any(secret in text for secret in bench.secrets), f"an error of status {status} tells a secret")
                seen = seen.__cause__ or seen.__context__
            bench.api.forgive()

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
