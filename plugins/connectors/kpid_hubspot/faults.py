"""What HubSpot's errors mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from kpid.plugin import KpidError, Response, SchemaError, dig


def asked_pause(response: Response, *, now: Callable[[], datetime], zone: tzinfo) -> timedelta | None:
    """The pause behind a 429 without ``Retry-After``: its policy says which budget is spent; ``zone`` is the account's."""
    policy = str(dig(response.json(), "policyName") if response.is_json() else "").upper()
    if policy.startswith("DAILY"):
        local = (response.date or now()).astimezone(zone)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(UTC) - local.astimezone(UTC)
    return {"TEN_SECONDLY_ROLLING": timedelta(seconds=10), "SECONDLY": timedelta(seconds=1)}.get(policy)


def missing_scope(response: Response) -> KpidError | None:
    """A scope that the token lacks ends this entity, not the whole source."""
    body = response.json() if response.status == 403 and response.is_json() else None
    if dig(body, "category") != "MISSING_SCOPES":
        return None
    scopes = sorted(
        {
            str(scope)
            for error in dig(body, "errors") or ()
            for scope in dig(error, "context.requiredGranularScopes") or dig(error, "context.requiredScopes") or ()
        }
    )
    return SchemaError(
        f"the token lacks a scope: {', '.join(scopes) or 'HubSpot does not say which'}",
        hint="Add it to the private app or service key (Settings > Integrations), or to the OAuth app, which is then to be "
        "installed anew; or leave this entity out of `entities`",
    )
