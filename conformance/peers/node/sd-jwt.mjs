// @sd-jwt/sd-jwt-vc and @sd-jwt/core: issuing, presenting and verifying, in both directions.

import { sign as signOctets, verify as verifyOctets, createPublicKey } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { SDJwtInstance } from "@sd-jwt/core";
import { digest, generateSalt } from "@sd-jwt/crypto-nodejs";
import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";
import { ALGS, Count, NOW, accepted, key, rejected } from "./check.mjs";

const AUD = "https://verifier.example";
const NONCE = "n-0S6_WzA2Mj";
const kb = { aud: AUD, nonce: NONCE, max_age: 300 };

const hash = (jwk) => (jwk.kty === "EC" ? "sha256" : null);
const signer = ({ privateKey, jwk }) => (text) =>
    signOctets(hash(jwk), Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
const verifies = (jwk, text, signature) =>
    verifyOctets(hash(jwk), Buffer.from(text), { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));

const instance = (Type, issuer, holder) =>
    new Type({
        signer: signer(issuer),
        verifier: (text, signature) => verifies(issuer.public, text, signature),
        signAlg: issuer.alg,
        hasher: digest,
        hashAlg: "sha-256",
        saltGenerator: generateSalt,
        ...(holder && {
            kbSigner: signer(holder),
            kbSignAlg: holder.alg,
            kbVerifier: (text, signature) => verifies(holder.public, text, signature),
        }),
    });

// Claims, what of them can be hidden, and what is shown.
const address = { street: "Schulstr. 12", locality: "Schulpforta", country: "DE", tags: ["a", { b: 1 }] };
const SHAPES = {
    "nothing hidden": [{ a: 1, list: [1.5, null, true, "\u{1f600}"], empty: {} }, undefined, {}],
    flat: [{ name: "\u592a\u90ce", age: 42, address }, { _sd: ["name", "age", "address"] }, { name: true, address: true }],
    "flat, nothing shown": [{ name: "x", age: 42 }, { _sd: ["name", "age"] }, {}],
    structured: [{ address }, { address: { _sd: ["street", "country"], _sd_decoy: 3 }, _sd_decoy: 2 }, { address: { country: true } }],
    recursive: [{ address }, { _sd: ["address"], address: { _sd: ["street", "locality", "tags"], tags: { _sd: [0, 1], 1: { _sd: ["b"] } } } }, { address: { locality: true, tags: { 1: { b: true } } } }],
    array: [{ list: ["a", "b", "c"] }, { list: { _sd: [0, 2], _sd_decoy: 2 } }, { list: { 2: true } }],
    "objects in array": [{ list: [{ a: 1, b: 2 }, { c: 3 }] }, { list: { 0: { _sd: ["a"] }, _sd: [1], 1: { _sd: ["c"] } } }, { list: { 0: { a: true }, 1: { c: true } } }],
    "odd values": [{ zero: 0, none: null, text: "", list: [], no: false }, { _sd: ["zero", "none", "text", "list", "no"] }, { zero: true, none: true, text: true, list: true, no: true }],
};

const core = new Count("@sd-jwt/core");
const vc = new Count("@sd-jwt/sd-jwt-vc");

for (const [count, Type, header] of [
    [core, SDJwtInstance, { typ: "example+sd-jwt" }],
    [vc, SDJwtVcInstance, {}],
]) {
    const cases = [];
    for (const issuerAlg of ALGS) {
        for (const holderAlg of ALGS) {
            for (const [name, [claims, frame, shown]] of Object.entries(SHAPES)) {
                const issuer = key(issuerAlg);
                const holder = key(holderAlg);
                const library = instance(Type, issuer, holder);
                const all = { iss: "https://issuer.example", iat: NOW, exp: NOW + 3600, vct: "https://issuer.example/x", ...claims, cnf: { jwk: holder.public } };
                const token = await library.issue(all, frame, { header });
                const base = { issuer_jwk: issuer.public, now: NOW, ...(Type === SDJwtVcInstance ? { vc: true } : { typ: ["example+sd-jwt"] }) };
                const id = `${issuerAlg}/${holderAlg} ${name}`;
                cases.push({ id: `${id}, issued`, token, ...base, expect: accepted(await library.getClaims(token)) });
                const some = await library.present(token, shown);
                const value = await library.getClaims(some);
                cases.push({ id: `${id}, shown`, token: some, ...base, expect: accepted(value) });
                const bound = await library.present(token, shown, { kb: { payload: { iat: NOW, aud: AUD, nonce: NONCE } } });
                cases.push({ id: `${id}, bound`, token: bound, ...base, kb, expect: accepted(value) });
                cases.push({ id: `${id}, bound, wrong nonce`, token: bound, ...base, kb: { ...kb, nonce: "x" }, expect: rejected("NonceMismatch") });
                cases.push({ id: `${id}, bound, wrong audience`, token: bound, ...base, kb: { ...kb, aud: "x" }, expect: rejected("AudienceMismatch") });
                cases.push({ id: `${id}, bound, too late`, token: bound, ...base, now: NOW + 301, kb, expect: rejected("IatOutsideWindow") });
                cases.push({ id: `${id}, expired`, token: some, ...base, now: NOW + 3600, expect: rejected("Expired") });
                cases.push({ id: `${id}, by another`, token: some, ...base, issuer_jwk: key(issuerAlg).public, expect: rejected("BadSignature") });
                const parts = bound.split("~");
                if (parts.length > 3) {
                    const fewer = [...parts.slice(0, -2), parts.at(-1)].join("~");
                    cases.push({ id: `${id}, one disclosure less`, token: fewer, ...base, kb, expect: { verdict: "rejected" } });
                }
            }
        }
    }
    count.theySign("sd-jwt", cases);
    await count.weSign("sd-jwt", async (ours) => {
        const issuer = { ...key("EdDSA"), public: ours.issuer_jwk };
        const library = instance(Type, issuer, { ...key("EdDSA"), public: ours.value.cnf.jwk });
        const { payload } = await library.verify(ours.token, ours.kb && { keyBindingNonce: ours.kb.nonce });
        return isDeepStrictEqual(payload, ours.value);
    });
    count.finish();
}
