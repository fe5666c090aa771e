"""Signed claims (JSON Web Tokens, RS256), with which a program proves who it is without sending a secret.

The only door to `cryptography`, which comes with the extra ``jwt``; it is imported when something is signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from kpid.errors import AuthError
from kpid.plugin.settings import Secret


def signed(claims: Mapping[str, Any], key_pem: Secret, *, headers: Mapping[str, str] | None = None) -> str:
    """Claims, signed with an RSA key.

    Args:
        claims: as JSON.
        key_pem: the private key in PEM, without a pass phrase.
        headers: beside ``alg`` and ``typ``, for instance ``kid`` or ``x5t``.

    Raises:
        AuthError: there is no such key in the text, or the library is missing.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  optional
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    except ImportError as error:
        raise AuthError("signing with a key needs the library cryptography", hint="pip install 'kpid[jwt]'") from error
    try:
        key = serialization.load_pem_private_key(key_pem.get_secret_value().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise _unusable(type(error).__name__) from None  # its own text may quote the key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _unusable("it is no RSA key")
    head = {"alg": "RS256", "typ": "JWT", **(headers or {})}
    text = f"{_part(head)}.{_part(claims)}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{_base64(signature)}"


def thumbprint(certificate_pem: str) -> str:
    """The ``x5t`` of a certificate in PEM: which of a program's registered certificates a signature belongs to.

    Raises:
        AuthError: there is no certificate in the text.
    """
    _, begun, rest = certificate_pem.partition("-----BEGIN CERTIFICATE-----")
    body, ended, _ = rest.partition("-----END CERTIFICATE-----")
    try:
        if not (begun and ended):
            raise ValueError
        der = base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        hint = "It begins with -----BEGIN CERTIFICATE-----"
        raise AuthError("the certificate is not one in PEM", hint=hint) from None
    return _base64(hashlib.sha1(der, usedforsecurity=False).digest())


def _unusable(why: str) -> AuthError:
    hint = "Give a PEM file of an RSA key without a pass phrase (it begins with -----BEGIN PRIVATE KEY-----)"
    return AuthError(f"the private key cannot be used ({why})", hint=hint)


def _part(values: Mapping[str, Any]) -> str:
    return _base64(json.dumps(dict(values), separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
