"""Wiki, by Flask and Authlib: who is there, a log-in, a log-out. In the folder of Latchkey:

latchkey app add Wiki --redirect-uri http://localhost:8000/callback --logout-uri http://localhost:8000/
python3 -m venv target/wiki && target/wiki/bin/pip install flask authlib requests
CLIENT_ID=… CLIENT_SECRET=… target/wiki/bin/python examples/apps/flask_app.py   # then open http://localhost:8000"""
from os import environ, urandom
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, render_template_string, session, url_for

ISSUER = environ.get("ISSUER", "http://localhost:3000")  # plain http is for this machine only
HOME = """{% if user %}<p>{{ user.preferred_username }} is here<form method=post action=/logout><button>Log out</button></form>
{% else %}<a href=/login>Log in</a>{% endif %}"""
app = Flask(__name__)
app.secret_key = environ.get("SECRET_KEY") or urandom(32)  # signs the cookie; without one, a restart logs all users out
latchkey = OAuth(app).register(
    "latchkey",
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_id=environ["CLIENT_ID"],
    client_secret=environ["CLIENT_SECRET"],
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)

@app.get("/")
def home():
    return render_template_string(HOME, user=session.get("user"))
@app.get("/login")
def login():
    return latchkey.authorize_redirect(url_for("callback", _external=True))
@app.get("/callback")
def callback():
    token = latchkey.authorize_access_token()
    session["user"], session["id_token"] = token["userinfo"], token["id_token"]  # only `sub` never changes
    return redirect("/")
@app.post("/logout")
def logout():
    id_token = session.pop("id_token", None)  # shows Latchkey who asks, so that it need not ask the user
    session.clear()
    return latchkey.logout_redirect(url_for("home", _external=True), id_token)
app.run("localhost", int(environ.get("PORT", "8000")))
