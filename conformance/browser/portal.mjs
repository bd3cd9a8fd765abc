// The wallet portal's pages, one by one.

import assert from "node:assert/strict";
import { World, inspect, picture, signIn } from "./bench.mjs";

/** Both colour schemes on a desk, and a small telephone. */
const SCREENS = [
  { scheme: "light", width: 1000 },
  { scheme: "dark", width: 1000 },
  { scheme: "light", width: 360 },
  { scheme: "dark", width: 360 },
];

export async function portal(report, browser) {
  const world = await World.start("dashboard");
  const agent = await world.agent();

  for (const screen of SCREENS) {
    const on = `${screen.scheme}, ${screen.width} px`;
    await report.check(`every page is accessible (${on})`, async () => {
      const page = await browser.person({ ...screen, height: 800 });
      const visit = async (path, name) => {
        await page.goto(`${world.portal}${path}`);
        await inspect(page, name);
      };
      await visit("", "the sign-in page");
      await signIn(page);
      for (const [path, name] of [
        ["", "the agents"],
        ["/payments", "the payments"],
        ["/audit", "the audit chain"],
        ["/connect", "the page for connecting"],
        ["/consent/none", "an error page"],
      ]) {
        await visit(path, name);
      }
      await page.goto(`${world.portal}/connect`);
      await page.getByRole("button", { name: "Make a setup token" }).click();
      await inspect(page, "the setup token");
      await page.context().close();
    });
  }

  await agent.close();
  await world.stop();
}
