from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kpid.config.model import Config
from kpid.errors import ConfigError, KpidError
from kpid.plugin.mail import mime_message
from kpid.plugin.notifier import Message
from kpid.reporting.assemble import assemble
from kpid.reporting.context import ReportContext
from kpid.reporting.render import MAX_HTML, RenderedReport, Renderer
from kpid.reporting.samples import sample_contexts, sample_lines, sample_notices
from tests.reporting.weeks import CALENDAR, NOW, found, given, renderer

NAMES = ("ordinary", "empty", "hostile")
CONTEXTS = dict(zip(NAMES, sample_contexts("weekly_sales", CALENDAR), strict=True))


class Page(HTMLParser):
    """The tags and the visible words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.hidden = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"style", "title"}:
            self.hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.hidden:
            self.hidden = ""

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def rendered() -> dict[str, RenderedReport]:
    pages = renderer()
    return {name: pages.report(context) for name, context in CONTEXTS.items()}


def _one_row() -> ReportContext:
    return assemble(given({"win_rate": [found("win_rate", None, parts=(36, 158))]}, {"win_rate": "0.25"}))


@pytest.mark.parametrize("name", NAMES)
def test_mail_page_holds_nothing_that_mail_programs_refuse(rendered: dict[str, RenderedReport], name: str) -> None:
    page = Page(rendered[name].html)
    assert not {tag for tag, _ in page.tags} & {"script", "svg", "form", "video", "iframe", "link", "button"}
    assert "data:" not in rendered[name].html
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    assert "{{" not in page.text.replace("{{ 7 * 7 }}", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_has_size_and_words_and_every_cid_resolves(rendered: dict[str, RenderedReport], name: str) -> None:
    report = rendered[name]
    images = [attrs for tag, attrs in Page(report.html).tags if tag == "img"]
    for attrs in images:
        assert (attrs["width"] or "").isdigit()
        assert (attrs["height"] or "").isdigit()
        assert attrs["alt"]
    assert {str(attrs["src"]) for attrs in images} == {f"cid:{image.name}" for image in report.images}
    assert len({image.name for image in report.images}) == len(report.images)
    assert all(image.png.startswith(b"\x89PNG") for image in report.images)


def test_budgets_hold(rendered: dict[str, RenderedReport]) -> None:
    for report in rendered.values():
        assert len(report.html.encode()) < MAX_HTML
        assert sum(len(image.png) for image in report.images) < 200_000
        assert len(report.subject) <= 200
    assert len(rendered["ordinary"].html.encode()) < 40_000
    many = replace(CONTEXTS["ordinary"], kpis=tuple(line for index in range(60) for line in sample_lines(CALENDAR)[:1]))
    page = renderer().report(many)
    assert "and 30 more" in page.text
    assert len(page.html.encode()) < MAX_HTML


def test_headline_is_in_subject_text_and_early_in_the_page(rendered: dict[str, RenderedReport]) -> None:
    report = rendered["ordinary"]
    headline = CONTEXTS["ordinary"].headline
    assert headline in report.subject
    assert headline in report.text
    assert headline in Page(report.html).text[:2000]
    assert "week 46, 9–15 Nov 2026" in report.subject, "the period keeps reports from piling into one thread"


def test_page_and_text_agree_on_the_numbers(rendered: dict[str, RenderedReport]) -> None:
    for name in ("ordinary", "empty"):
        page, text = Page(rendered[name].html).text, rendered[name].text
        number = re.compile(r"[−+≥≤]? ?€?\d[\d.,]*(?:%|k|M| pt| days?)?")
        in_page = {found.strip(" .,") for found in number.findall(page)}
        in_text = {found.strip(" .,") for found in number.findall(" ".join(text.split()))}
        assert in_text - in_page == set()
        assert {one for one in in_page - in_text if not one.startswith("13")} == set(), "but for the words '13 weeks'"


def test_css_is_inlined_and_phone_and_dark_rules_stay(rendered: dict[str, RenderedReport]) -> None:
    html = rendered["ordinary"].html
    assert html.startswith("<!DOCTYPE html>")
    assert '<h1 style="' in html
    assert "@media (max-width: 480px)" in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "<!--[if mso]>" in html
    assert html.count("!important") >= 20


def test_no_data_says_so(rendered: dict[str, RenderedReport]) -> None:
    report = rendered["empty"]
    assert "No numbers to judge" in report.subject
    for form in (report.text, Page(report.html).text):
        assert "There is nothing to show" in form
        assert "Not available: Win rate, NPS." in form
        assert "never synced" in form
    assert report.images == ()


def test_one_row_renders() -> None:
    report = renderer().report(_one_row())
    assert "Win rate was 22.8%, below the 25% target" in report.text
    assert "36 of 158 closed deals" in report.text
    assert "THE ONE KPI" in report.text
    assert report.images == (), "one point is no line"


def test_hostile_text_stays_text(rendered: dict[str, RenderedReport]) -> None:
    report = rendered["hostile"]
    assert "<script>alert(1)</script>" in Page(report.html).text, "shown as it is"
    assert "49" not in re.findall(r"\b49\b", report.text), "not evaluated"
    assert "\u202e" not in report.html + report.text + report.subject
    assert "\r" not in report.text
    assert "\nBcc:" not in report.text
    assert "\n" not in report.subject


@pytest.mark.parametrize("name", NAMES)
def test_report_becomes_a_mail(rendered: dict[str, RenderedReport], name: str) -> None:
    report = rendered[name]
    message = Message(
        "0" * 64, "report", report.subject, report.text, NOW, report.html, report.sections, report.facts, report.images
    )
    mail = mime_message(message, sender="kpid@example.com", recipient="a@example.com")
    assert mail.count(b"Content-ID:") == len(report.images)


def test_sections_keep_the_mails_order(rendered: dict[str, RenderedReport]) -> None:
    kinds = [section.kind for section in rendered["ordinary"].sections]
    assert kinds[:2] == ["headline", "text"]
    assert kinds[-1] == "note"
    assert "image" in kinds
    rows = [section for section in rendered["ordinary"].sections if section.kind == "rows"]
    assert rows[-1].pairs[0] == ("▼ Win rate", "22.8% (−2.1 pt worse, ≥ 25%, off target)")
    image = next(section.image for section in rendered["ordinary"].sections if section.kind == "image")
    assert image in {one.name for one in rendered["ordinary"].images}


def test_facts_hold_exact_values(rendered: dict[str, RenderedReport]) -> None:
    first = rendered["ordinary"].facts["kpis"][0]
    assert (first["id"], first["value"], first["status"]) == ("win_rate", "0.228", "off")


def test_untrusted_numbers_are_marked_and_not_compared(rendered: dict[str, RenderedReport]) -> None:
    row = next(line for line in rendered["ordinary"].text.splitlines() if line.startswith("– Average deal size"))
    assert "n < 20" in row
    assert "sample too small" in row
    assert "better" not in row
    assert "worse" not in row


def test_stale_source_and_note_for_a_late_report_are_said() -> None:
    context = replace(CONTEXTS["ordinary"], late_note="This report is 2 days late.")
    report = renderer().report(context)
    assert "This report is 2 days late." in report.text
    assert "survey Fri 13 Nov, 07:00 CET, too old" in report.text


# ---- templates of the user
def test_users_template_comes_first(tmp_path: Path) -> None:
    (tmp_path / "weekly_sales.subject.txt.j2").write_text("{{ r.company }}: {{ context.kpis[0].value | value('ratio') }}")
    assert renderer(tmp_path).report(CONTEXTS["ordinary"]).subject == "Example GmbH: 22.8%"


def test_report_without_templates_looks_like_every_report() -> None:
    report = renderer().report(replace(CONTEXTS["ordinary"], template="my_own"))
    assert CONTEXTS["ordinary"].headline in report.text


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("\n{{ there.is.no.such.thing }}", 2),
        ("{% if %}", 1),
        ("\n\n{{ r.rows[0].nothing | upper }}", 3),
        ("{{ 1 // 0 }}", 1),
        ("{{ ''.__class__.__mro__ }}", 1),
        ("{{ context.__init__.__globals__ }}", 1),
        ("{{ 'x' | no_such_filter }}", 1),
        ("{% include 'no_such_file.j2' %}", None),
    ],
)
def test_faulty_template_is_named_with_its_line(tmp_path: Path, template: str, line: int | None) -> None:
    (tmp_path / "weekly_sales.txt.j2").write_text(template)
    with pytest.raises(KpidError) as caught:
        renderer(tmp_path).report(CONTEXTS["ordinary"])
    assert ("no_such_file" if line is None else f"{tmp_path}/weekly_sales.txt.j2:{line}") in str(caught.value)


def test_filters_of_plugins_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "weekly_sales.subject.txt.j2").write_text("{{ r.noun | shout }}")
    assert renderer(tmp_path, shout=lambda text: f"{text.upper()}!").report(CONTEXTS["ordinary"]).subject == "WEEK!"


def test_page_over_the_budget_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weekly_sales.html.j2").write_text("<p>{{ 'x' * 90000 }}</p>")
    with pytest.raises(KpidError, match="80 KB"):
        renderer(tmp_path).report(CONTEXTS["ordinary"])


# ---- check and configuration
def test_check_renders_everything_and_is_content() -> None:
    findings = renderer().check()
    assert {finding.subject for finding in findings} >= {"charts", "template weekly_sales", "template alert", "template health"}
    assert all(finding.ok for finding in findings), findings


def test_check_finds_the_faulty_template(tmp_path: Path) -> None:
    (tmp_path / "alert.html.j2").write_text("{{ a.no_such_word }}")
    (tmp_path / "weekly_sales.html.j2").write_text("{{ r.headline | safe }}<script>1</script>")
    bad = {finding.subject: finding for finding in renderer(tmp_path).check() if not finding.ok}
    assert bad["template alert"].where == f"{tmp_path}/alert.html.j2:1"
    assert "<script" in bad["template weekly_sales"].text


def test_for_config_takes_the_users_folder(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "alert.subject.txt.j2").write_text("hello")
    config = Config(timezone="Europe/Berlin", folder=tmp_path, templates_dir=Path("own"))
    message = Renderer.for_config(config, {}, CALENDAR).alert(sample_notices(CALENDAR)[0])
    assert message.title == "hello"
    with pytest.raises(ConfigError, match="no folder"):
        Renderer.for_config(config.model_copy(update={"templates_dir": Path("none")}), {}, CALENDAR)
