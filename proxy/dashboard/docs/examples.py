"""Calls of the API as code in four languages, whole and streamed: all pages that show code take it from here. Pure."""

import re
from dataclasses import dataclass, replace

# What the texts say where an installation has its own.
BASE_URL, KEY, MODEL = "https://ham-iran.ir", "hm-your-api-key", "gemini-3.1-flash-lite-preview"
CONVERSATION = re.compile(r"\[\n.*You are a helpful assistant.*\n *(.*Hello!.*)\n *\]")
BODY = "BODY"


@dataclass(frozen=True, slots=True)
class Example:
    """One language: its name in addresses and on its tab, what the code needs, and the code itself.

    The body of the request stands in the code between the two texts of `body` (None: nobody asks where).
    """

    slug: str
    label: str
    title: str
    body: tuple[str, str] | None
    whole: str
    streamed: str

    @property
    def first(self) -> str:
        """The shortest whole call: without a system message."""
        return CONVERSATION.sub(r"[\1]", self.whole)

    @property
    def whole_around(self) -> str:
        """The code with BODY in place of the body, for a script that writes bodies itself."""
        return self._around(self.whole)

    @property
    def streamed_around(self) -> str:
        return self._around(self.streamed)

    def _around(self, code: str) -> str:
        assert self.body is not None
        start, end = self.body
        before, body = code.split(start)
        return f"{before}{start}{BODY}{end}{body.partition(end)[2]}"

    def written(self, *, base_url: str, key: str = KEY, model_id: str = MODEL) -> "Example":
        def write(text: str) -> str:
            return text.strip().replace(BASE_URL, base_url).replace(KEY, key).replace(MODEL, model_id)

        return replace(self, whole=write(self.whole), streamed=write(self.streamed))


CURL = Example(
    "curl",
    "cURL",
    "cURL",
    ("-d '", "'"),
    r"""
curl https://ham-iran.ir/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer hm-your-api-key" \
  -d '{
    "model": "gemini-3.1-flash-lite-preview",
    "messages": [
      {"role": "system", "content": "You are a helpful assistant."},
      {"role": "user", "content": "Hello!"}
    ]
  }'
""",
    r"""
curl -N https://ham-iran.ir/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer hm-your-api-key" \
  -d '{
    "model": "gemini-3.1-flash-lite-preview",
    "messages": [{"role": "user", "content": "Hello!"}],
    "stream": true,
    "stream_options": {"include_usage": true}
  }'
""",
)

PYTHON = Example(
    "python",
    "Python",
    "Python (OpenAI SDK)",
    ("create(\n", "\n)"),
    """
from openai import OpenAI

client = OpenAI(
    api_key="hm-your-api-key",
    base_url="https://ham-iran.ir/v1"
)

response = client.chat.completions.create(
    model="gemini-3.1-flash-lite-preview",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello!"}
    ]
)

print(response.choices[0].message.content)
""",
    """
from openai import OpenAI

client = OpenAI(
    api_key="hm-your-api-key",
    base_url="https://ham-iran.ir/v1"
)

stream = client.chat.completions.create(
    model="gemini-3.1-flash-lite-preview",
    messages=[{"role": "user", "content": "Hello!"}],
    stream=True,
    stream_options={"include_usage": True}
)

for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print("\\n", chunk.usage)
""",
)

NODE = Example(
    "node",
    "Node.js",
    "Node.js (OpenAI SDK)",
    ("create(", ");\n"),
    """
import OpenAI from "openai";

const client = new OpenAI({
  apiKey: "hm-your-api-key",
  baseURL: "https://ham-iran.ir/v1"
});

const response = await client.chat.completions.create({
  model: "gemini-3.1-flash-lite-preview",
  messages: [
    { role: "system", content: "You are a helpful assistant." },
    { role: "user", content: "Hello!" }
  ]
});

console.log(response.choices[0].message.content);
""",
    """
import OpenAI from "openai";

const client = new OpenAI({
  apiKey: "hm-your-api-key",
  baseURL: "https://ham-iran.ir/v1"
});

const stream = await client.chat.completions.create({
  model: "gemini-3.1-flash-lite-preview",
  messages: [{ role: "user", content: "Hello!" }],
  stream: true,
  stream_options: { include_usage: true }
});

for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  if (chunk.usage) console.log("\\n", chunk.usage);
}
""",
)

PHP = Example(
    "php",
    "PHP",
    "PHP (cURL)",
    None,
    """
<?php
$ch = curl_init("https://ham-iran.ir/v1/chat/completions");
curl_setopt_array($ch, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_POST => true,
    CURLOPT_HTTPHEADER => [
        "Content-Type: application/json",
        "Authorization: Bearer hm-your-api-key"
    ],
    CURLOPT_POSTFIELDS => json_encode([
        "model" => "gemini-3.1-flash-lite-preview",
        "messages" => [
            ["role" => "system", "content" => "You are a helpful assistant."],
            ["role" => "user", "content" => "Hello!"]
        ]
    ])
]);

$response = curl_exec($ch);
curl_close($ch);

$data = json_decode($response, true);
echo $data["choices"][0]["message"]["content"];
""",
    """
<?php
$ch = curl_init("https://ham-iran.ir/v1/chat/completions");
curl_setopt_array($ch, [
    CURLOPT_POST => true,
    CURLOPT_HTTPHEADER => [
        "Content-Type: application/json",
        "Authorization: Bearer hm-your-api-key"
    ],
    CURLOPT_POSTFIELDS => json_encode([
        "model" => "gemini-3.1-flash-lite-preview",
        "messages" => [["role" => "user", "content" => "Hello!"]],
        "stream" => true
    ]),
    CURLOPT_WRITEFUNCTION => function ($ch, $bytes) {
        static $rest = "";
        $lines = explode("\\n", $rest . $bytes);
        $rest = array_pop($lines);
        foreach ($lines as $line) {
            if (str_starts_with($line, "data: {")) {
                $chunk = json_decode(substr($line, 6), true);
                echo $chunk["choices"][0]["delta"]["content"] ?? "";
            }
        }
        return strlen($bytes);
    }
]);
curl_exec($ch);
""",
)

EXAMPLES = (CURL, PYTHON, NODE, PHP)
