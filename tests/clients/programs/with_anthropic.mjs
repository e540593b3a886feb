// The official SDK of Messages.
import Anthropic from "@anthropic-ai/sdk";

const { ROOT, KEY, MODEL } = process.env;
const client = new Anthropic({ baseURL: ROOT, apiKey: KEY, maxRetries: 0 });
const said = (message) => message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
const asking = (text, more) => ({ model: MODEL, max_tokens: 500, messages: [{ role: "user", content: text }], ...more });
const schema = { type: "object", properties: { at: { type: "string" } }, required: ["at"] };
const tools = [{ name: "look", description: "Looks there.", input_schema: schema }];

const found = { whole: said(await client.messages.create(asking("Hello!"))) };
found.streamed = await client.messages.stream(asking("Hello!")).finalText();
const called = await client.messages.stream(asking("Look!", { tools })).finalMessage();
const use = called.content.find((block) => block.type === "tool_use");
found.seen = use.input.at;
const again = asking("Look!", { tools });
again.messages.push({ role: "assistant", content: called.content });
again.messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "blue" }] });
found.tool = said(await client.messages.create(again));
const person = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
const format = { type: "json_schema", schema: person };
found.structured = JSON.parse(said(await client.messages.create(asking("Who?", { output_config: { format } }))));
console.log(JSON.stringify(found));
