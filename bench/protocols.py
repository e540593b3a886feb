"""What a chunk costs in each protocol, passed on and translated, beside a chat's: `python -m bench.protocols`.

All ways in turn over one web process, BENCH_ROUNDS times for BENCH_SECONDS each, saturated as the row `stream` of
`make bench`.
"""

import math
import os
from collections.abc import Sequence
from statistics import median
from urllib.parse import urljoin

from bench import builds, contenders, measure, processes
from bench.contenders import AS_FAST_AS_IT_GOES
from bench.upstream import model_name

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "10"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
AT_ONCE = 300
WARM_UP_SECONDS = 4.0
NATIVE = "native"
CHAT = "chat"
# Each way: its address, and whether its model's upstream speaks the protocol.
WAYS = {
    CHAT: ("/v1/chat/completions", False),
    "Messages, passed on": ("/v1/messages", True),
    "Messages, translated": ("/v1/messages", False),
    "Responses, passed on": ("/v1/responses", True),
    "Responses, translated": ("/v1/responses", False),
}


def native_model(upstream_url: str) -> Sequence[str]:
    """Arguments of `add_model`."""
    words, every_ms = AS_FAST_AS_IT_GOES
    return [
        NATIVE, "--upstream-url", contenders.base_url(upstream_url), "--upstream-key", "none",
        "--upstream-model", model_name(words=words, every_ms=every_ms),
        "--protocols", "messages,responses", "--endpoints", "messages,responses", *builds.PRICES,
    ]  # fmt: skip


def main() -> None:
    load_before = os.getloadavg()[0]
    processes.leave_the_gateway_core()
    logs = contenders.FOREIGN / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    figures: dict[str, list[float]] = {way: [] for way in WAYS}
    with (
        contenders.direct(logs) as upstream,
        builds.running(builds.THIS, logs, upstream.url, further=[native_model(upstream.url)]) as hamiran,
    ):
        measure.streams(hamiran, at_once=AT_ONCE, seconds=WARM_UP_SECONDS)
        for number in range(ROUNDS):
            for way in WAYS if number % 2 else reversed(WAYS):
                path, is_native = WAYS[way]
                sample = measure.streams(
                    hamiran,
                    at_once=AT_ONCE,
                    seconds=SECONDS,
                    url=urljoin(hamiran.url, path),
                    model=NATIVE if is_native else "",
                )
                figures[way].append(sample.figures["web_us"])
                told = f"{sample.figures['a_second']:,.0f}/s  {sample.figures['web_us']:.1f} µs"
                print(f"{number + 1}/{ROUNDS}  {way:<22} {told}  {sample.trouble or ''}", flush=True)
    print(f"\nload {load_before:.2f} before the run, {ROUNDS} rounds of {SECONDS:g} s\n")
    print("| web CPU, µs per chunk | median | ÷ a chat's in the same round |\n|---|--:|--:|")
    for way, found in figures.items():
        ratios = [one / chat for one, chat in zip(found, figures[CHAT], strict=True) if chat] or [math.nan]
        print(f"| {way} | {median(found):.1f} | {median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
