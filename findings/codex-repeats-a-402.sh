#!/bin/sh
# Codex CLI (npm, @openai/codex 0.171.0): a 402 is sent again five times, a 429 with `insufficient_quota` not at all.
#
# 402 is what the specification of HTTP has for an empty wallet, and OpenAI's SDKs never repeat it. Codex takes it for a
# passing failure, whatever its code and whatever `x-should-retry` says. OpenAI itself says 429 with the type
# insufficient_quota, which the SDKs repeat unless they are told not to, and which stops Codex at once. So a service
# that both call has to answer the two of them differently, or send the 429 with `x-should-retry: false`.
#
# Needs node and npm (a download of about 100 MB). Seen on 2026-11-30 (requests made):
#   402 insufficient_balance   6
#   429 insufficient_quota     1
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @openai/codex@0.171.0
mkdir home project
git -C project init -q
cat > ask.mjs <<'JS'
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import http from "node:http";

async function requests(status, type) {
  let count = 0;
  const server = http.createServer((request, response) => {
    request.resume();
    count += request.method === "POST" ? 1 : 0;
    response.writeHead(status, { "content-type": "application/json", "x-should-retry": "false" });
    response.end(JSON.stringify({ error: { message: "The wallet is empty.", type, code: type, param: null } }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  writeFileSync("home/config.toml", [
    'model = "m"', 'model_provider = "h"', "[model_providers.h]", 'name = "h"',
    `base_url = "http://127.0.0.1:${server.address().port}/v1"`, 'env_key = "KEY"', 'wire_api = "responses"',
    "[analytics]", "enabled = false",
  ].join("\n"));
  const codex = spawn("../node_modules/.bin/codex", ["exec", "--skip-git-repo-check", "--sandbox", "read-only", "hi"], {
    cwd: "project", stdio: "ignore", env: { ...process.env, HOME: process.cwd() + "/home", CODEX_HOME: process.cwd() + "/home", KEY: "x" },
  });
  const late = setTimeout(() => codex.kill("SIGKILL"), 60_000);
  await new Promise((done) => codex.on("exit", done));
  clearTimeout(late);
  server.closeAllConnections();
  server.close();
  return count;
}

const money = await requests(402, "insufficient_balance");
const quota = await requests(429, "insufficient_quota");
console.log(`402 insufficient_balance   ${money}`);
console.log(`429 insufficient_quota     ${quota}`);
process.exit(money === 6 && quota === 1 ? 0 : 1);
JS
node ask.mjs
