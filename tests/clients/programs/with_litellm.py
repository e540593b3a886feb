"""LiteLLM as a client: `KIND` is chat or messages."""

import json

import litellm
from task import KEY, KIND, LOOK_TAKES, MODEL, ROOT, V1, found, look, tell

LOOK = {"type": "function", "function": {"name": "look", "parameters": LOOK_TAKES}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
MESSAGES = KIND == "messages"
HERE = {
    "model": ("anthropic/" if MESSAGES else "openai/") + MODEL,
    "api_base": ROOT if MESSAGES else V1,
    "api_key": KEY,
    "num_retries": 0,
    "max_retries": 0,
}


def ask(messages, **more):
    return litellm.completion(messages=messages, **HERE, **more)


def streamed(messages, **more):
    return litellm.stream_chunk_builder(list(ask(messages, stream=True, **more)), messages=messages)


hello = [{"role": "user", "content": "Hello!"}]
found["whole"] = ask(hello).choices[0].message.content
found["streamed"] = streamed(hello).choices[0].message.content
asked = [{"role": "user", "content": "Look!"}]
called = streamed(asked, tools=[LOOK]).choices[0].message
(call,) = called.tool_calls
answer = look(**json.loads(call.function.arguments))
asked += [called.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": answer}]
found["tool"] = ask(asked, tools=[LOOK]).choices[0].message.content
schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
who = [{"role": "user", "content": "Who?"}]
found["structured"] = json.loads(ask(who, response_format=schema).choices[0].message.content)
tell()
