#!/bin/sh
# httpx 0.28.1 with httpcore 1.0.9: a Client that threads share closes a connection under one of them now and then.
#
# The Client is said to be for use by many threads. Its pool hands an idle connection to a request; until that thread has
# begun to use it, the connection still counts as idle, and another thread that tidies the pool at this moment (too many
# idle connections, or one whose server has gone) closes it. The request ends with ReadError: [Errno 9] Bad file
# descriptor. Rare at Python's own pace of switching threads (none in 4,000 requests on an idle machine), so they are
# switched more often here. A client of its own for each thread never fails.
#
# Needs python3. Seen on 2026-11-30 (requests of 4,000 that failed with [Errno 9], varies from run to run):
#   one client, 50 threads                37
#   50 clients, one for each thread       0
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install -q httpx==0.28.1 httpcore==1.0.9
cat > ask.py <<'PYTHON'
import contextlib, socket, sys, threading
from concurrent.futures import ThreadPoolExecutor
import httpx

sys.setswitchinterval(1e-6)

def answer(client):
    with client, contextlib.suppress(ConnectionResetError):
        while request := client.recv(65536):
            assert request.endswith(b"\r\n\r\n")
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

def serve(listening):
    while True:
        threading.Thread(target=answer, args=listening.accept()[:1], daemon=True).start()

listening = socket.create_server(("127.0.0.1", 0), backlog=500)
threading.Thread(target=serve, args=(listening,), daemon=True).start()
url = "http://127.0.0.1:%d/" % listening.getsockname()[1]

def failed(client_of_this_thread):
    def ask(_):
        try:
            return client_of_this_thread().get(url).status_code != 200
        except httpx.ReadError as error:
            assert str(error) == "[Errno 9] Bad file descriptor", error
            return True
    with ThreadPoolExecutor(50) as pool:
        return sum(pool.map(ask, range(4000)))

own = threading.local()
def one_each():
    if not hasattr(own, "client"):
        own.client = httpx.Client(trust_env=False)
    return own.client

none_idle = httpx.Limits(max_keepalive_connections=0)
with httpx.Client(limits=none_idle, trust_env=False) as shared:
    of_one = failed(lambda: shared)
of_each = failed(one_each)
print("one client, 50 threads               ", of_one)
print("50 clients, one for each thread      ", of_each)
sys.exit(not of_one or of_each)
PYTHON
venv/bin/python ask.py
