// What every check uses: the compiled binary, an MCP client that isn't ours, a browser, and a list of what held.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { chromium } from "playwright-core";

/** What was started and has not ended: nothing outlives the bench. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGTERM")));

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const BINARY = process.env.OID4PAY_MCP;
export const CALLBACK = "https://agent.example/callback";
const STEP_MS = 30_000;
/** Both colour schemes on a desk, and on a small telephone. */
export const SCREENS = ["light", "dark"].flatMap((scheme) => [
  { name: `${scheme}, 860 px`, scheme, width: 860 },
  { name: `${scheme}, 360 px`, scheme, width: 360 },
]);

/** What held and what didn't. A check that throws has failed, and the next one runs. */
export class Report {
  passed = 0;
  failed = 0;

  async check(name, work) {
    try {
      await work();
      this.passed += 1;
      console.log(`passed  ${name}`);
    } catch (error) {
      this.failed += 1;
      console.log(`failed  ${name}: ${String(error.stack ?? error).split("\n").slice(0, 12).join("\n        ")}`);
    }
  }
}

/** Starts the binary and waits for the first line that `wanted` likes; gives what that made of it. */
async function start(args, home, wanted) {
  const child = spawn(BINARY, args, { env: { HOME: home, PATH: process.env.PATH }, stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  const found = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (part) => {
      text += part;
      const whole = text.split("\n").slice(0, -1);
      const line = whole.find((line) => wanted(line));
      if (line) resolve(wanted(line));
    });
    child.on("exit", (code) => reject(new Error(`${args[0]} ended with ${code} before it was ready`)));
    setTimeout(() => reject(new Error(`${args[0]} was not ready in time`)), STEP_MS).unref();
  });
  const ended = new Promise((resolve) => child.on("exit", resolve)).then(() => running.delete(child));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  return { found, stop };
}

/** A sandbox in one consent mode, with a data folder for the paying agent. */
export class World {
  static async start(consent) {
    const world = new World();
    world.folder = await mkdtemp(join(tmpdir(), "oid4pay-browser-"));
    const args = ["sandbox", "--json", "--setup-tokens", "8", "--consent", consent];
    const { found, stop } = await start(args, world.folder, (line) => JSON.parse(line));
    world.stopSandbox = stop;
    world.sandbox = found;
    world.homes = 0;
    return world;
  }

  get portal() {
    return this.sandbox.portal_url;
  }

  /** An agent with a home of its own, registered. */
  async agent(options = {}) {
    const home = join(this.folder, `home-${(this.homes += 1)}`);
    await mkdir(home);
    const agent = new Agent(this, home);
    await agent.connect(options);
    const registered = await agent.call("agent_register", {
      setup_token: this.sandbox.setup_tokens.shift(),
      as_url: this.sandbox.as_origin,
      redirect_uris: [CALLBACK],
      client_name: options.name ?? "Shopping assistant",
    });
    assert.equal(registered.structuredContent?.ok, true, registered.content?.[0]?.text);
    return agent;
  }

  async settlements() {
    const books = this.sandbox.merchants.map(async (merchant) => {
      const answer = await fetch(merchant.settlements_url, { signal: AbortSignal.timeout(STEP_MS) });
      return (await answer.json()).settlements;
    });
    return (await Promise.all(books)).flat();
  }

  async stop() {
    await this.stopSandbox();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** `oid4pay-mcp` behind the client of npm `@modelcontextprotocol/sdk`. */
export class Agent {
  constructor(world, home) {
    this.world = world;
    this.home = home;
  }

  /** Starts a new process on the same data. */
  async connect({ wait = 30 } = {}) {
    this.client = new Client({ name: "browser-check", version: "1" });
    const transport = new StdioClientTransport({
      command: BINARY,
      args: ["--as-origin", this.world.sandbox.as_origin, "--consent-wait", String(wait)],
      env: { HOME: this.home },
    });
    await this.client.connect(transport);
  }

  close() {
    return this.client.close();
  }

  call(name, args, onprogress) {
    return this.client.callTool({ name, arguments: args }, undefined, { timeout: 2 * STEP_MS, onprogress });
  }

  /** The human's page for this agent's ledger: the link that opens it, and its end. */
  async dashboard() {
    const link = (line) => /^ +(http:\S+)$/.exec(line)?.[1];
    const { found, stop } = await start(["dashboard"], this.home, link);
    return { link: found, origin: new URL(found).origin, stop };
  }

  /** Runs a command in a terminal as a person does, who types the passphrase where it is asked for. `ended` is its exit code. */
  terminal(command, passphrase) {
    const terminal = spawn("script", ["-qec", `'${BINARY}' ${command}`, "/dev/null"], {
      env: { HOME: this.home, PATH: process.env.PATH },
      stdio: ["pipe", "pipe", "inherit"],
    });
    running.add(terminal);
    terminal.shown = "";
    terminal.stdout.setEncoding("utf8");
    terminal.stdout.on("data", (shown) => {
      terminal.shown += shown;
      if (/: $/.test(shown)) terminal.stdin.write(`${passphrase}\n`);
    });
    terminal.ended = new Promise((resolve) => terminal.on("exit", resolve));
    terminal.ended.then(() => running.delete(terminal));
    return terminal;
  }

  async choosePassphrase(passphrase) {
    assert.equal(await this.terminal("policy init", passphrase).ended, 0, "policy init");
  }

  /** The arguments that buy the n-th thing under 15.00 EUR that a merchant has in stock. */
  purchase(nth = 0, merchant = this.world.sandbox.merchants[0]) {
    return this.choose(merchant, (item) => item.unit_price_minor < 1500, nth);
  }

  async choose(merchant, wanted, nth = 0) {
    const items = [];
    for (let next = `${merchant.origin}/.well-known/oid4ac-catalog`; next; ) {
      const answer = await fetch(next, { signal: AbortSignal.timeout(STEP_MS) });
      const catalog = await answer.json();
      items.push(...catalog.items);
      next = catalog.next;
    }
    const item = items.filter((i) => i.in_stock && i.currency === "EUR" && wanted(i))[nth];
    const args = {
      merchant_url: merchant.origin,
      merchant_verify_url: merchant.verify_url,
      amount: { currency: "EUR", amount_minor: item.unit_price_minor },
      line_items: [{ sku: item.sku, qty: 1 }],
      purchase_ref: randomUUID(),
      redirect_uri: CALLBACK,
    };
    return { args, item, price: `${(item.unit_price_minor / 100).toFixed(2)} EUR` };
  }

  pay(args) {
    return this.watch("agent_payment_initiate", args);
  }

  /** Calls a tool; gives the consent URL as soon as the client has it, and the answer when the call returns. */
  watch(tool, args) {
    let told;
    const url = new Promise((resolve) => (told = resolve));
    const answer = this.call(tool, args, ({ message }) => {
      const found = /https?:\S+/.exec(message ?? "");
      if (found) told(found[0]);
    });
    // Answered without asking anyone: then there is no URL to wait for.
    answer.then((result) => told(result.structuredContent?.consent_url), () => told(undefined));
    return { url, answer };
  }
}

/** Chromium, and in it people. */
export class Browser {
  static async launch() {
    const browser = new Browser();
    const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
    browser.chromium = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
    return browser;
  }

  /** A person with a browser of their own. A page that writes an error to the console, or loads anything from another origin, is noted. */
  async person({ scheme = "light", width = 1000, height = 800, scripts = true, scale = 1 } = {}) {
    const context = await this.chromium.newContext({
      colorScheme: scheme,
      viewport: { width, height },
      javaScriptEnabled: scripts,
      deviceScaleFactor: scale,
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(STEP_MS);
    const page = await context.newPage();
    page.complaints = [];
    // A page that is refused is meant to have its status.
    const isStatus = (text) => text.startsWith("Failed to load resource: the server responded with a status of");
    page.on("console", (message) => {
      if (message.type() === "error" && !isStatus(message.text())) page.complaints.push(message.text());
    });
    page.on("pageerror", (error) => page.complaints.push(String(error)));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.hostname !== "127.0.0.1") page.complaints.push(`it asked for ${url.origin}`);
    });
    return page;
  }

  close() {
    return this.chromium.close();
  }
}

export async function signIn(page, name = "Robin de Wit") {
  await page.getByRole("button", { name: `Continue as ${name}` }).click();
}

/** Holds a page against what every page has to keep; `name` says which one it is. */
export async function inspect(page, name) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map((v) => `${v.impact} ${v.id}: ${v.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], `axe on ${name}`);
  assert.ok(passes.length > 10, `axe looked at ${name}`);
  assert.deepEqual(page.complaints, [], `complaints on ${name}`);
  const [wide, there] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= there, `${name} is ${wide} px wide on a screen of ${there}`);
}

/** The pages of the documentation, and how much of each is shown. */
const PICTURES = {
  "portal-consent": 1200,
  "portal-payments": 620,
  "dashboard-overview": 1160,
  "dashboard-question": 1200,
};

/** A picture for the documentation, where one is wanted. */
export async function picture(page, screen, name) {
  const { SCREENSHOTS: folder } = process.env;
  if (!folder || screen.width < 800 || !(name in PICTURES)) return;
  await mkdir(folder, { recursive: true });
  const height = Math.min(PICTURES[name], await page.evaluate(() => document.documentElement.scrollHeight));
  const clip = { x: 0, y: 0, width: screen.width, height };
  await page.screenshot({ path: join(folder, `${name}-${screen.scheme}.png`), fullPage: true, clip });
}
