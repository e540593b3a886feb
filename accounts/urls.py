from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.number_page, name="sign_in"),
    path("sign-in/code/", views.code_page, name="code"),
    path("sign-in/code/again/", views.send_again, name="send_again"),
    path("sign-out/", views.sign_out, name="sign_out"),
]
