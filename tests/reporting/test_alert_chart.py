"""The chart of an alert: what it shows, and that it can never keep the words from going out."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from kpid.errors import KpidError
from kpid.model import Level
from kpid.plugin.notifier import Message
from kpid.reporting.alert_chart import Drawing, grid_of, line_of
from kpid.reporting.alert_view import Plainly
from kpid.reporting.alert_words import label_text
from kpid.reporting.multiples import WIDTH, grid_chart
from kpid.reporting.raster import _has_ink
from kpid.reporting.render import Renderer, shipped_templates
from tests.reporting.alert_cases import ACTIONS, alert, rules
from tests.reporting.weeks import CALENDAR, renderer

NOTICE = alert(1, "fired")


def told_with(drawing: Drawing) -> Message:
    pages = Renderer(shipped_templates(), {}, CALENDAR, drawing=drawing)
    return pages.bundle([NOTICE], Plainly(actions=ACTIONS))


def words(message: Message) -> tuple[str, str, object]:
    return message.title, message.text, message.facts


def test_chart_shows_the_newest_periods_the_limit_and_the_bad_run() -> None:
    line = line_of(NOTICE.items[0], NOTICE, CALENDAR)
    assert line is not None
    assert (line.labels[0], line.labels[-1]) == ("Oct", "Oct")
    assert (line.target, line.target_text, line.end_text) == (0.4, "limit 40%", "39.0%")
    assert (line.run, line.status, line.best_text) == (1, "off", "49.0%")


def test_picture_is_in_the_mail_with_words_in_its_place() -> None:
    message = renderer().alert(NOTICE)
    [image] = message.images
    assert _has_ink(image.png)
    assert f'src="cid:{image.name}"' in (message.html or "")
    assert image.alt.startswith("Win rate of Seller 0000 Example, Oct to Oct: ")
    assert image.alt.endswith("39.0% at the end, limit 40%")
    [section] = [part for part in message.sections if part.kind == "image"]
    assert section.text == image.alt, "where there are no pictures, it is said what they show"


def test_days_of_a_quarter_to_date_are_called_by_their_day_and_the_quarter_by_its_name() -> None:
    trail = tuple((f"QTD 2026-11-{day:02}", Decimal(day) / 10) for day in range(10, 23))
    since = {"since": "QTD 2026-11-20", "threshold": "< 3", "limit": Decimal(3), "value": Decimal("2.2"), "trail": trail}
    before = {"previous": Decimal("1.2"), "previous_label": "QTD 2026-08-22", "baseline": None, "level": Level.WARN}
    coverage = replace(NOTICE, kpi="coverage", kpi_name="Coverage", unit="times", by=(), period="qtd", period_label=trail[-1][0])
    item = replace(NOTICE.items[0], segment="all", causes=(), **since, **before)
    line = line_of(item, coverage, CALENDAR)
    assert line is not None
    assert (line.labels[-4:], line.run, line.target_text) == (["19 Nov", "20 Nov", "21 Nov", "22 Nov"], 3, "limit 3×")
    message = renderer().alert(replace(coverage, items=(item,)))
    told = " ".join(message.text.split())
    assert "Coverage rose to 2.2× in Q4 to 22 Nov 2026, below 3×" in told
    assert "Threshold below 3×" in told
    assert "Before 1.2× in Q3 to 22 Aug 2026" in told
    assert "Since Fri 20 Nov 2026" in told


def test_label_with_a_to_in_it_is_one_period() -> None:
    rolling = replace(NOTICE, period="rolling_90d")
    assert label_text("90d to 2026-11-22", rolling, CALENDAR) == "90 days to 22 Nov 2026"
    assert label_text("2026-09 to 2026-10", NOTICE, CALENDAR) == "September 2026 to October 2026"


@pytest.mark.parametrize(
    "trail", [(), (("2026-09", Decimal(1)), ("2026-10", Decimal(2))), (*[("2026-09", Decimal(1))] * 5, ("2026-10", None))]
)
def test_too_little_to_show_gives_no_chart(trail: tuple[tuple[str, Decimal | None], ...]) -> None:
    notice = replace(NOTICE, items=(replace(NOTICE.items[0], trail=trail),))
    assert renderer().alert(notice).images == ()


@pytest.mark.parametrize(
    ("size", "drawn", "rest"), [(2, 2, "2 series"), (20, 20, "20 series"), (1000, 6, "the 6 worst of 1,000 series")]
)
def test_several_series_are_drawn_beside_each_other(size: int, drawn: int, rest: str) -> None:
    grid = grid_of([alert(size, "fired")], CALENDAR)
    assert grid is not None
    assert len(grid.cells) == drawn
    assert grid.scope == rest
    assert ("994 more are not drawn" in grid_chart(grid)) == (size == 1000)
    [image] = renderer().alert(alert(size, "fired")).images
    assert (image.width, image.height) == (WIDTH, grid.height)
    assert _has_ink(image.png)
    assert rest in image.alt


def test_grid_says_who_and_how_much_in_their_order_and_from_when_to_when() -> None:
    notice = alert(3, "fired")
    grid = grid_of([notice], CALENDAR)
    assert grid is not None
    assert [cell.name for cell in grid.cells] == [item.segment for item in notice.items]
    svg = grid_chart(grid)
    assert all(f">{cell.name}</text>" in svg and f">{cell.line.end_text}</text>" in svg for cell in grid.cells)
    assert svg.count(">October 2025</text>") == svg.count(">October 2026</text>") == 2, "below each column"


def test_shares_have_one_scale_and_sums_their_own() -> None:
    large, small = (
        replace(NOTICE.items[0], segment=name, limit=None, trail=_trail(size)) for name, size in (("big", 900), ("small", 9))
    )
    for unit in ("ratio", "currency"):
        grid = grid_of([replace(NOTICE, unit=unit, items=(large, small))], CALENDAR)
        assert grid is not None
        assert grid.one_scale == (unit == "ratio")
        ends = {dot.split('cy="')[1].split('"')[0] for dot in grid_chart(grid).split("<circle")[1:]}
        assert len(ends) == (1 if unit == "currency" else 2)


def _trail(size: int) -> tuple[tuple[str, Decimal], ...]:
    return tuple((f"2026-{month:02}", Decimal(size - month)) for month in range(1, 7))


def test_series_of_several_rules_are_called_by_kpi_and_segment() -> None:
    grid = grid_of(rules(3), CALENDAR)
    assert grid is not None
    assert (grid.cells[0].name, grid.cells[0].note) == ("Seller 0000 Example", "KPI 0000")
    assert len({cell.note for cell in grid.cells[:3]}) == 3, "the worst of each rule comes first"
    assert ">KPI 0000</text>" in grid_chart(grid)
    assert grid.scope == "the 6 worst of 22 series"


def test_series_that_have_too_little_to_show_are_left_out_and_counted() -> None:
    notice = alert(5, "fired")
    bare = replace(notice, items=(*notice.items[:2], *(replace(item, trail=()) for item in notice.items[2:])))
    grid = grid_of([bare], CALENDAR)
    assert grid is not None
    assert (grid.scope, grid.left) == ("the 2 worst of 5 series", 3)
    assert renderer().alert(replace(notice, items=tuple(replace(item, trail=()) for item in notice.items))).images == ()


@pytest.mark.parametrize("name", ["x" * 200, "<script>&\"'", "\u0000\ud800\u202e", "W" * 60, " "])
def test_grid_takes_any_name(name: str) -> None:
    notice = alert(2, "fired")
    hostile = replace(notice, kpi_name=name, items=tuple(replace(item, segment=name) for item in notice.items))
    [image] = renderer().alert(hostile).images
    assert _has_ink(image.png)


@pytest.mark.parametrize("size", [20, 1000])
def test_broken_grid_never_blocks_the_text(size: int) -> None:
    def draw(svg: str) -> bytes:
        raise MemoryError

    notice = alert(size, "fired")
    message = Renderer(shipped_templates(), {}, CALENDAR, drawing=Drawing(draw)).bundle([notice], Plainly(actions=ACTIONS))
    assert message.images == ()
    assert words(message) == words(renderer().bundle([notice], Plainly(actions=ACTIONS)))


@pytest.mark.parametrize(
    ("threshold", "limit", "drawn"),
    [
        ("drop > 15% vs previous", "0.42", 0.42),
        ("change < -3pp vs avg(8)", "0.42", 0.42),
        ("drop > 15% vs previous", "12", None),
        ("falls 4x", "0.42", None),
        ("outside 20%..40%", "0.42", None),
        ("< 40%", "12", 12.0),
    ],
)
def test_limit_is_a_line_where_it_is_one(threshold: str, limit: str, drawn: float | None) -> None:
    line = line_of(replace(NOTICE.items[0], threshold=threshold, limit=Decimal(limit)), NOTICE, CALENDAR)
    assert line is not None
    assert line.target == drawn
    assert bool(line.target_text) == (drawn is not None)


def test_who_can_be_shown_no_page_gets_the_same_words_and_no_chart_is_drawn() -> None:
    def draw(svg: str) -> bytes:
        raise AssertionError("drawn for nobody")

    page = renderer().bundle([NOTICE], Plainly(actions=ACTIONS))
    plain = Renderer(shipped_templates(), {}, CALENDAR, drawing=Drawing(draw)).bundle(
        [NOTICE], Plainly(actions=ACTIONS, page=False)
    )
    assert page.html
    assert (plain.html, plain.images) == (None, ())
    assert words(plain) == words(page)
    assert plain.sections == tuple(part for part in page.sections if part.kind != "image")


@pytest.mark.parametrize("error", [KpidError("no fonts"), MemoryError(), RuntimeError("pixel"), SystemExit(1)])
def test_broken_chart_never_blocks_the_text(error: BaseException) -> None:
    def draw(svg: str) -> bytes:
        raise error

    message = told_with(Drawing(draw))
    assert message.images == ()
    assert "<img" not in (message.html or "")
    assert words(message) == words(renderer().bundle([NOTICE], Plainly(actions=ACTIONS)))


def test_slow_or_broken_chart_never_blocks_the_text() -> None:
    """One that does not come back is not waited for, and no second one is begun while it hangs."""
    begun, release = [], threading.Event()

    def draw(svg: str) -> bytes:
        begun.append(svg)
        release.wait(30)
        return b"\x89PNG late"

    drawing = Drawing(draw, seconds=0.05)
    first, second = told_with(drawing), told_with(drawing)
    release.set()
    assert len(begun) == 1
    assert first.images == second.images == ()
    assert words(first) == words(renderer().bundle([NOTICE], Plainly(actions=ACTIONS)))


def test_same_chart_is_drawn_once() -> None:
    begun: list[str] = []

    def draw(svg: str) -> bytes:
        begun.append(svg)
        return b"\x89PNG"

    drawing = Drawing(draw)
    assert told_with(drawing).images == told_with(drawing).images
    assert len(begun) == 1
