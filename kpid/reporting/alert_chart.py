"""The chart of an alert: the newest periods of its series, or of each of several, and the limit. It never keeps words from going.

Drawing happens in a thread of its own with little time: a picture that fails, or that takes too long, is left out.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from decimal import Decimal
from typing import Any

from kpid.analysis.periods import Calendar, period_from_label
from kpid.analysis.wording import exact_text, limit_text, short_period, value_text
from kpid.errors import KpidError
from kpid.model import Level, Notice, NoticeItem
from kpid.plugin.notifier import Image
from kpid.reporting.alert_words import is_ended, label_text
from kpid.reporting.charts import BIG, Line, line_chart, trend_word
from kpid.reporting.cleaning import one_line
from kpid.reporting.multiples import WIDTH, Cell, Grid, grid_chart
from kpid.reporting.raster import to_png

SECONDS = 3.0
"""A picture takes some 20 ms."""
LEAST_POINTS = 3
MOST_POINTS = 14
MOST_DRAWN = 20
"""Up to so many series of a message are all drawn ..."""
FEW_DRAWN = 6
"""... of more, so many: the worst."""
_ONE_SCALE = frozenset({"ratio", "score"})
_KEPT = 16
_LARGEST = 1e15


def line_of(item: NoticeItem, notice: Notice, calendar: Calendar) -> Line | None:
    """What the chart of a series shows; None where there is too little to show."""
    trail = item.trail[-MOST_POINTS:]
    values = [None if value is None else float(value) for _, value in trail]
    known = [value for value in values if value is not None]
    if len(known) < LEAST_POINTS or values[-1] is None or max(map(abs, known)) > _LARGEST:
        return None
    limit = _limit(item, known)
    status = "on" if is_ended(item) else "off" if item.level is Level.CRITICAL else "watch"
    labels = [_foot(label, notice, calendar) for label, _ in trail]
    best = _best(values, notice.better)
    return Line(
        labels=labels,
        values=values,
        target=None if limit is None else float(limit),
        status=status,
        run=0 if is_ended(item) else _run([label for label, _ in trail], item.since),
        end_text=exact_text(trail[-1][1], item.limit, notice.unit, notice.currency),
        target_text=f"limit {limit_text(limit, notice.unit, notice.currency)}" if limit is not None else "",
        best_text="" if best is None else value_text(trail[best][1], notice.unit, notice.currency),
        best_index=best,
    )


def grid_of(notices: Sequence[Notice], calendar: Calendar) -> Grid | None:
    """What the chart of a message of several series shows: each of them, or the worst of many; None where nothing can be shown.

    Args:
        notices: worst first, their series worst first.
        calendar: how time is cut.
    """
    several = len(notices) > 1
    total = sum(len(notice.items) for notice in notices)
    most = MOST_DRAWN if total <= MOST_DRAWN else FEW_DRAWN
    cells: list[Cell] = []
    for item, notice in _in_turn(notices):
        if len(cells) == most:
            break
        line = line_of(item, notice, calendar) if item.trail else None
        if line is not None:
            whose = one_line(item.segment, 60) if item.segment not in {"", "all"} else ""
            name = one_line(notice.kpi_name, 60)
            cells.append(Cell(whose or name, line, _span(item, notice, calendar), name if several and whose else ""))
    if not cells:
        return None
    scales = {(notice.kpi, notice.unit) for notice in notices}
    return Grid(cells, len(scales) == 1 and notices[0].unit in _ONE_SCALE, total)


def _in_turn(notices: Sequence[Notice]) -> Iterator[tuple[NoticeItem, Notice]]:
    """The worst series of each notice, then the second of each, and so on."""
    for place in range(max((len(notice.items) for notice in notices), default=0)):
        for notice in notices:
            if place < len(notice.items):
                yield notice.items[place], notice


def _span(item: NoticeItem, notice: Notice, calendar: Calendar) -> tuple[str, str]:
    """The first and the last period, with their years: of thirteen months both are an October."""
    trail = item.trail[-MOST_POINTS:]
    first, last = (one_line(label_text(label, notice, calendar, short=True), 24) for label, _ in (trail[0], trail[-1]))
    return first, last


def words_of(grid: Grid, notices: Sequence[Notice]) -> str:
    """The grid in words."""
    trends = Counter(trend_word(cell.line.values) for cell in grid.cells)
    counts = ", ".join(f"{count} {word}" for word, count in trends.most_common())
    names = list(dict.fromkeys(one_line(notice.kpi_name, 60) for notice in notices))
    told = names[0] if len(names) == 1 else f"{len(names)} KPIs"
    spans = {cell.span for cell in grid.cells}
    span = f", {' to '.join(spans.pop())}" if len(spans) == 1 else ""
    return f"{told}{span}, {grid.scope}: {counts}"


def alt_of(line: Line, notice: Notice, item: NoticeItem) -> str:
    """The chart in words: what stands in its place where pictures are not shown."""
    name = one_line(notice.kpi_name, 80)
    whose = f" of {one_line(item.segment, 60)}" if item.segment not in {"", "all"} else ""
    span = f"{line.labels[0]} to {line.labels[-1]}"
    target = f", {line.target_text}" if line.target_text else ""
    return f"{name}{whose}, {span}: {trend_word(line.values)}, {line.end_text} at the end{target}"


def _limit(item: NoticeItem, known: Sequence[float]) -> Decimal | None:
    """The limit as a line; of conditions that compare it is this period's, and only shown where the values are near it."""
    form, limit = item.threshold.lstrip(), item.limit
    if limit is None or abs(limit) > _LARGEST or not form.startswith(("<", ">", "drop", "rise", "change")):
        return None
    if form[:1] in {"<", ">"}:
        return limit
    room = (max(known) - min(known)) * 1.5
    return limit if min(known) - room <= float(limit) <= max(known) + room else None


def _foot(label: str, notice: Notice, calendar: Calendar) -> str:
    try:
        return one_line(short_period(period_from_label(notice.period, label, calendar), calendar), 12)
    except KpidError:
        return one_line(label, 12)


def _run(labels: Sequence[str], since: str) -> int:
    """How many periods at the end are bad: since the first bad one, where the chart reaches so far back."""
    return len(labels) - max(at for at, label in enumerate(labels) if label == since) if since in labels else 0


def _best(values: Sequence[float | None], better: str) -> int | None:
    """Where the best value is, if it is not the last, which is labelled anyway."""
    known = {at: value for at, value in enumerate(values[:-1]) if value is not None}
    if better not in {"up", "down"} or not known:
        return None
    return (max if better == "up" else min)(known, key=lambda at: known[at])


class Drawing:
    """Draws charts, each once.

    Args:
        draw: SVG to PNG.
        seconds: how long a picture may take.
    """

    def __init__(self, draw: Callable[[str], bytes] = to_png, seconds: float = SECONDS) -> None:
        self._draw = draw
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._stuck: Future[bytes] | None = None

    def image(self, line: Line, notice: Notice, item: NoticeItem) -> Image | None:
        """The picture of a line; None where it cannot be had now."""
        height = round(BIG.height * BIG.shown / BIG.width)
        return self._image(line_chart(line, BIG), alt_of(line, notice, item), (BIG.shown, height))

    def images(self, grid: Grid, notices: Sequence[Notice]) -> Image | None:
        """The picture of several lines; None where it cannot be had now."""
        return self._image(grid_chart(grid), words_of(grid, notices), (WIDTH, grid.height))

    def _image(self, svg: str, alt: str, size: tuple[int, int]) -> Image | None:
        png = self._png(svg)
        return None if png is None else Image("trend", png, alt, *size)

    def _png(self, svg: str) -> bytes | None:
        with self._lock:
            if svg in self._made:
                return self._made[svg]
            if self._stuck is not None and not self._stuck.done():
                return None
            self._stuck = made = Future[bytes]()
            threading.Thread(target=_into, args=(made, self._draw, svg), name="chart", daemon=True).start()
            wait([made], timeout=self._seconds)
            if not made.done() or made.exception() is not None:
                return None
            self._made[svg] = made.result()
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
            return self._made[svg]


def _into(made: Future[Any], draw: Callable[[str], bytes], svg: str) -> None:
    try:
        made.set_result(draw(svg))
    except BaseException as error:  # noqa: BLE001 - whatever becomes of a picture, the words go out
        made.set_exception(error)
