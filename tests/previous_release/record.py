#!/usr/bin/env python3
"""Records what a release says to its database: tests/previous_release/statements.sql.

usage: tests/previous_release/record.py BINARY VERSION >tests/previous_release/statements.sql

It starts a temporary PostgreSQL that logs every statement, and the binary of the release on it. Then it lives a whole life:
sign-ups, log-ins, changes, resets, links, the JSON door, the operator's commands. Each statement is a line with its values.
Run it when a release is made, with the binary of that release. It needs PostgreSQL 15 or later.
"""

import atexit, glob, html, http.cookiejar, json, os, re, shutil, socket, subprocess, sys, tempfile, time
import urllib.error, urllib.parse, urllib.request

binary, version = os.path.abspath(sys.argv[1]), sys.argv[2]
programs = max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
folder = tempfile.mkdtemp()
first, second, third = "velvet otter bakes rye", "seven herons paint slowly", "nine badgers knit hats"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def as_postgres(program, *arguments):
    root = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.getuid() == 0 else []
    return [*root, f"{programs}/{program}", *arguments]


def wait(what, look):
    for _ in range(400):
        if found := look():
            return found
        time.sleep(0.05)
    sys.exit(f"waited in vain: {what}")


if os.getuid() == 0:
    shutil.chown(folder, "postgres")
data, port, site_port = f"{folder}/data", free_port(), free_port()
subprocess.run(as_postgres("initdb", "--no-sync", "--auth=trust", "--username=latchkey", "--pgdata", data), check=True, stdout=subprocess.DEVNULL)
options = ["log_statement=all", "logging_collector=on", "log_destination=jsonlog", "log_directory=log", "log_filename=all",
           "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC"]
postgres = subprocess.Popen(
    as_postgres("postgres", "-D", data, "-F", "-p", str(port), *(word for option in options for word in ("-c", option))),
    cwd="/", stderr=subprocess.DEVNULL)
atexit.register(postgres.send_signal, 3)
wait("PostgreSQL", lambda: subprocess.run(as_postgres("pg_isready", "-q", "-h", "localhost", "-p", str(port)), cwd="/").returncode == 0)

site = f"http://localhost:{site_port}"
environment = {
    "LATCHKEY_DATABASE_URL": f"postgres://latchkey@localhost:{port}/postgres",
    "LATCHKEY_SECRET": "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy",
    "LATCHKEY_LISTEN": f"127.0.0.1:{site_port}",
    "LATCHKEY_DATA_DIR": f"{folder}/latchkey",
    "LATCHKEY_LOG": "error",
}
subprocess.run([binary, "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
migrated = os.path.getsize(f"{data}/log/all.json")
server = subprocess.Popen([binary, "serve"], env=environment, stdout=subprocess.DEVNULL)
atexit.register(server.kill)


class Browser:
    def __init__(self):
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, path, fields=None, origin=site):
        body = urllib.parse.urlencode(fields).encode() if fields is not None else None
        request = urllib.request.Request(path if path.startswith("http") else site + path, body, {"Origin": origin} if body else {})
        try:
            return self.opener.open(request).read().decode()
        except urllib.error.HTTPError as answer:
            return answer.read().decode()

    def submit(self, page, action, **typed):
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', self.open(page), re.S)
        if not form:
            sys.exit(f"no form for {action} on {page}")
        fields = {}
        for field in re.findall(r"<input[^>]*>", form[0]):
            attribute = dict(re.findall(r'(\w+)="([^"]*)"', field))
            if "name" in attribute and (attribute.get("type") != "checkbox" or "checked" in field):
                fields[attribute["name"]] = html.unescape(attribute.get("value", ""))
        return self.open(action, {**fields, **typed})


def letters(to):
    return [one for one in json.loads(Browser().open("/dev/mailbox.json")) if one["to"] == to]


def link(to, count):
    return wait(f"email {count} to {to}", lambda: (found := letters(to))[count - 1 :] and found)[0]["links"][0]


def ask(path, body, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    method = "GET" if body is None else "PATCH" if path == "/users/me/" else "POST"
    request = urllib.request.Request(site + path, json.dumps(body).encode() if body is not None else None, headers, method=method)
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as answer:
        return json.load(answer)


def run(*arguments):
    return subprocess.run([binary, *arguments], env=environment, check=True, capture_output=True, text=True).stdout


wait("the server", lambda: not subprocess.run(["curl", "-sf", "-o", os.devnull, f"{site}/readyz"]).returncode)
sam, eve = Browser(), Browser()
sam.submit("/signup", "/signup", email="sam@example.com", username="sam", full_name="Sam Smith", password=first)
confirm = link("sam@example.com", 1)
sam.open(confirm)
sam.submit("/signup/confirm", "/signup/confirm")
sam.submit("/profile/name", "/profile/name", full_name="Sam S.")
sam.submit("/profile/language", "/profile/language", language="zh-CN")
sam.submit("/profile/language", "/profile/language", language="en")
eve.submit("/login", "/login", login="sam", password="wrong")
eve.submit("/login", "/login", login="nobody", password="wrong")
eve.submit("/login", "/login", login="sam@example.com", password=first, remember="on")
told = link("sam@example.com", 2)
sam.open("/profile/security")
sam.submit("/profile/password", "/profile/password", current_password="wrong", new_password=second)
sam.submit("/profile/password", "/profile/password", current_password=first, new_password=second)
eve.submit("/login", "/login", login="sam", password=second)
sam.open("/profile", {"full_name": "Forged"}, "https://evil.example")
sam.submit("/profile/security", "/profile/security/log-out", others="1")
lost = Browser()
lost.open(told)
lost.submit("/not-me", "/not-me")
lost.submit("/forgot-password", "/forgot-password", email="sam@example.com")
lost.submit("/forgot-password", "/forgot-password", email="nobody@example.com")
wait("a reset link", lambda: any("/reset-password" in one["links"][0] for one in letters("sam@example.com") if one["links"]))
reset = next(one["links"][0] for one in letters("sam@example.com") if "/reset-password" in one["links"][0])
lost.open(reset)
lost.submit("/reset-password", "/reset-password", password=third)
lost.open(reset)
lost.submit("/login", "/login", login="sam", password=third)
wait("the news", lambda: len(letters("sam@example.com")) >= 5)
ask("/users/", {"username": "ada", "email": "ada@example.com", "password": first})
ada = Browser()
ada.open(link("ada@example.com", 1))
ada.submit("/signup/confirm", "/signup/confirm", password=first)
Browser().submit("/signup", "/signup", email="ada@example.com", username="ada2", password=first)
token = json.loads(ada.open("/token", {"username": "ada", "password": first}))["access_token"]
ask("/users/me/", None, token)
ask("/reset_password/", {"email": "ada@example.com"})
run("user", "create", "dora@example.com", "dora")
run("user", "list"), run("user", "show", "dora"), run("user", "reset-link", "dora"), run("user", "sessions", "ada")
run("user", "set-email", "dora", "doris@example.com")
wait("the news", lambda: letters("doris@example.com"))
run("user", "disable", "ada"), run("user", "enable", "ada"), run("user", "log-out", "ada"), run("user", "events", "ada")
run("user", "delete", "dora", "--yes")
lost.submit("/profile", "/logout")
time.sleep(1)
server.terminate()
server.wait()
postgres.send_signal(3)
postgres.wait()

print(f"-- What Latchkey {version} says to its database in a whole life. Made by tests/previous_release/record.py.")
read = {}
with open(f"{data}/log/all.json") as log:
    log.seek(migrated)
    for line in log:
        entry = json.loads(line)
        said = re.match(r"(?:statement|execute [^:]*): (.*)", entry["message"], re.S)
        if entry.get("error_severity") == "ERROR":
            print(f"record: a statement failed: {entry['message']}", file=sys.stderr)
        if not said or not re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", said[1]) or re.search(r"\bpg_|information_schema|version\(\)|seaql_|advisory", said[1]):
            continue
        # The same question twice says nothing more: postmen and commands ask again and again.
        read[said[1]] = read.get(said[1], 0) + 1
        if said[1].startswith("SELECT") and read[said[1]] > 2:
            continue
        values = dict(re.findall(r"\$(\d+) = (NULL|'(?:[^']|'')*')", entry.get("detail", "")))
        text = re.sub(r"\$(\d+)", lambda place: values[place[1]], said[1])
        print(" ".join(text.split()) + ";" if "\n" not in text else sys.exit("a value has two lines"))
shutil.rmtree(folder)
