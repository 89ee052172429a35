import pytest

from server.media.fetching.ip_addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1",
        "64:ff9b:1::7f00:1", "::127.0.0.1", "fec0::1", "2001:0:1::1", "::ffff:100.64.0.1", "240.0.0.1",
        "192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16", "100.100.100.200", "fd00:ec2::254",
    ],
)  # fmt: skip
def test_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::"]
)
def test_public(address: str) -> None:
    assert is_public(address)
