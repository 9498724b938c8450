"""The whole way of an app, by authlib: the code with PKCE, the ID token, userinfo, a refresh, a log-out.

Usage: oidc.py SITE CLIENT_ID SECRET_OR_KEY CALLBACK USERNAME PASSWORD
"""

import os
import re
import sys

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on loopback
import requests  # noqa: E402
from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # noqa: E402
from authlib.oidc.core import CodeIDToken  # noqa: E402
from joserfc import jwt  # noqa: E402
from joserfc.jwk import KeySet  # noqa: E402

SITE, CLIENT_ID, CLIENT_SECRET, CALLBACK, USERNAME, PASSWORD = sys.argv[1:]
SCOPE = "openid profile email offline_access"
site = requests.get(f"{SITE}/.well-known/openid-configuration").json()
browser = requests.Session()
browser.headers["Origin"] = SITE


def goes_on(answer):
    """Follows redirects inside the site."""
    while answer.is_redirect and answer.headers["location"].startswith("/"):
        answer = browser.get(SITE + answer.headers["location"], allow_redirects=False)
    return answer


def sends(page, action, **fields):
    """Fills in the form of a page and sends it."""
    form = re.search(rf'<form method="post" action="{action}".*?</form>', page.text, re.S).group()
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
    hidden = {name: value.replace("&#38;", "&").replace("&amp;", "&") for name, value in hidden.items()}
    return goes_on(browser.post(SITE + action, data=hidden | fields, allow_redirects=False))


signs = CLIENT_SECRET.startswith("-----BEGIN")
for method in ["private_key_jwt"] if signs else ["client_secret_basic", "client_secret_post"]:
    app = OAuth2Session(
        CLIENT_ID,
        CLIENT_SECRET,
        scope=SCOPE,
        redirect_uri=CALLBACK,
        token_endpoint_auth_method=method,
        code_challenge_method="S256",
    )
    app.register_client_auth_method(PrivateKeyJWT(site["token_endpoint"]))
    verifier, nonce = generate_token(48), generate_token()
    url, state = app.create_authorization_url(site["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    answer = goes_on(browser.get(url, allow_redirects=False))
    if 'action="/login"' in answer.text:
        answer = sends(answer, "/login", login=USERNAME, password=PASSWORD)
    if 'action="/oauth/consent"' in answer.text:
        answer = sends(answer, "/oauth/consent", decision="allow")
    back = answer.headers["location"]
    assert back.startswith(CALLBACK) and f"state={state}" in back, back
    token = app.fetch_token(
        site["token_endpoint"], authorization_response=back, code_verifier=verifier, state=state
    )
    keys = KeySet.import_key_set(requests.get(site["jwks_uri"]).json())
    said = jwt.decode(token["id_token"], keys, algorithms=site["id_token_signing_alg_values_supported"])
    claims = CodeIDToken(
        said.claims,
        said.header,
        {"iss": {"essential": True, "value": site["issuer"]}},
        {"nonce": nonce, "client_id": CLIENT_ID, "access_token": token["access_token"]},
    )
    claims.validate()
    info = app.get(site["userinfo_endpoint"]).json()
    assert info["sub"] == claims["sub"] and info["preferred_username"] == USERNAME, info
    again = app.refresh_token(site["token_endpoint"], refresh_token=token["refresh_token"])
    assert again["refresh_token"] != token["refresh_token"], again
    assert app.get(site["userinfo_endpoint"]).json() == info

browser.post(f"{SITE}/logout", allow_redirects=False)
assert app.get(site["userinfo_endpoint"]).status_code == 401
try:
    app.refresh_token(site["token_endpoint"], refresh_token=again["refresh_token"])
    raise AssertionError("a token after the log-out")
except OAuthError as refused:
    assert refused.error == "invalid_grant", refused
