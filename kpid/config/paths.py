"""Paths inside database URLs: ``sqlite:///var/kpid.db`` is ``var/kpid.db`` below the configuration's folder."""

from __future__ import annotations

from pathlib import Path

_FILE_SCHEMES = ("sqlite", "duckdb", "chdb")


def absolute_url(url: str, folder: Path) -> str:
    """``url`` with its relative file path made absolute from ``folder``; other URLs as they are."""
    path = path_from_url(url)
    if path is None or path.is_absolute():
        return url
    scheme, _, rest = url.partition(":///")
    query = rest.partition("?")[2]
    return f"{scheme}:///{(folder / path).as_posix()}{'?' if query else ''}{query}"


def path_from_url(url: str) -> Path | None:
    """The file behind a ``sqlite:///`` or ``duckdb:///`` URL; None for servers and for databases in memory."""
    scheme, found, rest = url.partition(":///")
    name = rest.partition("?")[0]
    if not found or scheme.partition("+")[0] not in _FILE_SCHEMES or name in ("", ":memory:"):
        return None
    return Path(name)
