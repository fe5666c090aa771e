"""What Salesforce's errors mean: told by status and code, never by the text. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from kpid.plugin import AuthError, ConnectorError, DeferredError, HttpFailure, KpidError, Response, SchemaError, dig

PAUSE = timedelta(hours=1)
"""The budget is of a rolling day: a part of it is free again by then."""

_UNREADABLE = {"INVALID_TYPE", "NOT_FOUND", "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "FUNCTIONALITY_NOT_ENABLED"}
_DISABLED = {"API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"}
_BROKEN_OFF = {"INVALID_QUERY_LOCATOR", "QUERY_LOCATOR_EXPIRED", "QUERY_TIMEOUT"}
_PASSING = {"UNABLE_TO_LOCK_ROW", "TXN_SECURITY_METERING_ERROR", "SERVER_UNAVAILABLE"}
_LOGIN_HINTS = {
    "invalid_client_id": "Check client_id: it is the consumer key of the External Client App",
    "invalid_client": "Check client_secret: it is the consumer secret of the External Client App",
    "invalid_grant": "The consent was withdrawn, the user is locked, or the app's policies forbid this login",
}


class AskAgainError(ConnectorError):
    """A query that was broken off: it has to be asked anew, perhaps for less."""


def codes_of(response: Response | None) -> set[str]:
    """The codes of an error, which is a list of objects."""
    return _codes(response.json() if response is not None and response.is_json() else None)


def _codes(body: Any) -> set[str]:
    return {str(dig(error, "errorCode")) for error in body} if isinstance(body, list) else set()


def refused_login(response: Response, where: str) -> AuthError | None:
    """What the token endpoint's refusal means; None: nothing in particular."""
    code = str(dig(response.json(), "error") if response.is_json() else "")
    hint = _LOGIN_HINTS.get(code)
    return AuthError(f"Salesforce refused the login ({code})", where=where, hint=hint) if hint else None


def meaning(response: Response, subject: str, where: str, now: datetime) -> KpidError | None:
    """What an error of the API means; None: nothing in particular.

    Args:
        response: the answer.
        subject: the object that was asked for.
        where: the source's name.
        now: for pauses.
    """
    return _meant(response.status, codes_of(response), subject, where, now, response)


def refusal(status: int, body: Any, subject: str, where: str, now: datetime) -> KpidError:
    """What the error of one request in a composite one means."""
    found = _meant(status, _codes(body), subject, where, now, None)
    return found or HttpFailure(f"a query of {subject} was answered {status}", status=status, where=where)


def _meant(status: int, codes: set[str], subject: str, where: str, now: datetime, response: Response | None) -> KpidError | None:
    if "REQUEST_LIMIT_EXCEEDED" in codes:
        return DeferredError("the organisation's API calls are used up", now + PAUSE, where=where)
    if codes & _BROKEN_OFF:
        return AskAgainError(f"a query of {subject} was broken off", where=where)
    if codes & _PASSING:
        text = f"{subject} is locked for the moment"
        return HttpFailure(text, status=status, response=response, where=where)
    return _for_a_person(status, codes, subject, where)


def _for_a_person(status: int, codes: set[str], subject: str, where: str) -> KpidError | None:
    if status == 410:
        hint = "Set api_version to a newer one"
        return SchemaError("Salesforce has retired this version of the API", where=where, hint=hint)
    if codes & _DISABLED:
        hint = "The edition needs the API, and the user the permission API Enabled"
        return AuthError("the API is not enabled for this user or organisation", where=where, hint=hint)
    if codes & _UNREADABLE:
        hint = f"Give the user a permission set with read access to {subject} and its fields, or leave this entity out"
        return SchemaError(f"the user may not read {subject}", where=where, hint=hint)
    if codes & {"INVALID_FIELD", "MALFORMED_QUERY"}:
        hint = "A field may have been taken away this moment: the next sync reads the description anew"
        return SchemaError(f"Salesforce does not understand our query of {subject}", where=where, hint=hint)
    return None
