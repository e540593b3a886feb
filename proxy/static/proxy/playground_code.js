// A request body as code that makes the same call, in the languages of the playground. Pure.
"use strict";

const codeOfCall = (() => {
const KEY = "hm-your-api-key";
const asJSON = (value) => JSON.stringify(value, null, 2);
const asPython = (value) => {
  if (value === true) return "True";
  if (Array.isArray(value)) return `[${value.map((each) => `\n        ${asPython(each)},`).join("")}\n    ]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, each]) => `"${name}": ${asPython(each)}`).join(", ")}}`;
};
const indented = (text) => text.replace(/\n/g, "\n  ");

const writers = {
  curl: (body, base) => `curl ${body.stream ? "-N " : ""}${base}/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer ${KEY}" \\
  -d '${indented(asJSON(body)).replace(/'/g, "'\\''")}'`,

  python: (body, base) => `from openai import OpenAI

client = OpenAI(api_key="${KEY}", base_url="${base}")

${body.stream ? "stream" : "response"} = client.chat.completions.create(
${Object.entries(body).map(([name, value]) => `    ${name}=${asPython(value)},\n`).join("")})
${body.stream ? `for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print("\\n", chunk.usage)` : `print(response.choices[0].message.content)
print(response.usage)`}`,

  node: (body, base) => `import OpenAI from "openai";

const client = new OpenAI({
  apiKey: "${KEY}",
  baseURL: "${base}"
});

const ${body.stream ? "stream" : "response"} = await client.chat.completions.create(${asJSON(body).replace(/^( *)"(\w+)":/gm, "$1$2:")});
${body.stream ? `for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  if (chunk.usage) console.log("\\n", chunk.usage);
}` : `console.log(response.choices[0].message.content);
console.log(response.usage);`}`,
};

return writers;
})();
