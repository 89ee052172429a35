"""Separates public IP addresses from private ones. Pure: resolves no name."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_UNICAST = IPv6Network("2000::/3")  # all global unicast (RFC 4291); the rest is local, reserved or wraps IPv4
_NAT64 = IPv6Network("64:ff9b::/96")
# Global in the IANA registry, or in older Python's copy of it, and still inside a cloud's own network.
_CLOUD = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; Oracle's metadata service
    IPv4Network("168.63.129.16/32"),  # Azure's host agent
)


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast. Looks into IPv6 that wraps IPv4. Raises `ValueError` for a name."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, IPv6Address):
        wrapped = _wrapped(ip)
        if wrapped is None:
            return ip in _UNICAST and ip.is_global
        ip = wrapped
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _CLOUD)


def _wrapped(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address in a mapped, 6to4 or NAT64 address, or None."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
