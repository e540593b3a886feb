"""Notes on people, append-only."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

APPEND_ONLY = """
CREATE FUNCTION accounts_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER usernote_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_usernote
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_append_only();
"""
NO_GUARD = "DROP TRIGGER usernote_append_only ON accounts_usernote; DROP FUNCTION accounts_append_only();"


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0015_message_counts'),
    ]

    operations = [
        migrations.CreateModel(
            name='UserNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('note', 'note'), ('blocked', 'blocked'), ('unblocked', 'unblocked')], default='note', max_length=10, verbose_name='kind')),
                ('text', models.CharField(max_length=2000, verbose_name='text')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created at')),
                ('author', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='author')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='admin_notes', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'note on a person',
                'verbose_name_plural': 'notes on people',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['user', '-id'], name='usernote_of_user')],
                'constraints': [models.CheckConstraint(condition=models.Q(('text', ''), _negated=True), name='usernote_says_something'), models.CheckConstraint(condition=models.Q(('kind__in', ['note', 'blocked', 'unblocked'])), name='usernote_kind_known')],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, NO_GUARD),
    ]
