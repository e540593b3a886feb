"""Pydantic AI: `KIND` is chat, responses or messages."""

import asyncio
import json
import os

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Person(BaseModel):
    name: str
    age: int


def look(at: str) -> str:
    """Looks there."""
    found["seen"] = at
    return "blue"


MODEL, ROOT, KEY = os.environ["MODEL"], os.environ["ROOT"], os.environ["KEY"]
if os.environ["KIND"] == "messages":
    model = AnthropicModel(MODEL, provider=AnthropicProvider(base_url=ROOT, api_key=KEY))
else:
    made = OpenAIChatModel if os.environ["KIND"] == "chat" else OpenAIResponsesModel
    model = made(MODEL, provider=OpenAIProvider(base_url=ROOT + "/v1", api_key=KEY))


async def main():
    plain = Agent(model)
    found["whole"] = (await plain.run("Hello!")).output
    async with plain.run_stream("Hello!") as stream:
        found["streamed"] = await stream.get_output()
    found["tool"] = (await Agent(model, tools=[look]).run("Look!")).output
    found["structured"] = (await Agent(model, output_type=Person).run("Who?")).output.model_dump()


found = {}
asyncio.run(main())
print(json.dumps(found))
