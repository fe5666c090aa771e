"""What a company has set for KPIs, with what it has said once for all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kpid.config.model import Config, KpiSettings
from kpid.plugin.kpi import Kpi


def settings_of(config: Config, kpis: Mapping[str, Kpi]) -> dict[str, KpiSettings]:
    """The settings by KPI; who is a customer goes to each KPI that asks, unless it has an answer of its own."""
    found = dict(config.kpis)
    common = config.customers.params()
    for kpi in kpis.values() if common else ():
        if "basis" in kpi.params:
            own = found.get(kpi.id) or KpiSettings.model_validate({})
            meant = {name: value for name, value in common.items() if name in kpi.params}
            found[kpi.id] = own.model_copy(update={"params": {**meant, **own.params}})
    return found
