"""The chart of an alert: what it shows, and that it can never keep the words from going out."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from kpid.errors import KpidError
from kpid.plugin.notifier import Message
from kpid.reporting.alert_chart import Drawing, line_of
from kpid.reporting.alert_view import Plainly
from kpid.reporting.raster import _has_ink
from kpid.reporting.render import Renderer, shipped_templates
from tests.reporting.alert_cases import ACTIONS, alert
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


@pytest.mark.parametrize(
    "trail", [(), (("2026-09", Decimal(1)), ("2026-10", Decimal(2))), (*[("2026-09", Decimal(1))] * 5, ("2026-10", None))]
)
def test_too_little_to_show_gives_no_chart(trail: tuple[tuple[str, Decimal | None], ...]) -> None:
    notice = replace(NOTICE, items=(replace(NOTICE.items[0], trail=trail),))
    assert renderer().alert(notice).images == ()


def test_several_series_have_no_chart() -> None:
    assert renderer().alert(alert(2, "fired")).images == ()


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
