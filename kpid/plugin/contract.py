"""What a hook may return: checked before anything of a plugin is used, so that a slip in a plugin reads as one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from kpid.errors import PluginError
from kpid.plugin.connector import Connector, ConnectorInfo
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Notifier
from kpid.plugin.report import Report
from kpid.plugin.settings import Settings

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def checked(hook: str, result: Any) -> dict[str, Any]:
    """The items that one plugin returned from one hook, by name.

    Raises:
        PluginError: they are not what the hook is declared to return.
    """
    item_name = _NAME_OF[hook]
    if hook == "kpid_template_filters":
        if not isinstance(result, Mapping):
            raise PluginError(f"{hook} returned {_kind(result)}, not a mapping of names to functions")
        pairs = [(item_name(name, item), item) for name, item in result.items()]
    else:
        if not isinstance(result, list | tuple):
            raise PluginError(f"{hook} returned {_kind(result)}, not a list")
        pairs = [(item_name(item), item) for item in result]
    items: dict[str, Any] = {}
    for name, item in pairs:
        if name in items:
            raise PluginError(f"{hook} returned two items called {name!r}")
        items[name] = item
    return items


def _connector(item: Any) -> str:
    if not isinstance(item, ConnectorInfo):
        raise PluginError(f"kpid_connectors returned {_kind(item)} where a ConnectorInfo is wanted")
    return _class_name("kpid_connectors", item.connector, Connector)


def _notifier(item: Any) -> str:
    return _class_name("kpid_notifiers", item, Notifier)


def _class_name(hook: str, item: Any, base: type[Any]) -> str:
    if not (isinstance(item, type) and issubclass(item, base)):
        raise PluginError(f"{hook} returned {_kind(item)} where a subclass of {base.__name__} is wanted")
    lacking = sorted(getattr(item, "__abstractmethods__", ()))
    if inspect.isabstract(item):
        raise PluginError(f"{item.__name__} lacks {', '.join(lacking)}")
    settings = getattr(item, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise PluginError(f"{item.__name__}.Settings must be a subclass of kpid.plugin.Settings")
    return _named(getattr(item, "name", None), f"{item.__name__}.name")


def _kpi(item: Any) -> str:
    if not isinstance(item, Kpi):
        raise PluginError(f"kpid_kpis returned {_kind(item)} where a Kpi is wanted")
    return _named(item.id, "the id of a Kpi")


def _report(item: Any) -> str:
    if not isinstance(item, Report):
        raise PluginError(f"kpid_reports returned {_kind(item)} where a Report is wanted")
    return _named(item.id, "the id of a Report")


def _filter(name: Any, item: Any) -> str:
    if not callable(item):
        raise PluginError(f"kpid_template_filters: {name!r} is {_kind(item)}, not a function")
    return _named(name, "the name of a filter")


def _named(name: Any, what: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"{what} must be a short text of letters, digits, _ and -, not {name!r}")
    return name


def _kind(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


_NAME_OF: Mapping[str, Callable[..., str]] = {
    "kpid_connectors": _connector,
    "kpid_notifiers": _notifier,
    "kpid_kpis": _kpi,
    "kpid_reports": _report,
    "kpid_template_filters": _filter,
}
