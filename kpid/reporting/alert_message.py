"""Notices to one message in every form: page, text, sections, data. All of them come from one view, within one budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kpid.analysis.periods import Calendar
from kpid.errors import KpidError
from kpid.model import Notice, NoticeItem
from kpid.plugin.notifier import Image, Link, Message
from kpid.reporting.alert_chart import Drawing, grid_of, line_of
from kpid.reporting.alert_facts import facts_of_message
from kpid.reporting.alert_view import ROWS, Told, alert_view, status_of
from kpid.reporting.alert_words import label_text, period_of
from kpid.reporting.cleaning import one_line
from kpid.reporting.sections import alert_sections

MAX_HTML = 80_000
"""Bytes of a page: mail programs clip longer ones."""
MAX_LINKS = 3
_MAX_SUMMARY = 400


@dataclass(frozen=True)
class Composer:
    """Composes alerts.

    Args:
        page: makes a page of a view: stem, form (``html``, ``txt``, ``subject.txt``), what is given to the template.
        sentence: fills in a rule's own sentence.
        calendar: how time is cut.
        drawing: makes charts.
        population: which records count, if not all do.
    """

    page: Callable[[str, str, Mapping[str, Any]], str]
    sentence: Callable[[str, Mapping[str, Any]], str]
    calendar: Calendar
    drawing: Drawing
    population: str = ""

    def message(self, told: Told) -> Message:
        """The message; key, recipient and thread are for the caller to fill in.

        Raises:
            KpidError: a template is faulty.
        """
        notice = told.notices[0]
        stem = "health" if all(each.kind == "health" for each in told.notices) else "alert"
        chart = self._chart(told) if told.page else None
        given, html = self._page(stem, told, notice, chart)
        view = given["a"]
        return Message(
            key="",
            kind="health" if stem == "health" else "alert",
            title=given["subject"],
            text=self.page(stem, "txt", given),
            html=html,
            created_at=max(each.now for each in told.notices),
            sections=alert_sections(view),
            facts=facts_of_message(told, self.calendar, view["headline"]),
            images=(chart,) if chart is not None and f"cid:{chart.name}" in (html or "") else (),
            links=_links(view),
            status=status_of(told),
            list_id=notice.rule if len(told.notices) == 1 else told.route or notice.rule,
            actions=told.actions,
        )

    def _page(self, stem: str, told: Told, notice: Notice, chart: Image | None) -> tuple[dict[str, Any], str | None]:
        """The widest page within the limit, and what it was made of; no page for who can show none."""
        said = {place: text for place, each in enumerate(told.notices[: ROWS[0]]) if (text := self.summary(each))}
        for rows in ROWS:
            view = {**alert_view(told, self.calendar, rows, said), "chart": chart}
            if self.population and view["definition"]:
                view["definition"] += f". Counted: {one_line(self.population, 400)}"
            subject = one_line(self.page(stem, "subject.txt", {"a": view, "notice": notice}), 200)
            given = {"a": view, "notice": notice, "subject": subject}
            html = self.page(stem, "html", given) if told.page else None
            if html is None or len(html.encode("utf-8", "replace")) <= MAX_HTML:
                return given, html
        raise KpidError(f"the mail is longer than {MAX_HTML // 1000} KB: mail programs would cut it", where=f"{stem}.html.j2")

    def _chart(self, told: Told) -> Image | None:
        notice = told.notices[0]
        if len(told.notices) > 1 or len(notice.items) > 1:
            grid = grid_of(told.notices, self.calendar)
            return None if grid is None else self.drawing.images(grid, told.notices)
        line = line_of(notice.items[0], notice, self.calendar)
        return None if line is None else self.drawing.image(line, notice, notice.items[0])

    def summary(self, notice: Notice) -> str:
        """The rule's own sentence. One that cannot be written is left out: the alert goes out all the same."""
        text = notice.summary or ""
        if not is_template(text):
            return one_line(text, _MAX_SUMMARY)
        try:
            return one_line(self.sentence(text, summary_words(notice, self.calendar)), _MAX_SUMMARY)
        except KpidError:
            return ""


def is_template(text: str) -> bool:
    """Whether a rule's own sentence has something to fill in."""
    return "{{" in text or "{%" in text


def summary_words(notice: Notice, calendar: Calendar) -> dict[str, Any]:
    """What a rule's own sentence may name: the worst series' figures, and what all have in common."""
    item: NoticeItem = notice.items[0]
    return {
        "rule": notice.rule,
        "kpi": notice.kpi,
        "kpi_name": notice.kpi_name,
        "unit": notice.unit,
        "currency": notice.currency,
        "period": period_of(notice, calendar),
        "labels": dict(notice.labels),
        "total": len(notice.items),
        "segment": item.segment,
        "kind": item.kind,
        "level": item.level.value,
        "value": item.value,
        "previous": item.previous,
        "baseline": item.baseline,
        "limit": item.limit,
        "n": item.n,
        "since": label_text(item.since, notice, calendar) if item.since else "",
        "threshold": item.threshold,
        "reason": item.reason,
    }


def _links(view: Mapping[str, Any]) -> tuple[Link, ...]:
    """What to do: of each rule, where there are several."""
    found = {view["runbook"]: "What to do"} if view["runbook"] else {}
    for part in view["parts"]:
        if part["runbook"]:
            found.setdefault(part["runbook"], one_line(f"What to do: {part['title']}", 60))
    return tuple(Link(label, url) for url, label in list(found.items())[:MAX_LINKS])
