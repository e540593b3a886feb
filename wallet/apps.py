from django.apps import AppConfig


class WalletConfig(AppConfig):
    name = "wallet"

    def ready(self) -> None:
        from auditlog.registry import auditlog

        for model in ("VATRate", "SellerDetails", "Adjustment", "PromoCode"):
            auditlog.register(self.get_model(model))
