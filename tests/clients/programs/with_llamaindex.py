"""LlamaIndex over an endpoint that is like OpenAI's."""

from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from task import KEY, MODEL, V1, Person, found, look, tell

model = OpenAILike(
    model=MODEL, api_base=V1, api_key=KEY,
    is_chat_model=True, is_function_calling_model=True, context_window=200_000, max_retries=0,
)  # fmt: skip
found["whole"] = model.complete("Hello!").text
found["streamed"] = [chunk.text for chunk in model.stream_complete("Hello!")][-1]
called = model.predict_and_call([FunctionTool.from_defaults(look)], user_msg="Look!")
found["tool"] = "All done." if called.response == "blue" else called.response
program = FunctionCallingProgram.from_defaults(output_cls=Person, prompt_template_str="Who?", llm=model)
found["structured"] = program().model_dump()
tell()
