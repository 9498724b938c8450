"""A token by authlib's OAuth 2 password flow, and what it opens.

Usage: oauth.py SITE USERNAME PASSWORD
"""

import os
import sys

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on loopback
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402

SITE, USERNAME, PASSWORD = sys.argv[1:]


def asks(program, password):
    return program.fetch_token(f"{SITE}/token", grant_type="password", username=USERNAME, password=password)


# Nobody asks a program for an id and a secret; those of one that sends them anyway must not be in the way.
for method in ["none", "client_secret_basic", "client_secret_post"]:
    with OAuth2Session("program", "secret", token_endpoint_auth_method=method) as program:
        token = asks(program, PASSWORD)
        assert token["token_type"] == "bearer" and not token.is_expired(), token
        answer = program.get(f"{SITE}/users/me/")
        assert (answer.status_code, answer.json()["username"]) == (200, USERNAME), answer.text

with OAuth2Session("program", token_endpoint_auth_method="none") as program:
    try:
        asks(program, "not " + PASSWORD)
        raise AssertionError("a token for a wrong password")
    except OAuthError as refused:
        assert refused.error == "invalid_grant", refused
    try:
        program.fetch_token(f"{SITE}/token", grant_type="client_credentials")
        raise AssertionError("a token for no password")
    except OAuthError as refused:
        assert refused.error == "unsupported_grant_type", refused
