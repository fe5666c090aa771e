"""How a fake of Entra ID looks at claims that an application signed with the key of its certificate."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from kpid.clock import Clock

BY_CERTIFICATE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Proofs:
    """The certificate that was uploaded, and whether claims fit it.

    Args:
        endpoint: the token endpoint's address, for which claims have to be made.
        clock: says when they are too old.

    Attributes:
        verify: checks a signature: (what was signed, signature) -> whether it is the certificate's; None: no certificate.
        thumbprint: of the certificate, as in the header ``x5t``.
    """

    def __init__(self, endpoint: Callable[[], str], clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self.verify: Callable[[bytes, bytes], bool] | None = None
        self.thumbprint = ""
        self._used: set[str] = set()

    def accepts(self, form: Mapping[str, str]) -> bool:
        """Whether a request for a token proves itself by claims: for this address, now, signed by that key, used once."""
        parts = form.get("client_assertion", "").split(".")
        if self.verify is None or form.get("client_assertion_type") != BY_CERTIFICATE or len(parts) != 3:
            return False
        head, claims = (json.loads(_raw(part)) for part in parts[:2])
        if not self.verify(f"{parts[0]}.{parts[1]}".encode(), _raw(parts[2])):
            return False
        is_ours = head.get("x5t") == self.thumbprint and head.get("alg") == "RS256" and self._fits(claims, form)
        is_fresh = claims.get("jti") not in self._used
        self._used.add(str(claims.get("jti")))
        return is_ours and is_fresh

    def _fits(self, claims: Mapping[str, Any], form: Mapping[str, str]) -> bool:
        now: datetime = self._clock.now()
        is_for_us = claims.get("aud") == self._endpoint()
        return is_for_us and claims.get("iss") == claims.get("sub") == form.get("client_id") and claims["exp"] > now.timestamp()


def _raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
