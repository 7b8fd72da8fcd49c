// How the installation does: throughput, lag, workers, versions, dead letters and their replay.

import { part } from "../answers.js";
import { get } from "../api.js";
import { series } from "../charts/series.js";
import { behind, counted, data, decimal, h, panel, percent, plural, shelf, short, table, whole, words } from "../dom.js";
import { letters } from "./letters.js";

const EVERY_MS = 2_000, LETTERS_EVERY = 5, KEPT = 90;

export function ago(time, now) {
  if (!time) return "never";
  const seconds = Math.max(0, (Date.parse(now) - Date.parse(time)) / 1000);
  // A mask is no time.
  if (Number.isNaN(seconds)) return String(time);
  const [unit, size] = seconds < 120 ? ["s", 1] : seconds < 7200 ? ["min", 60] : seconds < 172_800 ? ["h",
    3600] : ["days", 86_400];
  return `${whole(Math.floor(seconds / size))} ${unit} ago`;
}
const pill = (good, text) => h("span", { class: `pill ${good ? "good" : "bad"}` }, text);

export function view(main, caller) {
  let before = null, history = [];
  const watches = caller.may("metrics:read"), dead = caller.may("admin") ? letters(caller) : null;
  const panels = { throughput: panel("throughput", "Throughput", "w8", "charted"),
    lag: panel("lag", "How far behind", "w4", "charted"), partitions: panel("partitions", "Partitions", "w8", "listed"),
    versions: panel("versions", "Versions and rebuilds", "w4", "listed"), workers: panel("workers", "Workers", "") };
  const chart = series("Messages stored a second", undefined, "The first values come with the next reading."), numbers = behind("throughput-data");
  const shelves = Object.fromEntries(Object.entries({ lag: "list", partitions: "list", versions: "list",
    workers: "scroll" }).map(([name, kind]) => [name, shelf(kind, panels[name].heading.textContent)]));
  const all = watches ? part(Object.values(panels).map(({ body }) => body)) : null;
  main.replaceChildren(...(watches ? Object.values(panels).map((one) => one.element) : []), ...(dead?.panels ?? []));

  function drawRates(status) {
    const stored = {};
    for (const one of status.partitions) stored[one.service] = (stored[one.service] ?? 0) + (one.stored ?? 0);
    const now = Date.parse(status.time);
    if (before && now > before.now) {
      const point = { at: status.time.slice(11, 19) };
      for (const service of Object.keys(stored)) point[service] = Math.max(0,
          ((stored[service] - (before.stored[service] ?? 0)) * 1000) / (now - before.now));
      history = [...history, point].slice(-KEPT);
    }
    if (!before || now > before.now) before = { now, stored };
    const services = Object.keys(stored);
    chart.draw(history.map(({ at }) => ({ name: at, mark: at })), services.map((service) => ({ name: service,
      values: history.map((point) => point[service] ?? 0) })), (value, brief) => (brief ? short(value)
      : decimal(value, 1)));
    numbers.fill(table("Messages stored a second, as seen since this page is open", ["Time (UTC)", ...services],
      history.map((point) => [point.at, ...services.map((service) => data(point[service], decimal(point[service],
          1)))])));
  }

  const milliseconds = (value) => (value === null ? "–" : `${decimal(value, 0)} ms`);
  function show(status) {
    drawRates(status);
    shelves.lag.replaceChildren(
      table("Messages not stored yet, and in what time half of all and 99% get from Kafka into MongoDB",
        ["Service", "Behind", "Half in", "99% in"], Object.entries(status.lag).map(([service, behindBy]) =>
          [service, counted(behindBy), milliseconds(status.latency[service]?.p50_ms ?? null),
            milliseconds(status.latency[service]?.p99_ms ?? null)])),
      table("Stored", ["Documents", "Number"], [...Object.entries(status.documents), ["outbox",
          status.outbox]].map(([name, count]) => [words(name), counted(count)])));
    shelves.partitions.replaceChildren(table(`${plural(status.partitions.length, "partition")}. Where a lag grows, its worker is too slow or gone`,
      ["Partition", "Stored", "End", "Behind", "Moved"],
      status.partitions.map((one) => [`${one.service}: ${one.topic}/${one.partition}`,
        one.stored === null ? "–" : counted(one.stored), counted(one.end), counted(one.lag), ago(one.moved, status.time)])));
    shelves.workers.replaceChildren(status.workers.length ? table("Each works on the partitions that it claimed last",
      ["Worker", "Service", "State", "Behind", "Partitions"],
      status.workers.map((worker) => [worker.owner ?? "nobody yet", worker.service,
        worker.owner === null ? "–" : pill(worker.alive,
            worker.alive ? "alive" : `silent, seen ${ago(worker.seen, status.time)}`),
        counted(worker.lag), h("span", { title: worker.partitions.join(", ") }, whole(worker.partitions.length))]), "workers")
      : h("p", { class: "note" }, "No worker has claimed a partition yet."));
    shelves.versions.replaceChildren(table("A rebuild makes a new version beside the live one", ["Service", "Live",
        "Being built", "Kept"],
      Object.entries(status.versions).map(([service, found]) => [service, data(found.live, `version ${found.live}`),
        found.building === null ? "–" : data(found.built,
            `version ${found.building}: ${found.total ? percent(found.built / found.total, 0) : "0%"}`),
        found.previous === null ? "–" : `version ${found.previous}`])));
    return [[chart.element, numbers.element], [shelves.lag], [shelves.partitions], [shelves.versions], [shelves.workers]];
  }

  async function watch(filter) {
    const { signal } = filter;
    let refused = 0;
    for (let round = 0; !signal.aborted; round += 1) {
      if (dead && round % LETTERS_EVERY === 0) dead.load(filter);
      if (all) {
        // What the key may not see is said, and not asked for again.
        const found = await all.ask(filter, async (options) => {
          try {
            const found = await get("analytics", "/v1/operations", {}, options);
            // A key that does not see times is told how long ago by the clock of the browser.
            return Number.isNaN(Date.parse(found.time)) ? { ...found, time: new Date().toISOString() } : found;
          } catch (error) {
            refused = error.status;
            throw error;
          }
        }, show);
        if (signal.aborted) return;
        filter.tell(found ? "live" : "cut", found ? "Live" : "Not live, trying again …");
        if (refused >= 400 && refused < 500 && refused !== 429) {
          filter.tell("cut", "Not live");
          return;
        }
        refused = 0;
      } else filter.tell("live", "Live");
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  return {
    filter(next) {
      before = null;
      history = [];
      watch(next);
      return null;
    },
  };
}
