"""The official SDK of Messages."""

import anthropic
from task import KEY, LOOK_TAKES, MODEL, ROOT, Person, found, look, tell

LOOK = {"name": "look", "description": "Looks there.", "input_schema": LOOK_TAKES}


def said(message):
    return "".join(block.text for block in message.content if block.type == "text")


def asking(text, **more):
    return {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": text}], **more}


client = anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0)
found["whole"] = said(client.messages.create(**asking("Hello!")))
with client.messages.stream(**asking("Hello!")) as stream:
    found["streamed"] = "".join(stream.text_stream)
with client.messages.stream(**asking("Look!", tools=[LOOK])) as stream:
    called = stream.get_final_message()
(use,) = (block for block in called.content if block.type == "tool_use")
result = {"type": "tool_result", "tool_use_id": use.id, "content": look(**use.input)}
again = asking("Look!", tools=[LOOK])
again["messages"] += [
    {"role": "assistant", "content": called.content},
    {"role": "user", "content": [result]},
]
found["tool"] = said(client.messages.create(**again))
person = client.messages.parse(**asking("Who?", output_format=Person)).parsed_output
found["structured"] = person.model_dump()
tell()
