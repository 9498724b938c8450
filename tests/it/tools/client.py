"""The whole life of an account with the client that openapi-python-client made from /openapi.json.

Usage: client.py SITE, with the package `door` beside the working directory.
"""

import sys
import time
from http import HTTPStatus

import httpx

sys.path.insert(0, ".")
from door import AuthenticatedClient, Client  # noqa: E402
from door.api.reset import ask_reset, complete_reset  # noqa: E402
from door.api.users import create_user, get_me, get_token  # noqa: E402
from door.models import (  # noqa: E402
    Detail,
    FieldProblems,
    Message,
    NewPasswordRequest,
    NewUser,
    ResetRequest,
    TokenOut,
    TokenRequest,
    UserOut,
)

SITE = sys.argv[1]
OTTER, HERON = "velvet otter bakes rye", "seven herons paint slowly"
door = Client(base_url=SITE, raise_on_unexpected_status=True)


def answered(response, status, model):
    """The answer's model, which must be this one, with this status."""
    assert response.status_code == status, response
    assert type(response.parsed) is model, response
    return response.parsed


def link(path):
    """The link to this path in the newest letter that has one."""
    for _ in range(200):
        for letter in httpx.get(f"{SITE}/dev/mailbox.json").json():
            for found in letter["links"]:
                if found.startswith(f"{SITE}{path}?"):
                    return found
        time.sleep(0.1)
    raise AssertionError(f"no letter with a link to {path}")


def token(password):
    form = TokenRequest(username="sam", password=password, grant_type="password")
    return answered(get_token.sync_detailed(client=door, body=form), HTTPStatus.OK, TokenOut)


def me(access_token):
    with AuthenticatedClient(base_url=SITE, token=access_token, raise_on_unexpected_status=True) as bearer:
        return get_me.sync_detailed(client=bearer)


wrong = NewUser(username="a b", email="sam@", password="12345678")
problems = answered(create_user.sync_detailed(client=door, body=wrong), HTTPStatus.UNPROCESSABLE_ENTITY, FieldProblems)
assert sorted(problem.loc[-1] for problem in problems.detail) == ["email", "password", "username"], problems

sam = NewUser(username="sam", email="sam@example.com", full_name="Sam Smith", password=OTTER)
answered(create_user.sync_detailed(client=door, body=sam), HTTPStatus.ACCEPTED, Message)
with httpx.Client(base_url=SITE, follow_redirects=True, headers={"Origin": SITE}) as browser:
    browser.get(link("/signup/confirm")).raise_for_status()
    pressed = browser.post("/signup/confirm", data={"password": OTTER}).raise_for_status()
    assert pressed.url.path == "/login", pressed.url

first = token(OTTER)
assert (first.token_type, first.expires_in) == ("bearer", 1800), first
user = answered(me(first.access_token), HTTPStatus.OK, UserOut)
assert (user.username, user.email, user.full_name) == ("sam", "sam@example.com", "Sam Smith"), user

forgotten = ResetRequest(email="sam@example.com")
answered(ask_reset.sync_detailed(client=door, body=forgotten), HTTPStatus.ACCEPTED, Message)
secret = httpx.URL(link("/reset-password")).params["token"]
chosen = NewPasswordRequest(token=secret, new_password=HERON)
answered(complete_reset.sync_detailed(client=door, body=chosen), HTTPStatus.OK, Message)
answered(complete_reset.sync_detailed(client=door, body=chosen), HTTPStatus.GONE, Detail)

answered(me(first.access_token), HTTPStatus.UNAUTHORIZED, Detail)
assert answered(me(token(HERON).access_token), HTTPStatus.OK, UserOut) == user
