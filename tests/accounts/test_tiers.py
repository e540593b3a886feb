"""What a tier may be."""

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
