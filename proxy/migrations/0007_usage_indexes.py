"""Indexes of the request log, made while requests go on: hence no transaction."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('proxy', '0006_usage_latency'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='usagerecord',
            index=models.Index(fields=['key_id', 'model', '-created_at'], name='usage_key_model_recent'),
        ),
        AddIndexConcurrently(
            model_name='usagerecord',
            index=models.Index(condition=models.Q(('outcome', 'completed'), _negated=True), fields=['key_id', 'model', 'outcome', '-created_at'], name='usage_not_completed_recent'),
        ),
        AddIndexConcurrently(
            model_name='usagerecord',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['created_at'], name='usage_created_brin', pages_per_range=32),
        ),
        RemoveIndexConcurrently(
            model_name='usagerecord',
            name='usage_created',
        ),
    ]
