#!/bin/sh
# orjson 3.13.0: an integer beyond 64 bits is read as a float, without a word.
#
# `json` of the standard library keeps it, and orjson refuses to write such an int, so one expects it to refuse it on
# reading, too. A proxy that decodes a body and encodes it again sends on another number: as a float, so that the
# receiver may see a type that it does not take.
#
# Needs python3. Seen on 2026-11-29:
#   json    {"seed": 18446744073709551616}
#   orjson  {"seed":1.8446744073709552e+19}
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q orjson==3.13.0
"$dir/venv/bin/python" - <<'PY'
import json
import sys

import orjson

TEXT = '{"seed": 18446744073709551616}'
kept, changed = json.dumps(json.loads(TEXT)), orjson.dumps(orjson.loads(TEXT)).decode()
print("json   ", kept)
print("orjson ", changed)
try:
    orjson.dumps(2**64)
except TypeError:
    refuses_to_write = True
else:
    refuses_to_write = False
sys.exit(not (kept == TEXT and changed == '{"seed":1.8446744073709552e+19}' and refuses_to_write))
PY
