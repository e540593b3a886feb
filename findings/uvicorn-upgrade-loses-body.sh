#!/bin/sh
# uvicorn 0.54.0 with httptools 0.9.0: a POST that offers to go on in HTTP/2 arrives without its body.
#
# `Upgrade: h2c` is an offer that a server may ignore, and Java's HttpClient makes it with every first request to
# http://, as `curl --http2` does. httptools ends the message at such a head, and uvicorn, which goes on as if nothing
# had been offered, hands the application an empty body. With h11 the same server reads it.
#
# Needs python3. Seen on 2026-11-29, bytes of the body that the application got of 5:
#   h11: without the offer 5, with it 5
#   httptools: without the offer 5, with it 0
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0
cat > "$dir/ask.py" <<'PY'
import socket
import sys
import threading
import time

import uvicorn

OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


async def app(scope, receive, send):
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"%d" % len(body)})


def ask(port, offer):
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: a\r\n{offer}Content-Length: 5\r\n\r\nhello".encode())
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2]:
            answer += client.recv(4096)
        return answer[-1:].decode()


seen = []
for http in ("h11", "httptools"):
    config = uvicorn.Config(app, port=0, http=http, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    seen.append((ask(port, ""), ask(port, OFFER)))
    server.should_exit = True
    print(f"{http}: without the offer {seen[-1][0]}, with it {seen[-1][1]}")
sys.exit(seen != [("5", "5"), ("5", "0")])
PY
"$dir/venv/bin/python" "$dir/ask.py"
