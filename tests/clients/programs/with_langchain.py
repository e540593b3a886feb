"""LangChain: `KIND` is chat, responses or messages."""

import json
import os

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@tool
def look(at: str) -> str:
    """Looks there."""
    found["seen"] = at
    return "blue"


MODEL, ROOT, KEY = os.environ["MODEL"], os.environ["ROOT"], os.environ["KEY"]
if os.environ["KIND"] == "messages":
    model = ChatAnthropic(model=MODEL, base_url=ROOT, api_key=KEY, max_tokens=500, max_retries=0)
else:
    model = ChatOpenAI(
        model=MODEL, base_url=ROOT + "/v1", api_key=KEY, max_retries=0,
        use_responses_api=os.environ["KIND"] == "responses",
    )  # fmt: skip
found = {"whole": model.invoke("Hello!").text}
found["streamed"] = "".join(chunk.text for chunk in model.stream("Hello!"))
with_tools = model.bind_tools([look])
asked = [("user", "Look!")]
called = None
for chunk in with_tools.stream(asked):
    called = chunk if called is None else called + chunk
result = look.invoke(called.tool_calls[0])
found["tool"] = with_tools.invoke([*asked, called, result]).text
found["structured"] = model.with_structured_output(Person).invoke("Who?").model_dump()
print(json.dumps(found))
