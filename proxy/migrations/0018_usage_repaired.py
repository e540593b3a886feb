from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0017_price_lists_validated'),
    ]

    operations = [
        migrations.AlterField(
            model_name='usagerecord',
            name='billed_by',
            field=models.CharField(choices=[('usage', 'reported usage'), ('repaired', 'reported usage, repaired'), ('estimate', 'estimate'), ('nothing', 'not billed')], max_length=8, verbose_name='billed by'),
        ),
    ]
