"""Webhooks: endpoints, the outbox of events, and their deliveries."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0008_second_admin_guards'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('address', models.CharField(max_length=500, verbose_name='address')),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), size=None, verbose_name='events')),
                ('secret_encrypted', models.BinaryField()),
                ('previous_secret_encrypted', models.BinaryField(null=True)),
                ('previous_secret_until', models.DateTimeField(editable=False, null=True)),
                ('state', models.CharField(choices=[('active', 'active'), ('paused', 'paused'), ('disabled', 'disabled')], default='active', max_length=8, verbose_name='state')),
                ('disabled_because', models.CharField(blank=True, choices=[('gone', 'it answered 410 Gone'), ('failing', 'it has failed for days')], max_length=8, verbose_name='disabled because')),
                ('failing_since', models.DateTimeField(editable=False, null=True, verbose_name='failing since')),
                ('claimed_until', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created at')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='webhook_endpoints', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'webhook endpoint',
                'verbose_name_plural': 'webhook endpoints',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='WebhookEvent',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('event', models.CharField(max_length=40, verbose_name='event')),
                ('data', models.JSONField(verbose_name='data')),
                ('dedup', models.CharField(blank=True, max_length=120, verbose_name='occurrence')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
                ('user', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='webhook_events', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'webhook event',
                'verbose_name_plural': 'webhook events',
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('delivered', 'delivered'), ('given_up', 'given up')], default='waiting', max_length=9, verbose_name='state')),
                ('queued_at', models.DateTimeField(verbose_name='queued at')),
                ('next_at', models.DateTimeField(null=True, verbose_name='next attempt')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('attempted_at', models.DateTimeField(null=True, verbose_name='last attempt')),
                ('delivered_at', models.DateTimeField(null=True, verbose_name='delivered at')),
                ('status', models.PositiveSmallIntegerField(null=True, verbose_name='status')),
                ('error', models.CharField(blank=True, choices=[('address', 'the address is not allowed'), ('unresolved', 'the host name was not found'), ('connect', 'no connection'), ('tls', 'the certificate was not accepted'), ('timeout', 'no answer in time'), ('protocol', 'the answer was not HTTP'), ('status', "the answer's status was not 2xx"), ('secret', 'the secret cannot be read')], max_length=12, verbose_name='error')),
                ('endpoint', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='accounts.webhookendpoint', verbose_name='endpoint')),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='accounts.webhookevent', verbose_name='event')),
            ],
            options={
                'verbose_name': 'webhook delivery',
                'verbose_name_plural': 'webhook deliveries',
            },
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(condition=models.Q(('state', 'active')), fields=['claimed_until', 'id'], name='webhookendpoint_active'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.UniqueConstraint(fields=('user', 'address'), name='webhookendpoint_address_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('address__regex', '^https?://[^[:space:]]+$')), name='webhookendpoint_address_is_http'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('events__len__gte', 1)), name='webhookendpoint_wants_events'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('secret_encrypted__gte', b'gAAAAA'), ('secret_encrypted__lt', b'gAAAAB')), name='webhookendpoint_secret_encrypted'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('previous_secret_encrypted__isnull', True), ('previous_secret_until__isnull', True)), models.Q(('previous_secret_encrypted__gte', b'gAAAAA'), ('previous_secret_encrypted__isnull', False), ('previous_secret_encrypted__lt', b'gAAAAB'), ('previous_secret_until__isnull', False)), _connector='OR'), name='webhookendpoint_previous_secret'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('disabled_because', ''), ('state__in', ['active', 'paused'])), models.Q(('disabled_because__in', ['gone', 'failing']), ('state', 'disabled')), _connector='OR'), name='webhookendpoint_disabled_because'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(fields=['created_at'], name='webhookevent_created'),
        ),
        migrations.AddConstraint(
            model_name='webhookevent',
            constraint=models.UniqueConstraint(condition=models.Q(('dedup', ''), _negated=True), fields=('user', 'event', 'dedup'), name='webhookevent_once', nulls_distinct=False),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='webhookdelivery_listing'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['endpoint', 'id'], name='webhookdelivery_waiting'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('event', 'endpoint'), name='webhookdelivery_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('delivered_at__isnull', True), ('next_at__isnull', False), ('state', 'waiting')), models.Q(('delivered_at__isnull', False), ('next_at__isnull', True), ('state', 'delivered')), models.Q(('delivered_at__isnull', True), ('next_at__isnull', True), ('state', 'given_up')), _connector='OR'), name='webhookdelivery_state'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('attempted_at__isnull', True), ('attempts', 0)), models.Q(('attempted_at__gte', models.F('queued_at')), ('attempted_at__isnull', False), ('attempts__gt', 0)), _connector='OR'), name='webhookdelivery_attempted'),
        ),
    ]
