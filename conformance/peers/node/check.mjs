// What every peer here needs: the binary under test, and the count of what passed.

import { spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

export const ALGS = ["EdDSA", "ES256"];
export const NOW = Math.floor(Date.now() / 1000);

export function key(alg) {
    const { publicKey, privateKey } =
        alg === "EdDSA" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
    return { alg, public: publicKey.export({ format: "jwk" }), jwk: privateKey.export({ format: "jwk" }), publicKey, privateKey };
}

export const privateKey = (jwk) => createPrivateKey({ key: jwk, format: "jwk" });
export const accepted = (value) => ({ verdict: "accepted", ...(value === undefined ? {} : { value }) });
export const rejected = (rule) => ({ verdict: "rejected", rule });

function binary(verb, kind, cases = []) {
    const input = cases.map((item) => JSON.stringify(item) + "\n").join("");
    const out = spawnSync(process.env.CONFORMANCE, [verb, kind], { input, encoding: "utf8", maxBuffer: 1 << 28 });
    if (out.status !== 0) throw new Error(`${verb} ${kind}: exit status ${out.status}`);
    return out.stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

// Checks of one peer. `finish` prints the counts that `run` adds up.
export class Count {
    constructor(name) {
        const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
        this.name = `${name} ${JSON.parse(readFileSync(file, "utf8")).version}`;
        this.passed = this.failed = 0;
    }

    check(what, good, seen = "") {
        if (good) {
            this.passed += 1;
        } else {
            this.failed += 1;
            console.log(`FAILED ${this.name}: ${what}`, JSON.stringify(seen));
        }
    }

    // Cases made by the peer, or by bending what it made; `expect` has the members that the verdict must have.
    theySign(kind, cases) {
        const verdicts = binary("vectors", kind, cases);
        this.check(`${kind}: one verdict for each case`, verdicts.length === cases.length);
        cases.forEach(({ id, expect }, index) => {
            const verdict = verdicts[index];
            const good = Object.entries(expect).every(([name, value]) => isDeepStrictEqual(verdict?.[name], value));
            this.check(`${kind}, ${id}`, good, verdict);
        });
    }

    // Cases signed by the binary, all or those wanted: `verify` throws or says whether it agrees.
    async weSign(kind, verify, wanted = () => true) {
        const cases = binary("sign", kind).filter(wanted);
        this.check(`${kind}: something to verify`, cases.length > 0);
        for (const item of cases) {
            let good, seen;
            try {
                good = await verify(item);
            } catch (error) {
                seen = String(error);
            }
            this.check(`${kind}, ours: ${item.id}`, good === true, seen);
        }
    }

    finish() {
        console.log(`${this.name}: ${this.passed} passed, ${this.failed} failed, 0 skipped`);
    }
}
