"""LiteLLM as a client: `KIND` is chat or messages."""

import json
import os

import litellm

LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
MESSAGES = os.environ["KIND"] == "messages"
HERE = {
    "model": ("anthropic/" if MESSAGES else "openai/") + os.environ["MODEL"],
    "api_base": os.environ["ROOT"] + ("" if MESSAGES else "/v1"),
    "api_key": os.environ["KEY"],
    "num_retries": 0,
    "max_retries": 0,
}


def ask(messages, **more):
    return litellm.completion(messages=messages, **HERE, **more)


def streamed(messages, **more):
    return litellm.stream_chunk_builder(list(ask(messages, stream=True, **more)), messages=messages)


hello = [{"role": "user", "content": "Hello!"}]
found = {"whole": ask(hello).choices[0].message.content}
found["streamed"] = streamed(hello).choices[0].message.content
look = [{"role": "user", "content": "Look!"}]
called = streamed(look, tools=[LOOK]).choices[0].message
(call,) = called.tool_calls
found["seen"] = json.loads(call.function.arguments)["at"]
look += [called.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "blue"}]
found["tool"] = ask(look, tools=[LOOK]).choices[0].message.content
schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
who = [{"role": "user", "content": "Who?"}]
found["structured"] = json.loads(ask(who, response_format=schema).choices[0].message.content)
print(json.dumps(found))
