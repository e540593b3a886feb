"""Budgets that begin anew each day, week or month, and a second budget of a hold. Those there are stay for ever."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('wallet', '0017_fewer_indexes'),
    ]

    operations = [
        migrations.AddField(
            model_name='budget',
            name='ends_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='counts until'),
        ),
        migrations.AddField(
            model_name='budget',
            name='held_before_micro',
            field=models.BigIntegerField(db_default=0, default=0, editable=False, verbose_name='held before'),
        ),
        migrations.AddField(
            model_name='budget',
            name='period',
            field=models.CharField(choices=[('forever', 'in total'), ('day', 'per day'), ('week', 'per week'), ('month', 'per month')], db_default='forever', default='forever', max_length=8, verbose_name='period'),
        ),
        migrations.AddField(
            model_name='budget',
            name='previous_spent_micro',
            field=models.BigIntegerField(db_default=0, default=0, editable=False, verbose_name='spent in the previous period'),
        ),
        migrations.AddField(
            model_name='budget',
            name='spent_before_micro',
            field=models.BigIntegerField(db_default=0, default=0, editable=False, verbose_name='spent before'),
        ),
        migrations.AddField(
            model_name='budget',
            name='starts_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='counts since'),
        ),
        migrations.AddField(
            model_name='hold',
            name='shared_budget',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wallet.budget'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ends_at__isnull', True), ('period', 'forever')), models.Q(('ends_at__gt', models.F('starts_at')), ('ends_at__isnull', False), ('period__in', ['day', 'week', 'month']), ('starts_at__isnull', False)), _connector='OR'), name='budget_period_and_bounds'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('spent_before_micro__gte', 0), ('spent_before_micro__lte', models.F('spent_micro'))), name='budget_spent_since_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('held_before_micro__gte', 0)), name='budget_held_before_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('previous_spent_micro__gte', 0), ('previous_spent_micro__lte', models.F('spent_before_micro'))), name='budget_previous_is_before'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('budget__isnull', True), ('shared_budget__isnull', True), models.Q(('budget', models.F('shared_budget')), _negated=True), _connector='OR'), name='hold_counts_once'),
        ),
    ]
