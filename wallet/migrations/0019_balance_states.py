"""What the last look found of a balance that a webhook wants to hear of."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('wallet', '0018_budget_periods'),
    ]

    operations = [
        migrations.CreateModel(
            name='BalanceState',
            fields=[
                ('wallet', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='balance_state', serialize=False, to='wallet.wallet')),
                ('state', models.CharField(choices=[('enough', 'enough'), ('low', 'low'), ('empty', 'empty')], max_length=6)),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['enough', 'low', 'empty'])), name='balancestate_known')],
            },
        ),
    ]
