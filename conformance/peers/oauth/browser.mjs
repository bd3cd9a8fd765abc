// As much of a browser as a login takes: cookies, redirects and forms.

const MOST_REDIRECTS = 10;
const NAVIGATION = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", accept: "text/html" };

export class Person {
  #cookies = new Map();

  /** Opens `url` and goes wherever it leads; gives the page, its address, and the addresses on the way. */
  async open(url, form) {
    const way = [];
    let request = form ? { method: "POST", body: new URLSearchParams(form) } : {};
    for (let i = 0; i < MOST_REDIRECTS; i += 1) {
      way.push(url);
      const answer = await fetch(url, {
        ...request,
        redirect: "manual",
        headers: { ...NAVIGATION, cookie: this.#cookiesFor(url) },
        signal: AbortSignal.timeout(15_000),
      });
      this.#keep(url, answer.headers.getSetCookie());
      const location = answer.headers.get("location");
      const text = await answer.text();
      if (!location) return { status: answer.status, headers: answer.headers, text, url, way };
      url = new URL(location, url).href;
      request = {};
    }
    throw new Error("too many redirects");
  }

  /** Sends the form of a page, with these fields filled in. */
  submit(page, filled = {}) {
    const form = /<form[^>]*action="([^"]+)"[^>]*>([\s\S]*?)<\/form>/.exec(page.text);
    if (!form) throw new Error(`no form on ${page.url}`);
    const fields = {};
    for (const [input] of form[2].matchAll(/<input[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(input)?.[1];
      if (name) fields[name] = /value="([^"]*)"/.exec(input)?.[1] ?? "";
    }
    return this.open(new URL(form[1], page.url).href, { ...fields, ...filled });
  }

  #cookiesFor(url) {
    const { host, pathname } = new URL(url);
    const fits = ([, cookie]) => cookie.host === host && pathname.startsWith(cookie.path);
    return [...this.#cookies].filter(fits).map(([, { name, value }]) => `${name}=${value}`).join("; ");
  }

  #keep(url, lines) {
    const { host } = new URL(url);
    for (const line of lines) {
      const [pair, ...attributes] = line.split(/;\s*/);
      const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
      const path = attributes.map((text) => /^path=(.*)/i.exec(text)?.[1]).find(Boolean) ?? "/";
      const over = attributes.some((text) => /^expires=/i.test(text) && Date.parse(text.slice(8)) < Date.now());
      if (over) this.#cookies.delete(`${host}${path} ${name}`);
      else this.#cookies.set(`${host}${path} ${name}`, { host, path, name, value });
    }
  }
}

/** Signs in and consents at oidc-provider's own pages; gives the page at the end. */
export async function consent(person, url) {
  const login = await person.open(url);
  const page = await person.submit(login, { login: "robin", password: "x" });
  return { login, page, end: await person.submit(page) };
}
