"""Which addresses may be called, as a table."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inboxd.jobs.guard import Guard

PUBLIC = [
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2002:808:808::1",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
    "::ffff:8.8.8.8",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.19.0.1",
    "::1",
    "::1%lo",
    "fd00::1",
    "fec0::1",
    "2001:db8::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1",
    "2002:7f00:1::",
    # Teredo: a private server with a public client (8.8.8.8 turned), then the other way round.
    "2001:0:a00:1::f7f7:f7f7",
    "2001:0:808:808::f5ff:fffe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "64:ff9b:1:a00:0:100::",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2002:a9fe:a9fe::",
    "2001:0:a9fe:a9fe::f7f7:f7f7",
    "2001:0:808:808::5601:5601",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:a9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
    "64:ff9b:1::",
    "not an address",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called_by_everybody(address: str) -> None:
    assert Guard(private=False).judge(address, "shop.example") is None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_may_be_called_only_where_that_is_allowed(address: str) -> None:
    assert Guard(private=True).judge(address, "shop.example") is None
    assert Guard(private=False).judge(address, "shop.example") is not None


@pytest.mark.parametrize("address", NEVER)
def test_a_link_local_or_meaningless_address_is_never_called(address: str) -> None:
    assert Guard(private=True).judge(address, "shop.example") is not None


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_a_named_host_may_be_called_wherever_it_is(address: str) -> None:
    guard = Guard(private=False, named=frozenset({"metadata.internal"}))
    assert guard.judge(address, "Metadata.Internal") is None
    assert guard.judge(address, "other.internal") is not None


def test_the_reason_tells_the_address_and_what_it_is() -> None:
    reason = Guard().judge("2002:a9fe:a9fe::", "h")
    assert reason == "169.254.169.254 (carried in 2002:a9fe:a9fe::) is link-local and is never called"


@given(st.ip_addresses(v=4), st.booleans())
def test_every_disguise_of_an_address_is_judged_as_the_address(address: ipaddress.IPv4Address, private: bool) -> None:
    guard, bits = Guard(private=private), int(address)
    disguises = [0xFFFF << 32 | bits, 0xFFFF << 48 | bits, 0x2002 << 112 | bits << 80 | 1, 0x64FF9B << 96 | bits]
    for disguise in disguises:
        verdict = guard.judge(str(ipaddress.IPv6Address(disguise)), "h")
        assert (verdict is None) == (guard.judge(str(address), "h") is None)
