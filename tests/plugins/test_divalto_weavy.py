"""The Divalto weavy connector against a server that behaves like weavy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kpid.testing import ConnectorContract, WalkContract
from tests.vendors.weavy import WeavyBench


class TestContract(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[WeavyBench]:
        with WeavyBench() as bench:
            yield bench


class TestWalks(WalkContract):
    @pytest.fixture(params=[{}, {"paging": "offset", "page_size": 20}], ids=["by key", "by offset"])
    def bench(self, request: pytest.FixtureRequest) -> Iterator[WeavyBench]:
        with WeavyBench(**request.param) as bench:
            yield bench
