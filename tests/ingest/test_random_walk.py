"""Random histories through the real sync and real stores: people edit while syncs run, break off, are killed and meet faults.

At the end the tables hold what the CRM holds, and one more sync changes nothing. ``KPID_WALKS=1000`` walks that many times.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.walks import FilesWalk, HubSpotWalk, SqlWalk, Walk

WALKS = int(os.environ.get("KPID_WALKS", "0"))


def _walk(walk: Walk) -> None:
    with walk:
        walk.live_through(rounds=walk.chance.randint(1, 4))
        walk.settle()
        walk.compare()
        before = walk.contents()
        assert walk.sync_calmly().changed == 0, "a second look found changes"
        assert walk.contents() == before
        walk.compare()


@pytest.mark.parametrize("seed", range(WALKS or 5))
def test_the_tables_follow_a_hubspot_portal(tmp_path: Path, seed: int) -> None:
    _walk(HubSpotWalk(tmp_path, random.Random(seed)))


@pytest.mark.parametrize("seed", range(WALKS or 12))
def test_the_tables_follow_a_folder_of_files(tmp_path: Path, seed: int) -> None:
    _walk(FilesWalk(tmp_path, random.Random(seed)))


@pytest.mark.parametrize("options", [{}, {"cursor": "updated_at"}], ids=["everything", "cursor"])
@pytest.mark.parametrize("seed", range(WALKS or 8))
def test_the_tables_follow_a_database(tmp_path: Path, seed: int, options: dict[str, Any]) -> None:
    _walk(SqlWalk(tmp_path, random.Random(seed), **options))
