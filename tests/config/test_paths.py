from __future__ import annotations

from pathlib import Path

import pytest

from kpid.config.paths import absolute_url, path_from_url

FOLDER = Path("/etc/kpid")


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("sqlite:///var/kpid.db", "sqlite:////etc/kpid/var/kpid.db"),
        ("duckdb:///var/crm.duckdb", "duckdb:////etc/kpid/var/crm.duckdb"),
        ("sqlite:////var/lib/kpid.db", "sqlite:////var/lib/kpid.db"),
        ("sqlite+pysqlite:///a.db?timeout=5", "sqlite+pysqlite:////etc/kpid/a.db?timeout=5"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://kpid@db/kpid", "postgresql://kpid@db/kpid"),
    ],
)
def test_relative_files_in_urls_start_at_the_folder(url: str, absolute: str) -> None:
    assert absolute_url(url, FOLDER) == absolute
    assert absolute_url(absolute, FOLDER) == absolute


def test_path_of_a_url_is_its_file_if_it_has_one() -> None:
    assert path_from_url("duckdb:////data/crm.duckdb?x=1") == Path("/data/crm.duckdb")
    assert path_from_url("postgresql://db/kpid") is None
    assert path_from_url("sqlite:///:memory:") is None
