// npm `oauth4webapi` as a client of the sandbox's authorization server: each endpoint, and what it must refuse.

import assert from "node:assert/strict";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import { Count, withFolder, withSandbox } from "./bench.mjs";
import { CALLBACK, metadata, payment, refused, visit } from "./sandbox-client.mjs";

const peer = new Count("oauth4webapi");
const INSECURE = { [oauth.allowInsecureRequests]: true };

const keys = () => oauth.generateKeyPair("Ed25519", { extractable: true });

/** A registered client. */
class Registered {
  static async at(as, setupToken, more = {}) {
    const made = new Registered();
    const [assertion, dpop] = [await keys(), await keys()];
    const asked = { ...(await metadata(assertion, dpop, jose)), ...more };
    const options = { ...INSECURE, initialAccessToken: setupToken };
    const answer = await oauth.dynamicClientRegistrationRequest(as, asked, options);
    made.client = await oauth.processDynamicClientRegistrationResponse(answer);
    Object.assign(made, { as, asked, assertion, dpopKeys: dpop, kid: asked.jwks.keys[0].kid });
    made.auth = oauth.PrivateKeyJwt({ key: assertion.privateKey, kid: made.kid });
    made.dpop = oauth.DPoP(made.client, dpop);
    return made;
  }

  /** Once more if a nonce is asked for, as the library leaves to its caller. */
  async dance(send, read) {
    try {
      return await read(await send());
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error;
      return read(await send());
    }
  }

  async push(parameters, { auth = this.auth, dpop = this.dpop } = {}) {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const all = {
      response_type: "code",
      redirect_uri: CALLBACK,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...parameters,
    };
    const options = { ...INSECURE, DPoP: dpop };
    const pushed = await this.dance(
      () => oauth.pushedAuthorizationRequest(this.as, this.client, auth, all, options),
      (answer) => oauth.processPushedAuthorizationResponse(this.as, this.client, answer),
    );
    const url = new URL(this.as.authorization_endpoint);
    url.search = new URLSearchParams({ client_id: this.client.client_id, request_uri: pushed.request_uri });
    return { pushed, url, state, verifier };
  }

  /** Up to the code, with the response checked by the library. */
  async authorize(parameters) {
    const { url, state, verifier } = await this.push(parameters);
    const { location } = await visit(url);
    assert.ok(location?.startsWith(`${CALLBACK}?`), location);
    const response = oauth.validateAuthResponse(this.as, this.client, new URL(location), state);
    return { response, verifier, resource: parameters.resource };
  }

  redeem({ response, verifier, resource }, { redirectUri = CALLBACK, dpop = this.dpop } = {}) {
    const options = { ...INSECURE, DPoP: dpop, additionalParameters: { resource } };
    return this.dance(
      () => oauth.authorizationCodeGrantRequest(this.as, this.client, this.auth, response, redirectUri, verifier, options),
      (answer) => oauth.processAuthorizationCodeResponse(this.as, this.client, answer),
    );
  }

  refresh(token) {
    return this.dance(
      () => oauth.refreshTokenGrantRequest(this.as, this.client, this.auth, token, { ...INSECURE, DPoP: this.dpop }),
      (answer) => oauth.processRefreshTokenResponse(this.as, this.client, answer),
    );
  }

  async introspect(token) {
    const answer = await oauth.introspectionRequest(this.as, this.client, this.auth, token, INSECURE);
    return oauth.processIntrospectionResponse(this.as, this.client, answer);
  }

  async revoke(token) {
    const answer = await oauth.revocationRequest(this.as, this.client, this.auth, token, INSECURE);
    return oauth.processRevocationResponse(answer);
  }
}

await withFolder((folder) =>
  withSandbox(folder, async ({ as_origin, merchants: [merchant], setup_tokens }) => {
    const issuer = new URL(as_origin);
    const answer = await oauth.discoveryRequest(issuer, { ...INSECURE, algorithm: "oauth2" });
    const as = await oauth.processDiscoveryResponse(issuer, answer);
    await peer.check("discovery: the metadata names what the protocol needs", () => {
      for (const member of ["token", "authorization", "pushed_authorization_request", "registration", "revocation", "introspection"]) {
        assert.ok(as[`${member}_endpoint`].startsWith(as_origin), member);
      }
      assert.equal(as.require_pushed_authorization_requests, true);
      assert.equal(as.authorization_response_iss_parameter_supported, true);
    });

    const setupToken = setup_tokens[0];
    const agent = await Registered.at(as, setupToken);
    const wallet = { scope: "wallet:read", resource: as_origin };
    await peer.check("registration: the answer repeats what was registered", () => {
      assert.equal(agent.client.token_endpoint_auth_method, "private_key_jwt");
      assert.deepEqual(agent.client.redirect_uris, [CALLBACK]);
      assert.equal(agent.client.client_secret, undefined);
    });
    await peer.check("registration: a setup token works once", () =>
      refused("invalid_software_statement", () => Registered.at(as, setupToken)));
    await peer.check("registration: another way to authenticate is refused", () =>
      refused("invalid_client_metadata", () =>
        Registered.at(as, setup_tokens[1], { token_endpoint_auth_method: "client_secret_basic" })));
    await peer.check("registration: a redirect URI over http is refused", () =>
      refused("invalid_redirect_uri", () => Registered.at(as, setup_tokens[1], { redirect_uris: ["http://agent.example/cb"] })));

    await peer.check("PAR: a cold client is asked for a nonce, and a warm one is not", async () => {
      const cold = await Registered.at(as, setup_tokens[2]);
      const send = async () => {
        const challenge = await oauth.calculatePKCECodeChallenge(oauth.generateRandomCodeVerifier());
        const parameters = { ...wallet, response_type: "code", redirect_uri: CALLBACK, state: oauth.generateRandomState(), code_challenge: challenge, code_challenge_method: "S256" };
        const answer = await oauth.pushedAuthorizationRequest(as, cold.client, cold.auth, parameters, { ...INSECURE, DPoP: cold.dpop });
        return oauth.processPushedAuthorizationResponse(as, cold.client, answer);
      };
      await assert.rejects(send(), (error) => oauth.isDPoPNonceError(error));
      assert.equal((await send()).expires_in, 60);
      assert.equal((await send()).expires_in, 60);
    });

    let paid;
    await peer.check("a payment: PAR, PKCE, code, bound token, mandate", async () => {
      paid = await agent.authorize(await payment(merchant));
      paid.tokens = await agent.redeem(paid);
      assert.equal(paid.tokens.token_type, "dpop");
      assert.equal(paid.tokens.expires_in, 300);
      assert.equal(paid.tokens.mandate_jwt.split("~")[0].split(".").length, 3);
      assert.equal(paid.tokens.authorization_details[0].merchant, merchant.origin);
    });
    await peer.check("the access token holds as an RFC 9068 one, with a proof, at the resource that it names", async () => {
      const request = async () => {
        let seen;
        const capture = async (url, init) => ((seen = new Request(url, init)), new Response());
        const options = { ...INSECURE, DPoP: agent.dpop, [oauth.customFetch]: capture };
        await oauth.protectedResourceRequest(paid.tokens.access_token, "GET", new URL(`${merchant.origin}/x`), undefined, undefined, options);
        return seen;
      };
      const options = { ...INSECURE, requireDPoP: true, signingAlgorithms: ["EdDSA", "Ed25519"] };
      const claims = await oauth.validateJwtAccessToken(as, await request(), merchant.origin, options);
      assert.equal(claims.client_id, agent.client.client_id);
      await assert.rejects(oauth.validateJwtAccessToken(as, await request(), "https://other.example", options));
    });
    await peer.check("introspection: active, for the client that has it", async () => {
      const seen = await agent.introspect(paid.tokens.access_token);
      assert.equal(seen.active, true);
      assert.equal(seen.client_id, agent.client.client_id);
      const stranger = await Registered.at(as, setup_tokens[3]);
      assert.deepEqual(await stranger.introspect(paid.tokens.access_token), { active: false });
    });
    await peer.check("a code used twice is refused, and what it brought is revoked", async () => {
      await refused("invalid_grant", () => agent.redeem(paid));
      assert.deepEqual(await agent.introspect(paid.tokens.access_token), { active: false });
      await refused("invalid_grant", () => agent.refresh(paid.tokens.refresh_token));
    });
    await peer.check("another verifier, redirect URI or key redeems nothing, and the code stays good", async () => {
      const asked = await agent.authorize(wallet);
      await refused("invalid_grant", () => agent.redeem({ ...asked, verifier: oauth.generateRandomCodeVerifier() }));
      await refused("invalid_grant", () => agent.redeem(asked, { redirectUri: "https://agent.example/other" }));
      const other = oauth.DPoP(agent.client, await keys());
      await refused("invalid_dpop_proof", () => agent.redeem(asked, { dpop: other }));
      assert.equal((await agent.redeem(asked)).token_type, "dpop");
    });
    await peer.check("a request URI works once", async () => {
      const { url } = await agent.push(wallet);
      assert.ok((await visit(url)).location.startsWith(CALLBACK));
      assert.equal((await visit(url)).location, null);
    });

    let session;
    await peer.check("a wallet session: the wallet API takes the token, after a nonce of its own", async () => {
      session = await agent.redeem(await agent.authorize(wallet));
      assert.equal(session.scope, "wallet:read");
      const url = new URL(as.wallet_agents_endpoint ?? `${as_origin}/wallet/agents`);
      const read = () =>
        oauth.protectedResourceRequest(session.access_token, "GET", url, undefined, undefined, { ...INSECURE, DPoP: agent.dpop });
      const answer = await agent.dance(read, (answer) => answer);
      assert.ok((await answer.json()).agents.some(({ client_id }) => client_id === agent.client.client_id));
    });
    await peer.check("refresh: rotates, and an old token ends the family", async () => {
      const next = await agent.refresh(session.refresh_token);
      assert.notEqual(next.refresh_token, session.refresh_token);
      const third = await agent.refresh(next.refresh_token);
      assert.equal((await agent.introspect(third.access_token)).active, true);
      await refused("invalid_grant", () => agent.refresh(session.refresh_token));
      await refused("invalid_grant", () => agent.refresh(third.refresh_token));
      assert.deepEqual(await agent.introspect(third.access_token), { active: false });
    });
    await peer.check("revocation: an access token goes alone, a refresh token takes all along", async () => {
      const first = await agent.redeem(await agent.authorize(wallet));
      await agent.revoke(first.access_token);
      assert.deepEqual(await agent.introspect(first.access_token), { active: false });
      const second = await agent.refresh(first.refresh_token);
      await agent.revoke(second.refresh_token);
      assert.deepEqual(await agent.introspect(second.access_token), { active: false });
      await refused("invalid_grant", () => agent.refresh(second.refresh_token));
      await agent.revoke("never-issued");
    });

    const bent = (change) =>
      oauth.PrivateKeyJwt({ key: agent.assertion.privateKey, kid: agent.kid }, { [oauth.modifyAssertion]: change });
    await peer.check("an assertion works once", async () => {
      const same = bent((_, claims) => (claims.jti = "the-same-again-and-again"));
      await agent.push(wallet, { auth: same });
      await refused("invalid_client", () => agent.push(wallet, { auth: same }));
    });
    for (const [what, change] of [
      ["for another audience", (_, claims) => (claims.aud = "https://other.example")],
      ["for several audiences", (_, claims) => (claims.aud = [as.issuer, as.token_endpoint])],
      ["that has expired", (_, claims) => (claims.exp = claims.iat - 120)],
      ["that lives for a day", (_, claims) => (claims.exp = claims.iat + 86_400)],
      ["without jti", (_, claims) => delete claims.jti],
      ["by another subject", (_, claims) => (claims.sub = "someone-else")],
      ["with another typ", (header) => (header.typ = "at+jwt")],
    ]) {
      await peer.check(`an assertion ${what} is refused`, () =>
        refused("invalid_client", () => agent.push(wallet, { auth: bent(change) })));
    }
    await peer.check("an assertion for the issuer, or for the token endpoint, is taken", async () => {
      for (const aud of [as.issuer, as.token_endpoint]) {
        await agent.push(wallet, { auth: bent((_, claims) => (claims.aud = aud)) });
      }
    });
    await peer.check("an assertion by the DPoP key, or by a stranger, is refused", async () => {
      for (const key of [agent.dpopKeys, await keys()]) {
        const auth = oauth.PrivateKeyJwt(key.privateKey);
        await refused("invalid_client", () => agent.push(wallet, { auth }));
      }
    });

    for (const [what, code, change] of [
      ["a scope outside the registration", "invalid_scope", { scope: "audit:read" }],
      ["a redirect URI that was not registered", "invalid_request", { redirect_uri: "https://agent.example/other" }],
      ["plain PKCE", "invalid_request", { code_challenge_method: "plain" }],
      ["another response type", "unsupported_response_type", { response_type: "token" }],
      ["an unknown resource", "invalid_target", { scope: "openid payment:initiate", resource: "https://nobody.example" }],
    ]) {
      await peer.check(`PAR: ${what} is refused`, () => refused(code, () => agent.push({ ...wallet, ...change })));
    }
    await peer.check("PAR: a mandate without an amount is refused", async () => {
      const asked = await payment(merchant);
      const [details] = JSON.parse(asked.authorization_details);
      delete details.amount_minor;
      await refused("invalid_authorization_details", () =>
        agent.push({ ...asked, authorization_details: JSON.stringify([details]) }));
    });
  }),
);
peer.finish();
