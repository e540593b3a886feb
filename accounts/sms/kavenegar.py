"""Kavenegar (https://kavenegar.com/rest.html): calls are forms, and the status that counts stands in the body.

The key is part of every address, so no address may get into a log or an error. After the documentation; what a
live account answers has not been tried.
"""

from dataclasses import dataclass, field
from urllib.parse import quote

from accounts import phone
from accounts.shared.channel import KeyRefused, SendError
from accounts.sms import wire
from accounts.sms.interface import LineRefused, NumberRefused, OutOfCredit, TemplateRefused

SUCCESS = 200
REFUSALS: dict[int, type[SendError]] = {
    403: KeyRefused,
    411: NumberRefused,
    412: LineRefused,
    418: OutOfCredit,
    424: TemplateRefused,
}


@dataclass(frozen=True, slots=True)
class Kavenegar:
    """`template` is one of the account's own and names the code `%token`; without `sender` its usual line sends."""

    base_url: str
    api_key: str = field(repr=False)
    template: str
    sender: str = ""

    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        self._post("verify/lookup", receptor=phone.local(mobile), template=self.template, token=code)

    def send_text(self, *, mobile: str, text: str) -> None:
        sender = {"sender": self.sender} if self.sender else {}
        self._post("sms/send", receptor=phone.local(mobile), message=text, **sender)

    def _post(self, call: str, **form: str) -> None:
        answer = wire.post(f"{self.base_url}/v1/{quote(self.api_key, safe='')}/{call}.json", form=form)
        returned = answer.get("return")
        wire.status(returned.get("status") if isinstance(returned, dict) else None, REFUSALS, success=SUCCESS)
