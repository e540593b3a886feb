import pytest

from keys import networks


@pytest.mark.parametrize(
    ("allowed", "address", "is_allowed"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "192.0.3.7", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "::ffff:192.0.2.7", True),
        (["192.0.2.0/24", "2001:db8::/32"], "2001:db8:1::5", True),
        (["2001:db8::/32"], "2001:db9::5", False),
        (["2001:db8::/32"], "192.0.2.7", False),
        (["0.0.0.0/0"], "203.0.113.9", True),
        (["::ffff:203.0.113.9"], "203.0.113.9", True),
        (["::ffff:203.0.113.0/120"], "::ffff:203.0.113.9", True),
        (["0.0.0.0/0"], "", False),
        (["0.0.0.0/0", "::/0"], "unix:/run/web.sock", False),
    ],
)
def test_an_address_is_allowed_where_a_network_has_it(
    allowed: list[str], address: str, is_allowed: bool
) -> None:
    assert networks.allow([networks.parse(each) for each in allowed], address) is is_allowed


@pytest.mark.parametrize(
    "text", ["", "example.com", "192.0.2.0/33", "192.0.2", "1.2.3.4/255.0.0.1", "fe80::1%eth0"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        networks.parse(text)
