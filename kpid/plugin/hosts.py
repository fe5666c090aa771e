"""What a host name says about where it leads."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from kpid.errors import ConfigError


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine: only there may a message or a secret travel in the clear."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet: not private, loopback, link-local (cloud metadata), or reserved."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast


def inner_number(host: str) -> str | None:
    """The address behind a host that is written as a number, in whatever spelling (``0x7f000001``), if it is an inner one."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return None  # a name: its address is looked at when connected
    return next((str(address[0]) for *_, address in found if not is_public(str(address[0]))), None)


def checked_base(base_url: str, name: str, *, allow_private: bool) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        ConfigError: it is no address, holds credentials, or would send them in the clear.
    """
    base = base_url.rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in {"https", "http"} or not parts.hostname or re.search(r"[\s\\]", base):
        raise ConfigError("the address must look like https://host", where=name)
    if parts.username or parts.password:
        raise ConfigError("the address holds a user or password", where=name, hint="Use the settings for credentials instead")
    if parts.scheme == "http" and not allow_private:
        raise ConfigError(
            "the address is http:// and would send credentials in the clear",
            where=name,
            hint="Write https://, or set allow_private: true for a server in your own network",
        )
    return base
