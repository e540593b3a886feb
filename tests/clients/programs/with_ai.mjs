// Vercel's AI SDK: `KIND` is chat, responses or messages.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { ROOT, KEY, MODEL, KIND } = process.env;
const at = { baseURL: `${ROOT}/v1`, apiKey: KEY };
const openai = createOpenAI(at);
const model = KIND === "messages" ? createAnthropic(at)(MODEL) : KIND === "chat" ? openai.chat(MODEL) : openai(MODEL);
const found = {};
// Told to keep its answers, it refers to them by their ids, which means nothing to a service that keeps none.
const providerOptions = { openai: { store: false } };
const look = tool({
  description: "Looks there.",
  inputSchema: z.object({ at: z.string() }),
  execute: async ({ at }) => {
    found.seen = at;
    return "blue";
  },
});

found.whole = (await generateText({ model, prompt: "Hello!", maxRetries: 0, providerOptions })).text;
const onError = ({ error }) => {
  throw error;
};
found.streamed = await streamText({ model, prompt: "Hello!", maxRetries: 0, providerOptions, onError }).text;
const steps = { tools: { look }, stopWhen: stepCountIs(3), maxRetries: 0, onError, providerOptions };
found.tool = await streamText({ model, prompt: "Look!", ...steps }).text;
const output = Output.object({ schema: z.object({ name: z.string(), age: z.number() }) });
found.structured = (await generateText({ model, prompt: "Who?", output, maxRetries: 0, providerOptions })).output;
console.log(JSON.stringify(found));
