from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class KeysConfig(AppConfig):
    name = "keys"
    verbose_name = _("Keys")

    def ready(self) -> None:
        from auditlog.registry import auditlog

        for model in ("LimitOverride", "OverrideModelLimit"):
            auditlog.register(self.get_model(model))
