// The wallet portal's pages, one by one.

import assert from "node:assert/strict";
import jsqr from "jsqr";
import { SCREENS, World, inspect, picture, signIn } from "./bench.mjs";

/** A name that would like to be something else: markup, turned round, invisible, and as long as a name may be. */
const HOSTILE = `</bdi><img src=x onerror=alert(1)>\u202eknab\u200b ${"W".repeat(80)}`;

export async function portal(report, browser) {
  const world = await World.start("dashboard");
  const agent = await world.agent();
  await pay(browser, agent, 0);
  await pay(browser, agent, 1, world.sandbox.merchants[1]);
  const other = await world.agent({ name: HOSTILE });

  for (const screen of SCREENS) {
    await report.check(`every page of the portal is accessible (${screen.name})`, async () => {
      const page = await browser.person(screen);
      const seen = async (name, shown) => {
        if (shown) await page.getByText(shown).first().waitFor();
        await inspect(page, name);
        await picture(page, screen, `portal-${name.replaceAll(" ", "-")}`);
      };
      const { url, answer } = agent.pay((await agent.purchase(2)).args);
      await page.goto(await url);
      await seen("sign in", "Whose wallet");
      await signIn(page);
      await seen("consent", "What you allow");
      await page.getByRole("button", { name: "Approve" }).click();
      await seen("approved", "for this purchase and no other");
      assert.equal((await answer).structuredContent?.status, "settled");

      const declined = other.pay((await other.purchase(3)).args);
      await page.goto(await declined.url);
      await seen("consent for a hostile name", "What you allow");
      await page.getByRole("button", { name: "Decline" }).click();
      await seen("declined", "nothing will be charged");
      await declined.answer;

      for (const [path, name] of [
        ["", "agents"],
        ["/payments", "payments"],
        ["/audit", "audit"],
        ["/connect", "connect"],
        ["/consent/none", "nothing here"],
      ]) {
        await page.goto(`${world.portal}${path}`);
        await seen(name);
      }
      await page.goto(`${world.portal}/audit`);
      for (const summary of await page.locator("summary").all()) await summary.click();
      await seen("audit opened");
      await page.goto(world.portal);
      for (const summary of await page.locator("summary").all()) await summary.click();
      await seen("agents opened");
      await page.goto(`${world.portal}/connect`);
      await page.getByRole("button", { name: "Make a setup token" }).click();
      await seen("setup token", "it is not shown again");
      await page.goto(`${world.portal}/connect`);
      await page.getByRole("button", { name: "Make a token" }).click();
      await seen("nothing chosen", "at least one");
      await page.goto(`${world.portal}/connect`);
      await page.getByLabel("Read what your agents did").check();
      await page.getByRole("button", { name: "Make a token" }).click();
      await seen("principal token", "good for an hour");

      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await signIn(page, "Kim Lindqvist");
      await seen("no agents", "no agents yet");
      await page.goto(`${world.portal}/payments`);
      await seen("no payments", "No payment was made yet");
      await page.goto(await url);
      await seen("another account", "for another account");
      await page.context().close();
    });
  }

  await report.check("a name that is markup is shown as text and runs nothing", async () => {
    const page = await browser.person();
    await page.goto(world.portal);
    await signIn(page);
    const shown = page.getByRole("heading", { level: 2 }).filter({ hasText: "onerror" });
    assert.match(await shown.innerText(), /^<\/bdi><img src=x onerror=alert\(1\)>\ufffd/);
    assert.equal(await page.locator("main img").count(), 0);
    await page.context().close();
  });

  await report.check("the setup token in the QR code connects an agent, which is then listed and revoked", async () => {
    const page = await browser.person({ scale: 2 });
    await page.goto(`${world.portal}/connect`);
    await signIn(page);
    await page.getByRole("button", { name: "Make a setup token" }).click();
    const token = await page.locator("code.token").innerText();
    assert.equal(await readQr(page, page.locator("svg.qr")), token);

    world.sandbox.setup_tokens.unshift(token);
    const newcomer = await world.agent({ name: "Newcomer" });
    await page.goto(world.portal);
    const listed = page.getByRole("listitem").filter({ hasText: "Newcomer" });
    await listed.locator("summary").click();
    await listed.getByRole("button", { name: "Revoke this agent" }).click();
    await page.getByRole("status").filter({ hasText: "The agent was revoked" }).waitFor();
    await inspect(page, "the agents after one was revoked");
    assert.match(await listed.innerText(), /Revoked/);
    const refused = await newcomer.call("agent_payment_initiate", (await newcomer.purchase(4)).args);
    assert.equal(refused.isError, true, refused.content[0].text);
    await newcomer.close();
    await page.context().close();
  });

  await report.check("a principal token of the portal reads what it allows and no more", async () => {
    const page = await browser.person();
    await page.goto(`${world.portal}/connect`);
    await signIn(page);
    await page.getByLabel("See your agents").check();
    await page.getByRole("button", { name: "Make a token" }).click();
    const authorization = `Bearer ${await page.locator("code.token").innerText()}`;
    const ask = (path) => fetch(`${world.sandbox.as_origin}${path}`, { headers: { authorization } });
    assert.equal((await ask("/wallet/agents")).status, 200);
    assert.equal((await ask("/audit/principal/range")).status, 403);
    await page.context().close();
  });

  await report.check("everything can be done with the keyboard, and the focus is seen", async () => {
    const { url, answer } = agent.pay((await agent.purchase(5)).args);
    const page = await browser.person();
    await page.goto(await url);
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to content");
    await tabTo(page, "Robin de Wit");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Approve this payment?" }).waitFor();
    await tabTo(page, "Approve");
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Decline");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Space");
    await page.getByRole("heading", { name: "Approved" }).waitFor();
    assert.equal((await answer).structuredContent?.status, "settled");
    await page.context().close();
  });

  await report.check("no page can be put into a frame", async () => {
    const page = await browser.person();
    await page.setContent(`<iframe src="${world.portal}" width="400" height="300"></iframe>`);
    const frame = page.frames()[1];
    await frame?.waitForLoadState().catch(() => {});
    assert.equal(await page.frameLocator("iframe").getByRole("heading", { name: "Sign in" }).count(), 0);
    assert.ok(page.complaints.some((text) => text.includes("frame-ancestors")), page.complaints.join());
    await page.context().close();
  });

  await agent.close();
  await other.close();
  await world.stop();
}

/** Pays, and approves it as Robin. */
async function pay(browser, agent, nth, merchant) {
  const { url, answer } = agent.pay((await agent.purchase(nth, merchant)).args);
  const page = await browser.person();
  await page.goto(await url);
  await signIn(page);
  await page.getByRole("button", { name: "Approve" }).click();
  const paid = await answer;
  assert.equal(paid.structuredContent?.status, "settled", paid.content[0].text);
  await page.context().close();
}

/** What a telephone would read off the screen. */
async function readQr(page, locator) {
  const png = (await locator.screenshot()).toString("base64");
  const blank = await page.context().newPage();
  const { data, width, height } = await blank.evaluate(async (source) => {
    const image = new Image();
    image.src = `data:image/png;base64,${source}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height);
    return { data: [...pixels.data], width: pixels.width, height: pixels.height };
  }, png);
  await blank.close();
  return jsqr(Uint8ClampedArray.from(data), width, height)?.data;
}

/** What has the focus, which must be seen to have it. */
async function focused(page) {
  const { text, outline } = await page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return { text: document.activeElement.textContent.trim(), outline: `${outlineStyle} ${outlineWidth}` };
  });
  assert.equal(outline, "solid 3px", `the focus on "${text}"`);
  return text;
}

async function tabTo(page, wanted) {
  for (let steps = 0; steps < 30; steps += 1) {
    await page.keyboard.press("Tab");
    if ((await focused(page)).includes(wanted)) return;
  }
  assert.fail(`the keyboard never comes to ${wanted}`);
}
