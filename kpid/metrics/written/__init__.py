"""KPIs that are written in the configuration: their texts get a meaning here and become ordinary definitions."""

from kpid.metrics.written.build import Own, joined, own_kpis, with_own_kpis

__all__ = ["Own", "joined", "own_kpis", "with_own_kpis"]
