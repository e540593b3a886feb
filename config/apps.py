"""The admin site: Django's own, behind a password and a one-time code of an authenticator app."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class SiteConfig(AppConfig):
    name = "config"
    default = True


class AdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "config.admin_site.AdminSite"
