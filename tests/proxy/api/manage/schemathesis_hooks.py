"""What schemathesis cannot know: which texts are models and networks, and that an expiry lies in the future.

It imports this by SCHEMATHESIS_HOOKS.
"""

import os
from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st

FIRST, LAST = datetime(2100, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001 - the zone is put to them below

schemathesis.openapi.format("model-id", st.just(os.environ["MODEL_ON_SALE"]))
schemathesis.openapi.format(
    "cidr", st.ip_addresses().map(lambda address: f"{address}/{32 if address.version == 4 else 64}")
)
schemathesis.openapi.format(
    "date-time", st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(datetime.isoformat)
)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Times of earlier answers are sent as expiries; they have passed."""
    if isinstance(case.body, dict) and str(case.body.get("expires_at")).startswith("202"):
        case.body["expires_at"] = FIRST.replace(tzinfo=UTC).isoformat()
