"""LangChain: `KIND` is chat, responses or messages."""

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from task import KEY, KIND, MODEL, ROOT, V1, Person, found, look, tell

if KIND == "messages":
    model = ChatAnthropic(model=MODEL, base_url=ROOT, api_key=KEY, max_tokens=500, max_retries=0)
else:
    model = ChatOpenAI(
        model=MODEL, base_url=V1, api_key=KEY, max_retries=0, use_responses_api=KIND == "responses"
    )
looking = tool(look)
found["whole"] = model.invoke("Hello!").text
found["streamed"] = "".join(chunk.text for chunk in model.stream("Hello!"))
with_tools = model.bind_tools([looking])
asked = [("user", "Look!")]
called = None
for chunk in with_tools.stream(asked):
    called = chunk if called is None else called + chunk
result = looking.invoke(called.tool_calls[0])
found["tool"] = with_tools.invoke([*asked, called, result]).text
found["structured"] = model.with_structured_output(Person).invoke("Who?").model_dump()
tell()
