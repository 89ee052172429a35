"""Opens the sockets of the server before anything is loaded, so that a port in use is reported at once."""

import contextlib
import ipaddress
import socket

BACKLOG = 2048  # uvicorn's default
LOOPBACK = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches a server that listens on the host. Raises `OSError`."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host. Raises `OSError`."""
    with contextlib.ExitStack() as opened:
        sockets = []
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            # asyncio switches Nagle's algorithm off for sockets of this protocol only. With it, the body of an answer
            # waits 40 ms for the client to acknowledge the head.
            sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sockets.append(sock)
        opened.pop_all()
        return sockets
