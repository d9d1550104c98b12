"""Addresses of the machines and networks around a server, which what an admin saves must not lead it to.

A name is looked up once, what it resolves to is looked at, and that very address is connected to: a name that resolves
to another one a moment later (DNS rebinding) changes nothing.
"""

import asyncio
import ipaddress
import math
import socket
from typing import Final

import httpx

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses of IPv6 that stand for the address of IPv4 in their last bits (RFC 6052)."""

_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""What stands before the address of IPv4 in the last bits of an address of a tunnel (RFC 5214). Its prefix may be any,
a private one too: a public address within says nothing of it."""

_REFUSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "2001::/32",  # Teredo (RFC 4380): one address of it leads to two of IPv4, a server's and a client's.
            "64:ff9b:1::/48",  # Translated within a network (RFC 8215), the address of IPv4 at a place of its choice.
            "3fff::/20",  # Documentation (RFC 9637).
            "192.0.0.0/24",  # Protocols (RFC 6890).
            "192.88.99.0/24",  # Relays of 6to4 (RFC 7526).
            "168.63.129.16/32",  # The host of Azure's virtual machines.
        ),
    )
)
"""What `ipaddress` has among the addresses of the public internet, and is not."""


CONNECT_SECONDS: Final = 3.0
"""How long an address is tried before the next of its host is: one that drops what is sent to it never refuses."""


class PrivateAddress(Exception):  # noqa: N818 - named as it is said
    """A host is, or resolves to, an address that is not of the public internet."""


def is_private(address: str) -> bool:
    """Whether an address is of anything else than the public internet.

    Loopback, RFC 1918, link-local (metadata services too), unique local, shared (RFC 6598), multicast, reserved,
    relays, tunnels and translators, and all of these within an address of IPv6.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if int(found) >> 32 & 0xFFFF_FFFF in _ISATAP and is_private(str(last)):
            return True
        # Each of these has one prefix of its own, which says nothing but that it is led to the address within.
        inner = last if found in _TRANSLATED else found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return is_private(str(inner))
        if found.is_site_local:
            return True
    return not found.is_global or found.is_multicast or found.is_reserved or any(found in one for one in _REFUSED)


async def looked_up(host: str, port: int) -> list[str]:
    """The addresses of a host, all of them public, in the order in which they are to be tried.

    Raises:
        PrivateAddress: one of them is not.
        OSError: it has none.
        UnicodeError: it cannot be a name: a part of it is empty, or longer than 63 characters.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if any(is_private(address) for address in addresses):
        raise PrivateAddress
    return addresses


def place_of(url: httpx.URL) -> tuple[str, int]:
    """The host and port that a URL leads to."""
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


class PublicOnly(httpx.AsyncHTTPTransport):
    """Connects to public addresses alone, and past every proxy: whoever looks a name up decides where it leads.

    Of several addresses, each but the last is tried for :data:`CONNECT_SECONDS` at most, and for its share of the
    request's extension ``seconds``, which is the time that all of it has. The one that answered last is tried first.
    """

    _answered: str | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request.

        Raises:
            PrivateAddress: its host is, or resolves to, a private address.
        """
        try:
            addresses = await looked_up(*place_of(request.url))
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error), request=request) from error
        addresses.sort(key=lambda one: one != self._answered)
        each = min(CONNECT_SECONDS, request.extensions.get("seconds", math.inf) / len(addresses))
        for left, address in enumerate(addresses, 1 - len(addresses)):
            try:
                response = await super().handle_async_request(_to(request, address, each if left else None))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if left == 0:
                    raise
            else:
                self._answered = address
                return response
        raise httpx.ConnectError("no address", request=request)


def _to(request: httpx.Request, address: str, seconds: float | None) -> httpx.Request:
    """A request to this address; its certificate has to be that of the host it was meant for, which Host names.

    ``seconds``: how long is tried to connect, where not as long as the request says.
    """
    timeout = dict(request.extensions.get("timeout", {}))
    if seconds is not None:
        timeout["connect"] = seconds
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={
            **request.extensions,
            "sni_hostname": request.url.raw_host.decode("ascii"),
            "timeout": timeout,
        },
    )
