"""How requests prove who we are: by a token that stays, or by OAuth on behalf of the person who installed an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpid.plugin import BearerAuth, HttpClient, OAuth, RefreshToken, Secret, SourceContext
from kpid_hubspot.settings import HubSpotSettings


@dataclass(frozen=True, slots=True)
class Login:
    """The proof, what names the account, and the client that asks for tokens, if any."""

    auth: BearerAuth | OAuth
    account: str
    client: HttpClient | None = None


def login_of(settings: HubSpotSettings, context: SourceContext, **hooks: Any) -> Login:
    """What the settings say; ``hooks`` are further arguments of the client that asks for tokens. Contacts nobody.

    HubSpot's access tokens last half an hour. A refresh token lasts until the app is removed; should an answer bring another
    one, that is kept.
    """
    if settings.auth == "token":
        token = settings.token or Secret("")
        return Login(BearerAuth(token), token.get_secret_value())
    secret, refresh = settings.client_secret or Secret(""), settings.refresh_token or Secret("")
    client = settings.client(context, vendor="hubspot login", account=settings.client_id or "", **hooks)
    grant = RefreshToken(settings.client_id or "", secret, refresh, keep=context.keep)
    auth = OAuth(client, f"/oauth/{settings.oauth_version}/token", grant, clock=context.clock)
    return Login(auth, refresh.get_secret_value(), client)
