"""What a tier may be."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Tier
from tests.factories import TierFactory


@pytest.mark.django_db
def test_all_keys_together_may_do_no_less_than_one() -> None:
    tier = TierFactory.create()
    assert Tier.objects.get(pk=tier.pk).account_factor == 5
    tier.account_factor = 0
    with pytest.raises(ValidationError) as refused:
        tier.full_clean()
    assert set(refused.value.message_dict) == {"account_factor"}
    with pytest.raises(IntegrityError, match="tier_account_factor_positive"), transaction.atomic():
        tier.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("rpd", 0, "tier_days_positive"),
        ("tpd", 0, "tier_days_positive"),
        ("min_account_age_days", 36_501, "tier_account_age_bounded"),
    ],
)
def test_the_database_refuses_limits_of_nothing_and_ages_beyond_a_life(
    column: str, value: int, rule: str
) -> None:
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        TierFactory.create(**{column: value})


@pytest.mark.django_db
def test_the_database_refuses_two_tiers_of_one_rule() -> None:
    TierFactory.create(min_lifetime_topup_micro=5, min_account_age_days=3)
    TierFactory.create(min_lifetime_topup_micro=5, min_account_age_days=4)
    with pytest.raises(IntegrityError, match="tier_rule_once"), transaction.atomic():
        TierFactory.create(min_lifetime_topup_micro=5, min_account_age_days=3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"model": "a", "rpm": 0}, "tiermodellimit_limits_positive"),
        ({"model": "a"}, "tiermodellimit_limits_something"),
        ({"model": "", "rpm": 1}, "tiermodellimit_has_model"),
        ({"model": "there", "rpm": 1}, "tiermodellimit_once_each"),
    ],
)
def test_the_database_refuses_limits_of_a_model_that_limit_nothing(row: dict[str, Any], rule: str) -> None:
    tier = TierFactory.create()
    tier.model_limits.create(model="there", tpd=5)
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        tier.model_limits.create(**row)
