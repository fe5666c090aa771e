"""The Salesforce connector against a server that behaves like Salesforce."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kpid.testing import ConnectorContract
from tests.vendors.salesforce import SalesforceBench


@pytest.fixture
def bench() -> Iterator[SalesforceBench]:
    with SalesforceBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[SalesforceBench]:
        with SalesforceBench() as bench:
            yield bench
