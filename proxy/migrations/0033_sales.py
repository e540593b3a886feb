"""What was sold, what it costs and how it ended, in slots, hours and days: by model and upstream, and by customer."""

import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0032_usage_by_month'),
    ]

    operations = [
        migrations.CreateModel(
            name='CustomerSales',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period', models.CharField(choices=[('slot', 'Slot'), ('hour', 'Hour'), ('day', 'Day')], max_length=4)),
                ('starts_at', models.DateTimeField()),
                ('requests', models.PositiveBigIntegerField()),
                ('client_left', models.PositiveBigIntegerField()),
                ('upstream_failed', models.PositiveBigIntegerField()),
                ('refused', models.PositiveBigIntegerField()),
                ('interrupted', models.PositiveBigIntegerField()),
                ('billed_requests', models.PositiveBigIntegerField()),
                ('billed_micro', models.PositiveBigIntegerField()),
                ('costed_requests', models.PositiveBigIntegerField()),
                ('costed_micro', models.PositiveBigIntegerField()),
                ('cost_micro', models.PositiveBigIntegerField()),
                ('user_id', models.BigIntegerField()),
            ],
            options={
                'verbose_name': 'sales to a customer',
                'verbose_name_plural': 'sales by customer',
                'default_permissions': ('view',),
                'constraints': [models.UniqueConstraint(fields=('period', 'starts_at', 'user_id'), name='customersales_once'), models.CheckConstraint(condition=models.Q(('costed_micro__lte', models.F('billed_micro')), ('costed_requests__lte', models.F('billed_requests'))), name='customersales_cost_of_what_was_billed'), models.CheckConstraint(condition=models.Q(('billed_requests__lte', models.F('requests')), ('requests__gte', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('client_left'), '+', models.F('upstream_failed')), '+', models.F('refused')), '+', models.F('interrupted')))), name='customersales_parts_within_requests')],
            },
        ),
        migrations.CreateModel(
            name='RouteSales',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period', models.CharField(choices=[('slot', 'Slot'), ('hour', 'Hour'), ('day', 'Day')], max_length=4)),
                ('starts_at', models.DateTimeField()),
                ('requests', models.PositiveBigIntegerField()),
                ('client_left', models.PositiveBigIntegerField()),
                ('upstream_failed', models.PositiveBigIntegerField()),
                ('refused', models.PositiveBigIntegerField()),
                ('interrupted', models.PositiveBigIntegerField()),
                ('billed_requests', models.PositiveBigIntegerField()),
                ('billed_micro', models.PositiveBigIntegerField()),
                ('costed_requests', models.PositiveBigIntegerField()),
                ('costed_micro', models.PositiveBigIntegerField()),
                ('cost_micro', models.PositiveBigIntegerField()),
                ('model', models.CharField(max_length=120)),
                ('upstream_id', models.BigIntegerField()),
            ],
            options={
                'verbose_name': 'sales of a model',
                'verbose_name_plural': 'sales by model and upstream',
                'default_permissions': ('view',),
                'constraints': [models.UniqueConstraint(fields=('period', 'starts_at', 'model', 'upstream_id'), name='routesales_once'), models.CheckConstraint(condition=models.Q(('costed_micro__lte', models.F('billed_micro')), ('costed_requests__lte', models.F('billed_requests'))), name='routesales_cost_of_what_was_billed'), models.CheckConstraint(condition=models.Q(('billed_requests__lte', models.F('requests')), ('requests__gte', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('client_left'), '+', models.F('upstream_failed')), '+', models.F('refused')), '+', models.F('interrupted')))), name='routesales_parts_within_requests')],
            },
        ),
        migrations.CreateModel(
            name='SalesProgress',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('since', models.DateTimeField()),
                ('counted_until', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='sales_progress_one_row'), models.CheckConstraint(condition=models.Q(('counted_until__gte', models.F('since'))), name='sales_progress_forwards')],
            },
        ),
    ]
