"""Random histories through the real sync and real stores: see :mod:`kpid.testing.walks`. ``KPID_WALKS=1000`` walks that many."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import make_url

from kpid.testing import Scene, WalkContract
from kpid.testing.walks import walk_to_the_end
from kpid.warehouse.postgres import open_postgres
from tests.ingest.walks import FilesScene, SqlScene
from tests.vendors import BENCHES


class TestVendors(WalkContract):
    """The tables follow what people do at every vendor."""

    @pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Scene]:
        with request.param() as bench:
            yield bench


class TestPostgres:
    """The same where the warehouse is a PostgreSQL."""

    @pytest.mark.parametrize(("seed", "kind"), [*enumerate([*BENCHES, partial(SqlScene, "updated_at")])])
    def test_the_tables_follow_the_source(
        self, seed: int, kind: Callable[[], Scene], postgres: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        url = make_url(postgres).update_query_dict({"schema": f"w{abs(hash(request.node.name))}"})
        with kind() as bench:
            walk_to_the_end(bench, tmp_path, random.Random(seed), lambda: open_postgres(url))


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
