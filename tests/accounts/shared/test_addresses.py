import pytest

from accounts.shared import addresses


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("", "0.0.0.0"),
    ],
)
def test_an_ipv6_client_is_counted_under_its_network(address: str, counted: str) -> None:
    assert addresses.counted(address) == counted
