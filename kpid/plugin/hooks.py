"""The hooks a plugin may implement. Each returns descriptions or classes, and contacts nothing.

A plugin is a module named by an entry point of group ``kpid`` (or a file in ``plugins_dir``) with functions marked ``@hookimpl``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from kpid.plugin.connector import ConnectorInfo
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Notifier
from kpid.plugin.report import Report

PROJECT = "kpid"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kpid_connectors() -> Sequence[ConnectorInfo]:  # type: ignore[empty-body]
    """Kinds of sources."""


@hookspec
def kpid_kpis() -> Sequence[Kpi]:  # type: ignore[empty-body]
    """KPI descriptions."""


@hookspec
def kpid_notifiers() -> Sequence[type[Notifier[Any]]]:  # type: ignore[empty-body]
    """Kinds of receivers."""


@hookspec
def kpid_reports() -> Sequence[Report]:  # type: ignore[empty-body]
    """Report descriptions."""


@hookspec
def kpid_template_filters() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Jinja filters for report templates, by name; pure functions."""
