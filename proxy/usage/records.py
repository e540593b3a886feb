"""The usage record that is written with every settlement, in the ledger's own statement."""

from django.db import connection

from proxy.usage.models import UsageRecord

# What the settlement itself knows; every other column comes from the record that is settled with it.
SETTLED_COLUMNS = {"id": "settled.id", "created_at": "now()", "cost_micro": "settled.cost_micro"}


def record_sql() -> str:
    """The INSERT of a usage record: one column for each field of the model, which a record names as it does.

    Reads `settled` of wallet.ledger.writer.SETTLE: a hold that was resolved before writes no second record.
    """
    columns = {str(field.column): field.db_type(connection) for field in UsageRecord._meta.concrete_fields}
    types = {name: kind for name, kind in columns.items() if name not in SETTLED_COLUMNS}
    values = [SETTLED_COLUMNS.get(name, f"r.{name}") for name in columns]
    return f"""
INSERT INTO {UsageRecord._meta.db_table} ({", ".join(columns)})
SELECT {", ".join(values)}
FROM settled, json_to_record(settled.record) AS r({", ".join(f"{name} {kind}" for name, kind in types.items())})
WHERE settled.record IS NOT NULL
"""  # noqa: S608 - made of the model's own names
