"""The admin site: Django's own, behind a password and a one-time code; apps of others by names that admins know."""

from auditlog import apps as audit_log_apps
from axes import apps as axes_apps
from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class SiteConfig(AppConfig):
    name = "config"
    verbose_name = _("The work behind")
    default = True


class AuditLogConfig(audit_log_apps.AuditlogConfig):
    verbose_name = _("Audit log")
    default = False


class SignInsConfig(axes_apps.AppConfig):
    verbose_name = _("Sign-ins")
    default = False


class AdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "config.admin.site.AdminSite"

    def ready(self) -> None:
        from config.admin import dates, writing

        dates.install()  # before the pages are registered, which copy what they are given
        super().ready()
        from config.admin import work  # noqa: F401 - registers its pages

        writing.install()
