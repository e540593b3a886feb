"""Upstreams at Gemini's own host get Gemini's kind, as new ones do since that kind exists."""

from urllib.parse import urlsplit

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

GEMINI_HOST = "generativelanguage.googleapis.com"


def recognise_gemini(apps: Apps, _editor: BaseDatabaseSchemaEditor | None) -> None:
    upstreams = apps.get_model("proxy", "Upstream").objects
    at_gemini = [row.pk for row in upstreams.all() if urlsplit(row.base_url).hostname == GEMINI_HOST]
    upstreams.filter(pk__in=at_gemini).update(kind="gemini")
    # The starter model's, whose `cancel` nobody chose: that host goes on billing when its reader leaves.
    upstreams.filter(pk__in=at_gemini, name="primary").update(on_disconnect="drain")


class Migration(migrations.Migration):

    dependencies = [
        ("proxy", "0007_usage_indexes"),
    ]

    operations = [
        migrations.RunPython(recognise_gemini, migrations.RunPython.noop),
    ]
