"""A token by authlib's OAuth 2 password flow, and what it opens.

Usage: oauth.py SITE USERNAME PASSWORD
"""

import sys

from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

SITE, USERNAME, PASSWORD = sys.argv[1:]

with OAuth2Client(token_endpoint_auth_method="none") as program:
    token = program.fetch_token(f"{SITE}/token", grant_type="password", username=USERNAME, password=PASSWORD)
    assert token["token_type"] == "bearer" and not token.is_expired(), token
    answer = program.get(f"{SITE}/users/me/").raise_for_status()
    assert answer.json()["username"] == USERNAME, answer.text

# A program that has an id and a secret sends them too; nobody asks for them, and they must not be in the way.
for method in ["client_secret_basic", "client_secret_post"]:
    with OAuth2Client("program", "secret", token_endpoint_auth_method=method) as program:
        program.fetch_token(f"{SITE}/token", grant_type="password", username=USERNAME, password=PASSWORD)
        assert program.get(f"{SITE}/users/me/").status_code == 200

with OAuth2Client() as program:
    try:
        token = program.fetch_token(f"{SITE}/token", grant_type="password", username=USERNAME, password="wrong")
    except OAuthError as refused:
        print(refused)
    else:
        raise AssertionError(token)
