// Runs the suites that the arguments name; all of them without any.

import { Browser, Report } from "./bench.mjs";
import { consent } from "./consent.mjs";
import { dashboard } from "./dashboard.mjs";
import { ordinary } from "./ordinary.mjs";
import { portal } from "./portal.mjs";

const suites = { consent, portal, ordinary, dashboard };
const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
const report = new Report();
const browser = await Browser.launch();
try {
  for (const suite of wanted) await suites[suite](report, browser);
} catch (error) {
  await report.check("the bench itself", () => Promise.reject(error));
} finally {
  await browser.close();
}
console.log(`${report.passed} passed, ${report.failed} failed, 0 skipped`);
process.exit(report.failed > 0 || report.passed === 0 ? 1 : 0);
