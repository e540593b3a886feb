from accounts.shared.address_limit import AddressLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limit_with(clock: Clock, max_addresses: int = 3) -> AddressLimit:
    return AddressLimit(per_minute=2, clock=clock, max_addresses=max_addresses)


def test_an_address_waits_for_the_rest_of_its_minute_and_others_do_not() -> None:
    clock = Clock()
    limit = limit_with(clock)
    for _ in range(2):
        assert limit.wait_seconds("192.0.2.1") == 0
        limit.count("192.0.2.1")
    clock.now += 20
    assert limit.wait_seconds("192.0.2.1") == 40
    assert limit.wait_seconds("192.0.2.2") == 0
    clock.now += 40
    assert limit.wait_seconds("192.0.2.1") == 0
    limit.count("192.0.2.1")
    assert limit.wait_seconds("192.0.2.1") == 0


def test_a_whole_ipv6_subscriber_is_one_address() -> None:
    limit = limit_with(Clock())
    limit.count("2001:db8::1")
    limit.count("2001:db8::ffff:2")
    assert limit.wait_seconds("2001:db8::3") > 0
    assert limit.wait_seconds("2001:db8:0:1::3") == 0


def test_it_remembers_no_more_addresses_than_it_may() -> None:
    limit = limit_with(Clock())
    for last in range(10):
        limit.count(f"192.0.2.{last}")
    assert len(limit) == 3
