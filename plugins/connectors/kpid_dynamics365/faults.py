"""What refusals of the login and of the Web API mean, and how they are mended. Decided by status and code, never by text."""

from __future__ import annotations

from typing import Any

from kpid.plugin import AuthError, KpidError, Response, SchemaError, dig

NO_MEMBER, BLOCKED, NO_SET = "0x80072560", "0x80095ffe", "0x8006088a"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRETS = "Entra admin center > App registrations > Certificates & secrets"
LOGIN = {
    7000222: ("the client secret has expired", f"Make a new client secret: {_SECRETS}"),
    7000215: ("the client secret is wrong", f"Give the secret's value, not its id: {_SECRETS}"),
    700027: ("the signature of the certificate was refused", f"Upload this very certificate, and look at its dates: {_SECRETS}"),
    700016: ("the directory knows no such application", "Check `client_id` and `tenant`"),
    90002: ("there is no such directory", "Check `tenant`"),
    53003: ("access is blocked by a policy", "Entra admin center > Conditional Access: allow the application from this address"),
}
"""What ``error_codes`` of the token endpoint mean."""


def refused_login(response: Response, where: str) -> AuthError | None:
    """What a refusal of the token endpoint means; None: nothing that we know of."""
    if response.status == 403 and not response.is_json():
        hint = "Let kpid's machine reach the login: a firewall or proxy on the way answered, not the login itself"
        return AuthError("the way to the login is blocked (403)", where=where, hint=hint)
    codes = dig(response.json(), "error_codes") if response.is_json() else None
    known = [LOGIN[code] for code in codes if isinstance(code, int) and code in LOGIN] if isinstance(codes, list) else []
    return AuthError(known[0][0], where=where, hint=known[0][1]) if known else None


def meaning(response: Response, asked: str, where: str) -> KpidError | None:
    """A privilege that is missing ends its table; a user that is missing, or a way that is blocked, ends the source.

    Args:
        response: of the Web API.
        asked: the table that was asked.
        where: the client's name.
    """
    if response.status in REDIRECTS:
        return AuthError(
            f"the environment answered with a redirect ({response.status}) instead of data",
            where=where,
            hint="Check `base_url`; the environment may be disabled, in administration mode, or behind another login",
        )
    if response.status == 404:
        return no_table(asked, where) if _code(response) == NO_SET else None
    if response.status != 403:
        return None
    return refusal(response.is_json() and _code(response), asked, where)


def refusal(code: Any, asked: str, where: str) -> KpidError:
    """What a 403 with this code means."""
    if code == NO_MEMBER:
        hint = "Power Platform admin center > environment > Settings > Application users: add it, with a security role"
        return AuthError("the application is no user of the environment", where=where, hint=hint)
    if code == BLOCKED:
        hint = "Power Platform admin center > environment > Settings > Privacy + Security > IP firewall: allow its address"
        return AuthError("the environment's IP firewall blocks kpid's machine", where=where, hint=hint)
    return no_right(asked, where)


def no_right(name: str, where: str) -> SchemaError:
    """The application may not read a table."""
    hint = f"Give the security role of the application user Read on the table of {name}, for the whole organisation"
    return SchemaError(f"the application may not read {name}", where=where, hint=hint)


def no_table(name: str, where: str) -> SchemaError:
    """The environment has no such table."""
    hint = "The app that brings it is not installed: leave the entity out of `entities`"
    return SchemaError(f"the environment has no table {name}", where=where, hint=hint)


def _code(response: Response) -> Any:
    return dig(response.json(), "error.code") if response.is_json() else None
