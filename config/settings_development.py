"""What `make dev` runs with: config.settings, but every change is seen at once. For the sandbox alone."""

from django.core.exceptions import ImproperlyConfigured

from config.settings import *  # noqa: F403
from config.settings import SANDBOX, STORAGES, TEMPLATES

if not SANDBOX:
    raise ImproperlyConfigured("Development is for the sandbox: HAMIRAN_MODE=sandbox.")
DEVELOPMENT = True
# Templates are read anew for each page, static files are served from where they are written.
TEMPLATES = [
    {
        **TEMPLATES[0],
        "APP_DIRS": False,
        "OPTIONS": {
            **TEMPLATES[0]["OPTIONS"],  # type: ignore[dict-item]
            "loaders": [
                "django.template.loaders.filesystem.Loader",
                "django.template.loaders.app_directories.Loader",
            ],
        },
    }
]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
