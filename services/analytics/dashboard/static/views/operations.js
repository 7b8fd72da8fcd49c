// How the installation does: throughput, lag, workers, versions, dead letters and their replay.

import { get, post } from "../api.js";
import { series } from "../charts/series.js";
import { behind, counted, data, decimal, h, panel, percent, short, table, whole, words } from "../dom.js";

const EVERY_MS = 2_000, KEPT = 90;

export function view(main) {
  let given = null, before = null, history = [], shown = [];
  const rate = panel("throughput", "Throughput", "w8"), lag = panel("lag", "How far behind", "w4");
  const draw = series(rate.body, "Messages stored a second");
  const rateNumbers = h("div");
  rate.body.append(behind("throughput-data", rateNumbers));
  const parts = panel("partitions", "Partitions", "w8"), workers = panel("workers", "Workers", "w8");
  const letters = panel("letters", "Dead letters", ""), versions = panel("versions", "Versions and rebuilds", "w4");
  const reasons = panel("reasons", "Why letters are dead", "w4");
  const shelf = (part, kind = "scroll tall") => {
    const element = h("div", { class: kind, tabindex: 0 });
    part.body.append(element);
    return element;
  };
  const shelves = { lag: shelf(lag), partitions: shelf(parts), workers: shelf(workers), versions: shelf(versions),
      reasons: shelf(reasons) };
  const said = h("p", { class: "note", id: "letters-said", role: "status" }, " ");
  const all = h("button", { type: "button", disabled: true, onclick: () => replay(shown) }, "Replay those shown");
  letters.tools.append(all);
  letters.body.append(said);
  const pile = shelf(letters);
  main.replaceChildren(...[rate, lag, parts, versions, workers, reasons, letters].map((part) => part.element));

  const ago = (time, now) => {
    if (!time) return "never";
    const seconds = Math.max(0, (Date.parse(now) - Date.parse(time)) / 1000);
    const [unit, size] = seconds < 120 ? ["s", 1] : seconds < 7200 ? ["min", 60] : seconds < 172_800 ? ["h",
        3600] : ["days", 86_400];
    return `${whole(Math.floor(seconds / size))} ${unit} ago`;
  };
  const pill = (good, text) => h("span", { class: `pill ${good ? "good" : "bad"}` }, text);

  function drawRates(status) {
    const stored = {};
    for (const part of status.partitions) stored[part.service] = (stored[part.service] ?? 0) + (part.stored ?? 0);
    const now = Date.parse(status.time);
    if (before && now > before.now) {
      const point = { at: status.time.slice(11, 19) };
      for (const service of Object.keys(stored)) point[service] = Math.max(0,
          ((stored[service] - (before.stored[service] ?? 0)) * 1000) / (now - before.now));
      history = [...history, point].slice(-KEPT);
    }
    if (!before || now > before.now) before = { now, stored };
    const services = Object.keys(stored);
    draw(history.map((point) => point.at), services.map((service) => ({ name: service,
        values: history.map((point) => point[service] ?? 0) })),
      (value, brief) => (brief ? short(value) : decimal(value, 1)), (time) => time);
    rateNumbers.replaceChildren(table("Messages stored a second, as seen since this page is open", ["Time (UTC)",
        ...services],
      history.map((point) => [point.at, ...services.map((service) => data(point[service], decimal(point[service],
          1)))])));
  }

  function show(status) {
    drawRates(status);
    shelves.lag.replaceChildren(
      table("Messages not stored yet, and how long a message takes from Kafka until it is stored", ["Service",
          "Behind", "p50", "p99"],
        Object.entries(status.lag).map(([service, behindBy]) => {
          const { p50_ms: half, p99_ms: most } = status.latency[service];
          return [service, counted(behindBy), half === null ? "–" : `${decimal(half, 0)} ms`,
              most === null ? "–" : `${decimal(most, 0)} ms`];
        })),
      table("Stored", ["Documents", "Number"], [...Object.entries(status.documents), ["outbox",
          status.outbox]].map(([name, count]) => [name, counted(count)])));
    shelves.partitions.replaceChildren(table("Where a lag grows, its worker is too slow or away", ["Partition",
        "Stored", "End", "Behind", "Moved"],
      status.partitions.map((part) => [`${part.service}: ${part.topic}/${part.partition}`,
          part.stored === null ? "–" : counted(part.stored),
        counted(part.end), counted(part.lag), ago(part.moved, status.time)])));
    shelves.workers.replaceChildren(table("Each works on the partitions that it claimed last", ["Worker", "Service",
        "State", "Behind", "Partitions"],
      status.workers.map((worker) => [worker.owner ?? "nobody yet", worker.service,
        worker.owner === null ? "–" : pill(worker.alive,
            worker.alive ? "alive" : `silent, seen ${ago(worker.seen, status.time)}`),
        counted(worker.lag), h("span", { title: worker.partitions.join(", ") }, whole(worker.partitions.length))])));
    shelves.versions.replaceChildren(table("A rebuild makes a new version beside the live one", ["Service", "Live",
        "Being built", "Kept"],
      Object.entries(status.versions).map(([service, found]) => [service, data(found.live, `version ${found.live}`),
        found.building === null ? "–" : data(found.built,
            `version ${found.building}: ${found.total ? percent(found.built / found.total) : "0%"}`),
        found.previous === null ? "–" : `version ${found.previous}`])));
  }

  async function replay(ids) {
    const { options } = given;
    all.disabled = true;
    try {
      const { replayed, left_out: left } = await post("/v1/dead-letters/replay", { ids }, options);
      said.className = "note";
      said.textContent = `${whole(replayed)} published again${left.length ? `; ${whole(left.length)} left out,
          because they would be refused again or counted twice` : ""}.`;
      await loadLetters();
    } catch (error) {
      if (options.signal.aborted) return;
      said.className = "failed";
      said.textContent = `Not done: ${error.message}`;
      all.disabled = shown.length === 0;
    }
  }

  async function loadLetters() {
    const { options } = given;
    try {
      const { items, reasons: byReason } = await get("analytics", "/v1/dead-letters", { limit: 50 }, options);
      const ids = items.map((item) => item.id);
      if (ids.join() === shown.join() && pile.childElementCount) return;
      shown = ids;
      all.disabled = !items.length;
      const counts = Object.entries(byReason);
      shelves.reasons.replaceChildren(counts.length ? table("Open ones, by reason", ["Reason", "Letters"],
        counts.map(([reason, count]) => [words(reason), counted(count)])) : h("p", { class: "note" },
            "None are open."));
      pile.replaceChildren(items.length ? table(`Open, the latest ${whole(items.length)}`, ["Dead letter", "",
          "Reason", "Detail", "Type", "Came"],
        items.map((item) => [item.id, h("button", { type: "button", "aria-label": `Replay ${item.id}`,
            onclick: () => replay([item.id]) }, "Replay"),
          words(item.reason), h("span", { class: "detail" }, `${item.field ? `${item.field}: ` : ""}${item.detail}`),
              item.type ?? "–", item.time.slice(0, 19).replace("T", " ")]))
        : h("p", { class: "note" }, "None are open."));
    } catch (error) {
      if (!options.signal.aborted) pile.replaceChildren(h("p", { class: "failed" }, `Not shown: ${error.message}`));
      throw error;
    }
  }

  async function watch() {
    const { options } = given, { signal } = options;
    let silent = false;
    const attempt = async (job) => {
      try {
        await job();
      } catch (error) {
        // What this key may not see, it need not ask for again.
        if (error.status === 401 || error.status === 403) silent = true;
      }
    };
    await attempt(loadLetters);
    const lettersHidden = silent;
    for (let round = 1; !signal.aborted; round += 1) {
      try {
        show(await get("analytics", "/v1/operations", {}, options));
        given.tell("live", "Live");
      } catch (error) {
        if (signal.aborted) return;
        given.tell("cut", "Not live, trying again …");
        if (before === null) shelves.lag.replaceChildren(h("p", { class: "failed" }, `Not shown: ${error.message}`));
        if (error.status === 401 || error.status === 403) return;
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      if (round % 5 === 0 && !lettersHidden && !signal.aborted) await attempt(loadLetters);
    }
  }

  return {
    filter(next) {
      given = next;
      watch();
      return null;
    },
  };
}
