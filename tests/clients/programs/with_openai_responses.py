"""The official SDK, responses."""

import json
import os

import openai
from pydantic import BaseModel

MODEL = os.environ["MODEL"]
LOOK = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}


class Person(BaseModel):
    name: str
    age: int


client = openai.OpenAI(base_url=os.environ["ROOT"] + "/v1", api_key=os.environ["KEY"], max_retries=0)
found = {"whole": client.responses.create(model=MODEL, input="Hello!").output_text}
with client.responses.stream(model=MODEL, input="Hello!") as stream:
    found["streamed"] = "".join(each.delta for each in stream if each.type == "response.output_text.delta")
look = [{"role": "user", "content": "Look!"}]
with client.responses.stream(model=MODEL, input=look, tools=[LOOK]) as stream:
    called = stream.get_final_response()
(call,) = (item for item in called.output if item.type == "function_call")
found["seen"] = json.loads(call.arguments)["at"]
look += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in called.output]
for item in look[1:]:
    for part in item.get("content") or ():
        part.pop("parsed", None)
look.append({"type": "function_call_output", "call_id": call.call_id, "output": "blue"})
found["tool"] = client.responses.create(model=MODEL, input=look, tools=[LOOK]).output_text
found["structured"] = client.responses.parse(
    model=MODEL, input="Who?", text_format=Person
).output_parsed.model_dump()
print(json.dumps(found))
