from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WalletConfig(AppConfig):
    name = "wallet"
    verbose_name = _("Money")

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from wallet import checks  # noqa: F401 - registers them

        for model in ("VATRate", "SellerDetails", "Adjustment", "PromoCode", "SignUpCreditChange"):
            auditlog.register(self.get_model(model))
