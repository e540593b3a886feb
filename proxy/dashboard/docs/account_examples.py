"""Reads of the account as code in three languages. Pure."""

from dataclasses import dataclass

from proxy.dashboard.docs.examples import BASE_URL, KEY, MODEL


@dataclass(frozen=True, slots=True)
class AccountExample:
    slug: str
    title: str
    code: str


CURL = AccountExample(
    "curl",
    "cURL",
    r"""
curl https://ham-iran.ir/v1/balance \
  -H "Authorization: Bearer hm-your-api-key"
""",
)
PYTHON = AccountExample(
    "python",
    "Python (httpx)",
    """
import json
from decimal import Decimal

import httpx

hamiran = httpx.Client(
    base_url="https://ham-iran.ir/v1",
    headers={"Authorization": "Bearer hm-your-api-key"},
    timeout=60
)

answer = hamiran.post("/chat/completions", json={
    "model": "gemini-3.1-flash-lite-preview",
    "messages": [{"role": "user", "content": "Hello!"}]
})

found = hamiran.get("/requests/" + answer.headers["x-request-id"])
request = json.loads(found.text, parse_float=Decimal)
print(request["status"], request["cost_toman"], "Toman")
""",
)
NODE = AccountExample(
    "node",
    "Node.js",
    """
const response = await fetch(
  "https://ham-iran.ir/v1/usage?from=1405-09-01&group_by=day,model",
  { headers: { Authorization: "Bearer hm-your-api-key" } }
);

const { data } = await response.json();
for (const used of data) {
  console.log(used.jalali_day, used.model, used.requests, used.cost_toman);
}
""",
)
EXAMPLES = (CURL, PYTHON, NODE)


def written(*, base_url: str, key: str, model_id: str) -> list[AccountExample]:
    return [
        AccountExample(
            each.slug,
            each.title,
            each.code.strip().replace(BASE_URL, base_url).replace(KEY, key).replace(MODEL, model_id),
        )
        for each in EXAMPLES
    ]
