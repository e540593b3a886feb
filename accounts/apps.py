from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("People")

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from accounts import checks  # noqa: F401 - registers them

        auditlog.register(self.get_model("Tier"))
        auditlog.register(
            self.get_model("User"),
            exclude_fields=["last_login"],
            mask_fields=["password"],
            m2m_fields={"groups", "user_permissions"},
        )
