from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("People")

    def ready(self) -> None:
        from auditlog.registry import auditlog
        from django.contrib.auth.models import Group
        from django.db.models.signals import pre_save

        from accounts import (
            audit,
            checks,  # noqa: F401 - registers them
        )

        auditlog.register(self.get_model("Tier"))
        auditlog.register(self.get_model("TierModelLimit"))
        auditlog.register(self.get_model("NumberChange"))
        auditlog.register(self.get_model("UserNote"))
        auditlog.register(
            self.get_model("User"),
            exclude_fields=["last_login"],
            mask_fields=["password"],
            m2m_fields={"groups", "user_permissions"},
            mask_callable="accounts.audit.hidden",
        )
        auditlog.register(
            self.get_model("Authenticator"),
            include_fields=["user", "confirmed", "seed_encrypted"],
            mask_fields=["seed_encrypted"],
            mask_callable="accounts.audit.hidden",
        )
        pre_save.connect(audit.write_plainly, sender="auditlog.LogEntry")
        auditlog.register(Group, m2m_fields={"permissions"})
