"""The page that points people's own programs at this service."""

from typing import cast

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounts.models import User
from keys import reading
from proxy.catalogue import served as catalogue
from proxy.catalogue.served import ServedModel
from proxy.dashboard.connect.programs import Setting, ready
from proxy.dashboard.docs import examples


class ModelForm(forms.Form):
    model = forms.ChoiceField(label=_("Model"))

    def __init__(self, data: dict[str, str], *, models: list[ServedModel]) -> None:
        names = [model.model_id for model in models]
        if data.get("model") not in names:
            data = {"model": names[0]}
        super().__init__(data)
        cast("forms.ChoiceField", self.fields["model"]).choices = [(name, name) for name in names]


@login_required
@require_safe
def connect(request: HttpRequest) -> HttpResponse:
    models = {
        model_id: model
        for model_id, model in catalogue.load(timezone.now()).items()
        if "chat" in model.endpoints or "messages" in model.endpoints or "responses" in model.endpoints
    }
    user = cast("User", request.user)
    own_key = reading.newest_working(user_id=user.pk)
    context: dict[str, object] = {"models": models, "own_key": own_key}
    if models:
        form = ModelForm(request.GET.dict(), models=list(models.values()))
        model = models[form.data["model"]]
        at = Setting(
            root=settings.BASE_URL,
            key=f"hm-…{own_key.last_four}" if own_key else examples.KEY,
            model=model.model_id,
            context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens,
        )
        context |= {
            "form": form,
            "model": model,
            "key": at.key,
            "programs": ready(at, endpoints=model.endpoints),
        }
    return render(request, "proxy/connect.html", context)
