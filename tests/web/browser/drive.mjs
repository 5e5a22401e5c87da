// A browser that does what it is told, one call a line: a verb and its arguments as a JSON array. It answers with
// {"ok": …} or {"error": …}. What it sees of the page is checked by the test, not here.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

let page;
let seen;

const verbs = {
  // A new page. What it asks for, complains of and opens is kept.
  async open(url, { width = 1280, dark = false, script = true, clock = false } = {}) {
    await page?.context().close();
    const context = await browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: dark ? "dark" : "light",
      javaScriptEnabled: script,
    });
    context.setDefaultTimeout(30_000);
    page = await context.newPage();
    // The timers of the page go by a clock that `forward` moves.
    if (clock) await page.clock.install();
    seen = { requests: [], complaints: [], dialogs: [] };
    page.on("request", (request) => seen.requests.push(request.url()));
    page.on("console", (message) => seen.complaints.push(message.text()));
    page.on("pageerror", (error) => seen.complaints.push(String(error)));
    page.on("dialog", (dialog) => { seen.dialogs.push(dialog.message()); dialog.dismiss(); });
    await page.goto(url, { waitUntil: "load" });
  },
  seen: async () => seen,
  text: async (selector) => page.locator(selector).evaluateAll((all) => all.map((one) => one.innerText ?? one.textContent)),
  // Waits until an element holds this text.
  shows: async (selector, text) => { await page.locator(selector, { hasText: text }).first().waitFor(); },
  hides: async (selector) => { await page.locator(selector).first().waitFor({ state: "detached" }); },
  click: async (selector) => { await page.locator(selector).first().click(); },
  press: async (key) => { await page.keyboard.press(key); },
  focused: async () => page.evaluate(() => document.activeElement?.id ?? ""),
  focus: async (selector) => { await page.locator(selector).first().focus(); },
  type: async (text) => { await page.keyboard.type(text); },
  value: async (selector) => page.locator(selector).inputValue(),
  url: async () => page.url(),
  forward: async (millis) => { await page.clock.fastForward(millis); },
  // Where an element is seen, and how large its letters are.
  box: async (selector) => page.evaluate((selector) => {
    const one = document.querySelector(selector);
    const { left, right, width, height } = one.getBoundingClientRect();
    return { left, right, width, height, letters: parseFloat(getComputedStyle(one).fontSize) };
  }, selector),
  // A mark that a page read anew does not bear.
  mark: async () => { await page.evaluate(() => { window.mark = true; }); },
  marked: async () => page.evaluate(() => window.mark === true),
  // How much wider than the window the page is, and what sticks out.
  overflow: async () => page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter((one) => {
      const { left, right } = one.getBoundingClientRect();
      return right > width + 1 || left < -1;
    });
    return { by: document.documentElement.scrollWidth - width, elements: out.map((one) => one.outerHTML.slice(0, 200)) };
  }),
  // Every rule of axe; where it finds nothing, how many rules were looked at.
  async axe() {
    // Evaluated by the browser's own tool: the page's policy forbids scripts of others.
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
    const told = (results) => results.map((one) => ({
      rule: one.id,
      impact: one.impact,
      help: one.help,
      nodes: one.nodes.map((node) => `${node.html} ${node.failureSummary ?? ""}`),
    }));
    // It cannot tell the contrast of text in a drawing. Colours and paper are those of text elsewhere, of which it can.
    const isDrawn = (node) => node.html.startsWith("<text ");
    const unsure = found.incomplete.map((one) => ({ ...one, nodes: one.nodes.filter((node) => one.id !== "color-contrast" || !isDrawn(node)) }));
    return { passed: found.passes.length, violations: told(found.violations), incomplete: told(unsure.filter((one) => one.nodes.length > 0)) };
  },
  async screenshot(path) { await page.screenshot({ path, fullPage: true }); },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const [verb, ...others] = JSON.parse(line);
    answer = { ok: (await verbs[verb](...others)) ?? null };
  } catch (error) {
    const text = page ? await page.locator("body").innerText().catch(() => "") : "";
    answer = { error: `${error}\nthe page reads:\n${text}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
