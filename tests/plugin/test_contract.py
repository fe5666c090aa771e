from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kpid.errors import PluginError
from kpid.plugin import Connector, ConnectorInfo, Definition, Finding, Kpi, Message, Notifier, Receipt, Report, Settings
from kpid.plugin.contract import checked

REPORT = Report("weekly", "Weekly", ())
KPI = Kpi("k", "K", "c", "count", "up", Definition({}, lambda m: 1))


class Box(Notifier[Settings]):
    name = "box"
    Settings = Settings

    def send(self, message: Message) -> Receipt:
        return Receipt()

    def check(self) -> Sequence[Finding]:
        return []


class NameMissing(Box):
    name = ""


class SettingsMissing(Box):
    Settings = dict


class HalfConnector(Connector[Settings]):
    name = "half"
    Settings = Settings


def test_items_come_back_by_name() -> None:
    assert checked("kpid_notifiers", [Box]) == {"box": Box}
    assert checked("kpid_kpis", (KPI,)) == {"k": KPI}
    assert checked("kpid_reports", [REPORT]) == {"weekly": REPORT}
    assert checked("kpid_template_filters", {"shout": str.upper}) == {"shout": str.upper}
    assert checked("kpid_connectors", []) == {}


@pytest.mark.parametrize(
    ("hook", "result", "said"),
    [
        ("kpid_notifiers", None, "kpid_notifiers returned None, not a list"),
        ("kpid_notifiers", Box, "kpid_notifiers returned the class Box, not a list"),
        ("kpid_notifiers", ["box"], "kpid_notifiers returned a value of type str where a subclass of Notifier is wanted"),
        ("kpid_notifiers", [Box, Box], "kpid_notifiers returned two items called 'box'"),
        ("kpid_notifiers", [NameMissing], "NameMissing.name must be a short text"),
        ("kpid_notifiers", [SettingsMissing], "SettingsMissing.Settings must be a subclass of kpid.plugin.Settings"),
        ("kpid_connectors", [HalfConnector], "kpid_connectors returned the class HalfConnector where a ConnectorInfo is wanted"),
        ("kpid_connectors", [ConnectorInfo(HalfConnector)], "HalfConnector lacks check, pages, reads"),
        ("kpid_kpis", [REPORT], "kpid_kpis returned a value of type Report where a Kpi is wanted"),
        ("kpid_reports", {"weekly": REPORT}, "kpid_reports returned a value of type dict, not a list"),
        ("kpid_template_filters", [], "kpid_template_filters returned a value of type list, not a mapping"),
        ("kpid_template_filters", {"x": 3}, "kpid_template_filters: 'x' is a value of type int, not a function"),
        ("kpid_template_filters", {"a b": len}, "the name of a filter must be a short text"),
    ],
)
def test_anything_else_is_refused_in_words(hook: str, result: Any, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        checked(hook, result)
    assert str(caught.value).startswith(said)
