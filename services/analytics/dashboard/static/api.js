// Questions to the services, with the reader's API key, and the stream of figures.

const KEY = "kith-key";
const SILENCE_MS = 25_000;
let origins = { analytics: "", relations: null };
let asking = null;

export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// A link may bring the key behind its #, which never reaches a server; it leaves the address bar at once.
export async function begin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const answer = await fetch("config.json");
  origins = { ...origins, ...(await answer.json()) };
}

function headers(tenant) {
  const key = sessionStorage.getItem(KEY);
  return { ...(key && { Authorization: `Bearer ${key}` }), ...(tenant && { "Kith-Tenant": tenant }) };
}

async function why(answer) {
  try {
    const { detail } = await answer.json();
    return new Failed(answer.status, detail ?? answer.statusText);
  } catch {
    return new Failed(answer.status, `the answer was ${answer.status} ${answer.statusText}`);
  }
}

// Asks for a key, once for all who need one.
function askForKey(detail) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask"), input = document.getElementById("ask-key");
    document.getElementById("ask-why").textContent = detail;
    input.value = "";
    dialog.addEventListener("close", () => {
      if (input.value) sessionStorage.setItem(KEY, input.value.trim());
      asking = null;
      resolve(Boolean(input.value));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

async function request(service, path, query, { tenant, signal, method = "GET", body } = {}) {
  const origin = origins[service];
  if (origin === null) throw new Failed(0, "the address of the relations API is not known here");
  const asked = Object.entries(query ?? {}).filter(([,
      value]) => value !== null && value !== undefined && value !== "");
  const url = `${origin}${path}${asked.length ? `?${new URLSearchParams(asked)}` : ""}`;
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const type = body && { "Content-Type": "application/json" };
    let answer;
    try {
      const sent = { method, signal, headers: { ...headers(tenant), ...type }, body: body && JSON.stringify(body) };
      answer = await fetch(url, { ...sent, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failed(0, `the ${service} service cannot be reached`);
    }
    if (answer.ok) return answer;
    const failed = await why(answer);
    if (answer.status !== 401) throw failed;
    // Somebody else may have been given a key meanwhile.
    if (key === sessionStorage.getItem(KEY) && !(await askForKey(failed.message))) throw failed;
  }
}

export const get = async (service, path, query, options) => (await request(service, path, query, options)).json();
export const post = async (path, body, options) =>
  (await request("analytics", path, {}, { ...options, method: "POST", body })).json();

// Server-sent events by fetch, which can carry a key. `tell(event, data)` gets each event, `state(name, text)` how
// the stream is. Comes back by itself until the signal aborts.
export async function stream(query, options, tell, state) {
  let wait = 1_000;
  const { signal } = options;
  while (!signal.aborted) {
    const silence = new AbortController();
    const stop = () => silence.abort();
    signal.addEventListener("abort", stop);
    let timer = null;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
    };
    try {
      alive();
      const answer = await request("analytics", "/v1/live", query, { ...options, signal: silence.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        alive();
        text += value;
        const frames = text.split("\n\n");
        text = frames.pop();
        for (const frame of frames) {
          const fields = Object.fromEntries(frame.split("\n").map((line) => line.split(/: (.*)/s)));
          if (fields.event === "away") state("cut", fields.data && JSON.parse(fields.data).detail);
          else if (fields.event) {
            wait = 1_000;
            state("live", "Live");
            tell(fields.event, JSON.parse(fields.data));
          }
        }
      }
      if (!signal.aborted) state("waiting", "Connecting …");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Failed && error.status >= 400 && error.status < 500 && error.status !== 429) {
        state("cut", "Not live");
        tell("failed", { detail: error.message });
        return;
      }
      state("cut", "Not live, trying again …");
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, 15_000);
  }
}
