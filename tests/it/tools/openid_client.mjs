// The whole way of an app by openid-client: the code with PKCE, the ID token, userinfo, a refresh, a log-out.
//
// Usage: openid_client.mjs SITE CLIENT_ID SECRET_OR_KEY ALGORITHM CALLBACK AFTERWARDS USERNAME PASSWORD
import assert from 'node:assert/strict';
import * as client from 'openid-client';
import { Browser, readKey } from './browser.mjs';

const [site, id, secret, algorithm, callback, afterwards, ...user] = process.argv.slice(2);
const browser = new Browser(site);
const ways = secret.startsWith('-----BEGIN')
  ? [client.PrivateKeyJwt(await readKey(secret))]
  : secret
    ? [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)]
    : [client.None()];
for (const way of ways) {
  const config = await client.discovery(new URL(site), id, { id_token_signed_response_alg: algorithm }, way, {
    execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], // plain http, on loopback; signatures
  });
  const [verifier, state, nonce] = [client.randomPKCECodeVerifier(), client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: callback,
    scope: 'openid profile email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    max_age: '3600',
  });
  const back = await browser.passes(url, ...user);
  const got = await client.authorizationCodeGrant(config, back, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    maxAge: 3600,
    idTokenExpected: true,
  });
  const claims = got.claims();
  const info = await client.fetchUserInfo(config, got.access_token, claims.sub);
  assert.equal(info.preferred_username, user[0]);
  const next = await client.refreshTokenGrant(config, got.refresh_token);
  assert.notEqual(next.refresh_token, got.refresh_token);
  assert.equal(next.claims().sub, claims.sub);
  assert.deepEqual(await client.fetchUserInfo(config, next.access_token, claims.sub), info);

  const leave = { id_token_hint: next.id_token, post_logout_redirect_uri: afterwards, state };
  const left = await browser.passes(client.buildEndSessionUrl(config, leave));
  assert.equal(left.href, `${afterwards}?state=${state}`);
  await assert.rejects(client.refreshTokenGrant(config, next.refresh_token), { error: 'invalid_grant' });
  await assert.rejects(client.fetchUserInfo(config, next.access_token, claims.sub), { status: 401 });
}
