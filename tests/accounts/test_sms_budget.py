"""All messages together have a budget, whatever they are for."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import sign_in
from accounts.models import Challenge, SentSMS
from accounts.sms import sending
from tests.accounts.people import new_address, new_mobile


@pytest.mark.django_db
def test_messages_of_every_kind_share_it(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.SMS_PER_HOUR = 2
    sign_in.send_code(mobile=new_mobile(), address=new_address(), now=timezone.now())
    sending.send_text(mobile=new_mobile(), text="low")
    with pytest.raises(sending.OverBudget):
        sending.send_text(mobile=new_mobile(), text="too many")
    mobile = new_mobile()
    with pytest.raises(sign_in.SendFailed):
        sign_in.send_code(mobile=mobile, address=new_address(), now=timezone.now())
    assert Challenge.objects.get(mobile=mobile).voided_at is not None
    said = capsys.readouterr().out
    assert said.count("SMS to") == 2
    assert "too many" not in said


@pytest.mark.django_db
def test_it_is_whole_again_after_an_hour_and_forgotten_later(settings: Any) -> None:
    settings.SMS_PER_HOUR = 1
    SentSMS.objects.create(sent_at=timezone.now() - timedelta(hours=1))
    SentSMS.objects.create(sent_at=timezone.now() - timedelta(hours=3))
    sending.send_text(mobile=new_mobile(), text="low")
    sending.purge()
    assert SentSMS.objects.count() == 2


@pytest.mark.django_db
def test_a_used_up_budget_of_messages_does_not_silence_what_admins_have_to_hear(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    sent: list[str] = []

    class Phone:
        def send_text(self, *, mobile: str, text: str) -> None:
            sent.append(text)

    monkeypatch.setattr(sending, "provider", Phone)
    settings.SMS_PER_HOUR = 0
    with pytest.raises(sending.OverBudget):
        sending.send_text(mobile="+989120000001", text="of others")
    sending.send_notice(mobile="+989120000001", text="a new admin")
    assert sent == ["a new admin"]
    assert SentSMS.objects.count() == 1
