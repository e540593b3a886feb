"""Which addresses a call to an upstream may reach, at the moment of the call."""

from typing import Any

import pytest
import pytest_asyncio

from proxy.upstreams import PublicResolver


@pytest_asyncio.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> PublicResolver:
    """Its name server answers with one public and one private address, as one that was tampered with may."""
    made = PublicResolver()

    async def resolve(host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        addresses = ["10.0.0.5"] if host == "inside.example" else ["93.184.216.34", "10.0.0.5"]
        return [{"hostname": host, "host": address, "port": port} for address in addresses]

    monkeypatch.setattr(made._resolver, "resolve", resolve)
    return made


async def test_private_addresses_of_a_name_are_not_called(resolver: PublicResolver) -> None:
    assert [found["host"] for found in await resolver.resolve("api.example", 443)] == ["93.184.216.34"]
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("inside.example", 443)


async def test_a_host_that_the_operator_allowed_may_be_private(
    resolver: PublicResolver, settings: Any
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["inside.example"]
    assert [found["host"] for found in await resolver.resolve("inside.example", 443)] == ["10.0.0.5"]
