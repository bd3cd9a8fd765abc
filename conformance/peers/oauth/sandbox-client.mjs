// What a client of the sandbox's authorization server needs, whichever library it is made with.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export const CALLBACK = "https://agent.example/callback";
export const SCOPE = "openid payment:initiate oid4ac:payment wallet:read";

/** Members of a registration, beside what the library adds. */
export async function metadata(assertionKeys, dpopKeys, jose) {
  const jwk = async ({ publicKey }) => {
    const jwk = await jose.exportJWK(publicKey);
    return { ...jwk, kid: await jose.calculateJwkThumbprint(jwk) };
  };
  return {
    client_name: `peer ${randomUUID()}`,
    redirect_uris: [CALLBACK],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    scope: SCOPE,
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "EdDSA",
    dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true,
    authorization_details_types: ["oid4ac_mandate"],
    jwks: { keys: [await jwk(assertionKeys)] },
    dpop_jwk: await jwk(dpopKeys),
  };
}

/** What a payment of something under 15.00 EUR asks for. */
export async function payment(merchant) {
  const { items } = await (await fetch(`${merchant.origin}/.well-known/oid4ac-catalog`)).json();
  const item = items.find((i) => i.in_stock && i.currency === "EUR" && i.unit_price_minor < 1500);
  const details = [
    {
      type: "oid4ac_mandate",
      amount_minor: item.unit_price_minor,
      currency: "EUR",
      merchant: merchant.origin,
      line_items: [{ sku: item.sku, qty: 1, unit_price_minor: item.unit_price_minor, currency: "EUR" }],
    },
  ];
  return {
    scope: "openid payment:initiate",
    resource: merchant.origin,
    authorization_details: JSON.stringify(details),
  };
}

/** The sandbox approves at once: where a browser would be sent. */
export async function visit(url) {
  const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(15_000) });
  await answer.body?.cancel();
  return { status: answer.status, location: answer.headers.get("location") };
}

/** Fails unless `work` is refused by the server with this error code. */
export async function refused(code, work) {
  let seen = "nothing was refused";
  try {
    await work();
  } catch (error) {
    seen = error.error ?? error.cause?.error ?? String(error.stack ?? error);
  }
  assert.equal(seen, code);
}
