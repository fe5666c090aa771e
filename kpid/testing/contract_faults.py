"""The contract of connectors, what comes of faults: passing ones are survived, lasting ones are errors worth another try."""

from __future__ import annotations

from collections.abc import Callable

from kpid.errors import ConnectorError
from kpid.testing import faults
from kpid.testing.api import Fault
from kpid.testing.bench import SourceBench, compare, first_sync
from kpid.testing.expecting import expect, expect_error


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


_PASSING: tuple[Callable[[], Fault], ...] = (
    faults.bad_gateway,
    faults.cut,
    faults.half,
    faults.reset,
    faults.html_ok,
    lambda: faults.status(503),
    lambda: faults.limited(None),
)
