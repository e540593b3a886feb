"""What the API reference tells of webhooks: an event of each kind, and how one is verified in three languages. Pure."""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from accounts.signals.events import Event

MOMENT = "2026-11-30T08:15:00Z"
BALANCE = {
    "posted_toman": 48500.25,
    "posted_micro": 485002500000,
    "threshold_toman": 50000,
    "currency": "IRT",
}
KEY = {"key_id": 42, "kind": "api", "name": "web", "hint": "hm-…k3Yz"}
CAP = KEY | {
    "limit_toman": 1000000,
    "percent": 80,
    "period": "month",
    "reached_at": MOMENT,
    "resets_at": "2026-12-21T20:30:00Z",
}
DATA: dict[Event, dict[str, Any]] = {
    Event.BALANCE_LOW: BALANCE,
    Event.BALANCE_EMPTY: BALANCE | {"posted_toman": 80, "posted_micro": 800000000},
    Event.BALANCE_RECOVERED: BALANCE | {"posted_toman": 250000, "posted_micro": 2500000000000},
    Event.BUDGET_80: CAP,
    Event.BUDGET_REACHED: CAP | {"percent": 100},
    Event.TOPUP_CREDITED: {
        "topup_id": "7d1c8a52-3f0e-4b0d-9a53-0f2f5d0f9a11",
        "amount_toman": 200000,
        "amount_micro": 2000000000000,
        "currency": "IRT",
    },
    Event.KEY_CREATED: KEY | {"expires_at": None, "replaces": None},
    Event.KEY_REVOKED: KEY | {"replaced_by": None},
    Event.PRICE_ANNOUNCED: {
        "pricing": {
            "currency": "toman",
            "per_million": {"input": 30000, "output": 180000},
            "valid_from": "2026-12-22T20:30:00Z",
            "dollar_basis": None,
        },
    },
}


@dataclass(frozen=True, slots=True)
class EventRow:
    event: str
    meaning: str | Promise
    data: Any


@dataclass(frozen=True, slots=True)
class Verifier:
    slug: str
    label: str
    code: str


def rows(*, model_id: str) -> list[EventRow]:
    data = DATA | {Event.PRICE_ANNOUNCED: DATA[Event.PRICE_ANNOUNCED] | {"model": model_id}}
    return [EventRow(each.value, each.label, data[each]) for each in Event if each in data]


PYTHON = """
from standardwebhooks import Webhook  # pip install standardwebhooks

webhook = Webhook("whsec_your-secret")

def receive(body: bytes, headers: dict[str, str]):
    # Raises WebhookVerificationError unless the message is ours, unchanged, and new.
    return webhook.verify(body, headers)
"""

NODE = """
import { createHmac, timingSafeEqual } from "node:crypto";

const secret = Buffer.from("whsec_your-secret".slice("whsec_".length), "base64");

// headers as Node has them, in lower case; body as it came, before it is parsed
export function receive(body, headers) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const expected = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest();
  const isSigned = (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const given = Buffer.from(signature.slice("v1,".length), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  const isNew = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
  if (!isSigned || !isNew) throw new Error("This message is not from Hamiran.");
  return JSON.parse(body);
}
"""

PHP = """
<?php
$secret = base64_decode(substr("whsec_your-secret", strlen("whsec_")));
$body = file_get_contents("php://input");
$id = $_SERVER["HTTP_WEBHOOK_ID"] ?? "";
$timestamp = $_SERVER["HTTP_WEBHOOK_TIMESTAMP"] ?? "";
$expected = "v1," . base64_encode(hash_hmac("sha256", "$id.$timestamp.$body", $secret, true));

$isSigned = false;
foreach (explode(" ", $_SERVER["HTTP_WEBHOOK_SIGNATURE"] ?? "") as $signature) {
    $isSigned = hash_equals($expected, $signature) || $isSigned;
}
if (!$isSigned || abs(time() - (int) $timestamp) > 300) {
    http_response_code(400);
    exit;
}
$event = json_decode($body, true);
http_response_code(204);
"""

VERIFIERS = (
    Verifier("python", "Python", PYTHON.strip()),
    Verifier("node", "Node.js", NODE.strip()),
    Verifier("php", "PHP", PHP.strip()),
)
