"""The public door for plugins: everything a plugin may import from kpid, and nothing else.

See the README's "Writing a plugin" and ``tests/example_plugin``.
"""

from kpid.errors import AuthError, ConnectorError, DeferredError, DeliveryError, KpidError, SchemaError
from kpid.model import Finding
from kpid.plugin import entities
from kpid.plugin.auth import BasicAuth, BearerAuth, ClientCredentials, HeaderAuth, OAuth, RefreshToken
from kpid.plugin.client import Auth, HttpClient, NoAuth
from kpid.plugin.connector import (
    Connector,
    ConnectorInfo,
    Cursor,
    DeletedPage,
    EntityReads,
    Page,
    Row,
    SourceContext,
    Tombstone,
)
from kpid.plugin.hooks import hookimpl
from kpid.plugin.kpi import (
    AS_OF,
    At,
    Balance,
    Definition,
    During,
    Kpi,
    Measure,
    Now,
    Param,
    count,
    count_distinct,
    days_between,
    max_,
    mean,
    min_,
    quantile,
    seconds_between,
    sum_,
)
from kpid.plugin.mapping import ColumnMap, Mapped, Mapper, ValueStyle
from kpid.plugin.notifier import Image, Link, Message, Notifier, NotifierContext, Receipt, Section
from kpid.plugin.pacing import Pacer, RateLimit
from kpid.plugin.paging import NextLink, NextToken, Offset, PageNumber, Paginator, dig, read_pages
from kpid.plugin.reply import HttpFailure, Response
from kpid.plugin.report import Report
from kpid.plugin.settings import Secret, Settings

__all__ = [
    "AS_OF",
    "At",
    "Auth",
    "AuthError",
    "Balance",
    "BasicAuth",
    "BearerAuth",
    "ClientCredentials",
    "ColumnMap",
    "Connector",
    "ConnectorError",
    "ConnectorInfo",
    "Cursor",
    "DeferredError",
    "Definition",
    "DeletedPage",
    "DeliveryError",
    "During",
    "EntityReads",
    "Finding",
    "HeaderAuth",
    "HttpClient",
    "HttpFailure",
    "Image",
    "Kpi",
    "KpidError",
    "Link",
    "Mapped",
    "Mapper",
    "Measure",
    "Message",
    "NextLink",
    "NextToken",
    "NoAuth",
    "Notifier",
    "NotifierContext",
    "Now",
    "OAuth",
    "Offset",
    "Pacer",
    "Page",
    "PageNumber",
    "Paginator",
    "Param",
    "RateLimit",
    "Receipt",
    "RefreshToken",
    "Report",
    "Response",
    "Row",
    "SchemaError",
    "Secret",
    "Section",
    "Settings",
    "SourceContext",
    "Tombstone",
    "ValueStyle",
    "count",
    "count_distinct",
    "days_between",
    "dig",
    "entities",
    "hookimpl",
    "max_",
    "mean",
    "min_",
    "quantile",
    "read_pages",
    "seconds_between",
    "sum_",
]
