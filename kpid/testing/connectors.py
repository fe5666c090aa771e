"""What every connector must keep, as a class of tests: subclass :class:`ConnectorContract` and give it a bench.

class TestHubSpot(ConnectorContract):
    @pytest.fixture
    def bench(self):
        with HubSpotBench() as bench:
            yield bench
"""

from __future__ import annotations

from kpid.testing.bench import SourceBench
from kpid.testing.contract_bad_input import BadInputContract
from kpid.testing.contract_core import CoreContract
from kpid.testing.contract_faults import FaultContract
from kpid.testing.contract_reading import ReadingContract

__all__ = ["ConnectorContract", "SourceBench"]


class ConnectorContract(ReadingContract, FaultContract, BadInputContract, CoreContract):
    """The tests. ``bench`` is a fixture of the subclass that gives a :class:`SourceBench` with no records in it."""
