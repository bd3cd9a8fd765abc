// http-message-signatures: requests and responses, in both directions, with tampered twins.

import { createHash, createPublicKey } from "node:crypto";
import httpMessageSignatures from "http-message-signatures";
import { ALGS, Count, NOW, accepted, key, rejected } from "./check.mjs";

const { createSigner, createVerifier, httpbis } = httpMessageSignatures;
const NAMES = { EdDSA: "ed25519", ES256: "ecdsa-p256-sha256" };
const count = new Count("http-message-signatures");

const body = '{"hello": "world"}';
const digest = (text) => `sha-256=:${createHash("sha256").update(text).digest("base64")}:`;
const fields = {
    "Content-Type": "application/json",
    "Content-Digest": digest(body),
    Accept: ["text/html", " */*"],
    "Example-Dict": " a=1,    b=2;x=1;y=2,   c=(a   b   c), d",
};
const request = (method, url, headers = fields) => ({ method, url, headers });
const response = (status, headers = fields) => ({ status, headers });

const pairs = (headers) => Object.entries(headers).flatMap(([name, value]) => [value].flat().map((line) => [name, line]));
const described = (message) => ({
    kind: message.method ? "request" : "response",
    ...(message.method ? { method: message.method, url: message.url } : { status: message.status }),
    headers: pairs(message.headers),
    body_b64: Buffer.from(body).toString("base64"),
});

const SIGNED = [
    ["a request's own", request("POST", "https://Example.com:8443/a%20b/c?x=1&y=a+b&z=%C3%A9&e="), undefined, ["@method", "@authority", "@scheme", "@request-target", "@path", "@query"]],
    ["target", request("GET", "https://example.com/orders?id=7"), undefined, ["@target-uri"]],
    ["query parameters", request("GET", "https://example.com/?a=1&b=x%20y&c="), undefined, ['@query-param;name="a"', '@query-param;name="b"', '@query-param;name="c"']],
    ["no query", request("GET", "https://example.com/"), undefined, ["@query", "@path"]],
    ["fields", request("POST", "https://example.com/"), undefined, ["content-type", "content-digest", "accept", "example-dict"]],
    ["fields in octets", request("POST", "https://example.com/"), undefined, ["accept;bs"]],
    ["members", request("POST", "https://example.com/"), undefined, ['example-dict;key="a"', 'content-digest;key="sha-256"']],
    ["nothing", request("POST", "https://example.com/"), undefined, []],
    ["a response", response(200), undefined, ["@status", "content-digest"]],
    ["a response and its request", response(503), request("POST", "https://example.com/foo?Pet=dog"), ["@status", "content-digest", "@method;req", "@authority;req", "@path;req", "@query;req", "content-digest;req"]],
];

const cases = [];
for (const alg of ALGS) {
    const own = key(alg);
    const other = key(alg);
    for (const [name, message, to, covered] of SIGNED) {
        const config = {
            key: createSigner(own.privateKey, NAMES[alg], "k"),
            name: "sig1",
            fields: covered,
            params: ["created", "keyid", "alg", "expires", "nonce", "tag"],
            paramValues: { created: new Date(NOW * 1000), expires: new Date((NOW + 300) * 1000), nonce: 'a"\\b', tag: "app" },
        };
        const signed = await httpbis.signMessage(config, message, to);
        const base = {
            message: described(signed), keys: { k: own.public }, now: NOW, max_age: 60, require: covered,
            ...(to && { request: described(to) }),
        };
        const twin = (what, rule, change) => {
            const bent = structuredClone(base);
            change(bent);
            cases.push({ id: `${alg} ${name}, ${what}`, ...bent, expect: rule ? rejected(rule) : accepted() });
        };
        const field = (bent, wanted, change) => {
            bent.message.headers = bent.message.headers.map(([n, v]) => [n, n.toLowerCase() === wanted ? change(v) : v]);
        };
        twin("as signed", null, () => {});
        twin("another key", "BadSignature", (bent) => (bent.keys.k = other.public));
        twin("key of another type", "AlgMismatch", (bent) => (bent.keys.k = key(alg === "EdDSA" ? "ES256" : "EdDSA").public));
        twin("nonce changed", "BadSignature", (bent) => field(bent, "signature-input", (v) => v.replace('nonce="a', 'nonce="b')));
        twin("alg changed", "AlgNotAllowed", (bent) => field(bent, "signature-input", (v) => v.replace(/alg="[^"]*"/, 'alg="hmac-sha256"')));
        twin("expired", "Expired", (bent) => (bent.now = NOW + 300));
        twin("content changed", "Mismatch", (bent) => (bent.message.body_b64 = "e30="));
        if (covered.includes("content-digest")) {
            twin("content and digest changed", "BadSignature", (bent) => {
                bent.message.body_b64 = "e30=";
                field(bent, "content-digest", () => digest("{}"));
            });
        }
        if (covered.includes("@status")) twin("status changed", "BadSignature", (bent) => (bent.message.status = 201));
        if (covered.includes("@method")) twin("method changed", "BadSignature", (bent) => (bent.message.method = "PUT"));
        if (covered.includes("accept")) twin("lines in another order", "BadSignature", (bent) => bent.message.headers.reverse());
        if (to) twin("request changed", "BadSignature", (bent) => (bent.request.method = "GET"));
    }
}
count.theySign("http-sig", cases);

await count.weSign("http-sig", async (ours) => {
    const message = (described) => ({
        ...described,
        headers: described.headers.reduce((all, [name, value]) => ({ ...all, [name]: [...(all[name] ?? []), value] }), {}),
    });
    const keyLookup = async ({ keyid }) => {
        const jwk = ours.keys[keyid];
        const alg = jwk.kty === "EC" ? NAMES.ES256 : NAMES.EdDSA;
        return { id: keyid, algs: [alg], verify: createVerifier(createPublicKey({ key: jwk, format: "jwk" }), alg) };
    };
    return httpbis.verifyMessage({ keyLookup, maxAge: 60, tolerance: 5 }, message(ours.message), ours.request && message(ours.request));
});
count.finish();
