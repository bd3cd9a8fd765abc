// web-bot-auth: requests with the signature of a bot, in both directions.

import { verify, signatureHeaders } from "web-bot-auth";
import { signerFromJWK, verifierFromJWK } from "web-bot-auth/crypto";
import { Count, NOW, accepted, key, rejected } from "./check.mjs";

const count = new Count("web-bot-auth");

const cases = [];
for (const [method, url, more] of [
    ["GET", "https://example.com/", {}],
    ["GET", "https://Example.com:8443/path?x=1", {}],
    ["POST", "https://example.com/", { "Signature-Agent": '"https://directory.example"' }],
]) {
    const own = key("EdDSA");
    const signer = await signerFromJWK(own.jwk);
    const dates = { created: new Date(NOW * 1000), expires: new Date((NOW + 300) * 1000) };
    const signed = await signatureHeaders(new Request(url, { method, headers: more }), signer, dates);
    const base = {
        message: { kind: "request", method, url, headers: Object.entries({ ...more, ...signed }), body_b64: "" },
        keys: { [signer.keyid]: own.public },
        now: NOW,
        max_age: 300,
        require: ["@authority"],
    };
    const id = `${method} ${url}`;
    cases.push({ id, ...base, expect: accepted() });
    cases.push({ id: `${id}, elsewhere`, ...base, message: { ...base.message, url: "https://example.org/" }, expect: rejected("BadSignature") });
    cases.push({ id: `${id}, expired`, ...base, now: NOW + 300, expect: rejected("Expired") });
    cases.push({ id: `${id}, another key`, ...base, keys: { [signer.keyid]: key("EdDSA").public }, expect: rejected("BadSignature") });
    cases.push({ id: `${id}, unknown key`, ...base, keys: {}, expect: rejected("UnknownKey") });
}
count.theySign("http-sig", cases);

// It knows Ed25519 only, and requires its tag.
const ofBot = ({ id, keys }) => id.endsWith("request of a bot") && Object.values(keys)[0].kty === "OKP";
const verifyRequest = async ({ message, keys }) => {
    const [jwk] = Object.values(keys);
    await verify(new Request(message.url, { method: message.method, headers: message.headers }), await verifierFromJWK(jwk));
    return true;
};
await count.weSign("http-sig", verifyRequest, ofBot);
count.finish();
