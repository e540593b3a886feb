"""The customers of `make cheat`: what each asks of which upstream, and when they leave."""

from dataclasses import dataclass, field
from typing import Any

from bench.cheat_media import TRUE_SECONDS
from bench.cheat_upstream import PERSIAN, SPACES, Body, Engine
from tests.proxy.api.media import sounds

HELLO = [{"role": "user", "content": "Tell me about cats. " * 5}]
PERSIAN_HELLO = [{"role": "user", "content": "سلام! دربارهٔ گربه‌ها بگو. " * 5}]
SEEN_FINISH = -1  # leaves once finish_reason came
HIDDEN = "all the small things that nobody counts " * 1_000  # 40 KB
HIDDEN_IN: dict[str, Body] = {
    "functions": {"functions": [{"name": "f", "description": HIDDEN, "parameters": {"type": "object"}}]},
    "response_format": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"description": HIDDEN}},
        },
    },
    "reasoning": {
        "messages": [*HELLO, {"role": "assistant", "content": "", "reasoning_content": HIDDEN}, *HELLO],
    },
    "documents": {"documents": [{"text": HIDDEN}]},
}
DRAW: Body = {"prompt": "A cat"}
HONEST_IMAGES: dict[str, Body] = {"images": {"n": 3}, "an image in events": {"stream": True}}
SPEAK: Body = {"input": "Once upon a time. " * 10, "voice": "alloy"}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="  # noqa: E501


@dataclass(frozen=True, slots=True)
class Customer:
    """`bodies` are sent one after the other, twice; of the first `teaches` requests the loss is forgiven, since they
    show that a declaration is wrong. `leaves`: after so many deltas. `refusable`: 4xx is an answer, too.
    `honest`: billed to the token, no more. `offer`: further arguments of `add_model`, by name. `protocol`: what is
    called; `file`: what comes with a form.
    """

    what: str
    engine: Engine
    bodies: tuple[Body, ...]
    leaves: int | None = None
    reads_slowly: bool = False
    teaches: int = 0
    refusable: bool = False
    honest: bool = False
    offer: dict[str, Any] = field(default_factory=dict)
    protocol: str = "chat"
    file: bytes = field(default=b"", repr=False)


def bodies(**changes: Any) -> tuple[Body, ...]:
    return ({"messages": HELLO, "max_tokens": 2_000, **changes},)


STREAM = bodies(stream=True)
CANCEL, DRAIN = {"on_disconnect": "cancel"}, {"on_disconnect": "drain"}
DECLARED = {"max_output_tokens": 4_096}


def each(**fields: Any) -> tuple[Body, ...]:
    """A request for each field."""
    return tuple({"messages": HELLO, "max_tokens": 200, name: value} for name, value in fields.items())


def _dearer(body: Body) -> float:
    """Fields that lead to another model, another service or another bill, where upstream sees them."""
    factor = 10.0 if body.get("models") or body.get("route") or body.get("provider") else 1.0
    factor *= 2 if body.get("service_tier") in {"priority", "fast"} else 1
    return factor * (5 if body.get("plugins") or body.get("web_search_options") is not None else 1)


CUSTOMERS = [
    # Nobody cheats: what an upstream reports is billed to the token.
    Customer("honest, whole", Engine(), bodies(), honest=True),
    Customer("honest, streamed", Engine(), STREAM, honest=True),
    Customer(
        "honest Persian, 6 bytes per token, whole",
        Engine(token=PERSIAN, prompt_bytes_per_token=6), bodies(messages=PERSIAN_HELLO), honest=True,
    ),
    Customer(
        "honest Persian, 6 bytes per token, streamed",
        Engine(token=PERSIAN, prompt_bytes_per_token=6), bodies(messages=PERSIAN_HELLO, stream=True), honest=True,
    ),
    Customer("honest runs of spaces, 16 bytes per token", Engine(token=SPACES), bodies(), honest=True),
    Customer(
        "honest, sent on letter by letter, at its cap",
        Engine(makes=5_000, letters=True, burst=100), bodies(max_tokens=1_000, stream=True), honest=True,
    ),
    # More than was asked for.
    *[
        Customer(
            f"asks for {name} beyond max_tokens",
            Engine(makes=5_000, caps=(name, "max_tokens")), bodies(max_tokens=10, **{name: 5_000}), refusable=True,
        )
        for name in ("n_predict", "max_new_tokens")
    ],
    *[
        Customer(
            f"asks for {name} beyond n",
            Engine(counts=("n", name)), bodies(max_tokens=500, **{name: 8}), refusable=True,
        )
        for name in ("n_cmpl", "best_of")
    ],
    Customer(
        "max_completion_tokens where only max_tokens is obeyed",
        Engine(caps=("max_tokens",)),
        ({"messages": HELLO, "max_completion_tokens": 10},), offer={"limit_field": "max_tokens"},
    ),
    Customer(
        "max_tokens where only max_completion_tokens is obeyed",
        Engine(caps=("max_completion_tokens",)),
        bodies(max_tokens=10), offer={"limit_field": "max_completion_tokens"},
    ),
    # Claims of the catalogue that are wrong.
    Customer(
        "no cap, 20,000 made against a declared 4,096, whole",
        Engine(makes=20_000, burst=16), ({"messages": HELLO},), offer=DECLARED,
    ),
    Customer(
        "no cap, 20,000 made against a declared 4,096, streamed",
        Engine(makes=20_000, burst=16), ({"messages": HELLO, "stream": True},), offer=DECLARED,
    ),
    Customer(
        "the same from an upstream that obeys no cap, whole",
        Engine(makes=20_000, caps=()), ({"messages": HELLO},), offer=DECLARED, teaches=1,
    ),
    Customer(
        "the same from an upstream that obeys no cap, streamed",
        Engine(makes=20_000, burst=16, caps=(), report="none"), ({"messages": HELLO, "stream": True},),
        offer={**DECLARED, **CANCEL},
    ),
    Customer(
        "a prompt of 5,000 tokens in a declared context of 2,500",
        Engine(makes=100), bodies(messages=[{"role": "user", "content": "nice cat " * 2_222}], max_tokens=100),
        offer={"context_tokens": 2_500}, teaches=1, refusable=True,
    ),
    Customer(
        "a prompt of 30,000 tokens in a declared context of 2,500",
        Engine(makes=100), bodies(messages=[{"role": "user", "content": "nice cat " * 13_333}], max_tokens=100),
        offer={"context_tokens": 2_500}, refusable=True,
    ),
    Customer(
        "a prompt of 900 U+FDFA, 9 tokens each",
        Engine(makes=100, prompt_bytes_per_token=1 / 3),
        bodies(messages=[{"role": "user", "content": "\ufdfa" * 900}], max_tokens=100), teaches=1,
    ),
    # Reports that are none.
    Customer("reports zeros beside text, whole", Engine(report="zeros"), bodies()),
    Customer("reports zeros beside text, streamed", Engine(report="zeros"), STREAM),
    Customer("reports nothing, whole", Engine(report="none"), bodies()),
    Customer("reports after the first word, streamed", Engine(report="early"), STREAM),
    Customer(
        "one choice of four reported, whole",
        Engine(report="one_choice"), bodies(n=4), offer={"kind": "llamacpp"},
    ),
    Customer("one choice of four reported, streamed", Engine(report="one_choice"), bodies(n=4, stream=True)),
    # Clients that leave, read slowly, or are cut off.
    Customer("leaves in the middle, upstream cancels", Engine(), STREAM, leaves=500, offer=CANCEL),
    Customer(
        "leaves in the middle, upstream bills on", Engine(bills_after_disconnect=True), STREAM,
        leaves=500, offer=DRAIN,
    ),
    Customer("leaves at the last delta", Engine(), STREAM, leaves=1_000, offer=CANCEL),
    Customer("leaves at finish_reason", Engine(), STREAM, leaves=SEEN_FINISH, offer=CANCEL),
    Customer(
        "leaves at finish_reason, upstream bills on",
        Engine(bills_after_disconnect=True), STREAM, leaves=SEEN_FINISH, offer=DRAIN,
    ),
    Customer("leaves reasoning alone, in the middle", Engine(reasons=True), STREAM, leaves=500, offer=CANCEL),
    Customer("leaves Persian in the middle", Engine(token=PERSIAN), STREAM, leaves=500, offer=CANCEL),
    Customer("reads slowly, to the end", Engine(burst=0), STREAM, reads_slowly=True),
    Customer(
        "reads slowly and leaves, upstream bills on",
        Engine(burst=0, bills_after_disconnect=True), STREAM, leaves=500, reads_slowly=True, offer=DRAIN,
    ),
    Customer(
        "still streaming at the total deadline",
        Engine(makes=20_000, burst=1, pause_seconds=0.02), bodies(max_tokens=20_000, stream=True), offer=CANCEL,
    ),
    # What the estimate does not see.
    *[
        Customer(
            f"hides 40 KB in {what}, then leaves",
            Engine(), bodies(stream=True, **hidden), leaves=100, offer=CANCEL, refusable=True,
        )
        for what, hidden in HIDDEN_IN.items()
    ],
    Customer(
        "an image, 1,500 tokens upstream",
        Engine(prompt_tokens_more=1_500),
        bodies(messages=[{"role": "user", "content": [
            {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}},
        ]}]),
        honest=True,
    ),
    # A dearer service for the price of this one.
    *[
        Customer(f"asks for {name}", Engine(makes=200, dearer=_dearer), each(**{name: value}), refusable=True)
        for name, value in {
            "models": ["dear/model"],
            "route": "fallback",
            "provider": {"order": ["dear"]},
            "plugins": [{"id": "web"}],
            "service_tier": "priority",
            "web_search_options": {},
        }.items()
    ],
    # What is paid for by the piece.
    *[
        Customer(f"honest: {what}", Engine(), ({**DRAW, **more},), honest=True, protocol="images")
        for what, more in HONEST_IMAGES.items()
    ],
    *[
        Customer(f"asks for more images by {name}", Engine(), ({**DRAW, name: 8},), refusable=True, protocol="images")
        for name in ("num_images", "numImages", "batch_size", "samples", "N", "n[]")
    ],
    Customer(
        "asks for a larger image by width", Engine(), ({**DRAW, "width": 4_096},), refusable=True, protocol="images",
    ),
    Customer("leaves before its image", Engine(), ({**DRAW, "stream": True},), leaves=2, protocol="images"),
    Customer("honest: speech", Engine(), (SPEAK,), honest=True, protocol="speech"),
    Customer("leaves in the middle of a speech", Engine(), (SPEAK,), leaves=2, protocol="speech"),
    *[
        Customer(f"hides a text in {name}", Engine(), ({**SPEAK, name: HIDDEN},), protocol="speech")
        for name in ("instructions", "Instructions", "text", "ssml", "prompt")
    ],
    Customer(
        "honest: a transcription", Engine(), ({TRUE_SECONDS: "3"},), honest=True, protocol="transcriptions",
        file=sounds.wav(3),
    ),
    Customer(
        "a sound whose clock runs a hundred times too fast", Engine(), ({TRUE_SECONDS: "30"},),
        protocol="transcriptions", file=sounds.with_fast_clock("aac", 30),
    ),
    Customer(
        "leaves in the middle of a transcription", Engine(), ({TRUE_SECONDS: "3", "stream": "true"},), leaves=2,
        protocol="transcriptions", file=sounds.wav(3),
    ),
    Customer(
        "a sound elsewhere", Engine(), ({TRUE_SECONDS: "3000", "url": "https://example.com/long.mp3"},), refusable=True,
        protocol="transcriptions", file=sounds.wav(1),
    ),
]  # fmt: skip
