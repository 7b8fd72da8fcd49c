// The filter: what the address bar says, the form shows and the questions carry.

const FIELDS = ["period", "from", "to", "kind", "category", "tenant"];
export const DAY_MS = 86_400_000;
export const PERIODS = { 7: "7 days", 30: "30 days", 90: "90 days", 365: "365 days" };

const name = (ms) => new Date(ms).toISOString().slice(0, 10);
export const dayMs = (day) => Date.parse(`${day}T00:00:00Z`);
export const following = (day, days = 1) => name(dayMs(day) + days * DAY_MS);
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "") && !Number.isNaN(dayMs(text));

export function readAddress() {
  const address = new URLSearchParams(location.search);
  const found = { view: address.get("view") || "overview" };
  for (const field of FIELDS) found[field] = address.get(field) || "";
  if (isDay(found.from) && isDay(found.to) && found.from <= found.to) found.period = "own";
  else {
    found.from = found.to = "";
    if (!(found.period in PERIODS)) found.period = "30";
  }
  // What a view keeps for itself.
  found.own = Object.fromEntries([...address].filter(([field]) => field !== "view" && !FIELDS.includes(field)));
  return found;
}

export function address(state) {
  const kept = new URLSearchParams({ view: state.view });
  for (const field of FIELDS) {
    if (state[field] && !(field === "period" && (state.period === "30" || state.period === "own"))) kept.set(field,
        state[field]);
  }
  for (const [field, value] of Object.entries(state.own ?? {})) if (value) kept.set(field, value);
  return `?${kept}`;
}

// First and last day that count.
export function days(state) {
  if (state.period === "own") return [state.from, state.to];
  const today = name(Date.now());
  return [following(today, 1 - Number(state.period)), today];
}

// What the services are asked: `to` is the day after the last.
export function query(state) {
  const [from, last] = days(state);
  return { from, to: following(last), kind: state.kind, category: state.category };
}

export function form(element, state, change) {
  const fields = element.elements;
  const show = () => {
    for (const field of FIELDS) fields[field].value = state()[field];
    const [from, last] = days(state());
    fields.from.value = from;
    fields.to.value = last;
  };
  element.addEventListener("submit", (event) => event.preventDefault());
  element.addEventListener("change", ({ target }) => {
    const next = { ...state(), [target.name]: target.value.trim() };
    if (target.name === "period" && target.value === "own") [next.from, next.to] = days(state());
    else if (target.name === "period") next.from = next.to = "";
    else if (target.name === "from" || target.name === "to") {
      [next.from, next.to] = [fields.from.value, fields.to.value];
      if (!isDay(next.from) || !isDay(next.to)) return;
      if (next.from > next.to) next[target.name === "from" ? "to" : "from"] = target.value;
      next.period = "own";
    }
    change(next);
    show();
  });
  show();
  return show;
}
