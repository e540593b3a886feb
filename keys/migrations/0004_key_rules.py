"""What a key may do by itself: models, networks, limits, a budget; and which key it takes the place of."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0003_session_keys'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='allowed_models',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=120), db_default=[], default=list, editable=False, size=None, verbose_name='allowed models'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='allowed_networks',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=43), db_default=[], default=list, editable=False, size=None, verbose_name='allowed networks'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='budget_id',
            field=models.BigIntegerField(editable=False, null=True, verbose_name='budget'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='concurrency',
            field=models.PositiveIntegerField(editable=False, null=True, verbose_name='requests at once'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='replaces',
            field=models.ForeignKey(db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='keys.apikey', verbose_name='replaces'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='rpm',
            field=models.PositiveIntegerField(editable=False, null=True, verbose_name='requests per minute'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='tpm',
            field=models.PositiveBigIntegerField(editable=False, null=True, verbose_name='tokens per minute'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.UniqueConstraint(fields=('replaces',), name='apikey_replaced_once'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('replaces__isnull', True), models.Q(('replaces', models.F('id')), _negated=True), _connector='OR'), name='apikey_replaces_another'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('rpm__isnull', True), ('rpm__gt', 0), _connector='OR'), name='apikey_rpm_positive'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('tpm__isnull', True), ('tpm__gt', 0), _connector='OR'), name='apikey_tpm_positive'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('concurrency__isnull', True), ('concurrency__gt', 0), _connector='OR'), name='apikey_concurrency_positive'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('allowed_models__len__lte', 100)), name='apikey_models_bounded'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('allowed_networks__len__lte', 50)), name='apikey_networks_bounded'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Regex(models.Func(models.F('allowed_networks'), models.Value(','), function='array_to_string', output_field=models.TextField()), '^([0-9a-f.:]+/[0-9]{1,3}(,|$))*$'), name='apikey_networks_are_cidr'),
        ),
    ]
