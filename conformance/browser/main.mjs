// Runs the checks whose names contain the first argument; all of them without one.

import { Browser, Report } from "./bench.mjs";
import { consent } from "./consent.mjs";
import { ordinary } from "./ordinary.mjs";
import { portal } from "./portal.mjs";

const report = new Report(process.argv[2]);
const browser = await Browser.launch();
try {
  await consent(report, browser);
  await portal(report, browser);
  await ordinary(report, browser);
} catch (error) {
  await report.check("the bench itself", () => Promise.reject(error));
} finally {
  await browser.close();
}
console.log(`${report.passed} passed, ${report.failed} failed, 0 skipped`);
process.exit(report.failed > 0 || report.passed === 0 ? 1 : 0);
