"""Random histories through the real sync and real stores: see :mod:`kpid.testing.walks`. ``KPID_WALKS=1000`` walks that many."""

from collections.abc import Iterator
from typing import ClassVar

import pytest

from kpid.testing import Scene, WalkContract
from tests.ingest.walks import FilesScene, SqlScene
from tests.vendors import BENCHES


class TestVendors(WalkContract):
    """The tables follow what people do at every vendor."""

    @pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Scene]:
        with request.param() as bench:
            yield bench


class TestFiles(WalkContract):
    """The tables follow a folder of files."""

    seeds: ClassVar[range] = range(12)

    @pytest.fixture
    def bench(self) -> Iterator[Scene]:
        with FilesScene() as bench:
            yield bench


class TestDatabases(WalkContract):
    """The tables follow a database, read as a whole or by a cursor."""

    seeds: ClassVar[range] = range(8)

    @pytest.fixture(params=[None, "updated_at"], ids=["everything", "cursor"])
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Scene]:
        with SqlScene(request.param) as bench:
            yield bench
