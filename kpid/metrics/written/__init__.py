"""KPIs that are written in the configuration: their texts get a meaning here and become ordinary definitions."""

from kpid.metrics.written.build import with_own_kpis
from kpid.metrics.written.fields import custom_fields

__all__ = ["custom_fields", "with_own_kpis"]
