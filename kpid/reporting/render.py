"""Contexts and notices to messages: the one door to Jinja2.

Templates are looked for in the user's ``templates_dir``, then among the shipped ones. They run in an immutable sandbox, with
autoescape for HTML, and fail on any name that does not exist. CRM text is hostile: it is escaped, and never part of a template.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import css_inline
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

import kpid
from kpid.analysis import wording
from kpid.analysis.periods import Calendar
from kpid.config.model import Config, Rule
from kpid.errors import ConfigError, KpidError
from kpid.model import Finding, Notice
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Image, Message, Section
from kpid.reporting import raster
from kpid.reporting.alert_chart import Drawing
from kpid.reporting.alert_message import MAX_HTML, Composer, is_template, summary_words
from kpid.reporting.alert_view import Plainly, Telling, told_of
from kpid.reporting.cleaning import cleaned, one_line, safe_url, strip_hostile
from kpid.reporting.context import ReportContext
from kpid.reporting.samples import sample_contexts, sample_notices
from kpid.reporting.sections import report_facts, report_sections
from kpid.reporting.view import MAX_ROWS, Picture, report_view

__all__ = ["MAX_HTML", "RenderedReport", "Renderer", "shipped_templates"]
_ROWS = (MAX_ROWS, 15, 5)
"""How many KPIs a report shows; the next number where the page would be too long."""
_ANY_REPORT = "report"


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """A report in every form: subject line, mail page (CSS inlined, pictures as ``cid:<name>``), plain text, parts for chats."""

    subject: str
    html: str
    text: str
    images: tuple[Image, ...]
    sections: tuple[Section, ...]
    facts: Mapping[str, Any]


class Renderer:
    """Renders reports and alerts.

    Args:
        template_dirs: folders with templates, the first that has one wins.
        filters: more Jinja filters by name, from plugins.
        calendar: how the company cuts time.
        company: named in alerts and reports.
        drawing: makes the charts of alerts.
        population: which records count, if not all do: said with definitions in alerts.
    """

    def __init__(
        self,
        template_dirs: Sequence[Path],
        filters: Mapping[str, Callable[..., Any]],
        calendar: Calendar,
        *,
        company: str = "",
        drawing: Drawing | None = None,
        population: str = "",
    ) -> None:
        self.calendar = calendar
        self.company = company
        self._env = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader([str(folder) for folder in template_dirs]),
            autoescape=lambda name: name is not None and name.endswith(".html.j2"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            finalize=_finalize,
        )
        self._env.filters.update(_filters(calendar))
        self._env.filters.update(filters)
        self._inliner = css_inline.CSSInliner(keep_style_tags=False, load_remote_stylesheets=False)
        self._alerts = Composer(self._page, partial(_sentence, self._env), calendar, drawing or Drawing(), population)

    @classmethod
    def for_config(cls, config: Config, filters: Mapping[str, Callable[..., Any]], calendar: Calendar) -> Renderer:
        """The renderer of a configuration: the user's templates before the shipped ones.

        Raises:
            ConfigError: ``templates_dir`` is no folder, or kpid's own templates are missing.
        """
        own = []
        if config.templates_dir is not None:
            folder = config.folder / config.templates_dir
            if not folder.is_dir():
                raise ConfigError(f"templates_dir: {folder} is no folder", hint="Make it, or remove the line")
            own.append(folder)
        text = config.population.text
        return cls([*own, *shipped_templates()], filters, calendar, company=config.company, population=text)

    def report(self, context: ReportContext) -> RenderedReport:
        """Render a report. Its own templates are ``<id>.html.j2`` and so on; without them it looks like every report.

        Raises:
            KpidError: a template or a chart is faulty, or charts would come out without text: better nothing than half.
        """
        _probe_once()
        context = cleaned(context)
        for rows in _ROWS:
            view = report_view(context, rows)
            subject = one_line(self._render(context.template, "subject.txt", r=view.words, context=context), 200)
            given = {"r": view.words, "context": context, "subject": subject}
            html = self._inliner.inline(self._render(context.template, "html", **given))
            if len(html.encode("utf-8", "replace")) <= MAX_HTML:
                break
        else:
            raise KpidError(f"the mail is longer than {MAX_HTML // 1000} KB: mail programs would cut it", where=context.template)
        return RenderedReport(
            subject=subject,
            html=html,
            text=_tidy(self._render(context.template, "txt", **given)),
            images=tuple(_image(picture) for picture in view.pictures if f"cid:{picture.name}" in html),
            sections=report_sections(view.words),
            facts=report_facts(context),
        )

    def alert(self, notice: Notice) -> Message:
        """Compose the message of a notice; key, recipient and thread are for the caller to fill in.

        Raises:
            KpidError: a template is faulty.
        """
        return self.bundle((notice,), Plainly())

    def bundle(self, notices: Sequence[Notice], telling: Telling) -> Message:
        """Compose one message of several notices, the worst first; of one notice as :meth:`alert` does, told as ``telling`` says.

        Raises:
            KpidError: a template is faulty.
            ValueError: there is no series to tell of.
        """
        return self._alerts.message(told_of(notices, telling))

    def check(self) -> list[Finding]:
        """Render every template with sample data, hostile text included, and look at the result."""
        findings = [_finding("charts", raster.probe)]
        for name in self._reports():
            pages = [partial(self._report_page, context) for context in sample_contexts(name, self.calendar)]
            findings.extend(_finding(f"template {name}", page) for page in pages)
        notices = sample_notices(self.calendar)
        findings.extend(_finding(f"template {notice.kind}", partial(self._alert_page, notice)) for notice in notices)
        findings.append(_finding("template alert", lambda: _check_html(self.bundle(notices, Plainly()).html or "")))
        return _merged(findings)

    def check_rule(self, rule: Rule, kpi: Kpi | None, place: str = "") -> list[Finding]:
        """Fill in a rule's own sentence with a sample; nothing if the rule has none, or none to fill in.

        Args:
            rule: as configured.
            kpi: what it looks at; None for rules on what does not come.
            place: where its ``summary`` is written, ``file:line``.
        """
        if not rule.summary or not is_template(rule.summary):
            return []
        text, sample = rule.summary, sample_notices(self.calendar)[0]
        unit = kpi.unit if kpi is not None else "seconds"
        name = kpi.name if kpi is not None else rule.name
        notice = replace(sample, rule=rule.name, kpi=rule.kpi, kpi_name=name, unit=unit, labels=tuple(rule.labels.items()))
        words = summary_words(notice, self.calendar)
        try:
            _sentence(self._env, text, words)
        except KpidError as error:
            hint = f"It may name {', '.join(words)}"
            return [Finding(f"rule {rule.name}", ok=False, text=f"summary: {error.what}", hint=hint, where=place)]
        return [Finding(f"rule {rule.name}", ok=True, text="its summary renders", where=place)]

    def _page(self, stem: str, form: str, given: Mapping[str, Any]) -> str:
        """A page of an alert in one form, ready to go out."""
        page = self._render(stem, form, **given)
        return {"html": self._inliner.inline, "txt": _tidy}.get(form, str)(page)

    def _report_page(self, context: ReportContext) -> None:
        _check_html(self.report(context).html)

    def _alert_page(self, notice: Notice) -> None:
        _check_html(self.alert(notice).html or "")

    def _reports(self) -> list[str]:
        """Stems of the templates that are reports: all but the alerts' and the parts."""
        stems = {name.removesuffix(".html.j2") for name in self._env.list_templates() if name.endswith(".html.j2")}
        return sorted(stems - {"layout", "macros", "alert", "health"})

    def _render(self, stem: str, form: str, **given: Any) -> str:
        names = [f"{stem}.{form}.j2"]
        if stem not in {"alert", "health"}:
            names.append(f"{_ANY_REPORT}.{form}.j2")
        try:
            return self._env.select_template(names).render(**given)
        except TemplateNotFound as error:
            raise ConfigError(f"template {error.name} is missing", hint="Put it into templates_dir") from None
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise KpidError(f"the template is faulty: {error}", where=_template_line(error, names[0])) from None


def shipped_templates() -> list[Path]:
    """The folders of kpid's own templates: in the installed package, or beside it in a checkout.

    Raises:
        ConfigError: there are none.
    """
    package = Path(kpid.__file__).parent
    found = [folder for folder in (package / "report_templates", package.parent / "report_templates") if folder.is_dir()]
    if not found:
        raise ConfigError("kpid's own report templates are missing", where=str(package), hint="Install kpid again")
    return found[:1]


# ---- parts
@cache
def _probe_once() -> None:
    raster.probe()


def _sentence(env: ImmutableSandboxedEnvironment, text: str, given: Mapping[str, Any]) -> str:
    """A rule's own sentence, filled in.

    Raises:
        KpidError: it is faulty, or names what is not there.
    """
    try:
        return env.from_string(text).render(**given)
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise KpidError(f"it cannot be filled in: {error}") from None


def _finalize(value: Any) -> Any:
    """Every value on its way into a page: characters that deceive or break mails are dropped; markup of our own passes."""
    if isinstance(value, Markup | Undefined) or not isinstance(value, str):
        return value
    return strip_hostile(value)


def _filters(calendar: Calendar) -> dict[str, Callable[..., Any]]:
    return {
        "value": wording.value_text,
        "exact": wording.exact_text,
        "limit": wording.limit_text,
        "change": wording.change_text,
        "age": wording.age_text,
        "period": lambda period: wording.period_text(period, calendar),
        "when": lambda instant: wording.when_text(instant, calendar.timezone),
        "one_line": one_line,
        "safe_url": safe_url,
        "left": lambda text, width: _cut(text, width).ljust(width),
        "right": lambda text, width: _cut(text, width).rjust(width),
    }


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _image(picture: Picture) -> Image:
    png = raster.to_png(picture.svg, scale=picture.scale, text=picture.text)
    return Image(picture.name, png, picture.alt, picture.width, picture.height)


def _tidy(text: str) -> str:
    """Plain text without blanks at line ends and without more than one empty line in a row."""
    lines: list[str] = []
    for line in text.splitlines():
        kept = line if line == "-- " else line.rstrip()
        if kept or (lines and lines[-1]):
            lines.append(kept)
    return "\n".join(lines).strip("\n") + "\n"


def _template_line(error: BaseException, name: str) -> str:
    """``/etc/kpid/templates/weekly_sales.txt.j2:12``: the file that failed and the line, its name alone if there is no more."""
    name_of, line = getattr(error, "filename", None) or getattr(error, "name", None), getattr(error, "lineno", None)
    if line is not None:
        return f"{name_of or name}:{line}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else name


def _check_html(html: str) -> None:
    """What no mail of ours may hold; found here before anybody gets it."""
    lowered = html.lower()
    for bad in ("<script", "<svg", "data:image", "javascript:", "<form"):
        if bad in lowered:
            raise KpidError(f"the page holds {bad}: mail programs refuse it, or CRM text came through unescaped")


def _finding(subject: str, look: Callable[[], None]) -> Finding:
    try:
        look()
    except KpidError as error:
        return Finding(subject, ok=False, text=error.what, hint=error.hint or "", where=error.where or "")
    return Finding(subject, ok=True, text="renders")


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """One finding per subject: the first that is not well, else the first."""
    best: dict[str, Finding] = {}
    for finding in findings:
        if finding.subject not in best or (best[finding.subject].ok and not finding.ok):
            best[finding.subject] = finding
    return list(best.values())
