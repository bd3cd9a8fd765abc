// jose: compact JWS, thumbprints, DPoP proofs and client assertions, in both directions.

import { createHash, randomUUID } from "node:crypto";
import { CompactSign, EmbeddedJWK, SignJWT, base64url, calculateJwkThumbprint, compactVerify, importJWK, jwtVerify } from "jose";
import { ALGS, Count, NOW, accepted, key, rejected } from "./check.mjs";

const count = new Count("jose");
const names = (alg) => (alg === "EdDSA" ? ["EdDSA", "Ed25519"] : [alg]);

const tokens = [];
for (const alg of ALGS.flatMap(names)) {
    const own = key(alg === "ES256" ? alg : "EdDSA");
    const other = key(own.alg);
    for (const payload of ["{}", "\u00fc \u{1f600}", "x".repeat(5000), "\0"]) {
        for (const header of [{}, { typ: "JWT", kid: "k/1", other: { a: [1, null] } }]) {
            const octets = new TextEncoder().encode(payload);
            const jws = await new CompactSign(octets).setProtectedHeader({ alg, ...header }).sign(await importJWK(own.jwk, alg));
            const [head, body, signature] = jws.split(".");
            const bent = (signature[0] === "A" ? "B" : "A") + signature.slice(1);
            const id = `${alg} ${payload.length} ${Object.keys(header).length}`;
            const base = { jwk: { ...own.public, alg } };
            tokens.push({ id, jws, ...base, expect: accepted(base64url.encode(octets)) });
            tokens.push({ id: `${id}, another key`, jws, jwk: other.public, expect: rejected("BadSignature") });
            tokens.push({ id: `${id}, signature changed`, jws: `${head}.${body}.${bent}`, ...base, expect: rejected("BadSignature") });
            tokens.push({ id: `${id}, payload replaced`, jws: `${head}.W10.${signature}`, ...base, expect: rejected("BadSignature") });
        }
    }
}
const hmac = await new CompactSign(new Uint8Array([1])).setProtectedHeader({ alg: "HS256" }).sign(new Uint8Array(32));
tokens.push({ id: "HS256", jws: hmac, jwk: key("EdDSA").public, expect: rejected("AlgNotAllowed") });
count.theySign("jws", tokens);

const proofs = [];
for (const alg of ALGS.flatMap(names)) {
    const own = key(alg === "ES256" ? alg : "EdDSA");
    const jkt = await calculateJwkThumbprint(own.public);
    const token = randomUUID();
    const ath = createHash("sha256").update(token).digest("base64url");
    const request = { method: "POST", url: "https://rs.example/orders", now: NOW, window: 60 };
    for (const [name, claims, more] of [
        ["plain", {}, {}],
        ["bound", {}, { jkt }],
        ["with token and nonce", { ath, nonce: "n-1" }, { access_token: token, nonce: "n-1" }],
    ]) {
        const jti = randomUUID();
        const proof = await new SignJWT({ jti, htm: request.method, htu: request.url, ...claims })
            .setProtectedHeader({ alg, typ: "dpop+jwt", jwk: own.public })
            .setIssuedAt(NOW)
            .sign(await importJWK(own.jwk, alg));
        proofs.push({ id: `${alg} ${name}`, proof, ...request, ...more, expect: accepted({ jti, jkt }) });
        proofs.push({ id: `${alg} ${name}, elsewhere`, proof, ...request, ...more, url: "https://rs.example/", expect: rejected("HtuMismatch") });
        proofs.push({ id: `${alg} ${name}, later`, proof, ...request, ...more, now: NOW + 61, expect: rejected("IatOutsideWindow") });
    }
}
count.theySign("dpop", proofs);

const keys = [];
for (let index = 0; index < 20; index += 1) {
    const own = key(ALGS[index % 2]);
    const thumbprint = await calculateJwkThumbprint(own.public);
    for (const jwk of [own.public, own.jwk]) keys.push({ id: index, jwk, expect: accepted({ thumbprint }) });
}
count.theySign("jwk", keys);

await count.weSign("jws", async ({ jws, jwk, value }) => {
    const alg = jwk.kty === "EC" ? "ES256" : "EdDSA";
    const { payload, protectedHeader } = await compactVerify(jws, await importJWK(jwk, alg), { algorithms: [alg] });
    if (protectedHeader.typ === "JWT") {
        await jwtVerify(jws, await importJWK(jwk, alg), {
            issuer: "agent", subject: "agent", audience: "https://as.example/token", typ: "JWT", requiredClaims: ["exp", "iat", "jti"],
        });
    }
    return base64url.encode(payload) === value;
});
await count.weSign("dpop", async ({ proof, method, url, jkt, access_token, nonce, now }) => {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: "dpop+jwt", algorithms: ["EdDSA", "ES256"], maxTokenAge: 60 });
    const { origin, pathname } = new URL(url);
    return (
        (await calculateJwkThumbprint(protectedHeader.jwk)) === jkt &&
        payload.htm === method &&
        payload.htu === origin + pathname &&
        payload.iat === now &&
        payload.nonce === (nonce ?? undefined) &&
        payload.ath === (access_token ? createHash("sha256").update(access_token).digest("base64url") : undefined)
    );
});
await count.weSign("jwk", async ({ jwk, value }) => (await calculateJwkThumbprint(jwk)) === value.thumbprint);
count.finish();
