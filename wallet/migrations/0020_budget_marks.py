"""What of a budget was reached in a period, to be told of once."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('wallet', '0019_balance_states'),
    ]

    operations = [
        migrations.AddField(
            model_name='budget',
            name='alerts',
            field=models.BooleanField(db_default=False, default=True, editable=False, verbose_name='alerts'),
        ),
        migrations.CreateModel(
            name='BudgetMark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('starts_at', models.DateTimeField()),
                ('percent', models.PositiveSmallIntegerField()),
                ('reached_at', models.DateTimeField()),
                ('told_at', models.DateTimeField(null=True)),
                ('budget', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='marks', to='wallet.budget')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('told_at__isnull', True)), fields=['id'], name='budgetmark_untold')],
                'constraints': [models.UniqueConstraint(fields=('budget', 'starts_at', 'percent'), name='budgetmark_once'), models.CheckConstraint(condition=models.Q(('percent__in', [80, 100])), name='budgetmark_percent_known')],
            },
        ),
    ]
