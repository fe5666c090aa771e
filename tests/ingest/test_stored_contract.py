"""What connectors give, in real stores: see :mod:`kpid.testing.contract_stored`."""

from collections.abc import Iterator

import pytest

from kpid.testing import SourceBench, StoredContract
from tests.vendors import BENCHES


class TestVendors(StoredContract):
    """Merges, fields, purges and budgets of every vendor."""

    @pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
    def bench(self, request: pytest.FixtureRequest) -> Iterator[SourceBench]:
        with request.param() as bench:
            yield bench
