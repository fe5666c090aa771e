"""Signed claims: what is in them, that the key stays hidden, and what is said of a key that is none."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from kpid.errors import AuthError
from kpid.plugin import ClientAssertion, JwtBearer, Secret, signed, thumbprint
from kpid.testing import FakeClock

PEM, PKCS8, BARE = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def pem(key):
    return Secret(key.private_bytes(PEM, PKCS8, BARE).decode())


def opened(token, key):
    head, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    text = token.rpartition(".")[0].encode()
    key.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    return json.loads(head), json.loads(claims)


def test_claims_are_signed_and_not_padded(key, pem):
    token = signed({"iss": "ünlü"}, pem, headers={"kid": "7"})
    assert "=" not in token
    assert opened(token, key) == ({"alg": "RS256", "typ": "JWT", "kid": "7"}, {"iss": "ünlü"})


def test_a_user_is_acted_for_by_claims_that_hold_three_minutes(key, pem):
    clock = FakeClock()
    grant = JwtBearer("app-id", "ada@example.com", "https://login.example.com", pem, clock)
    form = grant.form()
    _, claims = opened(form["assertion"], key)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("app-id", "ada@example.com", "https://login.example.com")
    assert claims["exp"] - clock.now().timestamp() == 180
    assert grant.form()["assertion"] != form["assertion"]


def test_a_program_proves_itself_by_its_certificate(key, pem):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kpid.example.com")])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, at, at + timedelta(days=900))
    certificate = builder.sign(key, hashes.SHA256())
    text = certificate.public_bytes(PEM).decode()
    grant = ClientAssertion("app-id", "https://login.example.com/token", pem, FakeClock(), certificate=text, scope="x/.default")
    form = grant.form()
    head, claims = opened(form["client_assertion"], key)
    assert base64.urlsafe_b64decode(head["x5t"] + "=") == certificate.fingerprint(hashes.SHA1())
    assert (claims["iss"], claims["sub"], form["scope"], form["client_id"]) == ("app-id", "app-id", "x/.default", "app-id")


def test_no_line_of_the_key_is_shown(pem):
    secrets = JwtBearer("a", "b", "c", pem, FakeClock()).secrets()
    assert pem.get_secret_value() in secrets
    assert pem.get_secret_value().splitlines()[3] in secrets


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAAsecret\n-----END PRIVATE KEY-----"])
def test_a_key_that_is_none_is_refused_without_quoting_it(text):
    with pytest.raises(AuthError, match="private key") as caught:
        signed({}, Secret(text))
    assert "AAAAsecret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_refused():
    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, BARE).decode()
    with pytest.raises(AuthError, match="no RSA key"):
        signed({}, Secret(text))


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"])
def test_a_certificate_that_is_none_is_refused(text):
    with pytest.raises(AuthError, match="certificate"):
        thumbprint(text)
