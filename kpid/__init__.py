"""kpid watches the numbers of a CRM: KPI alerts and scheduled reports."""

__version__ = "0.1.0"
