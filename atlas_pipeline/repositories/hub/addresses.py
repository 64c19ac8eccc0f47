"""Web addresses that a hub gives: which may be asked, which get the token, and how they are kept out of logs.

Addresses are read with the parser of the client that uses them, so that both see the same host.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import Final

from huggingface_hub.utils import httpx

_PORTS: Final = {"http": 80, "https": 443}
_LAST_PORT: Final = 65_535
CLIENT_LOGGERS: Final = ("httpx2", "httpcore2.http11", "httpcore2.http2", "huggingface_hub.utils._http")
_QUERY = re.compile(r"\?[^\s'\"<>]+")
_RETURNED = re.compile(r"return_value=.*", re.DOTALL)

Origin = tuple[str, str, int]
"""Scheme, host and port."""


def origin_of(url: str) -> Origin | None:
    """Where an address belongs; None if it is no web address or carries a password."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return None
    if parts.scheme not in _PORTS or not parts.host or parts.userinfo:
        return None
    port = parts.port or _PORTS[parts.scheme]
    return (parts.scheme, parts.host, port) if port <= _LAST_PORT else None


def redirect_flaw(url: str, target: str, *, endpoint: Origin) -> str | None:
    """Why a redirect is not followed, as the end of a sentence that begins "the Hub redirects"; None if it may be.

    Refused are what is no web address, an open connection after an encrypted one, and, for a hub elsewhere, this
    machine and its own network segment, where only this machine can look.

    Args:
        url: The absolute address that redirects.
        target: The absolute address that it redirects to.
        endpoint: Origin of the hub.
    """
    before, after = origin_of(url), origin_of(target)
    if before is None or after is None:
        return "to what is no web address"
    if before[0] == "https" and after[0] != "https":
        return "from an encrypted connection to an open one"
    if _is_this_machine(after[1]) and not _is_this_machine(endpoint[1]):
        return "to the network of this machine"
    return None


def joined(url: str, location: str) -> str:
    """The absolute address that a Location header means; empty if it means none."""
    try:
        return str(httpx.URL(url).join(location)) if location else ""
    except (httpx.InvalidURL, ValueError):
        return ""


def without_query(url: str) -> str:
    """An address without its query: what stays the same when it is signed anew."""
    return url.partition("?")[0]


def keep_addresses_out_of_logs() -> None:
    """Has log lines of the HTTP client written without queries of addresses (signatures) and without headers."""
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).addFilter(_without_addresses)


def _without_addresses(record: logging.LogRecord) -> bool:
    record.msg = _QUERY.sub("?…", _RETURNED.sub("return_value=…", record.getMessage()))
    record.args = ()
    return True


def _is_this_machine(host: str) -> bool:
    """Whether a host is this machine, or an address that means another machine on every network."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified
