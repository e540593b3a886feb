"""The official SDK, chat completions."""

import json
import os

import openai
from pydantic import BaseModel

MODEL = os.environ["MODEL"]
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


class Person(BaseModel):
    name: str
    age: int


client = openai.OpenAI(base_url=os.environ["ROOT"] + "/v1", api_key=os.environ["KEY"], max_retries=0)
hello = [{"role": "user", "content": "Hello!"}]
answer = client.chat.completions.create(model=MODEL, messages=hello)
found = {"whole": answer.choices[0].message.content}
chunks = client.chat.completions.create(model=MODEL, messages=hello, stream=True)
found["streamed"] = "".join(
    choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.delta
)
look = [{"role": "user", "content": "Look!"}]
with client.chat.completions.stream(model=MODEL, messages=look, tools=[LOOK]) as stream:
    called = stream.get_final_completion().choices[0].message
(call,) = called.tool_calls
found["seen"] = json.loads(call.function.arguments)["at"]
look += [
    {"role": "assistant", "content": called.content,
     "tool_calls": [{"id": call.id, "type": "function",
                     "function": {"name": "look", "arguments": call.function.arguments}}]},
    {"role": "tool", "tool_call_id": call.id, "content": "blue"},
]  # fmt: skip
found["tool"] = (
    client.chat.completions.create(model=MODEL, messages=look, tools=[LOOK]).choices[0].message.content
)
who = [{"role": "user", "content": "Who?"}]
person = (
    client.chat.completions.parse(model=MODEL, messages=who, response_format=Person).choices[0].message.parsed
)
found["structured"] = person.model_dump()
print(json.dumps(found))
