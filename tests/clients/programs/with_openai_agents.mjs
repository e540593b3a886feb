// openai-agents: `KIND` is chat or responses.
import { Agent, run, setDefaultOpenAIClient, setOpenAIAPI, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

const { ROOT, KEY, MODEL: model, KIND } = process.env;
setTracingDisabled(true);
setOpenAIAPI(KIND === "chat" ? "chat_completions" : "responses");
setDefaultOpenAIClient(new OpenAI({ baseURL: `${ROOT}/v1`, apiKey: KEY, maxRetries: 0 }));
const found = {};
const look = tool({
  name: "look",
  description: "Looks there.",
  parameters: z.object({ at: z.string() }),
  execute: async ({ at }) => {
    found.seen = at;
    return "blue";
  },
});

async function streamed(agent, text) {
  const going = await run(agent, text, { stream: true });
  await going.completed;
  return going.finalOutput;
}

const plain = new Agent({ name: "A", model });
found.whole = (await run(plain, "Hello!")).finalOutput;
found.streamed = await streamed(plain, "Hello!");
found.tool = await streamed(new Agent({ name: "A", model, tools: [look] }), "Look!");
const outputType = z.object({ name: z.string(), age: z.number() });
found.structured = (await run(new Agent({ name: "A", model, outputType }), "Who?")).finalOutput;
console.log(JSON.stringify(found));
