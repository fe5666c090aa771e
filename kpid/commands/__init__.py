"""What the command line and the control socket do: each command as a function that returns data.

A command is ``function(app, **arguments) -> JSON-able``. :data:`COMMANDS` names those that a running daemon does for others, and
what each needs: ``state`` reads the state store, ``store`` asks plugins, too, ``facts`` reads the warehouse, ``write`` changes
something.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Need: TypeAlias = Literal["state", "store", "facts", "write"]


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's function is, what it needs, and whether it takes ``progress``."""

    place: str
    need: Need
    progress: bool = False

    def function(self) -> Callable[..., Any]:
        """The function, imported now."""
        module, name = self.place.split(":")
        found: Callable[..., Any] = getattr(importlib.import_module(f"kpid.commands.{module}"), name)
        return found


COMMANDS = {
    "sync": Command("sync:sync_sources", "write", progress=True),
    "sources": Command("sources:list_sources", "facts"),
    "measure": Command("measure:measure", "facts", progress=True),
    "forecast": Command("forecasting:forecast_kpi", "facts", progress=True),
    "compare": Command("before_after:compare_event", "facts", progress=True),
    "backtest": Command("backtest:backtest_rule", "facts", progress=True),
    "preview": Command("preview:preview_rule", "facts", progress=True),
    "restated": Command("reported:list_restated", "store"),
    "explain": Command("explain:explain_kpi", "facts", progress=True),
    "alerts list": Command("alerts:list_alerts", "state"),
    "alerts show": Command("alerts:show_alert", "state"),
    "ack": Command("handling:ack", "write"),
    "unack": Command("handling:unack", "write"),
    "snooze": Command("handling:snooze", "write"),
    "silence": Command("silencing:silence", "write"),
    "silence list": Command("silencing:list_silences", "state"),
    "silence end": Command("silencing:end_silence", "write"),
    "exclude": Command("silencing:exclude", "write"),
    "exclude list": Command("silencing:list_exclusions", "state"),
    "exclude end": Command("silencing:end_exclusion", "write"),
    "why": Command("why:why", "store"),
    "audit": Command("silencing:list_audit", "state"),
    "report render": Command("reports:render", "facts"),
    "report send": Command("reports:send", "write"),
    "outbox list": Command("messages:list_messages", "state"),
    "outbox show": Command("messages:show_message", "state"),
    "outbox retry": Command("messages:retry", "write"),
    "outbox release": Command("messages:release", "write"),
    "outbox hold": Command("messages:hold", "write"),
    "outbox dismiss": Command("messages:dismiss", "write"),
    "runs": Command("listings:list_runs", "state"),
    "schedule": Command("listings:list_schedule", "state"),
    "doctor": Command("doctor:doctor", "store"),
    "check connect": Command("listings:connect_findings", "store"),
    "check population": Command("check_population:told_population", "facts"),
}
