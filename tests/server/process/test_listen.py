import asyncio
import errno
import socket

import pytest

from server.process.listen import is_loopback, listen


def test_a_free_port_is_taken_and_a_taken_one_refused() -> None:
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        _, port = sock.getsockname()
        assert port
        with pytest.raises(OSError, match="in use") as caught:
            listen("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError, match="assign"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("fe80::1", False),
    ],
)
def test_who_reaches_a_host(host: str, here: bool) -> None:
    assert is_loopback(host) is here


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    (sock,) = listen("127.0.0.1", 0)
    async with await asyncio.start_server(connected, sock=sock):
        _, writer = await asyncio.open_connection(*sock.getsockname())
        assert await found
        writer.close()
        await writer.wait_closed()
