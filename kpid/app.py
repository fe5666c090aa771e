"""The composition root: configuration, plugins, stores and clock, chosen and joined."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from kpid.analysis.durations import duration_from_text
from kpid.analysis.periods import Calendar
from kpid.clock import Clock
from kpid.config.load import Loaded
from kpid.config.model import Config
from kpid.errors import ConfigError
from kpid.plugin.connector import Connector, SourceContext
from kpid.plugin.notifier import Notifier, NotifierContext
from kpid.registry import Plugins
from kpid.store.engine import Store
from kpid.warehouse import Warehouse


@dataclass(frozen=True)
class App:
    """Everything a step needs, opened once. Nothing in it changes; a reload makes a new one over the same stores."""

    loaded: Loaded
    clock: Clock
    plugins: Plugins
    store: Store
    warehouse: Warehouse
    calendar: Calendar

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.loaded.config
