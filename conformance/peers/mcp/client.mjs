// npm `@modelcontextprotocol/sdk` as the client: lists the tools, registers, pays at every merchant, repeats, and is refused.
//
// BINARY, SANDBOX (the file with the sandbox's ready line) and TOKEN (which setup token) come from the environment.

import { readFile } from "node:fs/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const CALLBACK = "https://agent.example/callback";
let failures = 0;

function check(what, holds, detail = "") {
  if (!holds) failures += 1;
  console.log(`${holds ? "passed" : "failed"}  ${what}${holds ? "" : `: ${JSON.stringify(detail)}`}`);
}

async function fetchJson(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  return answer.json();
}

/** The first thing under 15.00 EUR that is in stock. */
async function purchase(merchant) {
  const { items } = await fetchJson(`${merchant.origin}/.well-known/oid4ac-catalog`);
  const item = items.find((i) => i.in_stock && i.currency === "EUR" && i.unit_price_minor < 1500);
  return {
    merchant_url: merchant.origin,
    merchant_verify_url: merchant.verify_url,
    amount: { currency: "EUR", amount_minor: item.unit_price_minor },
    line_items: [{ sku: item.sku, qty: 1 }],
    redirect_uri: CALLBACK,
  };
}

const sandbox = JSON.parse(await readFile(process.env.SANDBOX, "utf8"));
const client = new Client({ name: "peer", version: "1" });
const call = (name, args) => client.callTool({ name, arguments: args });
await client.connect(
  new StdioClientTransport({
    command: process.env.BINARY,
    args: ["--as-origin", sandbox.as_origin],
    env: { HOME: process.env.HOME },
  }),
);

const { tools } = await client.listTools();
const names = tools.map((tool) => tool.name);
const wanted = ["agent_register", "agent_payment_initiate", "agent_verify_mandate"];
check("lists the tools", wanted.every((name) => names.includes(name)), names);

const registered = await call("agent_register", {
  setup_token: sandbox.setup_tokens[Number(process.env.TOKEN)],
  as_url: sandbox.as_origin,
  redirect_uris: [CALLBACK],
});
check("registers", registered.structuredContent?.ok === true, registered.content);

let args;
for (const merchant of sandbox.merchants) {
  args = await purchase(merchant);
  const paid = await call("agent_payment_initiate", args);
  const settled = paid.structuredContent?.status === "settled";
  check(`pays at ${merchant.id}`, settled, paid.content);
  if (!settled) continue;
  const payment = paid.structuredContent.payment_intent_id;
  const { settlements } = await fetchJson(merchant.settlements_url);
  const booked = settlements.filter((settlement) => settlement.payment_intent_id === payment);
  check("the merchant has it in its book once", booked.length === 1, settlements);
  const again = await call("agent_payment_initiate", args);
  const { replayed, payment_intent_id } = again.structuredContent ?? {};
  check("a repeated call is answered again", replayed === true && payment_intent_id === payment, again.content);

  const refused = await call("agent_payment_initiate", { ...args, amount: { currency: "EUR", amount_minor: 1 } });
  const words = refused.content[0].text;
  check("a wrong price is refused", refused.isError === true && words.includes("offer_price_mismatch"), words);
}
try {
  const answer = await call("agent_payment_initiate", { ...args, amount: { currency: "EUR", amount_minor: 0 } });
  check("an amount of 0 is an error", false, answer);
} catch (error) {
  check("an amount of 0 is an error", error.message.includes("amount_minor"), error.message);
}
await client.close();
process.exit(failures ? 1 : 0);
