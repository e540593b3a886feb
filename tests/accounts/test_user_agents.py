"""What browsers call themselves, and what people are shown of it."""

import pytest

from accounts.user_agents import Browser, read

MOZILLA = "Mozilla/5.0"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "browser"),
    [
        (f"{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/140.0.0.0 Safari/537.36", ("Chrome", "Windows")),
        (f"{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/140.0 Safari/537.36 Edg/140.0", ("Edge", "Windows")),
        (f"{MOZILLA} (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", ("Firefox", "Linux")),
        (f"{MOZILLA} (Linux; Android 10; K) {WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36", ("Chrome", "Android")),
        (f"{MOZILLA} (Linux; Android 14; SM-S918B) {WEBKIT} SamsungBrowser/26.0 Chrome/122.0 Mobile Safari/537.36",
         ("Samsung Internet", "Android")),
        (f"{MOZILLA} (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/18.5 Mobile/15E148 Safari/604.1", ("Safari", "iPhone")),
        (f"{MOZILLA} (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "CriOS/140.0 Mobile/15E148 Safari/604.1", ("Chrome", "iPhone")),
        (f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
         "Safari/605.1.15", ("Safari", "macOS")),
        (f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/140.0.0.0 Safari/537.36", ("Chrome", "ChromeOS")),
        (f"{MOZILLA} (Windows NT 10.0) {WEBKIT} Chrome/138.0 Safari/537.36 OPR/122.0", ("Opera", "Windows")),
        ("curl/8.14.1", ("", "")),
        ("", ("", "")),
    ],
)  # fmt: skip
def test_a_browser_and_its_system_are_recognised(user_agent: str, browser: tuple[str, str]) -> None:
    assert read(user_agent) == Browser(*browser)
