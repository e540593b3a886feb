"""Numbers are found by any part of them, however many there are: an index of trigrams.

Where PostgreSQL comes without pg_trgm, or its owner may not add it, the search reads all numbers.
"""

import logging

from django.db import Error, migrations

logger = logging.getLogger(__name__)

INDEX = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS user_mobile_trigrams ON accounts_user USING gin (mobile gin_trgm_ops)
"""


def make(apps, schema_editor):
    try:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(INDEX)
    except Error as error:
        logger.warning("people are found by parts of their numbers without an index: %s", error)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0016_user_notes")]
    operations = [
        migrations.RunPython(make, migrations.RunPython.noop),
    ]
