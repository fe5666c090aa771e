from __future__ import annotations

import kpid_weekly_sales

from kpid.registry import load_plugins
from kpid.reporting.render import shipped_templates


def test_report_names_kpis_that_exist() -> None:
    plugins = load_plugins()
    report = plugins.reports["weekly_sales"]
    assert set(report.kpis) <= set(plugins.kpis)
    assert all("owner" in plugins.kpis[kpi].dimensions for kpi in ("win_rate", "won_amount"))


def test_report_has_its_templates() -> None:
    (folder,) = shipped_templates()
    (report,) = kpid_weekly_sales.kpid_reports()
    assert all((folder / f"{report.id}.{form}.j2").is_file() for form in ("html", "txt", "subject.txt"))
