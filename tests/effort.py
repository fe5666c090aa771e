"""How much is tried: ``make test`` ends within minutes, ``make test-exhaustive`` takes its time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

THOROUGH = os.environ.get("KPID_KPIS") == "all"


def on_worlds(usual: int, thorough: int) -> settings:
    """The settings of a property of whole worlds, each of which takes a second: so many examples, and none made smaller."""
    return settings(
        max_examples=thorough if THOROUGH else usual,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
