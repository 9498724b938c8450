// An application by express-openid-connect with lasting access (offline_access). Its page refreshes and asks for userinfo.
//
// latchkey app add Wiki --redirect-uri http://localhost:8000/callback
const { randomBytes } = require('node:crypto');
const express = require('express');
const { auth, requiresAuth } = require('express-openid-connect');

const { ISSUER, PORT, CLIENT_ID, CLIENT_SECRET } = process.env;
const app = express();
app.use(
  auth({
    issuerBaseURL: ISSUER,
    baseURL: `http://localhost:${PORT}`,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: randomBytes(32).toString('hex'),
    authorizationParams: { response_type: 'code', scope: 'openid profile email offline_access' },
    authRequired: false,
  }),
);
app.get('/', (req, res) => res.send('<a href="/page">Page</a>'));
app.get('/page', requiresAuth(), async (req, res) => {
  const before = req.oidc.refreshToken;
  await req.oidc.accessToken.refresh();
  const { preferred_username: user } = await req.oidc.fetchUserInfo();
  res.send(`${user} is here, with ${req.oidc.refreshToken === before ? 'the same token' : 'the next token'}`);
});
app.use((error, req, res, next) => res.status(500).send(`refused: ${error.error}`));
app.listen(PORT, 'localhost');
