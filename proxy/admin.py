"""Where Django finds this app's admin pages: each stands with its subject."""

from proxy.catalogue import admin as catalogue_admin  # noqa: F401 - registers them
from proxy.catalogue import exchange_admin  # noqa: F401 - registers it
from proxy.dashboard import price_list_admin  # noqa: F401 - registers it
from proxy.dashboard.people import admin as people_admin  # noqa: F401 - registers it
from proxy.dashboard.tiers import admin as tiers_admin  # noqa: F401 - registers it
from proxy.dashboard.tiers import overrides_admin  # noqa: F401 - registers it
from proxy.dashboard.upstreams import admin as upstreams_admin  # noqa: F401 - registers them
from proxy.usage import admin as usage_admin  # noqa: F401 - registers them
