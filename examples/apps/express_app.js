// Wiki, by Express and express-openid-connect: who is there, a log-in, a log-out. Run in a folder of its own, with this file:
//
// latchkey app add Wiki --redirect-uri http://localhost:8000/callback --logout-uri http://localhost:8000
// npm install express express-openid-connect escape-html
// CLIENT_ID=… CLIENT_SECRET=… node express_app.js    # then open http://localhost:8000
const { randomBytes } = require('node:crypto');
const escape = require('escape-html');
const express = require('express');
const { auth } = require('express-openid-connect');

const { ISSUER = 'http://localhost:3000', PORT = '8000', CLIENT_ID, CLIENT_SECRET, SECRET_KEY } = process.env;
const app = express();
app.use(
  auth({
    issuerBaseURL: ISSUER, // plain http on this machine only: else https
    baseURL: `http://localhost:${PORT}`, // where users see this application: https://wiki.example.com
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: SECRET_KEY || randomBytes(32).toString('hex'), // seals the cookie; give one, or a restart logs all out
    authorizationParams: { response_type: 'code', scope: 'openid profile email' },
    authRequired: false, // this page is for everybody
    idpLogout: true, // who logs out here is logged out of Latchkey too
  }),
);
app.get('/', (req, res) => {
  const user = req.oidc.user; // `sub` is the user: it never changes
  if (!user) return res.send('<a href="/login">Log in</a>');
  res.send(`<p>${escape(user.preferred_username)} is here</p><a href="/logout">Log out</a>`);
});
app.listen(PORT, 'localhost');
