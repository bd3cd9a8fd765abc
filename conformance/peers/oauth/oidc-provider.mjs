// npm `oidc-provider` as the authorization server: registration, PAR, nonces, a person's consent through the loopback
// listener, token; and in the end, rightly, no mandate.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Agent, Count, withFolder, withSandbox } from "./bench.mjs";
import { Person, consent } from "./browser.mjs";
import { OrdinaryServer } from "./provider.mjs";

const CALLBACK = "http://127.0.0.1/callback";
const DECLINED = "agent_payment_initiate failed: declined: no mandate issued";
const peer = new Count("oidc-provider");

const settings = (server, more = "") => `
as_origin = "${server.issuer}"
[authorization_server]
setup_token = "initial_access_token"
registration_scope = "openid"
${more}`;

async function register(agent, server, more = {}) {
  const args = { setup_token: server.initialAccessToken, as_url: server.issuer, redirect_uris: [CALLBACK], ...more };
  return agent.call("agent_register", args);
}

async function purchase(merchant, more = {}) {
  const { items } = await (await fetch(`${merchant.origin}/.well-known/oid4ac-catalog`)).json();
  const item = items.find((i) => i.in_stock && i.currency === "EUR" && i.unit_price_minor < 1500);
  return {
    merchant_url: merchant.origin,
    merchant_verify_url: merchant.verify_url,
    amount: { currency: "EUR", amount_minor: item.unit_price_minor },
    line_items: [{ sku: item.sku, qty: 1 }],
    redirect_uri: CALLBACK,
    purchase_ref: randomUUID(),
    ...more,
  };
}

const words = (result) => result.content[0].text;
const isNonce = ({ error }) => error === "use_dpop_nonce";

/** Asks to pay; gives the arguments and the page that a person should open. */
async function ask(agent, merchant, more) {
  const args = await purchase(merchant, more);
  const { structuredContent: asked, content } = await agent.call("agent_payment_initiate", args);
  assert.equal(asked?.status, "approval_required", content[0].text);
  assert.equal(asked.consent_mode, "loopback");
  assert.match(asked.consent_url, /^http:\/\/127\.0\.0\.1:\d+\/go\/[\w-]{22}$/);
  return { args, url: asked.consent_url };
}

await withFolder((folder) =>
  withSandbox(folder, async ({ merchants }) => {
    const [merchant] = merchants;
    const server = await OrdinaryServer.start();
    const agent = await Agent.start(folder, settings(server), ["--consent-wait", "0"]);

    await peer.check("a wrong initial access token is refused, with the server's word marked as its own", async () => {
      const refused = await register(agent, server, { setup_token: "not-the-one" });
      assert.equal(refused.isError, true);
      assert.match(words(refused), /^agent_register failed: authorization_server_refused/);
      const { error } = JSON.parse(refused.content[1].text);
      assert.equal(error.context.untrusted_code, "invalid_token");
      assert.doesNotMatch(JSON.stringify(refused), /not-the-one/);
    });
    await peer.check("it registers, natively, with its own way to authenticate", async () => {
      const registered = await register(agent, server);
      assert.equal(registered.structuredContent?.ok, true, words(registered));
      const client = server.client;
      assert.equal(registered.structuredContent.client_id, client.clientId);
      assert.equal(client.applicationType, "native");
      assert.equal(client.clientAuthMethod, "private_key_jwt");
      assert.equal(client.dpopBoundAccessTokens, true);
      assert.equal(client.requirePushedAuthorizationRequests, true);
      assert.deepEqual(client.authorizationDetailsTypes, ["oid4ac_mandate"]);
      assert.equal(client.jwks.keys.length, 1);
      assert.equal(JSON.stringify(registered).includes("registration_access_token"), false);
    });
    await peer.check("it is not registered twice", async () => {
      const again = await register(agent, server);
      assert.equal(again.structuredContent?.ok, true, words(again));
      assert.equal(server.count("registration_create.success"), 1);
    });
    await peer.check("a redirect URI that no browser could come back to is refused before PAR", async () => {
      const args = await purchase(merchant, { redirect_uri: "https://agent.example/callback" });
      assert.match(words(await agent.call("agent_payment_initiate", args)), /redirect_uri_not_loopback: .*127\.0\.0\.1/);
      assert.equal(server.count("pushed_authorization_request.success"), 0);
      assert.equal(server.count("pushed_authorization_request.error"), 0);
    });

    await peer.check("a person consents, a bound token is issued, and no mandate with it", async () => {
      server.forget();
      const { args, url } = await ask(agent, merchant);
      assert.equal(server.events.length, 0, "nothing is pushed before there is a listener");
      const { login, page, end } = await consent(new Person(), url);
      assert.match(login.text, /name="login"/);
      for (const shown of ["oid4ac_mandate", args.line_items[0].sku, String(args.amount.amount_minor), merchant.origin, "payment:initiate"]) {
        assert.ok(page.text.includes(shown), `${shown} is not on the consent page`);
      }
      assert.equal(end.status, 200);
      assert.match(end.text, /<h1>Your approval was passed on<\/h1>/);
      const query = new URL(end.url).searchParams;
      assert.equal(query.get("iss"), server.issuer);
      for (const secret of ["code", "state"]) assert.equal(end.text.includes(query.get(secret)), false);
      await assert.rejects(fetch(url), "the listener has closed");

      const declined = await agent.call("agent_payment_initiate", args);
      assert.equal(declined.isError, true);
      assert.equal(words(declined), DECLINED);
      assert.equal(JSON.parse(declined.content[1].text).error.code, "declined");
      assert.equal(JSON.stringify(declined).includes(query.get("code")), false);

      assert.equal(server.count("pushed_authorization_request.success"), 1);
      assert.ok(server.count("pushed_authorization_request.error", isNonce) <= 1);
      assert.equal(server.count("authorization_code.consumed"), 1);
      assert.equal(server.count("access_token.saved", (token) => token.jkt && token.aud === merchant.origin), 1);
      assert.equal(server.count("access_token.saved"), 1);
    });
    await peer.check("the nonce dance cost one round trip at each end, and only when cold", async () => {
      const { args, url } = await ask(agent, merchant);
      server.forget();
      await consent(new Person(), url);
      assert.equal(words(await agent.call("agent_payment_initiate", args)), DECLINED);
      assert.equal(server.count("pushed_authorization_request.error"), 0);
      assert.equal(server.count("grant.error"), 0);
    });
    await peer.check("what the code brought is given back", async () => {
      assert.equal(server.count("refresh_token.saved"), 1);
      assert.equal(server.count("refresh_token.destroyed"), 1);
      assert.equal(server.count("grant.revoked"), 1);
      assert.equal(server.count("revocation.error"), 0);
    });
    await peer.check("a person who cancels has declined", async () => {
      server.forget();
      const { args, url } = await ask(agent, merchant);
      const person = new Person();
      const login = await person.open(url);
      const end = await person.open(new URL(/href="([^"]*abort)"/.exec(login.text)[1], login.url).href);
      assert.match(end.text, /<h1>Access was not granted<\/h1>/);
      assert.equal(new URL(end.url).searchParams.get("iss"), server.issuer);
      assert.equal(words(await agent.call("agent_payment_initiate", args)), DECLINED);
      assert.equal(server.count("access_token.saved"), 0);
    });
    await peer.check("a page opened twice works twice, and the first answer counts", async () => {
      server.forget();
      const { args, url } = await ask(agent, merchant);
      const [first, second] = [new Person(), new Person()];
      const login = await first.open(url);
      const { end } = await consent(second, url);
      assert.equal(end.status, 200);
      const page = await first.submit(login, { login: "robin", password: "x" });
      await assert.rejects(first.submit(page), "nothing listens for the second answer");
      assert.equal(words(await agent.call("agent_payment_initiate", args)), DECLINED);
      assert.equal(server.count("authorization_code.consumed"), 1);
    });
    await peer.check("a made-up answer is not taken, and the real one still is", async () => {
      const { args, url } = await ask(agent, merchant);
      const person = new Person();
      const login = await person.open(url);
      const callback = new URL("/callback", url);
      for (const query of ["?code=made-up&state=made-up", "?error=access_denied", ""]) {
        assert.equal((await fetch(callback + query)).status, 400, query);
      }
      for (const path of ["/", "/go/", "/go/AAAAAAAAAAAAAAAAAAAAAA", "/callback/", "/favicon.ico"]) {
        assert.equal((await fetch(new URL(path, url))).status, 404, path);
      }
      const page = await person.submit(login, { login: "robin", password: "x" });
      assert.equal((await person.submit(page)).status, 200);
      assert.equal(words(await agent.call("agent_payment_initiate", args)), DECLINED);
    });
    await peer.check("a scope that the server does not know vanishes, and its lack is named", async () => {
      const { args, url } = await ask(agent, merchant, { scope: "openid oid4ac:payment" });
      await consent(new Person(), url);
      assert.match(words(await agent.call("agent_payment_initiate", args)), /token_response_invalid: .*lacks "oid4ac:payment"/);
    });
    await peer.check("what the server refuses at PAR is reported", async () => {
      const { args, url } = await ask(agent, merchant, { scope: "openid profile payment:initiate" });
      const page = await new Person().open(url);
      assert.equal(page.status, 502);
      assert.match(page.text, /<h1>This did not work<\/h1>/);
      const refused = await agent.call("agent_payment_initiate", args);
      assert.equal(words(refused), "agent_payment_initiate failed: PAR failed: 400");
      assert.equal(JSON.parse(refused.content[1].text).error.context.server_error, "invalid_scope");
    });
    await peer.check("a new process asks with a page of its own", async () => {
      const { args, url } = await ask(agent, merchant);
      await agent.close();
      await assert.rejects(fetch(url), "the old listener went with its process");
      await agent.connect(["--consent-wait", "30"]);
      let told;
      const page = new Promise((resolve) => (told = resolve));
      const answer = agent.call("agent_payment_initiate", args, ({ message }) => told(/http:\S+/.exec(message ?? "")?.[0]));
      answer.catch(() => told());
      const another = await page;
      assert.notEqual(another, url);
      assert.equal((await consent(new Person(), another)).end.status, 200);
      assert.equal(words(await answer), DECLINED, "in the very call that waits");
    });
    await peer.check("nothing was settled anywhere", async () => {
      for (const { settlements_url } of merchants) {
        assert.deepEqual((await (await fetch(settlements_url)).json()).settlements, []);
      }
      assert.equal(server.count("server_error"), 0);
    });
    await agent.close();
    await server.stop();

    await peer.check("a wallet session: consent, a token for the server itself, and refresh with rotation", async () => {
      // Shorter than what a token must still live to be worth sending: the second call refreshes.
      const server = await OrdinaryServer.start({ accessTokenSeconds: 10 });
      const agent = await Agent.start(folder, settings(server), ["--consent-wait", "0"]);
      try {
        await register(agent, server);
        const list = () =>
          agent.call("agent_wallet_list_agents", { as_url: server.issuer, resource: server.issuer, redirect_uri: CALLBACK });
        const asked = (await list()).structuredContent;
        assert.equal(asked?.status, "approval_required");
        assert.equal(asked.consent_mode, "loopback");
        const { page, end } = await consent(new Person(), asked.consent_url);
        assert.ok(page.text.includes("wallet:read"));
        assert.equal(end.status, 200);
        server.forget();
        for (let call = 0; call < 3; call += 1) {
          // It has the tokens, and no wallet to spend them at.
          const none = await list();
          assert.equal(none.isError, true);
          assert.equal(JSON.parse(none.content[1].text).error.context.http_status, 404);
        }
        assert.equal(server.count("authorization_code.consumed"), 1);
        assert.equal(server.count("access_token.saved", ({ aud, scope }) => aud === server.issuer && scope === "wallet:read"), 3);
        assert.equal(server.count("refresh_token.consumed"), 2);
        assert.equal(server.count("grant.error", (error) => !isNonce(error)), 0);
      } finally {
        await agent.close();
        await server.stop();
      }
    });

    for (const [what, options, more] of [
      ["assertions whose audience is the issuer", {}, 'assertion_audience = "issuer"'],
      ["JWT access tokens", { tokens: "jwt" }, ""],
      ["registration open to all, and nothing set but its name", { open: true }, undefined],
      ["no refresh tokens", { issuesRefreshTokens: false }, ""],
      ["no name for EdDSA but Ed25519", { algs: ["Ed25519"] }, ""],
    ]) {
      await peer.check(`a server with ${what}`, async () => {
        const server = await OrdinaryServer.start(options);
        const file = more === undefined ? `as_origin = "${server.issuer}"` : settings(server, more);
        const agent = await Agent.start(folder, file, ["--consent-wait", "0"]);
        try {
          const registered = await register(agent, server);
          assert.equal(registered.structuredContent?.ok, true, words(registered));
          const { args, url } = await ask(agent, merchant);
          assert.equal((await consent(new Person(), url)).end.status, 200);
          assert.equal(words(await agent.call("agent_payment_initiate", args)), DECLINED);
        } finally {
          await agent.close();
          await server.stop();
        }
      });
    }
  }),
);
peer.finish();
