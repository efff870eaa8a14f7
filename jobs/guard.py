"""Which addresses may be called: judged at each connection, on the address really dialled.

A name is never judged, because it may resolve to something else a moment later. An IPv6 address that
carries an IPv4 address (mapped, 6to4, Teredo, NAT64 and kin) is as bad as what it carries: a translator delivers it.
The tables are written out because `ipaddress` answers differently from one Python release to the next.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# IANA special-purpose registries (RFC 6890 and successors). The first network that holds the address speaks.
_NEVER: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ipaddress.ip_network(network), name)
    for network, name in (
        ("0.0.0.0/8", "unspecified"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
_PRIVATE: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ipaddress.ip_network(network), name)
    for network, name in (
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("192.0.0.0/24", "protocol assignment"),
        ("192.0.2.0/24", "documentation"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("::1/128", "loopback"),
        ("fc00::/7", "unique local"),
        ("fec0::/10", "site-local"),
        ("100::/64", "discard-only"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
)
_LOW_32 = 0xFFFF_FFFF
# IPv4-compatible and mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052).
_LOW_PREFIXES = tuple(
    ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class Guard:
    """The rule of one caller.

    `private`: may loopback, private, unique-local and carrier-grade NAT addresses be called.
    `named`: hosts, in lower case and without port, that may be called whatever their address is.
    """

    private: bool = True
    named: frozenset[str] = frozenset()

    def judge(self, address: str, host: str) -> str | None:
        """Return None when `address`, dialled for `host`, may be called, else the reason in words."""
        if host.lower() in self.named:
            return None
        try:
            # A zone id names one of our own interfaces; it does not change what the address is.
            dialled = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address} is not an IP address"
        for judged in (dialled, *_carried(dialled)):
            kind = _kind(judged, _NEVER)
            if kind is not None:
                return f"{_name(dialled, judged)} is {kind} and is never called"
            kind = None if self.private else _kind(judged, _PRIVATE)
            if kind is not None:
                return f"{_name(dialled, judged)} is {kind} and private addresses may not be called"
        return None


def _kind(address: IPv4Address | IPv6Address, table: tuple[tuple[IPv4Network | IPv6Network, str], ...]) -> str | None:
    return next((kind for network, kind in table if address in network), None)


def _name(dialled: IPv4Address | IPv6Address, judged: IPv4Address | IPv6Address) -> str:
    return str(dialled) if judged is dialled else f"{judged} (carried in {dialled})"


def _carried(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield every IPv4 address that `address` carries."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    if bits > 1 and any(address in prefix for prefix in _LOW_PREFIXES):
        yield IPv4Address(bits & _LOW_32)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(bits >> 80 & _LOW_32)
    elif address in _TEREDO:
        # RFC 4380: the server in clear, the client's address with every bit turned.
        yield IPv4Address(bits >> 64 & _LOW_32)
        yield IPv4Address(~bits & _LOW_32)
    elif address in _NAT64_LOCAL:
        yield from _nat64_local(bits)


def _nat64_local(bits: int) -> Iterator[IPv4Address]:
    """Yield what a local NAT64 address (RFC 8215) means under each prefix length that RFC 6052 allows.

    Bits 64 to 71 are always skipped. A reading in 0.0.0.0/8 is the padding of another length, unless there is no other.
    """
    low = bits & (1 << 64) - 1
    readings = (
        (bits >> 64 & 0xFFFF) << 16 | low >> 40 & 0xFFFF,  # /48
        (bits >> 64 & 0xFF) << 24 | low >> 32 & 0xFF_FFFF,  # /56
        low >> 24 & _LOW_32,  # /64
        bits & _LOW_32,  # /96
    )
    for reading in [reading for reading in readings if reading >> 24] or [0]:
        yield IPv4Address(reading)
