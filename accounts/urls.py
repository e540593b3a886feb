from django.urls import path

from accounts import settings_views, views
from accounts.channels import views as channel_views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.number_page, name="sign_in"),
    path("sign-in/code/", views.code_page, name="code"),
    path("sign-in/code/again/", views.send_again, name="send_again"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("settings/", settings_views.settings_page, name="settings"),
    path("settings/notices/", channel_views.choose, name="choose_channels"),
    path("settings/notices/<slug:channel>/connect/", channel_views.connect, name="connect_channel"),
    path("settings/notices/<slug:channel>/connected/", channel_views.connected, name="channel_connected"),
    path("settings/notices/<slug:channel>/disconnect/", channel_views.disconnect, name="disconnect_channel"),
    path("settings/sessions/end-others/", settings_views.end_others, name="end_other_sessions"),
    path("settings/sessions/<slug:session_id>/end/", settings_views.end_session, name="end_session"),
]
