"""What commands print: tables for people, JSON for machines, progress for those who wait."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from rich.console import Console

Columns: TypeAlias = Mapping[str, Callable[[Any], str] | None]
"""Heading -> key is the heading with blanks as underscores; the function makes the cell's text from the value."""


def console(*, stderr: bool = False) -> Console:
    """A terminal: as wide as it is, or 160 where there is none."""
    from rich.console import Console as RichConsole  # noqa: PLC0415 - costs time that `--help` need not pay

    stream = sys.stderr if stderr else sys.stdout
    return RichConsole(stderr=stderr, width=None if stream.isatty() else 160, soft_wrap=not stream.isatty(), highlight=False)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """A line on standard output, as it is: no markup."""
    sys.stdout.write(_clean(text) + "\n")


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(_clean(text) + "\n")


def _clean(text: str) -> str:
    """Without control characters: what comes from a CRM must not steer a terminal."""
    return "".join(char if char in "\n\t" or char.isprintable() else "�" for char in text)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Columns, *, none: str) -> None:
    """A table; ``none`` is said when there is nothing in it."""
    if not rows:
        say(none)
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = [_cell(row.get(heading.replace(" ", "_")), convert) for heading, convert in columns.items()]
        table.add_row(*(Text(_clean(cell)) for cell in cells))
    console().print(table)


def _cell(value: Any, convert: Callable[[Any], str] | None) -> str:
    if value is None:
        return ""
    return convert(value) if convert else str(value)


def local(zone: ZoneInfo) -> Callable[[Any], str]:
    """Makes ISO instants readable: local time to the minute."""
    return lambda value: f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M}"


def minute(value: Any) -> str:
    """An ISO instant to the minute, in UTC."""
    return local(ZoneInfo("UTC"))(value) + " UTC"


def print_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """Findings as lines: what, where, and what to do."""
    for one in findings:
        mark = "ok  " if one["ok"] else "warn" if one.get("warning") else "FAIL"
        place = f" ({one['where']})" if one.get("where") else ""
        say(f"{mark} {one['subject']}: {one['text']}{place}")
        if one.get("hint") and not one["ok"]:
            say(f"     -> {one['hint']}")


@contextmanager
def progress_shown(
    terminal: Console | None = None, seconds: Callable[[], float] | None = None
) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A bar per kind of work on standard error, if that is a terminal; else nothing (None).

    Rows that are read have their rate, and the time that is left where their number is known.

    Args:
        terminal: another one to draw on.
        seconds: tells the time.
    """
    if terminal is None and not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class PaceColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            is_rows = "/" in task.description
            return Text(pace_text(task.finished_speed or task.speed if is_rows else None, task.remaining, task.time_remaining))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), PaceColumn())
    drawn_on = terminal or console(stderr=True)
    with Progress(*columns, console=drawn_on, transient=True, get_time=seconds) as bar:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield told


def pace_text(rate: float | None, remaining: float | None, seconds: float | None) -> str:
    """``12,300 rows/s, 2 min left``: what is known of it.

    Args:
        rate: rows per second.
        remaining: how many are left; None: nobody knows.
        seconds: how long these will take.
    """
    from kpid.analysis.wording import age_text  # noqa: PLC0415

    parts = [f"{rate:,.0f} rows/s"] if rate else []
    if remaining and seconds is not None:
        parts.append(f"{age_text(timedelta(seconds=seconds))} left")
    return ", ".join(parts)
