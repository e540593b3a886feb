"""SMS.ir (https://sms.ir/rest-api/): calls are JSON with the key in a header; success is `status` 1 in the body.

After the documentation; what a live account answers has not been tried.
"""

from dataclasses import dataclass, field
from typing import Any

from accounts import phone
from accounts.shared.channel import KeyRefused, SendError
from accounts.sms import wire
from accounts.sms.interface import LineRefused, NumberRefused, OutOfCredit, TemplateRefused

SUCCESS = 1
CODE_PARAMETER = "Code"
REFUSALS: dict[int, type[SendError]] = {
    10: KeyRefused,
    11: KeyRefused,  # switched off
    12: KeyRefused,  # bound to other addresses
    101: LineRefused,
    102: OutOfCredit,
    104: NumberRefused,
    113: TemplateRefused,
    115: NumberRefused,  # on the black list
    123: LineRefused,  # not activated
}


@dataclass(frozen=True, slots=True)
class SMSIr:
    """`template_id` is one of the account's own and names the code `#Code#`; a `line_number` of 0 is none."""

    base_url: str
    api_key: str = field(repr=False)
    template_id: int
    line_number: int = 0

    def send_code(self, *, mobile: str, code: str, text: str) -> None:
        parameters = [{"name": CODE_PARAMETER, "value": code}]
        self._post("verify", mobile=phone.local(mobile), templateId=self.template_id, parameters=parameters)

    def send_text(self, *, mobile: str, text: str) -> None:
        if not self.line_number:
            raise LineRefused("SMSIR_LINE_NUMBER is not set")
        answer = self._post(
            "bulk", lineNumber=self.line_number, messageText=text, mobiles=[phone.local(mobile)]
        )
        # Here the call succeeds for every number; those that get nothing have 0 or null in the place of their id.
        data = answer.get("data")
        ids = data.get("messageIds") if isinstance(data, dict) else None
        if ids in ([0], [None]):
            raise NumberRefused("the provider gave the message no id")

    def _post(self, call: str, **body: Any) -> dict[str, Any]:
        answer = wire.post(f"{self.base_url}/v1/send/{call}", json=body, headers={"X-API-KEY": self.api_key})
        wire.status(answer.get("status"), REFUSALS, success=SUCCESS)
        return answer
