"""EasyERP: the contract of connectors on its fake, and its own traps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kpid.testing import ConnectorContract
from tests.vendors.easyerp import EasyErpBench


@pytest.fixture
def bench() -> Iterator[EasyErpBench]:
    with EasyErpBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    """The contract of connectors."""

    @pytest.fixture
    def bench(self) -> Iterator[EasyErpBench]:
        with EasyErpBench() as bench:
            yield bench
