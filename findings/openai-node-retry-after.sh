#!/bin/sh
# openai (npm) 7.59.0: a 429 with `Retry-After: 60` is waited for, one with 61 is tried again after half a second.
#
# Beyond a minute the header is not refused but ignored, and the ordinary back-off is used instead. So the longer a
# server asks a client to stay away, the sooner it comes back; such an answer needs `x-should-retry: false`.
#
# Needs node and npm. Seen on 2026-11-29:
#   Retry-After 2: again after 2.0 s
#   Retry-After 60: still waiting after 5 s
#   Retry-After 61: again after 0.5 s
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund --ignore-scripts openai@7.59.0
cat > ask.mjs <<'JS'
import http from "node:http";
import OpenAI from "openai";

async function secondsUntilAgain(retryAfter) {
  const came = [];
  const server = http.createServer((request, response) => {
    request.resume();
    came.push(Date.now());
    const first = came.length === 1;
    response.writeHead(first ? 429 : 200, { "content-type": "application/json", ...(first && { "retry-after": String(retryAfter) }) });
    response.end(first ? '{"error": {"message": "slow down"}}' : '{"id": "1", "choices": []}');
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const client = new OpenAI({ apiKey: "x", baseURL: `http://127.0.0.1:${server.address().port}/v1`, maxRetries: 1 });
  const answer = client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "Hello" }] });
  await Promise.race([answer, new Promise((done) => setTimeout(done, 5000))]);
  return came.length > 1 ? (came[1] - came[0]) / 1000 : null;
}

const [two, sixty, sixtyOne] = [await secondsUntilAgain(2), await secondsUntilAgain(60), await secondsUntilAgain(61)];
console.log(`Retry-After 2: again after ${two} s`);
console.log(`Retry-After 60: ${sixty === null ? "still waiting after 5 s" : `again after ${sixty} s`}`);
console.log(`Retry-After 61: ${sixtyOne === null ? "still waiting after 5 s" : `again after ${sixtyOne} s`}`);
process.exit(two >= 2 && sixty === null && sixtyOne !== null && sixtyOne < 2 ? 0 : 1);
JS
node ask.mjs
