"""The official SDK, responses."""

import json

import openai
from task import KEY, LOOK_TAKES, MODEL, V1, Person, found, look, tell

LOOK = {"type": "function", "name": "look", "parameters": LOOK_TAKES}

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)
found["whole"] = client.responses.create(model=MODEL, input="Hello!").output_text
with client.responses.stream(model=MODEL, input="Hello!") as stream:
    found["streamed"] = "".join(each.delta for each in stream if each.type == "response.output_text.delta")
asked = [{"role": "user", "content": "Look!"}]
with client.responses.stream(model=MODEL, input=asked, tools=[LOOK]) as stream:
    called = stream.get_final_response()
(call,) = (item for item in called.output if item.type == "function_call")
asked += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in called.output]
for item in asked[1:]:
    for part in item.get("content") or ():
        part.pop("parsed", None)
answer = look(**json.loads(call.arguments))
asked.append({"type": "function_call_output", "call_id": call.call_id, "output": answer})
found["tool"] = client.responses.create(model=MODEL, input=asked, tools=[LOOK]).output_text
found["structured"] = client.responses.parse(
    model=MODEL, input="Who?", text_format=Person
).output_parsed.model_dump()
tell()
