"""The contract of connectors, what comes of faults: passing ones are survived, lasting ones are errors worth another try."""

from __future__ import annotations

from collections.abc import Callable

from kpid.errors import AuthError, ConnectorError, DeferredError
from kpid.testing import faults
from kpid.testing.api import FakeApi, Fault
from kpid.testing.bench import SourceBench, compare, connected, expect_able, first_sync, later, sync_into
from kpid.testing.contract_errors import expect_no_secret, sync_each
from kpid.testing.expecting import compare_rows, expect, expect_error
from kpid.testing.memory import MemorySync


class FaultContract:
    """What comes of faults."""

    def test_a_limit_is_waited_for(self, bench: SourceBench) -> None:
        bench.add(5)
        bench.api.fail(faults.limited("17"))
        compare(bench, first_sync(bench))
        expect(17.0 in bench.clock.sleeps, "the 17 seconds of Retry-After were not waited for")

    def test_passing_faults_are_survived(self, bench: SourceBench) -> None:
        bench.add(20)
        for fault in _PASSING:
            bench.api.fail(fault(), times=2)
            compare(bench, first_sync(bench))

    def test_a_lasting_fault_is_an_error_worth_another_try(self, bench: SourceBench) -> None:
        bench.add(5)
        for fault in _PASSING:
            bench.api.fail(fault(), times=10_000)
            with expect_error(ConnectorError) as caught:
                first_sync(bench)
            expect(isinstance(caught[0], ConnectorError) and caught[0].transient, f"not transient: {caught[0]}")
            bench.api.forgive()

    def test_compressed_answers_are_read(self, bench: SourceBench) -> None:
        bench.add(20)
        bench.api.fail(faults.compressed(), times=10_000)
        compare(bench, first_sync(bench))

    def test_a_token_that_expires_in_the_middle_is_renewed(self, bench: SourceBench) -> None:
        expect_able(bench, "tokens")
        bench.add(150)
        rows = {}
        with connected(bench.connector(**bench.small_pages)) as connector:
            until = connector.server_time() or bench.clock.now()
            bench.expire_token()
            for number, page in enumerate(connector.pages(bench.entity, None, until)):
                rows.update({row["native_id"]: row for row in page.rows.get(bench.entity, ())})
                if number < 3:
                    bench.expire_token()
        compare_rows(bench.truth(), rows, bench.entity)

    def test_credentials_revoked_in_the_middle_are_an_error_for_a_person(self, bench: SourceBench) -> None:
        bench.add(5)
        with connected(bench.connector()) as connector:
            connector.server_time()
            bench.revoke()
            before = len(bench.api.requests)
            with expect_error(AuthError) as caught:
                MemorySync().run(connector)
        expect(bool(caught[0].hint), "an AuthError must say what to do")
        expect(len(bench.api.requests) - before <= 3, "revoked credentials were used again and again")
        expect_no_secret(bench, caught[0])

    def test_a_spent_day_defers_and_loses_nothing(self, bench: SourceBench) -> None:
        expect_able(bench, "daily")
        first = bench.add(30)
        held = first_sync(bench)
        bench.change(first[2])
        later(bench)
        bench.spend_day()
        before = len(bench.api.requests)
        with expect_error(DeferredError) as caught:
            sync_into(bench, held)
        expect(isinstance(caught[0], DeferredError) and caught[0].until > bench.clock.now(), "it is not said until when")
        expect(len(bench.api.requests) - before <= 3, "a spent budget was asked for again and again")
        bench.new_day()
        later(bench)
        sync_into(bench, held)
        compare(bench, held)

    def test_a_redirect_to_another_host_gets_no_token(self, bench: SourceBench) -> None:
        bench.add(5)
        with FakeApi() as other:
            bench.api.fail(faults.redirected(f"{other.url}/elsewhere"), times=10_000)
            with expect_error(ConnectorError) as caught:
                first_sync(bench)
            expect(not other.requests, "a redirect to another host was followed")
        expect(len(bench.api.requests) <= 5, "the redirect was asked for again and again")
        expect_no_secret(bench, caught[0])
        bench.api.forgive()
        compare(bench, first_sync(bench))

    def test_a_silent_endpoint_spares_the_others(self, bench: SourceBench) -> None:
        expect_able(bench, "silence")
        bench.add(5)
        entity, held = bench.silence(), MemorySync()
        failed = sync_each(bench, held, **bench.impatient)
        expect(failed.keys() == {entity}, f"{entity} gives no answer, and {sorted(failed) or 'nothing'} failed")
        expect(failed[entity].transient, f"not transient: {failed[entity]}")
        compare(bench, held)


_PASSING: tuple[Callable[[], Fault], ...] = (
    faults.bad_gateway,
    faults.cut,
    faults.half,
    faults.reset,
    faults.html_ok,
    lambda: faults.status(503),
    lambda: faults.limited(None),
)
