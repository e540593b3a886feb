"""The web process' share of the machine: how many descriptors it may open."""

import configparser
import resource
from pathlib import Path

import psutil
from django.conf import settings

from tests.live import web_process

UNIT = Path("deploy/hamiran.service")


def test_a_web_process_may_open_as_many_descriptors_as_the_system_lets_it(django_db_setup: None) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft, hard), hard))
    try:
        with web_process() as web:
            assert psutil.Process(web.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_unit_has_descriptors_for_both_ends_of_all_completions() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(UNIT.read_text())
    assert int(unit["Service"]["LimitNOFILE"]) > 2 * settings.IN_FLIGHT_MAX
