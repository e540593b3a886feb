#!/bin/sh
# pytest-xdist 3.8.0 with pytest 9.2.0: `--dist loadgroup` runs the tests of one xdist_group in several processes.
#
# The group is written into a private attribute of each test's id, which pytest 9.2 no longer reads, so the scheduler
# sees no groups. Nothing fails and nothing is said: what tests of a group share is made once in each process, and tests
# that must not run at the same time do. With pytest 9.1.1 a group stays in one process. The files have their groups in
# turn, so that a scheduler that does not know them spreads each over both processes.
#
# Needs python3. Seen on 2026-11-30 (processes of group a, of group b):
#   pytest 9.1.1  1 1
#   pytest 9.2.0  2 2
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
for number in 1 2 3 4 5 6; do
    group=$([ $((number % 2)) = 0 ] && echo a || echo b)
    cat > "test_$number.py" <<TEST
import os, time, pytest
pytestmark = pytest.mark.xdist_group("$group")
@pytest.mark.parametrize("n", range(4))
def test_it(n):
    time.sleep(0.05)
    with open("processes-$group", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
TEST
done
processes() {  # of each group, with this version of pytest
    venv/bin/pip install -q "pytest==$1" pytest-xdist==3.8.0
    rm -f processes-a processes-b
    venv/bin/python -m pytest -q -n 2 --dist loadgroup -p no:cacheprovider > /dev/null
    echo "$(sort -u processes-a | wc -l) $(sort -u processes-b | wc -l)"
}
before=$(processes 9.1.1)
now=$(processes 9.2.0)
echo "pytest 9.1.1  $before"
echo "pytest 9.2.0  $now"
test "$before" = "1 1"
test "$now" = "2 2"
