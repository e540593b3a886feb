#!/bin/sh
# patroni 4.1.5: a `ttl` below 20 s is raised to 20 s, with a line in the log as the only word of it.
#
# `ttl` is how long the lease of the primary lives; until it is over, nobody takes the place of a primary whose machine
# is gone. The manual gives a rule that makes a short one safe (loop_wait + 2 * retry_timeout <= ttl), and 7 s with
# loop_wait 1 and retry_timeout 3 obeys it. Patroni reads 20 all the same, so that an outage of such a machine cannot
# end within 15 s, whatever the configuration in the store says, which goes on showing 7.
#
# Seen on 2026-11-30:
#   WARNING ttl=7 can't be smaller than 20, adjusting...
#   asked: ttl 7, loop_wait 1, retry_timeout 3
#   used:  ttl 20, loop_wait 1, retry_timeout 3
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check patroni==4.1.5 'psycopg[binary]==3.3.9'
cat >patroni.yml <<'YML'
scope: shop
name: one
restapi: {listen: "127.0.0.1:8008", connect_address: "127.0.0.1:8008"}
postgresql:
  listen: 127.0.0.1:5432
  connect_address: 127.0.0.1:5432
  data_dir: data
  authentication:
    superuser: {username: postgres}
    replication: {username: replicator}
YML
venv/bin/python - <<'PY'
import logging
import sys

from patroni.config import Config
from patroni.dcs import ClusterConfig

logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s")
asked = {"ttl": 7, "loop_wait": 1, "retry_timeout": 3}
config = Config("patroni.yml")
config.set_dynamic_configuration(ClusterConfig(1, dict(asked), 1))
used = {name: config[name] for name in asked}
for what, figures in (("asked:", asked), ("used: ", used)):
    print(what, ", ".join(f"{name} {seconds}" for name, seconds in figures.items()))
raise SystemExit(used != {**asked, "ttl": 20})
PY
