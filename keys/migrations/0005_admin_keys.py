"""Keys that manage keys, the log of what is done to either, and the answers that repeats of a change are given."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


APPEND_ONLY = """
CREATE FUNCTION keys_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER keychange_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keys_keychange
    FOR EACH STATEMENT EXECUTE FUNCTION keys_append_only();
"""
NO_GUARD = "DROP TRIGGER keychange_append_only ON keys_keychange; DROP FUNCTION keys_append_only();"


class Migration(migrations.Migration):

    dependencies = [
        ('keys', '0004_key_rules'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AdminKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('pepper_version', models.PositiveSmallIntegerField(editable=False)),
                ('last_four', models.CharField(editable=False, max_length=4, verbose_name='last four')),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('keys:read', 'see your keys'), ('keys:write', 'create, change, replace and revoke your keys'), ('usage:read', 'see your balance, statement and usage')], max_length=16), size=None, verbose_name='scopes')),
                ('allowed_networks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=43), default=list, size=None, verbose_name='allowed networks')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created at')),
                ('last_used_at', models.DateTimeField(editable=False, null=True, verbose_name='last used at')),
                ('expires_at', models.DateTimeField(editable=False, null=True, verbose_name='expires at')),
                ('revoked_at', models.DateTimeField(editable=False, null=True, verbose_name='revoked at')),
                ('creation_token', models.UUIDField(editable=False)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='admin_keys', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'admin key',
                'verbose_name_plural': 'admin keys',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='KeyChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('subject', models.CharField(choices=[('key', 'API key'), ('admin_key', 'admin key'), ('project', 'project')], max_length=10)),
                ('subject_id', models.BigIntegerField()),
                ('name', models.CharField(max_length=80)),
                ('last_four', models.CharField(blank=True, max_length=4)),
                ('action', models.CharField(choices=[('created', 'created'), ('changed', 'changed'), ('rotated', 'replaced'), ('revoked', 'revoked')], max_length=10)),
                ('changes', models.JSONField(default=dict)),
                ('actor', models.CharField(choices=[('dashboard', 'in the dashboard'), ('admin_key', 'by an admin key'), ('staff', 'by support'), ('operator', 'by the operator')], max_length=10)),
                ('session', models.CharField(blank=True, max_length=32)),
                ('address', models.GenericIPAddressField(null=True)),
                ('actor_key', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='keys.adminkey')),
                ('actor_user', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='StoredAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('idempotency_key', models.CharField(max_length=255)),
                ('request_digest', models.BinaryField(max_length=32)),
                ('answer_encrypted', models.BinaryField()),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ('admin_key', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='keys.adminkey')),
            ],
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='adminkey_has_name'),
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.CheckConstraint(condition=models.Q(('last_four__regex', '^[0-9A-Za-z]{4}$')), name='adminkey_last_four'),
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.UniqueConstraint(fields=('user', 'creation_token'), name='adminkey_created_once'),
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.CheckConstraint(condition=models.Q(('scopes__len__gt', 0), ('scopes__contained_by', ['keys:read', 'keys:write', 'usage:read'])), name='adminkey_scopes_known'),
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.CheckConstraint(condition=models.Q(('allowed_networks__len__lte', 50)), name='adminkey_networks_bounded'),
        ),
        migrations.AddConstraint(
            model_name='adminkey',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Regex(models.Func(models.F('allowed_networks'), models.Value(','), function='array_to_string', output_field=models.TextField()), '^([0-9a-f.:]+/[0-9]{1,3}(,|$))*$'), name='adminkey_networks_are_cidr'),
        ),
        migrations.AddIndex(
            model_name='keychange',
            index=models.Index(fields=['user', '-id'], name='keychange_of_user'),
        ),
        migrations.AddConstraint(
            model_name='keychange',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('actor__in', ['dashboard', 'staff']), ('actor_key', None), ('actor_user__isnull', False)), models.Q(('actor', 'admin_key'), ('actor_key__isnull', False), ('actor_user', None)), models.Q(('actor', 'operator'), ('actor_key', None), ('actor_user', None)), _connector='OR'), name='keychange_has_its_actor'),
        ),
        migrations.AddConstraint(
            model_name='storedanswer',
            constraint=models.UniqueConstraint(fields=('admin_key', 'idempotency_key'), name='storedanswer_once'),
        ),
        migrations.RunSQL(APPEND_ONLY, NO_GUARD),
    ]
