"""Errors of kpid. Each says what went wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta


class KpidError(Exception):
    """An error meant for a person to read.

    Args:
        what: one sentence saying what went wrong, without secrets.
        where: the place: ``file:line``, a plugin, a source, a row.
        hint: what to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.hint}" if self.hint else text

    def mask(self, mask: Callable[[str], str]) -> None:
        """Put its texts through ``mask``, in place: whoever raised it may have quoted a secret."""
        self.what = mask(self.what)
        self.where = mask(self.where) if self.where else self.where
        self.hint = mask(self.hint) if self.hint else self.hint
        self.args = (self.what,)


class ConfigError(KpidError):
    """The configuration cannot be used as it is."""


class PluginError(KpidError):
    """A plugin could not be loaded or broke its contract."""


class StoreError(KpidError):
    """The state store or the warehouse cannot be opened or used."""


class PlaceError(StoreError):
    """The place of a store is not this user's to write: wrong path, owner or mode. Trying again cannot help."""


class BusyError(KpidError):
    """Another kpid process holds what this one needs."""


class HeldError(KpidError):
    """It must wait: not a failure, it is to be tried again when what it waits for has come."""


class ConnectorError(KpidError):
    """A source could not be read. Raised by connectors; other sources go on.

    ``transient`` errors are worth another try at the next scheduled sync without a person doing anything.
    """

    transient = True


class AuthError(ConnectorError):
    """The source refused our credentials, or a scope is missing: a person has to act."""

    transient = False


class SchemaError(ConnectorError):
    """The source's answer lacks something the mapping needs: a person has to act."""

    transient = False


class DeferredError(ConnectorError):
    """The source's budget is spent: come back at ``until`` (aware UTC)."""

    def __init__(self, what: str, until: datetime, *, where: str | None = None) -> None:
        super().__init__(what, where=where, hint=f"The sync goes on after {until.isoformat()}")
        self.until = until


class DeliveryError(KpidError):
    """A message was not accepted.

    Args:
        permanent: trying again cannot help (a refused address, a revoked token).
        unknown: the provider may have accepted it (the answer was lost after the body had gone out).
        retry_after: how long the provider asked us to wait.
    """

    def __init__(
        self,
        what: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after: timedelta | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after = retry_after
