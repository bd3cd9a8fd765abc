"""PyPI `mcp` as the client: lists the tools, registers, pays at every merchant, repeats, and is refused.

BINARY, SANDBOX (the file with the sandbox's ready line) and TOKEN (which setup token) come from the environment; the
argument is the client's mode: legacy (initialize), auto (discover, else initialize), or 2026-07-28.
"""

import asyncio
import json
import os
import sys
import urllib.request

from mcp import Client, MCPError, StdioServerParameters, stdio_client

CALLBACK = "https://agent.example/callback"
failures = 0


def check(what: str, holds: bool, detail: object = "") -> None:
    global failures
    failures += not holds
    print(f"{'passed' if holds else 'failed'}  {what}{'' if holds else f': {detail}'}", flush=True)


def fetch(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def purchase(merchant: dict) -> dict:
    """The first thing under 15.00 EUR that is in stock."""
    items = fetch(f"{merchant['origin']}/.well-known/oid4ac-catalog")["items"]
    item = next(i for i in items if i["in_stock"] and i["currency"] == "EUR" and i["unit_price_minor"] < 1500)
    return {
        "merchant_url": merchant["origin"],
        "merchant_verify_url": merchant["verify_url"],
        "amount": {"currency": "EUR", "amount_minor": item["unit_price_minor"]},
        "line_items": [{"sku": item["sku"], "qty": 1}],
        "redirect_uri": CALLBACK,
    }


async def story(mode: str) -> None:
    with open(os.environ["SANDBOX"], encoding="utf-8") as file:
        sandbox = json.load(file)
    server = StdioServerParameters(command=os.environ["BINARY"], args=["--as-origin", sandbox["as_origin"]])
    async with Client(stdio_client(server), mode=mode) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        wanted = {"agent_register", "agent_payment_initiate", "agent_verify_mandate"}
        check(f"lists the tools (protocol {client.protocol_version})", wanted <= tools, tools)

        registration = {
            "setup_token": sandbox["setup_tokens"][int(os.environ["TOKEN"])],
            "as_url": sandbox["as_origin"],
            "redirect_uris": [CALLBACK],
        }
        registered = await client.call_tool("agent_register", registration)
        check("registers", not registered.is_error and registered.structured_content["ok"] is True, registered.content)

        for merchant in sandbox["merchants"]:
            arguments = purchase(merchant)
            paid = await client.call_tool("agent_payment_initiate", arguments)
            settled = not paid.is_error and paid.structured_content["status"] == "settled"
            check(f"pays at {merchant['id']}", settled, paid.content)
            if not settled:
                continue
            payment = paid.structured_content["payment_intent_id"]
            book = [s["payment_intent_id"] for s in fetch(merchant["settlements_url"])["settlements"]]
            check("the merchant has it in its book once", book.count(payment) == 1, book)
            again = await client.call_tool("agent_payment_initiate", arguments)
            replayed = again.structured_content["replayed"] and again.structured_content["payment_intent_id"] == payment
            check("a repeated call is answered again", replayed, again.content)

            wrong = {**arguments, "amount": {"currency": "EUR", "amount_minor": 1}}
            refused = await client.call_tool("agent_payment_initiate", wrong)
            words = refused.content[0].text
            check("a wrong price is refused", refused.is_error and "offer_price_mismatch" in words, words)
        try:
            answer = await client.call_tool("agent_payment_initiate", {**arguments, "amount": {"currency": "EUR", "amount_minor": 0}})
            check("an amount of 0 is an error", False, answer)
        except MCPError as error:
            check("an amount of 0 is an error", "amount_minor" in str(error), error)


asyncio.run(story(sys.argv[1]))
sys.exit(1 if failures else 0)
