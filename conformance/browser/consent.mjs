// A person decides in a browser, and an MCP client waits for it, or has stopped waiting.

import assert from "node:assert/strict";
import jsqr from "jsqr";
import { CALLBACK, World, inspect, signIn } from "./bench.mjs";

/** What a telephone would read off a terminal: half blocks, black ones on white. */
function readTerminalQr(shown) {
  const rows = shown.split("\n").map((line) => /\x1b\[30;107m([ \u2580\u2584\u2588]+)\x1b/.exec(line)?.[1]).filter(Boolean);
  assert.ok(rows.length > 10, `no code: ${shown}`);
  const halves = ["\u2580\u2588", "\u2584\u2588"];
  const light = rows.flatMap((row) => halves.map((half) => [...row].map((cell) => !half.includes(cell))));
  const scale = 6;
  const [width, height] = [light[0].length * scale, light.length * scale];
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const value = light[Math.floor(y / scale)][Math.floor(x / scale)] ? 255 : 0;
      pixels.set([value, value, value, 255], (y * width + x) * 4);
    }
  }
  return jsqr(pixels, width, height, { inversionAttempts: "dontInvert" })?.data;
}

export async function consent(report, browser) {
  const world = await World.start("dashboard");
  const agent = await world.agent();

  await report.check("approves a payment while the client waits, and it settles", async () => {
    const { args, item, price } = await agent.purchase(0);
    const { url, answer } = agent.pay(args);
    const page = await browser.person();
    await page.goto(await url);
    await signIn(page);
    const text = await page.locator("main").innerText();
    for (const shown of [item.title, item.sku, price, "Alpacanica", "Shopping assistant", "15 minutes", args.merchant_url]) {
      assert.ok(text.includes(shown), `${shown} is not on the page: ${text}`);
    }
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    const { structuredContent: paid, content } = await answer;
    assert.equal(paid?.status, "settled", content[0].text);
    assert.equal(paid.receipt_status, "verified");
    const booked = (await world.settlements()).filter((s) => s.payment_intent_id === paid.payment_intent_id);
    assert.equal(booked.length, 1);
    await page.context().close();
  });

  await report.check("declines another while the client waits, and nothing is issued", async () => {
    const before = (await world.settlements()).length;
    const { url, answer } = agent.pay((await agent.purchase(1)).args);
    const page = await browser.person();
    await page.goto(await url);
    await signIn(page);
    await page.getByRole("button", { name: "Decline" }).click();
    await page.getByRole("heading", { name: "Declined" }).waitFor();
    const refused = await answer;
    assert.equal(refused.isError, true);
    assert.match(refused.content[0].text, /declined: no mandate issued/);
    assert.equal((await world.settlements()).length, before);
    await page.context().close();
  });

  await report.check("approves after the call has returned, and the repeated call of a new process completes it", async () => {
    await agent.close();
    await agent.connect({ wait: 0 });
    const { args } = await agent.purchase(2);
    const first = await agent.call("agent_payment_initiate", args);
    assert.notEqual(first.isError, true, first.content[0].text);
    const { status, consent_url: url } = first.structuredContent;
    assert.equal(status, "approval_required");
    await agent.close();

    const page = await browser.person();
    await page.goto(url);
    await signIn(page);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    await page.context().close();

    await agent.connect();
    const second = await agent.call("agent_payment_initiate", args);
    assert.equal(second.structuredContent?.status, "settled", second.content[0].text);
    const again = await agent.call("agent_payment_initiate", args);
    assert.equal(again.structuredContent?.replayed, true);
    const sku = args.line_items[0].sku;
    const key = second.structuredContent.idempotency_key;
    assert.equal((await world.settlements()).filter((s) => s.idempotency_key === key).length, 1, sku);
  });

  await report.check("another person can neither see nor approve it, and it still waits", async () => {
    const { args, price } = await agent.purchase(3);
    const { url, answer } = agent.pay(args);
    const other = await browser.person();
    await other.goto(await url);
    await signIn(other, "Kim Lindqvist");
    const text = await other.locator("body").innerText();
    assert.ok(!text.includes(price) && !text.includes("Shopping assistant"), text);
    assert.equal(await other.getByRole("button", { name: "Approve" }).count(), 0);
    await other.context().close();

    const page = await browser.person();
    await page.goto(await url);
    await signIn(page);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    assert.equal((await answer).structuredContent?.status, "settled");
    await page.context().close();
  });

  await report.check("a decision from a second window counts for nothing", async () => {
    const { url, answer } = agent.pay((await agent.purchase(4)).args);
    const first = await browser.person();
    await first.goto(await url);
    await signIn(first);
    const second = await first.context().newPage();
    await second.goto(await url);
    await first.getByRole("button", { name: "Approve" }).click();
    await first.getByRole("heading", { name: "Approved" }).waitFor();
    await second.getByRole("button", { name: "Decline" }).click();
    assert.match(await second.locator("main").innerText(), /decided before/);
    assert.equal((await answer).structuredContent?.status, "settled");
    await first.context().close();
  });

  await report.check("decides without JavaScript", async () => {
    const { url, answer } = agent.pay((await agent.purchase(5)).args);
    const page = await browser.person({ scripts: false });
    await page.goto(await url);
    await signIn(page);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    assert.equal((await answer).structuredContent?.status, "settled");
    await page.context().close();
  });

  await report.check("an agent that asks for scanning gets a page to scan, and what is approved there counts", async () => {
    const { args } = await agent.purchase(6);
    await agent.close();
    await agent.connect({ wait: 0 });
    const scanned = { ...args, consent_mode_hint: "scan" };
    const asked = (await agent.call("agent_payment_initiate", scanned)).structuredContent;
    assert.deepEqual([asked?.status, asked?.consent_mode], ["approval_required", "scan"]);
    // A telephone: small, and signed in nowhere.
    const page = await browser.person({ width: 360 });
    await page.goto(asked.consent_url);
    await signIn(page);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    await page.context().close();
    assert.equal((await agent.call("agent_payment_initiate", scanned)).structuredContent?.status, "settled");
  });

  await report.check("lets an agent see the wallet only when the person allows it", async () => {
    const { as_origin } = world.sandbox;
    const args = { as_url: as_origin, resource: as_origin, redirect_uri: CALLBACK };
    const list = () => agent.call("agent_wallet_list_agents", args);
    for (const [decision, heading] of [["Decline", "Declined"], ["Approve", "Approved"]]) {
      const asked = (await list()).structuredContent;
      assert.equal(asked?.status, "approval_required");
      const page = await browser.person();
      await page.goto(asked.consent_url);
      await signIn(page);
      await page.getByRole("heading", { name: "Allow access to your wallet?" }).waitFor();
      await page.getByText("See your agents").waitFor();
      await inspect(page, "consent for the wallet");
      await page.getByRole("button", { name: decision }).click();
      await page.getByRole("heading", { name: heading }).waitFor();
      await page.context().close();
      const answer = await list();
      if (decision === "Decline") assert.equal(answer.isError, true, answer.content[0].text);
      else assert.equal(answer.structuredContent?.agents?.length, 1, answer.content[0].text);
    }
  });

  await agent.close();
  await world.stop();

  await report.check("a code scanned off the terminal leads to the page, and what is approved there counts", async () => {
    const scanned = await World.start("scan");
    const person = await scanned.agent();
    const passphrase = "correct horse & battery";
    await person.choosePassphrase(passphrase);
    const login = person.terminal(`--as-origin ${scanned.sandbox.as_origin} login --scope audit:read`, passphrase);
    while (!login.shown.includes("Waiting for your decision")) {
      const ended = await Promise.race([login.ended, new Promise((resolve) => setTimeout(resolve, 100, "not yet"))]);
      assert.equal(ended, "not yet", login.shown);
    }
    const url = readTerminalQr(login.shown);
    assert.ok(url?.startsWith(`${scanned.portal}/consent/`), `the code says ${url}`);
    assert.ok(login.shown.includes(url));
    const page = await browser.person({ width: 360 });
    await page.goto(url);
    await signIn(page);
    await page.getByText("Read what your agents did and paid").waitFor();
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    await page.context().close();
    assert.equal(await login.ended, 0, login.shown);
    await person.close();
    await scanned.stop();
  });
}
