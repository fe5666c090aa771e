"""What the parts of one sync share: its surroundings, its tally, and the one way in which a connector is asked for anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from kpid.clock import Clock
from kpid.config.secrets import mask_of
from kpid.errors import ConnectorError, PluginError
from kpid.ingest.merging import Merges
from kpid.ingest.rows import RowProblem
from kpid.plugin import Connector
from kpid.plugin.redact import redact
from kpid.warehouse import Warehouse

T = TypeVar("T")

Progress = Callable[[str, int, int | None], None]
"""Told (what, done, total) now and then during long work."""


@dataclass(frozen=True, slots=True)
class Run:
    """One sync of one source.

    ``until`` is the upper bound of everything it reads, by the source's clock where it tells; ``since`` is from when on a person
    wants everything read again.
    """

    source: str
    connector: Connector[Any]
    warehouse: Warehouse
    clock: Clock
    timezone: ZoneInfo
    until: datetime
    merges: Merges
    full: bool = False
    since: datetime | None = None
    progress: Progress | None = None


@dataclass(slots=True)
class Tally:
    """What the sync of one entity has done so far; also when it fails half-way."""

    rows: int = 0
    changed: int = 0
    deletes: int = 0
    total: int | None = None
    through: datetime | None = None
    complete: bool = False
    """Every row of the source was read: problems of rows that were not met again are over."""
    is_whole: bool = False
    """After this read, every record of the source should be stored."""
    suspicious: bool = False
    warnings: list[str] = field(default_factory=list)
    findings: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    """What checks of the whole found, by the check's name: a text and a hint; None: all is well again."""
    notes: list[str] = field(default_factory=list)
    """What the person who asked for this sync should be told; nothing is wrong."""
    problems: dict[tuple[str, str], RowProblem] = field(default_factory=dict)

    def add_problem(self, problem: RowProblem) -> None:
        """Count a row problem with those of the same column."""
        known = self.problems.get((problem.entity, problem.column))
        count = problem.count + (known.count if known else 0)
        first = known or problem
        self.problems[problem.entity, problem.column] = RowProblem(first.entity, first.column, first.what, count, first.example)


def ask(source: str, connector: Connector[Any], call: Callable[[], T]) -> T:
    """Call the connector. Its secrets are stars in what is raised, whatever its author wrote.

    Raises:
        ConnectorError: as the connector raised it.
        PluginError: the connector failed in any other way: its own fault.
    """
    try:
        return call()
    except ConnectorError as error:
        error.mask(mask_of(connector.settings))
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the connector failed with {type(error).__name__}: {redact(mask_of(connector.settings)(str(error)))}",
            where=f"source {source}",
            hint="This is a fault in the connector plugin: tell its author; the other sources go on",
        ) from error


def ask_each(run: Run, call: Callable[[], Iterator[T]]) -> Iterator[T]:
    """Ask the connector for one page after another; errors as in :func:`ask`."""
    pages = ask(run.source, run.connector, lambda: iter(call()))
    try:
        while (page := ask(run.source, run.connector, lambda: next(pages, None))) is not None:
            held = [page]
            del page
            yield held.pop()  # nothing here holds on to a page while the next one is made
    finally:
        close = getattr(pages, "close", None)
        if close is not None:
            ask(run.source, run.connector, close)
