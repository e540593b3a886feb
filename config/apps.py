"""The admin site: Django's own, behind a password and a one-time code of an authenticator app."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class SiteConfig(AppConfig):
    name = "config"
    verbose_name = _("The work behind")
    default = True


class AdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "config.admin.site.AdminSite"

    def ready(self) -> None:
        super().ready()
        from config.admin import dates, work  # noqa: F401 - the latter registers its pages

        dates.install()
