"""Limits of single models, as rows on the page of what they belong to."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR
from proxy.catalogue.models import LanguageModel


class ModelLimitForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].widget = forms.TextInput(attrs=LTR)

    def clean_model(self) -> str:
        """The catalogue's own name: a limit that is written otherwise would never be reached."""
        name: str = self.cleaned_data["model"].strip()
        if not LanguageModel.objects.filter(model_id=name).exists():
            raise ValidationError(_("The catalogue has no model of this name."))
        return name


class ModelLimitInline(admin.TabularInline):  # type: ignore[type-arg]
    form = ModelLimitForm
    fields = ("model", "rpm", "tpm", "rpd", "tpd", "concurrency")
    extra = 0
