"""Codes worth much wait for a second admin; alerts go by what is posted and need not remember it."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0011_idle_transactions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.RemoveConstraint(model_name="walletalert", name="alert_state_whole"),
        migrations.RemoveField(model_name="walletalert", name="alerted_posted_micro"),
        migrations.AddField(
            model_name="promocode",
            name="needs_approval",
            field=models.BooleanField(default=False, editable=False, verbose_name="needs a second admin"),
        ),
        migrations.AddField(
            model_name="promocode",
            name="requested_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="requested by",
            ),
        ),
        migrations.AddField(
            model_name="promocode",
            name="requested_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, editable=False, verbose_name="requested at"
            ),
        ),
        migrations.AddField(
            model_name="promocode",
            name="approved_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="approved by",
            ),
        ),
        migrations.AddConstraint(
            model_name="promocode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by__isnull", True),
                    models.Q(("approved_by", models.F("requested_by")), _negated=True),
                    _connector="OR",
                ),
                name="promo_two_people",
            ),
        ),
    ]
