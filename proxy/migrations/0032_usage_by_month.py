"""Usage records are partitioned by month, while requests go on: hence no transaction.

The table as it is becomes the partition of all that came before, and no row is moved: a rule that is validated beside
running requests tells PostgreSQL beforehand that all of them fit. What is left to do while the table is locked is a
matter of names, and processes of the version before go on unawares. `proxy.usage.partitions` makes the months.

Each partition has a primary key of its own: one of the whole table would have to contain the time, and an id would
then be unique nowhere.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import OperationalError, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.state import StateApps
from psycopg.errors import LockNotAvailable

TABLE = "proxy_usagerecord"
FITS = "usage_before_months"
# While this waits for somebody who reads for long, settlements wait behind it. So it soon gives way and tries again.
LOCK_TIMEOUT_MS = 500
ATTEMPTS = 120
PAUSE_SECONDS = 5

# Far enough ahead for the rule to hold until the tables are exchanged, even behind a clock that was wrong once.
BOUNDARY = f"""
SELECT (date_trunc('month', greatest(now() + interval '7 days', max(created_at)) AT TIME ZONE %s)
    + interval '1 month') AT TIME ZONE %s
FROM {TABLE}
"""  # noqa: S608 - a name of ours
INDEXES = f"""
SELECT c.relname, CASE WHEN NOT i.indisunique THEN pg_get_indexdef(c.oid) END
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = '{TABLE}'::regclass AND i.indisvalid
"""  # noqa: S608 - likewise
GRANTS = f"""
SELECT format('GRANT %s ON {TABLE} TO %s', privilege_type,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = '{TABLE}'::regclass AND grantee <> relowner
"""
FORGET = f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {FITS}"


def divide(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT relkind FROM pg_class WHERE oid = '{TABLE}'::regclass")  # noqa: S608 - likewise
        if cursor.fetchone()[0] == "p":  # stopped after the exchange, before Django had noted it
            return
        cursor.execute(BOUNDARY, [settings.TIME_ZONE] * 2)
        [boundary] = cursor.fetchone()
        fits = f"ALTER TABLE {TABLE} ADD CONSTRAINT {FITS} CHECK (created_at < '{boundary.isoformat()}') NOT VALID"
        try:
            _briefly(cursor, [FORGET, fits])
            cursor.execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {FITS}")
            _briefly(cursor, _exchange(cursor, boundary))
        except BaseException:
            _briefly(cursor, [FORGET])  # from the boundary on, it would refuse settlements
            raise


def _exchange(cursor: CursorWrapper, boundary: datetime) -> list[str]:
    """The statements that put a partitioned table in the place of the present one, which becomes its first partition."""
    month = boundary.astimezone(ZoneInfo(settings.TIME_ZONE))
    before = f"before_{month:%Y_%m}"
    cursor.execute(INDEXES)
    indexes = cursor.fetchall()
    cursor.execute(GRANTS)
    grants = [grant for (grant,) in cursor.fetchall()]
    return [
        f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE",
        f"ALTER TABLE {TABLE} RENAME TO {TABLE}_{before}",
        *(f'ALTER INDEX "{name}" RENAME TO "{name}_{before}"' for name, _made in indexes),
        f"CREATE TABLE {TABLE} (LIKE {TABLE}_{before} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (created_at)",
        FORGET,
        *(made for _name, made in indexes if made),
        f"ALTER TABLE {TABLE} ATTACH PARTITION {TABLE}_{before}"
        f" FOR VALUES FROM (MINVALUE) TO ('{boundary.isoformat()}')",
        f"ALTER TABLE {TABLE}_{before} DROP CONSTRAINT {FITS}",
        f"CREATE TABLE {TABLE}_default PARTITION OF {TABLE} (PRIMARY KEY (id)) DEFAULT",
        *grants,
    ]


def _briefly(cursor: CursorWrapper, statements: Sequence[str]) -> None:
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic(using=cursor.db.alias):
                cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                for statement in statements:
                    cursor.execute(statement)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("proxy", "0030_model_health")]

    operations: ClassVar = [migrations.RunPython(divide, migrations.RunPython.noop)]
