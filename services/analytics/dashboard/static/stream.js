// Server-sent events by fetch, which can carry a key.

import { Failed, request } from "./api.js";
import { parse } from "./exact.js";

const SILENCE_MS = 25_000;

// `tell(event, data)` gets each event, `state(name, text)` how the stream is. Comes back by itself until the signal
// aborts, or the service refuses.
export async function stream(query, options, tell, state) {
  let wait = 1_000;
  const { signal } = options;
  while (!signal.aborted) {
    const silence = new AbortController();
    let timer = null;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      alive();
      const both = AbortSignal.any([signal, silence.signal]);
      const answer = await request("analytics", "/v1/live", query, { ...options, signal: both });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) break;
        alive();
        text += value;
        const frames = text.split("\n\n");
        text = frames.pop();
        for (const frame of frames) {
          const fields = Object.fromEntries(frame.split("\n").map((line) => line.split(/: (.*)/s)));
          if (fields.event === "away") state("cut", JSON.parse(fields.data).detail);
          else if (fields.event) {
            wait = 1_000;
            state("live", "Live");
            tell(fields.event, parse(fields.data));
          }
        }
      }
      if (!signal.aborted) state("waiting", "Connecting …");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Failed && error.status >= 400 && error.status < 500 && error.status !== 429) {
        state("cut", "Not live");
        tell("failed", { detail: error.message, status: error.status });
        return;
      }
      if (!(error instanceof Failed) && error.name !== "AbortError" && error.name !== "TypeError") throw error;
      state("cut", "Not live, trying again …");
      tell("away", { detail: error.message, status: error.status ?? 0 });
    } finally {
      clearTimeout(timer);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, 15_000);
  }
}
