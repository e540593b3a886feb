"""The official SDK, chat completions."""

import json

import openai
from task import KEY, LOOK_TAKES, MODEL, V1, Person, found, look, tell

LOOK = {"type": "function", "function": {"name": "look", "parameters": LOOK_TAKES}}

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)
hello = [{"role": "user", "content": "Hello!"}]
answer = client.chat.completions.create(model=MODEL, messages=hello)
found["whole"] = answer.choices[0].message.content
chunks = client.chat.completions.create(model=MODEL, messages=hello, stream=True)
found["streamed"] = "".join(
    choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.delta
)
asked = [{"role": "user", "content": "Look!"}]
with client.chat.completions.stream(model=MODEL, messages=asked, tools=[LOOK]) as stream:
    called = stream.get_final_completion().choices[0].message
(call,) = called.tool_calls
asked += [
    {"role": "assistant", "content": called.content,
     "tool_calls": [{"id": call.id, "type": "function",
                     "function": {"name": "look", "arguments": call.function.arguments}}]},
    {"role": "tool", "tool_call_id": call.id, "content": look(**json.loads(call.function.arguments))},
]  # fmt: skip
found["tool"] = (
    client.chat.completions.create(model=MODEL, messages=asked, tools=[LOOK]).choices[0].message.content
)
who = [{"role": "user", "content": "Who?"}]
person = (
    client.chat.completions.parse(model=MODEL, messages=who, response_format=Person).choices[0].message.parsed
)
found["structured"] = person.model_dump()
tell()
