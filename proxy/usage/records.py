"""The usage record that is written with every settlement, in the ledger's own statement."""

from django.db import connection

from proxy.usage.models import UsageRecord

# What the settlement itself knows; every other column comes from the record that is settled with it.
SETTLED_COLUMNS = {"id": "settled.id", "created_at": "now()", "cost_micro": "settled.cost_micro"}


def record_sql() -> str:
    """The INSERT of a usage record: one column for each field of the model, which a record names as it does.

    Reads `settled` of wallet.ledger.writer.SETTLE: a hold that was resolved before writes no second record.
    """
    fields = UsageRecord._meta.concrete_fields
    types = {field.column: field.db_type(connection) for field in fields if field.column not in SETTLED_COLUMNS}
    values = [SETTLED_COLUMNS.get(field.column, f"r.{field.column}") for field in fields]
    return f"""
INSERT INTO {UsageRecord._meta.db_table} ({", ".join(field.column for field in fields)})
SELECT {", ".join(values)}
FROM settled, json_to_record(settled.record) AS r({", ".join(f"{name} {kind}" for name, kind in types.items())})
WHERE settled.record IS NOT NULL
"""  # noqa: S608 - made of the model's own names
