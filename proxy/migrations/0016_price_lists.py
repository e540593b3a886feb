"""A price list may have further components, tiers and prices of images; a usage record names its list.

Records are many, so their new rules hold for what is written from now on; 0016 looks at what was there before, which
obeys the narrower rules of before.
"""

import django.db.models.expressions
import django.db.models.lookups
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

GUARD = """
CREATE OR REPLACE FUNCTION proxy_pricechange_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'pending'
       AND ROW(OLD.id, OLD.model_id, OLD.valid_from, OLD.input_rial_per_million, OLD.output_rial_per_million,
               OLD.cached_input_rial_per_million, {old_further}OLD.requested_by_id, OLD.created_at)
           IS NOT DISTINCT FROM
           ROW(NEW.id, NEW.model_id, NEW.valid_from, NEW.input_rial_per_million, NEW.output_rial_per_million,
               NEW.cached_input_rial_per_million, {new_further}NEW.requested_by_id, NEW.created_at)
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a change of a price is decided once and otherwise never changed'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0015_output_slices'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='price',
            name='price_cached_not_dearer',
        ),
        migrations.RemoveConstraint(
            model_name='price',
            name='price_bounded',
        ),
        migrations.RemoveConstraint(
            model_name='pricechange',
            name='pricechange_cached_not_dearer',
        ),
        migrations.RemoveConstraint(
            model_name='pricechange',
            name='pricechange_bounded',
        ),
        migrations.RemoveConstraint(
            model_name='usagerecord',
            name='usage_cost_is_tokens_times_price',
        ),
        migrations.AddField(
            model_name='price',
            name='further',
            field=models.JSONField(blank=True, editable=False, null=True, verbose_name='further prices'),
        ),
        migrations.AddField(
            model_name='pricechange',
            name='further',
            field=models.JSONField(blank=True, editable=False, null=True, verbose_name='further prices'),
        ),
        migrations.AddField(
            model_name='usagerecord',
            name='price_list_id',
            field=models.BigIntegerField(null=True, verbose_name='price list'),
        ),
        migrations.AddField(
            model_name='usagerecord',
            name='quantities',
            field=models.JSONField(null=True, verbose_name='further quantities'),
        ),
        migrations.AddConstraint(
            model_name='price',
            constraint=models.CheckConstraint(condition=models.Q(('input_rial_per_million__lte', 1000000000), ('output_rial_per_million__lte', 1000000000), models.Q(('cached_input_rial_per_million__isnull', True), ('cached_input_rial_per_million__lte', 1000000000), _connector='OR')), name='price_bounded', violation_error_message='This price is beyond what the system can charge.'),
        ),
        migrations.AddConstraint(
            model_name='price',
            constraint=models.CheckConstraint(condition=models.Q(('further__isnull', True), django.db.models.lookups.Exact(models.Func('further', function='jsonb_typeof', output_field=models.TextField()), 'object'), _connector='OR'), name='price_further_is_object'),
        ),
        migrations.AddConstraint(
            model_name='pricechange',
            constraint=models.CheckConstraint(condition=models.Q(('input_rial_per_million__lte', 1000000000), ('output_rial_per_million__lte', 1000000000), models.Q(('cached_input_rial_per_million__isnull', True), ('cached_input_rial_per_million__lte', 1000000000), _connector='OR')), name='pricechange_bounded', violation_error_message='This price is beyond what the system can charge.'),
        ),
        migrations.AddConstraint(
            model_name='pricechange',
            constraint=models.CheckConstraint(condition=models.Q(('further__isnull', True), django.db.models.lookups.Exact(models.Func('further', function='jsonb_typeof', output_field=models.TextField()), 'object'), _connector='OR'), name='pricechange_further_is_object'),
        ),
        AddConstraintNotValid(
            model_name='usagerecord',
            constraint=models.CheckConstraint(condition=models.Q(('cost_micro', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('prompt_tokens'), '-', models.F('cached_tokens')), '*', models.F('input_rial_per_million')), '+', django.db.models.expressions.CombinedExpression(models.F('cached_tokens'), '*', models.F('cached_input_rial_per_million'))), '+', django.db.models.expressions.CombinedExpression(models.F('completion_tokens'), '*', models.F('output_rial_per_million'))), '-', models.F('uncovered_micro'))), models.Q(('billed_by', 'nothing'), ('cost_micro', 0)), models.Q(('price_list_id__isnull', False), ('quantities__isnull', False)), _connector='OR'), name='usage_cost_is_tokens_times_price'),
        ),
        AddConstraintNotValid(
            model_name='usagerecord',
            constraint=models.CheckConstraint(condition=models.Q(('quantities__isnull', True), django.db.models.lookups.Exact(models.Func('quantities', function='jsonb_typeof', output_field=models.TextField()), 'object'), _connector='OR'), name='usage_quantities_are_object'),
        ),
        migrations.RunSQL(
            GUARD.format(old_further="OLD.further, ", new_further="NEW.further, "),
            GUARD.format(old_further="", new_further=""),
        ),
    ]
