// The official SDK: `KIND` is chat or responses.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { ROOT, KEY, MODEL, KIND } = process.env;
const client = new OpenAI({ baseURL: `${ROOT}/v1`, apiKey: KEY, maxRetries: 0 });
const person = z.object({ name: z.string(), age: z.number() });
const parameters = { type: "object", properties: { at: { type: "string" } }, required: ["at"] };
const found = {};

async function chat() {
  const messages = [{ role: "user", content: "Hello!" }];
  const ask = { model: MODEL, messages };
  found.whole = (await client.chat.completions.create(ask)).choices[0].message.content;
  found.streamed = await client.chat.completions.stream(ask).finalContent();
  const tools = [{ type: "function", function: { name: "look", parameters } }];
  const look = [{ role: "user", content: "Look!" }];
  const stream = client.chat.completions.stream({ model: MODEL, messages: look, tools });
  const called = await stream.finalMessage();
  const call = called.tool_calls[0];
  found.seen = JSON.parse(call.function.arguments).at;
  look.push(called, { role: "tool", tool_call_id: call.id, content: "blue" });
  const done = await client.chat.completions.create({ model: MODEL, messages: look, tools });
  found.tool = done.choices[0].message.content;
  const who = { model: MODEL, messages: [{ role: "user", content: "Who?" }] };
  const parsed = await client.chat.completions.parse({ ...who, response_format: zodResponseFormat(person, "person") });
  found.structured = parsed.choices[0].message.parsed;
}

async function responses() {
  found.whole = (await client.responses.create({ model: MODEL, input: "Hello!" })).output_text;
  found.streamed = (await client.responses.stream({ model: MODEL, input: "Hello!" }).finalResponse()).output_text;
  const tools = [{ type: "function", name: "look", parameters, strict: false }];
  const input = [{ role: "user", content: "Look!" }];
  const called = await client.responses.stream({ model: MODEL, input, tools }).finalResponse();
  const call = called.output.find((item) => item.type === "function_call");
  found.seen = JSON.parse(call.arguments).at;
  input.push(...called.output, { type: "function_call_output", call_id: call.call_id, output: "blue" });
  found.tool = (await client.responses.create({ model: MODEL, input, tools })).output_text;
  const text = { format: zodTextFormat(person, "person") };
  found.structured = (await client.responses.parse({ model: MODEL, input: "Who?", text })).output_parsed;
}

await (KIND === "chat" ? chat() : responses());
console.log(JSON.stringify(found));
