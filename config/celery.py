"""The Celery application: `celery -A config worker`."""

import os

from celery import Celery

from config import task_figures

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("hamiran")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
task_figures.connect()
