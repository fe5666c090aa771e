"""A connector round each of whose pages something happens: people edit, lines go dead, processes are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from kpid.plugin import Connector, Cursor, DeletedPage, EntityReads, Finding, IdPage, Page


class Disturbed(Connector[Any]):
    """Another connector, with something happening round each of its pages.

    Args:
        inner: the connector that is read.
        happen: called before and after each page; what it raises comes out of the page.
    """

    name = "disturbed"

    def __init__(self, inner: Connector[Any], happen: Callable[[], None]) -> None:
        super().__init__(inner.settings, inner.context)
        self._inner = inner
        self._happen = happen

    def reads(self) -> Sequence[EntityReads]:
        """The inner one's."""
        return self._inner.reads()

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """The inner one's, disturbed."""
        for page in self._inner.pages(entity, cursor, until):
            self._happen()
            yield page
            self._happen()

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """The inner one's, disturbed."""
        for page in self._inner.deleted(entity, cursor, until):
            self._happen()
            yield page

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """The inner one's, disturbed."""
        for page in self._inner.ids(entity, cursor, until):
            self._happen()
            yield page

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """The inner one's, disturbed."""
        for page in self._inner.fetch(entity, ids):
            self._happen()
            yield page

    def asks(self, entity: str) -> frozenset[str]:
        """The inner one's."""
        return self._inner.asks(entity)

    def count(self, entity: str) -> int | None:
        """The inner one's."""
        return self._inner.count(entity)

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """The inner one's."""
        return self._inner.since(entity, at)

    def server_time(self) -> datetime | None:
        """The inner one's."""
        return self._inner.server_time()

    def check(self) -> Sequence[Finding]:
        """The inner one's."""
        return self._inner.check()
