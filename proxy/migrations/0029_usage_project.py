"""Which project a request belonged to."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0028_usage_index_by_endpoint'),
    ]

    operations = [
        migrations.AddField(
            model_name='usagerecord',
            name='project_id',
            field=models.BigIntegerField(null=True, verbose_name='project'),
        ),
    ]
