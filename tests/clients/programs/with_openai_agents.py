"""openai-agents: `KIND` is chat or responses."""

import asyncio

import openai
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from task import KEY, KIND, MODEL, V1, Person, found, look, tell


async def main():
    plain = Agent(name="A", model=model)
    found["whole"] = (await Runner.run(plain, "Hello!")).final_output
    streamed = Runner.run_streamed(plain, "Hello!")
    async for _event in streamed.stream_events():
        pass
    found["streamed"] = streamed.final_output
    with_tools = Runner.run_streamed(Agent(name="A", model=model, tools=[function_tool(look)]), "Look!")
    async for _event in with_tools.stream_events():
        pass
    found["tool"] = with_tools.final_output
    person = await Runner.run(Agent(name="A", model=model, output_type=Person), "Who?")
    found["structured"] = person.final_output.model_dump()


set_tracing_disabled(True)
client = openai.AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0)
# Not by its name: what stands before a slash in it would be taken for a provider.
made = OpenAIChatCompletionsModel if KIND == "chat" else OpenAIResponsesModel
model = made(MODEL, client)
asyncio.run(main())
tell()
