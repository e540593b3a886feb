"""Pydantic AI: `KIND` is chat, responses or messages."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from task import KEY, KIND, MODEL, ROOT, V1, Person, found, look, tell

if KIND == "messages":
    model = AnthropicModel(MODEL, provider=AnthropicProvider(base_url=ROOT, api_key=KEY))
else:
    made = OpenAIChatModel if KIND == "chat" else OpenAIResponsesModel
    model = made(MODEL, provider=OpenAIProvider(base_url=V1, api_key=KEY))


async def main():
    plain = Agent(model)
    found["whole"] = (await plain.run("Hello!")).output
    async with plain.run_stream("Hello!") as stream:
        found["streamed"] = await stream.get_output()
    found["tool"] = (await Agent(model, tools=[look]).run("Look!")).output
    found["structured"] = (await Agent(model, output_type=Person).run("Who?")).output.model_dump()


asyncio.run(main())
tell()
