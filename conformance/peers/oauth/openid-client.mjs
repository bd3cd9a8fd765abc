// npm `openid-client` as a client of the sandbox's authorization server, with as little of our own as it allows.

import assert from "node:assert/strict";
import * as jose from "jose";
import * as client from "openid-client";
import { Count, withFolder, withSandbox } from "./bench.mjs";
import { CALLBACK, metadata, payment, refused, visit } from "./sandbox-client.mjs";

const peer = new Count("openid-client");
const options = { execute: [client.allowInsecureRequests], algorithm: "oauth2" };

await withFolder((folder) =>
  withSandbox(folder, async ({ as_origin, merchants: [merchant], setup_tokens }) => {
    const [assertion, dpop] = [await client.randomDPoPKeyPair("Ed25519", { extractable: true }), await client.randomDPoPKeyPair("Ed25519", { extractable: true })];
    const asked = await metadata(assertion, dpop, jose);
    const key = { key: assertion.privateKey, kid: asked.jwks.keys[0].kid };
    const register = (initialAccessToken) =>
      client.dynamicClientRegistration(new URL(as_origin), asked, client.PrivateKeyJwt(key), { ...options, initialAccessToken });
    const config = await register(setup_tokens[0]);
    const DPoP = client.getDPoPHandle(config, dpop);
    const wallet = { scope: "wallet:read", resource: as_origin };

    /** Up to where the browser comes back. */
    async function authorize(parameters) {
      const [pkceCodeVerifier, expectedState] = [client.randomPKCECodeVerifier(), client.randomState()];
      const all = {
        redirect_uri: CALLBACK,
        state: expectedState,
        code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: "S256",
        ...parameters,
      };
      const url = await client.buildAuthorizationUrlWithPAR(config, all, { DPoP });
      const { location } = await visit(url);
      return { location: new URL(location), checks: { pkceCodeVerifier, expectedState }, resource: parameters.resource };
    }
    const redeem = ({ location, checks, resource }) =>
      client.authorizationCodeGrant(config, location, checks, { resource }, { DPoP });

    await peer.check("discovery and registration", () => {
      assert.equal(config.serverMetadata().issuer, as_origin);
      assert.equal(config.serverMetadata().supportsPKCE(), true);
      assert.ok(config.clientMetadata().client_id);
    });
    await peer.check("a setup token works once", () => refused("invalid_software_statement", () => register(setup_tokens[0])));
    let session;
    await peer.check("PAR, consent, code and bound token, nonces included", async () => {
      const asked = await authorize(wallet);
      assert.equal(asked.location.searchParams.get("iss"), as_origin);
      session = await redeem(asked);
      assert.equal(session.token_type, "dpop");
      assert.equal(session.scope, "wallet:read");
    });
    await peer.check("a payment brings a mandate", async () => {
      const tokens = await redeem(await authorize(await payment(merchant)));
      assert.equal(tokens.mandate_jwt.split("~")[0].split(".").length, 3);
      assert.equal(tokens.authorization_details[0].type, "oid4ac_mandate");
    });
    await peer.check("the wallet API takes the token", async () => {
      const url = new URL(`${as_origin}/wallet/agents`);
      const answer = await client.fetchProtectedResource(config, session.access_token, url, "GET", undefined, undefined, { DPoP });
      assert.equal(answer.status, 200);
    });
    await peer.check("introspection and refresh with rotation", async () => {
      assert.equal((await client.tokenIntrospection(config, session.access_token)).active, true);
      const next = await client.refreshTokenGrant(config, session.refresh_token, undefined, { DPoP });
      assert.notEqual(next.refresh_token, session.refresh_token);
      await refused("invalid_grant", () => client.refreshTokenGrant(config, session.refresh_token, undefined, { DPoP }));
      await refused("invalid_grant", () => client.refreshTokenGrant(config, next.refresh_token, undefined, { DPoP }));
      assert.equal((await client.tokenIntrospection(config, next.access_token)).active, false);
    });
    await peer.check("revocation", async () => {
      const tokens = await redeem(await authorize(wallet));
      await client.tokenRevocation(config, tokens.refresh_token);
      assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, false);
    });
    await peer.check("a code works once", async () => {
      const asked = await authorize(wallet);
      await redeem(asked);
      await refused("invalid_grant", () => redeem(asked));
    });
    await peer.check("a code is of no use with another verifier", async () => {
      const asked = await authorize(wallet);
      const checks = { ...asked.checks, pkceCodeVerifier: client.randomPKCECodeVerifier() };
      await refused("invalid_grant", () => redeem({ ...asked, checks }));
    });
    await peer.check("a token is of no use with another key", async () => {
      const tokens = await redeem(await authorize(wallet));
      const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair("Ed25519"));
      const url = new URL(`${as_origin}/wallet/agents`);
      let status;
      try {
        status = (await client.fetchProtectedResource(config, tokens.access_token, url, "GET", undefined, undefined, { DPoP: other })).status;
      } catch (error) {
        status = error.cause?.status ?? error.status ?? error.response?.status;
      }
      assert.equal(status, 401);
    });
    await peer.check("a request by another DPoP key than the registered one is refused", async () => {
      const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair("Ed25519"));
      const verifier = client.randomPKCECodeVerifier();
      const all = { ...wallet, redirect_uri: CALLBACK, state: client.randomState(), code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256" };
      await refused("invalid_dpop_proof", () => client.buildAuthorizationUrlWithPAR(config, all, { DPoP: other }));
    });
    await peer.check("a scope outside the registration is refused", () =>
      refused("invalid_scope", () => authorize({ ...wallet, scope: "privacy:dsar" })));
  }),
);
peer.finish();
