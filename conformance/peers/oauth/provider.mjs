// npm `oidc-provider` as an ordinary authorization server: its own login and consent pages, and nothing in it that knows of
// OID4AC but a configuration.

import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const ALGS = ["EdDSA", "Ed25519", "ES256", "RS256"];

/** One that an operator has set up for agents that pay. `algs`: which signatures of clients it takes. */
export class OrdinaryServer {
  static async start({
    algs = ALGS,
    tokens = "opaque",
    issuesRefreshTokens = true,
    accessTokenSeconds = 300,
    open = false,
  } = {}) {
    const { default: Provider, errors } = await quietly(() => import("oidc-provider"));
    const server = new OrdinaryServer();
    server.http = createServer();
    server.http.listen(0, "127.0.0.1");
    await once(server.http, "listening");
    server.issuer = `http://127.0.0.1:${server.http.address().port}`;
    server.initialAccessToken = randomUUID();
    const provider = quietly(
      () =>
        new Provider(server.issuer, {
          jwks: { keys: [signingKey("ed25519"), signingKey("rsa")] },
          cookies: { keys: [randomUUID()] },
          findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
          enabledJWA: { clientAuthSigningAlgValues: algs, dPoPSigningAlgValues: algs.filter((alg) => alg !== "RS256") },
          scopes: ["openid", "offline_access", "profile"],
          // Strict where it can be chosen.
          pkce: { required: () => true },
          rotateRefreshToken: true,
          issueRefreshToken: () => issuesRefreshTokens,
          ttl: { AccessToken: accessTokenSeconds, AuthorizationCode: 60, Grant: 86_400, Interaction: 900, RefreshToken: 86_400, Session: 86_400, IdToken: 300 },
          features: {
            devInteractions: { enabled: true },
            dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
            introspection: { enabled: true, allowedPolicy: (_, client, token) => client.clientId === token.clientId },
            pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
            registration: { enabled: true, initialAccessToken: open ? false : server.initialAccessToken },
            registrationManagement: { enabled: true },
            revocation: { enabled: true, allowedPolicy: (_, client, token) => client.clientId === token.clientId },
            resourceIndicators: {
              enabled: true,
              defaultResource: () => undefined,
              useGrantedResource: () => true,
              getResourceServerInfo: (_, resource) => {
                if (!resource.startsWith("http://127.0.0.1:")) throw new errors.InvalidTarget();
                return {
                  scope: "payment:initiate wallet:read",
                  audience: resource,
                  accessTokenFormat: tokens,
                  jwt: { sign: { alg: "EdDSA" } },
                };
              },
            },
            richAuthorizationRequests: {
              enabled: true,
              types: {
                oid4ac_mandate: {
                  validate(_, { amount_minor, currency, merchant }) {
                    if (!Number.isSafeInteger(amount_minor) || !currency || !merchant) {
                      throw new errors.InvalidAuthorizationDetails("a mandate needs amount, currency and merchant");
                    }
                  },
                },
              },
              authorizationDetailsForGrantSource: (context) => context.oidc.grant.rar,
              authorizationDetailsForAccessToken: (_, token, source) => source?.rar,
              authorizationDetailsForIntrospection: (_, token) => token.rar,
            },
          },
        }),
    );
    server.provider = provider;
    server.events = [];
    for (const event of EVENTS) {
      provider.on(event, (first, second) => server.events.push({ event, detail: second ?? first }));
    }
    provider.on("registration_create.success", (context, client) => (server.client = client));
    server.http.on("request", provider.callback());
    return server;
  }

  /** How often something happened since `forget`. */
  count(event, like = () => true) {
    return this.events.filter((seen) => seen.event === event && like(seen.detail)).length;
  }

  forget() {
    this.events.length = 0;
  }

  async stop() {
    this.http.close();
    this.http.closeAllConnections();
    await once(this.http, "close");
  }
}

const EVENTS = [
  "access_token.issued",
  "access_token.saved",
  "authorization.accepted",
  "authorization.error",
  "authorization_code.consumed",
  "grant.error",
  "grant.revoked",
  "grant.success",
  "introspection.error",
  "pushed_authorization_request.error",
  "pushed_authorization_request.success",
  "refresh_token.consumed",
  "refresh_token.destroyed",
  "refresh_token.saved",
  "registration_create.error",
  "registration_create.success",
  "revocation.error",
  "server_error",
];

function signingKey(kind) {
  const { privateKey } = generateKeyPairSync(kind, { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: kind, use: "sig" };
}

/** It warns of what it takes for a mistake: `http`, development pages, no database. All of it is meant. */
function quietly(work) {
  const { info, warn } = console;
  console.info = console.warn = () => {};
  const back = () => Object.assign(console, { info, warn });
  const done = work();
  if (done instanceof Promise) return done.finally(back);
  back();
  return done;
}
