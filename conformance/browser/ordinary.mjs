// npm `oidc-provider` as the authorization server: a person signs in and consents at its own pages, and their browser comes
// back to the page on this machine while an MCP client waits.

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, World, inspect, SCREENS } from "./bench.mjs";
import { OrdinaryServer } from "./provider.mjs";

const CALLBACK = "http://127.0.0.1/callback";
const DECLINED = "agent_payment_initiate failed: declined: no mandate issued";
/** All that is said to oid4pay-mcp about this server. */
const SETTINGS = `[authorization_server]
setup_token = "initial_access_token"
registration_scope = "openid"
`;

/** An agent that is registered at the server, and pays at the sandbox's merchants. */
async function registered(world, server) {
  const home = join(world.folder, "ordinary");
  await mkdir(join(home, ".config", "oid4pay-mcp"), { recursive: true });
  await writeFile(join(home, ".config", "oid4pay-mcp", "config.toml"), SETTINGS);
  const agent = new Agent({ sandbox: { ...world.sandbox, as_origin: server.issuer } }, home);
  await agent.connect();
  const answer = await agent.call("agent_register", {
    setup_token: server.initialAccessToken,
    as_url: server.issuer,
    redirect_uris: [CALLBACK],
  });
  assert.equal(answer.structuredContent?.ok, true, answer.content[0].text);
  return agent;
}

/** What the page on this machine says, held against what every page has to keep. */
async function ending(page, heading) {
  await page.getByRole("heading", { name: heading }).waitFor();
  assert.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/callback\?/);
  assert.equal(await page.locator("script").count(), 0);
  // The pages on the way were not ours.
  page.complaints.length = 0;
  await inspect(page, heading);
}

export async function ordinary(report, browser) {
  const world = await World.start("auto");
  const server = await OrdinaryServer.start();
  try {
    const agent = await registered(world, server);
    const purchase = async (nth) => ({ ...(await agent.purchase(nth)).args, redirect_uri: CALLBACK });

    for (const [nth, screen] of SCREENS.entries()) {
      await report.check(`ordinary server: a person consents, and no mandate comes of it (${screen.name})`, async () => {
        server.forget();
        const args = await purchase(nth);
        const { url, answer } = agent.pay(args);
        const page = await browser.person({ scheme: screen.scheme, width: screen.width });
        await page.goto(await url);
        await page.locator("input[name=login]").fill("robin");
        await page.locator("input[name=password]").fill("x");
        await page.locator("button[type=submit]").click();
        const shown = page.locator("pre");
        await shown.waitFor();
        for (const word of ["oid4ac_mandate", args.line_items[0].sku, args.merchant_url, String(args.amount.amount_minor)]) {
          assert.ok((await shown.innerText()).includes(word), `${word} is not on the consent page`);
        }
        await page.locator("button[type=submit]").click();
        await ending(page, "Your approval was passed on");
        const declined = await answer;
        assert.equal(declined.isError, true);
        assert.equal(declined.content[0].text, DECLINED);
        assert.equal(server.count("pushed_authorization_request.success"), 1);
        assert.equal(server.count("access_token.saved", ({ jkt, aud }) => jkt && aud === args.merchant_url), 1);
        await page.context().close();
      });
    }

    await report.check("ordinary server: a person cancels", async () => {
      const { url, answer } = agent.pay(await purchase(SCREENS.length));
      const page = await browser.person();
      await page.goto(await url);
      await page.locator("a[href$=abort]").click();
      await ending(page, "Access was not granted");
      assert.equal((await answer).content[0].text, DECLINED);
      await page.context().close();
    });

    await report.check("ordinary server: nothing was settled", async () => {
      assert.deepEqual(await world.settlements(), []);
      assert.equal(server.count("server_error"), 0);
    });
    await agent.close();
  } finally {
    await server.stop();
    await world.stop();
  }
}
