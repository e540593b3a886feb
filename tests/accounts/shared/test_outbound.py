"""What may be called because somebody entered it: never what is not of the public Internet."""

import pytest

from accounts.shared.outbound import allowed, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "100.64.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "fd00::1",
        "2002:7f00:1::",
        "64:ff9b::10.0.0.1",
        "fe80::1%eth0",
    ],
)
def test_addresses_that_are_not_the_internets_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_addresses_of_the_internet_are_known(address: str) -> None:
    assert is_public(address)


def test_of_a_hosts_addresses_only_the_public_ones_may_be_connected_to_unless_the_operator_allowed_the_host() -> (
    None
):
    addresses = ["10.0.0.7", "93.184.215.14", "::1"]
    assert allowed("api.example.com", addresses, allowed_hosts=["other"]) == ["93.184.215.14"]
    assert allowed("api.example.com", addresses, allowed_hosts=["api.example.com"]) == addresses
