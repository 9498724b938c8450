/** Reads a private RSA key, as openssl writes it. */
export async function readKey(pem) {
  const der = Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
  return crypto.subtle.importKey('pkcs8', der, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign']);
}

// A browser without a screen, for clients that have no page: it follows redirects, and fills in the forms of Latchkey.
export class Browser {
  #cookies = new Map();

  constructor(site) {
    this.site = site;
  }

  /** Sends a request, and follows redirects inside the site. Returns the page, or where another site is to go on. */
  async #send(url, form) {
    const headers = { Origin: this.site, Cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
    const answer = await fetch(url, { method: form ? 'POST' : 'GET', body: form, headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(line);
      if (value) this.#cookies.set(name, value);
      else this.#cookies.delete(name);
    }
    const next = answer.headers.get('location');
    if (!next) return { page: await answer.text() };
    const to = new URL(next, this.site);
    return to.origin === this.site ? this.#send(to) : { to };
  }

  /** Fills in the form of a page and sends it. */
  async #submit(page, action, fields) {
    const form = new RegExp(`<form method="post" action="${action}".*?</form>`, 's').exec(page)[0];
    const hidden = [...form.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const values = hidden.map(([, name, value]) => [name, value.replaceAll('&#38;', '&').replaceAll('&amp;', '&')]);
    return this.#send(this.site + action, new URLSearchParams([...values, ...Object.entries(fields)]));
  }

  /** Opens a page of the site, logs in and allows what is asked. Returns where the browser goes on. */
  async passes(url, login, password) {
    let { page, to } = await this.#send(url);
    if (page?.includes('action="/login"')) ({ page, to } = await this.#submit(page, '/login', { login, password }));
    if (page?.includes('action="/oauth/consent"')) ({ page, to } = await this.#submit(page, '/oauth/consent', { decision: 'allow' }));
    if (!to) throw new Error(`the browser stays at Latchkey: ${page}`);
    return to;
  }
}
