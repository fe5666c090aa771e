"""The contract of reports: a description of what a report shows, and the template that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """A kind of report.

    Args:
        id: as used in YAML: ``report: <id>``; also the stem of its templates (``<id>.html.j2``, ``<id>.txt.j2`` ...).
        name: for people.
        kpis: ids of the KPIs it shows, in order.
        period: the period kind it covers unless the configuration says otherwise.
        periods: how many periods its series show, the reported one included.
        drivers: dimensions in which "what moved it" is looked for, at most three; the one that tells most is shown.
        summary: one line of help.
    """

    id: str
    name: str
    kpis: tuple[str, ...]
    period: str = "week"
    periods: int = 13
    drivers: tuple[str, ...] = ("owner",)
    summary: str = ""
