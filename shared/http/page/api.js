// Questions to the services, with the reader's credential.

import { parse } from "./exact.js";

const LONGEST_WAIT_S = 10, TIMES = 4;
let config = {}, page = {};
const quotas = new Map();

export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// `home` is the service that serves the page. `credential(service)` gives what the reader shows to a service;
// `refused(detail, credential, service)` is called when a service does not know it (any more); whether there is another
// to be shown. `patient`: a question beyond the quota is asked again when there is quota, four times at most.
export async function begin({ home, credential, refused, patient = false }) {
  page = { home, credential, refused, patient };
  config = await own("config.json");
  return config;
}

// A file of the page, or what the service says of the page's caller.
export async function own(path, signal) {
  const headers = authorized(await page.credential(page.home));
  const answer = await sent(path, { signal, headers, cache: "no-store" }, page.home);
  if (!answer.ok) throw await why(answer);
  return answer.json();
}

const authorized = (held, tenant) => ({ ...(held && { Authorization: `Bearer ${held}` }),
  ...(tenant && { "Kith-Tenant": tenant }) });

// The quota of requests as of a service's latest answer, { limit, left }, or undefined.
export const quota = (service) => quotas.get(service);

async function sent(url, options, service) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A header cannot hold every text that somebody may type.
    if (error instanceof TypeError && /header/i.test(error.message))
      throw new Failed(400, "the key or the tenant has characters that cannot be sent");
    throw new Failed(0, `the ${service} service cannot be reached`);
  }
}

async function why(answer) {
  try {
    const { detail } = await answer.json();
    return new Failed(answer.status, detail ?? answer.statusText);
  } catch (error) {
    // A question that was given up while its answer was being read has no answer; what gave it up says why.
    if (error.name === "AbortError") throw error;
    return new Failed(answer.status, `the answer was ${answer.status} ${answer.statusText}`);
  }
}

// Throws Failed. Values that are null, undefined or empty are left out, arrays are repeated.
export async function request(service, path, query, { tenant, signal, method = "GET", body, again = true, left = TIMES } = {}) {
  const origin = service === page.home ? "" : config[service];
  if (origin === undefined) throw new Failed(400, `the address of the ${service} API is not known here`);
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {}))
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") asked.append(name, one);
  const held = await page.credential(service, signal), type = body && { "Content-Type": "application/json" };
  const answer = await sent(`${origin}${path}${asked.size ? `?${asked}` : ""}`, { method, signal,
    headers: { ...authorized(held, tenant), ...type }, body: body && JSON.stringify(body), cache: "no-store",
    credentials: "omit" }, service);
  const limit = answer.headers.get("RateLimit-Limit");
  if (limit) quotas.set(service, { limit: Number(limit), left: Number(answer.headers.get("RateLimit-Remaining")) });
  if (answer.ok) return answer;
  const failed = await why(answer), wait = Number(answer.headers.get("Retry-After"));
  if (answer.status === 429 && page.patient && left > 0 && wait <= LONGEST_WAIT_S) {
    // Not all of a page at the same moment: there would be room for the first of them only.
    await new Promise((resolve) => setTimeout(resolve, (wait + (TIMES - left) + Math.random()) * 1_000));
    return request(service, path, query, { tenant, signal, method, body, again, left: left - 1 });
  }
  if (answer.status === 401 && page.refused(failed.message, held, service) === true && again)
    return request(service, path, query, { tenant, signal, method, body, again: false });
  throw failed;
}

export async function get(service, path, query, options) {
  const answer = parse(await (await request(service, path, query, options)).text());
  // Where the list itself is masked, there is nothing to show of it.
  if (answer.masked?.includes("items")) throw new Failed(403, "this key does not see the items");
  return answer;
}

// Does something. `body` undefined: without one. Gives the answer, null where it is empty.
export async function send(service, method, path, body, options) {
  const answer = await request(service, path, {}, { ...options, method, body });
  return answer.status === 204 ? null : answer.json();
}
