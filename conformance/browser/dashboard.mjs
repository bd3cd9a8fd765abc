// `oid4pay-mcp dashboard`: the human's page on their own machine, while an agent pays.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { SCREENS, World, inspect, picture } from "./bench.mjs";

const PASSPHRASE = "correct horse & battery";
/** What the default policy asks a human about: more than 50.00 in one payment, and no more than 100.00. */
const LARGE = (item) => item.unit_price_minor > 5000 && item.unit_price_minor <= 10_000;

export async function dashboard(report, browser) {
  const world = await World.start("auto");
  const agent = await world.agent({ wait: 0 });
  const [alpacanica, slate] = world.sandbox.merchants;
  await agent.choosePassphrase(PASSPHRASE);
  for (const [nth, merchant] of [[0, alpacanica], [1, slate], [2, alpacanica]]) {
    const { args } = await agent.purchase(nth, merchant);
    const paid = await agent.call("agent_payment_initiate", args);
    assert.equal(paid.structuredContent?.status, "settled", paid.content[0].text);
  }
  const { args, item, price } = await agent.choose(alpacanica, LARGE, 1);
  const pay = (what = args) => agent.call("agent_payment_initiate", what);
  const asked = await pay();
  const board = await agent.dashboard();
  let page;

  await report.check("the large payment waits for the human, and repeating it changes nothing", async () => {
    assert.equal(asked.structuredContent?.status, "approval_required", asked.content[0].text);
    assert.equal((await pay()).structuredContent?.status, "approval_required");
  });

  await report.check("the link opens the dashboard in one browser, once", async () => {
    page = await browser.person();
    await page.goto(board.link);
    await page.getByRole("heading", { name: "Waiting for you" }).waitFor();
    const other = await browser.person();
    await other.goto(board.link);
    await other.getByRole("heading", { name: "Open it from the terminal" }).waitFor();
    await inspect(other, "the page for a visitor without a link");
    await other.goto(board.origin);
    assert.match(await other.locator("main").innerText(), /works once/);
    await other.context().close();
  });

  for (const screen of SCREENS) {
    await report.check(`every page of the dashboard is accessible (${screen.name})`, async () => {
      await page.emulateMedia({ colorScheme: screen.scheme });
      await page.setViewportSize({ width: screen.width, height: 800 });
      const seen = async (name, path) => {
        if (path) await page.goto(`${board.origin}${path}`);
        await inspect(page, name);
        await picture(page, screen, `dashboard-${name.replaceAll(" ", "-")}`);
      };
      await seen("overview", "/");
      for (const summary of await page.locator("summary").all()) await summary.click();
      await seen("overview opened");
      await page.goto(board.origin);
      await page.getByRole("link", { name: "Decide" }).click();
      await seen("question");
      await seen("history", "/history");
      await page.getByRole("link", { name: alpacanica.origin }).last().click();
      for (const summary of await page.locator("summary").all()) await summary.click();
      await seen("payment");
      await seen("nowhere", "/nowhere");
    });
  }

  await report.check("approving takes the passphrase; then the repeated call pays, once", async () => {
    await page.goto(board.origin);
    await page.getByRole("link", { name: "Decide" }).click();
    const text = await page.locator("main").innerText();
    for (const shown of [price, item.sku, alpacanica.origin]) assert.ok(text.includes(shown), `${shown}: ${text}`);
    await page.getByLabel("Your passphrase").fill("correct horse");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("alert").filter({ hasText: "This is not the passphrase" }).waitFor();
    await inspect(page, "the question after a wrong passphrase");
    assert.equal((await pay()).structuredContent?.status, "approval_required");
    await page.getByLabel("Your passphrase").fill(PASSPHRASE);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByText("Approved by you").waitFor();
    const paid = (await pay()).structuredContent;
    assert.equal(paid?.status, "settled");
    assert.equal((await pay()).structuredContent?.replayed, true);
    const booked = (await world.settlements()).filter((s) => s.idempotency_key === paid.idempotency_key);
    assert.equal(booked.length, 1);
    await page.reload();
    await page.getByText("Settled by the merchant").waitFor();
  });

  await report.check("rejecting ends it, without scripts too", async () => {
    await agent.close();
    await agent.connect({ wait: 0 });
    const { args: other } = await agent.choose(slate, LARGE);
    assert.equal((await pay(other)).structuredContent?.status, "approval_required");
    await page.goto(board.origin);
    await page.getByRole("link", { name: "Decide" }).click();
    await page.getByLabel("Your passphrase").fill(PASSPHRASE);
    await page.getByRole("button", { name: "Reject" }).click();
    await page.getByText("Rejected by you").waitFor();
    const before = (await world.settlements()).length;
    await page.goto(board.origin);
    await page.getByText("No payment waits for you").waitFor();
    assert.equal((await world.settlements()).length, before);
  });

  await report.check("freezing stops every payment until the human ends it", async () => {
    await page.goto(board.origin);
    await page.getByRole("button", { name: "Freeze all payments" }).click();
    await page.getByRole("heading", { name: "All payments are frozen" }).waitFor();
    const small = (await agent.purchase(3)).args;
    const refused = await pay(small);
    assert.equal(refused.isError, true);
    assert.match(refused.content[0].text, /frozen/);
    await page.getByText("End the freeze").first().click();
    for (const screen of SCREENS) {
      await page.emulateMedia({ colorScheme: screen.scheme });
      await page.setViewportSize({ width: screen.width, height: 800 });
      await inspect(page, `the frozen overview, ${screen.name}`);
    }
    await page.getByLabel("Your passphrase").fill(PASSPHRASE);
    await page.getByRole("button", { name: "End the freeze" }).click();
    await page.getByRole("button", { name: "Freeze all payments" }).waitFor();
    assert.equal((await pay(small)).structuredContent?.status, "settled");
  });

  await report.check("a page of another server on this machine cannot freeze, frame or read it", async () => {
    // Cookies know no ports: the browser does send this server's cookie along.
    const attack = `<form method="post" action="${board.origin}/freeze"><button>Win</button></form>
      <iframe src="${board.origin}/"></iframe>`;
    const other = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(attack));
    await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
    const evil = await page.context().newPage();
    await evil.goto(`http://127.0.0.1:${other.address().port}/`);
    assert.equal(await evil.frameLocator("iframe").getByRole("heading").count(), 0);
    const read = await evil.evaluate(async (url) => {
      const answer = await fetch(url, { credentials: "include" }).catch(() => undefined);
      return answer?.text();
    }, board.origin);
    assert.equal(read, undefined);
    await evil.getByRole("button").click();
    await evil.getByRole("heading", { name: "Not from here" }).waitFor();
    await evil.close();
    other.close();
    await page.goto(board.origin);
    await page.getByRole("button", { name: "Freeze all payments" }).waitFor();
  });

  await page?.context().close();
  await board.stop();
  await agent.close();
  await world.stop();
}
