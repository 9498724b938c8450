// The whole way of an app by oauth4webapi, which checks every answer to the letter: the code with PKCE, the ID token, the
// access token (RFC 9068), userinfo, a refresh, introspection, and a log-out or a revocation.
//
// Usage: oauth4webapi.mjs SITE CLIENT_ID SECRET_OR_KEY ALGORITHM CALLBACK AFTERWARDS USERNAME PASSWORD
import assert from 'node:assert/strict';
import * as oauth from 'oauth4webapi';
import { Browser, readKey } from './browser.mjs';

const [address, id, secret, algorithm, callback, afterwards, ...user] = process.argv.slice(2);
const loopback = { [oauth.allowInsecureRequests]: true }; // plain http, on loopback
const issuer = new URL(address);
const browser = new Browser(address);
const app = { client_id: id, id_token_signed_response_alg: algorithm, require_auth_time: true };
const ways = secret.startsWith('-----BEGIN')
  ? [oauth.PrivateKeyJwt(await readKey(secret))]
  : secret
    ? [oauth.ClientSecretBasic(secret), oauth.ClientSecretPost(secret)]
    : [oauth.None()];
for (const [way, kind] of ways.flatMap((way) => [[way, 'oidc'], [way, 'oauth2']])) {
  const site = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...loopback, algorithm: kind }));
  const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()];
  const url = new URL(site.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: id,
    redirect_uri: callback,
    response_type: 'code',
    scope: 'openid profile email offline_access',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  });
  const back = oauth.validateAuthResponse(site, app, await browser.passes(url, ...user), state);
  const answer = await oauth.authorizationCodeGrantRequest(site, app, way, back, callback, verifier, loopback);
  const got = await oauth.processAuthorizationCodeResponse(site, app, answer, { expectedNonce: nonce, requireIdToken: true });
  await oauth.validateApplicationLevelSignature(site, answer, loopback);
  const { sub } = oauth.getValidatedIdTokenClaims(got);

  const userinfo = async (token) => {
    const told = await oauth.userInfoRequest(site, app, token, loopback);
    return oauth.processUserInfoResponse(site, app, sub, told);
  };
  assert.equal((await userinfo(got.access_token)).preferred_username, user[0]);
  const asked = new Request(callback, { headers: { Authorization: `Bearer ${got.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(site, asked, id, { ...loopback, signingAlgorithms: [algorithm] });
  assert.deepEqual([claims.sub, claims.client_id], [sub, id]);

  const refresh = async (token) =>
    oauth.processRefreshTokenResponse(site, app, await oauth.refreshTokenGrantRequest(site, app, way, token, loopback));
  const next = await refresh(got.refresh_token);
  assert.notEqual(next.refresh_token, got.refresh_token);
  assert.equal((await userinfo(next.access_token)).sub, sub);

  const isActive = async () => {
    const told = await oauth.introspectionRequest(site, app, way, next.access_token, loopback);
    return (await oauth.processIntrospectionResponse(site, app, told)).active;
  };
  if (secret) assert.equal(await isActive(), true);

  if (kind === 'oidc') {
    const leave = new URL(site.end_session_endpoint);
    leave.search = new URLSearchParams({ id_token_hint: got.id_token, post_logout_redirect_uri: afterwards });
    assert.equal((await browser.passes(leave)).href, afterwards);
  } else {
    const told = await oauth.revocationRequest(site, app, way, next.refresh_token, loopback);
    await oauth.processRevocationResponse(told);
  }
  if (secret) assert.equal(await isActive(), false);
  await assert.rejects(refresh(next.refresh_token), { error: 'invalid_grant' });
  await assert.rejects(userinfo(next.access_token), oauth.WWWAuthenticateChallengeError);
}
