"""Codes and notices by day and outcome; what one-time codes are called where admins see them."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_block_and_sign_out'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='challenge',
            options={'verbose_name': 'one-time code', 'verbose_name_plural': 'one-time codes'},
        ),
        migrations.AlterField(
            model_name='challenge',
            name='address',
            field=models.GenericIPAddressField(verbose_name='address'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='consumed_at',
            field=models.DateTimeField(null=True, verbose_name='entered at'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='created_at',
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name='created at'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='expires_at',
            field=models.DateTimeField(verbose_name='valid until'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='is_known_browser',
            field=models.BooleanField(db_default=False, default=False, verbose_name='known browser'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='mobile',
            field=models.CharField(max_length=16, verbose_name='mobile number'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='tries',
            field=models.PositiveSmallIntegerField(default=0, verbose_name='tries'),
        ),
        migrations.AlterField(
            model_name='challenge',
            name='voided_at',
            field=models.DateTimeField(null=True, verbose_name='withdrawn at'),
        ),
        migrations.CreateModel(
            name='MessageCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('kind', models.CharField(choices=[('code', 'one-time code'), ('notice', 'message')], max_length=8)),
                ('channel', models.CharField(choices=[('sms', 'SMS'), ('telegram', 'Telegram'), ('bale', 'Bale')], max_length=8)),
                ('outcome', models.CharField(max_length=10)),
                ('messages', models.PositiveBigIntegerField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('day', 'kind', 'channel', 'outcome'), name='messagecount_once'), models.CheckConstraint(condition=models.Q(models.Q(('channel', 'sms'), ('kind', 'code'), ('outcome__in', ['answered', 'unanswered', 'not_sent'])), models.Q(('kind', 'notice'), ('outcome__in', ['waiting', 'sending', 'sent', 'unknown', 'failed', 'withdrawn'])), _connector='OR'), name='messagecount_outcome_of_kind')],
            },
        ),
    ]
