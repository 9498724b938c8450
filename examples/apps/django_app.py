"""Wiki, by Django and mozilla-django-oidc: who is there, a log-in, a log-out. In the folder of Latchkey:

latchkey app add Wiki --redirect-uri http://localhost:8000/oidc/callback/ --logout-uri http://localhost:8000/
python3 -m venv target/wiki && target/wiki/bin/pip install django mozilla-django-oidc
CLIENT_ID=… CLIENT_SECRET=… target/wiki/bin/python examples/apps/django_app.py   # then open http://localhost:8000"""
import os, secrets, django
from django.conf import settings
ISSUER = os.environ.get("ISSUER", "http://localhost:3000")  # plain http is for this machine only
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], LOGIN_REDIRECT_URL="/", LOGOUT_REDIRECT_URL="/", OIDC_USE_PKCE=True,
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),  # without one, a restart logs all users out
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "wiki.sqlite3"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "mozilla_django_oidc.middleware.SessionRefresh"],
    OIDC_RP_CLIENT_ID=os.environ["CLIENT_ID"], OIDC_RP_CLIENT_SECRET=os.environ["CLIENT_SECRET"],
    OIDC_RP_SCOPES="openid profile email", OIDC_RP_SIGN_ALGO="RS256", AUTHENTICATION_BACKENDS=[f"{__name__}.Latchkey"],
    OIDC_OP_AUTHORIZATION_ENDPOINT=f"{ISSUER}/oauth/authorize", OIDC_OP_TOKEN_ENDPOINT=f"{ISSUER}/oauth/token",
    OIDC_OP_USER_ENDPOINT=f"{ISSUER}/oauth/userinfo", OIDC_OP_JWKS_ENDPOINT=f"{ISSUER}/.well-known/jwks.json",
    OIDC_OP_LOGOUT_URL_METHOD=f"{__name__}.log_out", OIDC_STORE_ID_TOKEN=True,
    OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS=int(os.environ.get("RENEW_SECONDS", "300")))  # then Django asks who is there again
django.setup()
import django.core.management, django.http, django.middleware.csrf, django.urls, django.utils.html
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
class Latchkey(OIDCAuthenticationBackend):
    def filter_users_by_claims(self, claims):  # by `sub`, which never changes: an address may be another user's tomorrow
        return self.UserModel.objects.filter(username=claims["sub"])
    def create_user(self, claims):
        return self.UserModel.objects.create_user(claims["sub"], claims["email"], first_name=claims["preferred_username"])
def log_out(request):  # the ID token shows Latchkey who asks, so that it need not ask the user
    back = request.build_absolute_uri("/")
    return f"{ISSUER}/oauth/logout?id_token_hint={request.session['oidc_id_token']}&post_logout_redirect_uri={back}"
PAGE = "<p>{} is here<form method=post action=/oidc/logout/><input type=hidden name=csrfmiddlewaretoken value={}><button>Log out"
def home(request):
    who = request.user.is_authenticated and (request.user.first_name, django.middleware.csrf.get_token(request))
    return django.http.HttpResponse(django.utils.html.format_html(PAGE, *who) if who else "<a href=/oidc/authenticate/>Log in</a>")
urlpatterns = [django.urls.path("", home), django.urls.path("oidc/", django.urls.include("mozilla_django_oidc.urls"))]
django.core.management.call_command("migrate", verbosity=0)
django.core.management.call_command("runserver", f"localhost:{os.environ.get('PORT', '8000')}", use_reloader=False)
