#!/bin/sh
# openai 3.54.0 and anthropic 2.14.0 (Python): a query in `base_url` swallows the path of every endpoint.
#
# A base URL such as http://host/v1?lang=fa is the one thing that every client lets people set, so a service might take
# options there. Both SDKs put the endpoint's path behind the query instead of before it, and the request goes to
# /v1/ (or to /) with the path inside of the query's value; a client of httpx merges both as one would guess.
# `default_query` does what is meant. A server that wants to be called so has to put the path back.
#
# Seen on 2026-11-30:
#   openai                     /v1/?lang=fachat/completions
#   anthropic                  /?lang=fa/v1/messages
#   openai with default_query  /v1/chat/completions?lang=fa
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check openai==3.54.0 anthropic==2.14.0
venv/bin/python - <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import anthropic
import openai

asked = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path)
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
talk = [{"role": "user", "content": "hi"}]
clients = {
    "openai": openai.OpenAI(base_url=f"{address}/v1?lang=fa", api_key="k", max_retries=0),
    "openai with default_query": openai.OpenAI(
        base_url=f"{address}/v1", default_query={"lang": "fa"}, api_key="k", max_retries=0
    ),
}
for name, client in clients.items():
    try:
        client.chat.completions.create(model="m", messages=talk)
    except openai.APIStatusError:
        pass
    print(f"{name:28} {asked[-1]}")
client = anthropic.Anthropic(base_url=f"{address}?lang=fa", api_key="k", max_retries=0)
try:
    client.messages.create(model="m", max_tokens=1, messages=talk)
except anthropic.APIStatusError:
    pass
print(f"{'anthropic':28} {asked[-1]}")
wanted = ["/v1/chat/completions?lang=fa"]
seen = [path for path in asked if path.partition("?")[0].endswith(("/completions", "/messages"))]
raise SystemExit(seen != wanted)
PY
