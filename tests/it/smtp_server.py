"""A mail server for tests.

    python3 smtp_server.py MODE [--host ADDRESS] [--port N] [--certificate FILE --key FILE] [--times N] [--pause S]

MODE: plain; drop (ends the connection at the first N commands DATA); silent (takes the first N letters without an answer);
no-auth (plain, without any log-in); starttls (takes nothing before it); tls (from the first byte); refuse (550 to every
recipient); hostile (the same, in escape sequences); greylist (450 to sam@…); tempfail (451 after the first N letters, then
takes them).

Says {"port": N} on standard output, then one JSON object a line for every letter that it took or sent back, and
{"answered": true} after its answer, S seconds later. Any log-in is good unless the password is "wrong". Ends when standard
input does, and so with the test that started it.
"""

import argparse
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def say(fact):
    print(json.dumps(fact), flush=True)


class Handler:
    def __init__(self, mode, times, pause):
        self.mode, self.times, self.pause = mode, times, pause

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.mode == "greylist" and address.startswith("sam@"):
            return "450 4.2.0 Greylisted, come again"
        if self.mode == "hostile":
            return "550 \x1b]0;title\x07\x1b[2J\x1b[1;1Hok mail all is well"
        if self.mode == "refuse":
            say({"turned_away": address})
            return "550 5.1.1 Nobody of that name lives here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = "250 2.0.0 Taken, with pleasure"
        if self.mode == "tempfail" and self.times > 0:
            self.times -= 1
            answer = "451 4.3.0 The post office is closed for lunch"
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.original_content.decode("utf-8", "replace"),
            "tls": session.ssl is not None or self.mode == "tls",
            "login": session.auth_data,
            "answer": answer,
        })
        await asyncio.sleep(self.pause)
        if self.mode == "silent" and self.times > 0:
            self.times -= 1
            await asyncio.sleep(3600)
        asyncio.get_running_loop().call_soon(say, {"answered": True})
        return answer


class Server(SMTP):
    async def smtp_DATA(self, argument):
        handler = self.event_handler
        if handler.mode == "drop" and handler.times > 0:
            handler.times -= 1
            say({"dropped": True})
            self.transport.close()
            return
        await super().smtp_DATA(argument)


def authenticate(server, session, envelope, mechanism, login):
    if login.password == b"wrong":
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=login.login.decode())


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("mode", choices=["plain", "no-auth", "starttls", "tls", "refuse", "hostile", "tempfail", "drop", "silent", "greylist"])
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--certificate")
    arguments.add_argument("--key")
    arguments.add_argument("--times", type=int, default=0)
    arguments.add_argument("--pause", type=float, default=0)
    given = arguments.parse_args()

    context = None
    if given.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.certificate, given.key)
    starttls = given.mode == "starttls"
    handler = Handler(given.mode, given.times, given.pause)

    def connection():
        return Server(
            handler,
            hostname="localhost",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_require_tls=False,
            authenticator=authenticate,
            auth_exclude_mechanism=["LOGIN", "PLAIN"] if given.mode == "no-auth" else None,
        )

    loop = asyncio.get_running_loop()
    over_tls = context if given.mode == "tls" else None
    server = await loop.create_server(connection, given.host, given.port, ssl=over_tls)
    say({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
