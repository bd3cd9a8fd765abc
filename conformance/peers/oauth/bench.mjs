// What every peer here needs: the compiled binary, and the count of what passed.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const BINARY = process.env.OID4PAY_MCP;
const STEP_MS = 60_000;

/** Checks of one peer. `finish` prints the counts that `run` adds up. */
export class Count {
  passed = 0;
  failed = 0;

  constructor(name) {
    const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
    this.name = `${name} ${JSON.parse(readFileSync(file, "utf8")).version}`;
  }

  /** A check that throws has failed, and the next one runs. */
  async check(what, work) {
    try {
      await work();
      this.passed += 1;
    } catch (error) {
      this.failed += 1;
      console.log(`FAILED ${this.name}: ${what}: ${String(error.stack ?? error).split("\n").slice(0, 12).join("\n    ")}`);
    }
  }

  finish() {
    console.log(`${this.name}: ${this.passed} passed, ${this.failed} failed, 0 skipped`);
  }
}

/** A folder that is gone at the end. */
export async function withFolder(work) {
  const folder = await mkdtemp(join(tmpdir(), "oid4pay-peers-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The binary's own sandbox, for the length of `work`. */
export async function withSandbox(folder, work, args = []) {
  const child = spawn(BINARY, ["sandbox", "--json", "--setup-tokens", "16", ...args], {
    env: { HOME: folder, PATH: process.env.PATH },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  process.on("exit", () => child.kill("SIGKILL"));
  try {
    const line = await new Promise((resolve, reject) => {
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (part) => {
        text += part;
        if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
      });
      ended.then((code) => reject(new Error(`the sandbox ended with ${code}`)));
      setTimeout(() => reject(new Error("the sandbox was not ready in time")), STEP_MS).unref();
    });
    return await work(JSON.parse(line));
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

/** `oid4pay-mcp` behind the client of npm `@modelcontextprotocol/sdk`, configured by a settings file and nothing else. */
export class Agent {
  static homes = 0;

  static async start(folder, settings, args = []) {
    const agent = new Agent();
    agent.home = join(folder, `home-${(Agent.homes += 1)}`);
    await mkdir(agent.home);
    agent.file = join(agent.home, "settings.toml");
    await writeFile(agent.file, settings);
    await agent.connect(args);
    return agent;
  }

  /** Starts a new process on the same data. */
  async connect(args = []) {
    this.client = new Client({ name: "peer", version: "1" });
    const env = { HOME: this.home, PATH: process.env.PATH };
    await this.client.connect(new StdioClientTransport({ command: BINARY, args: ["--config", this.file, ...args], env }));
  }

  call(name, args, onprogress) {
    return this.client.callTool({ name, arguments: args }, undefined, { timeout: STEP_MS, onprogress });
  }

  close() {
    return this.client.close();
  }
}
