"""`llm` by Simon Willison, as a library; its models come from a file in its folder."""

import json
import os
import pathlib

from task import KEY, MODEL, V1, Person, found, look, tell

home = pathlib.Path(os.environ["LLM_USER_PATH"])
home.mkdir()
(home / "extra-openai-models.yaml").write_text(
    f"- model_id: here\n  model_name: {MODEL}\n  api_base: {V1}\n"
    "  api_key_name: here\n"
    "  supports_schema: true\n  supports_tools: true\n"
)
(home / "keys.json").write_text(json.dumps({"here": KEY}))

import llm  # noqa: E402  # it reads the file as it is imported

model = llm.get_model("here")
found["whole"] = model.prompt("Hello!", stream=False).text()
found["streamed"] = "".join(model.prompt("Hello!"))
found["tool"] = model.chain("Look!", tools=[look]).text().removeprefix("I shall do that.").strip()
found["structured"] = json.loads(model.prompt("Who?", schema=Person, stream=False).text())
tell()
