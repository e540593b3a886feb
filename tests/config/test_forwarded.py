"""Who the client is, behind proxies that are trusted and others, whatever a header says."""

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from config import forwarded
from config.env import networks
from tests.factories import TierFactory

PROXY, STRANGER = "127.0.0.1", "198.51.100.9"


def client(*values: str, peer: str = PROXY) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    scope: dict[str, Any] = {"client": (peer, 5), "headers": headers, "scheme": "http"}
    forwarded.apply(scope)
    return str(scope["client"][0])


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::5]:4711"], "2001:db8::5"),
        (["[2001:db8::5]"], "2001:db8::5"),
        (["2001:DB8:0::5"], "2001:db8::5"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["fe80::1%eth0"], "fe80::1"),
        ([' "203.0.113.9" '], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 127.0.0.1, ::1"], "203.0.113.9"),
        (["garbage, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, garbage"], PROXY),
        (["203.0.113.9, garbage, 127.0.0.1"], PROXY),
        ([], PROXY),
        ([""], PROXY),
        ([",,"], PROXY),
        (["unknown"], PROXY),
        (["_hidden"], PROXY),
        (["203.0.113.999"], PROXY),
        (["[::1"], "::1"),
        (["[]"], PROXY),
        (["203.0.113.9\x00"], PROXY),
        (["\xff\xfe"], PROXY),
        (["1" * 50_000], PROXY),
        (["'; DROP TABLE"], PROXY),
        (["203.0.113.9" + ", 127.0.0.1" * 5_000], PROXY),
    ],
)
def test_a_trusted_proxy_says_who_the_client_is(values: list[str], address: str) -> None:
    assert client(*values) == address


@pytest.mark.parametrize("values", [["203.0.113.9"], ["127.0.0.1"], ["garbage"], []])
def test_nobody_else_is_believed(values: list[str]) -> None:
    assert client(*values, peer=STRANGER) == STRANGER
    assert client(*values, peer=f"::ffff:{STRANGER}") == STRANGER


def test_networks_of_proxies_and_all_of_them_can_be_trusted(settings: Any) -> None:
    for values, trusted in ((["198.51.100.0/24"], True), (["*"], True), (["10.0.0.0/8", "::1"], False)):
        settings.FORWARDED_ALLOW_IPS = networks("FORWARDED_ALLOW_IPS", values)
        forwarded._is_proxy.cache_clear()
        assert client("203.0.113.9", peer=STRANGER) == ("203.0.113.9" if trusted else STRANGER)
    forwarded._is_proxy.cache_clear()


@pytest.mark.parametrize(("peer", "scheme"), [(PROXY, "https"), (STRANGER, "http")])
def test_the_scheme_comes_from_a_trusted_proxy_alone(peer: str, scheme: str) -> None:
    scope: dict[str, Any] = {
        "client": (peer, 5),
        "scheme": "http",
        "headers": [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"gopher")],
    }
    forwarded.apply(scope)
    assert scope["scheme"] == scheme


def test_a_unix_socket_has_no_client() -> None:
    scope: dict[str, Any] = {"client": None, "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    forwarded.apply(scope)
    assert scope["client"] is None
    assert forwarded.address_of(RequestFactory().get("/", REMOTE_ADDR="")) is None


@pytest.mark.django_db
@pytest.mark.parametrize("claimed", ["203.0.113.9", "garbage", "1.2.3.4:x:y", "[", "", "\u0660"])
def test_the_audit_log_believes_what_the_door_found_and_nothing_else(claimed: str) -> None:
    tier = TierFactory.create()

    def change(_request: HttpRequest) -> HttpResponse:
        tier.rpm += 1
        tier.save()
        return HttpResponse()

    request = RequestFactory().post("/", HTTP_X_FORWARDED_FOR=claimed, REMOTE_ADDR="192.0.2.1")
    forwarded.AuditMiddleware(change)(request)
    assert [entry.remote_addr for entry in LogEntry.objects.get_for_object(tier)][:1] == ["192.0.2.1"]


@pytest.mark.django_db
@pytest.mark.parametrize("claimed", ["203.0.113.9", "garbage", "[", "1.2.3.4:99999"])
def test_no_header_makes_a_sign_in_fail(client: Client, claimed: str) -> None:
    page = client.post("/sign-in/", {"mobile": "09137654321"}, HTTP_X_FORWARDED_FOR=claimed)
    assert page.status_code == 302
    admins = client.post(
        "/admin/login/", {"username": "09137654321", "password": "x"}, HTTP_X_FORWARDED_FOR=claimed
    )
    assert admins.status_code == 200
