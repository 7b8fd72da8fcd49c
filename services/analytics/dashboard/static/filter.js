// The filter: what the address bar says, the form shows and the questions carry.

const FIELDS = ["period", "from", "to", "kind", "category", "currency", "tenant"];
export const DAY_MS = 86_400_000;
export const PERIODS = ["7", "30", "90", "365", "all"];
// The services list no more days of one period.
const MOST_DAYS = 3_660;

const name = (ms) => new Date(ms).toISOString().slice(0, 10);
export const today = () => name(Date.now());
export const dayMs = (day) => Date.parse(`${day}T00:00:00Z`);
export const following = (day, days = 1) => name(dayMs(day) + days * DAY_MS);
export const daysBetween = (from, to) => Math.round((dayMs(to) - dayMs(from)) / DAY_MS);
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "") && !Number.isNaN(dayMs(text));

export function readAddress() {
  const address = new URLSearchParams(location.search);
  const found = { view: address.get("view") || "" };
  for (const field of FIELDS) found[field] = address.get(field) || "";
  if (isDay(found.from) && isDay(found.to) && found.from <= found.to) found.period = "own";
  else {
    found.from = found.to = "";
    if (!PERIODS.includes(found.period)) found.period = "30";
  }
  // What a view keeps for itself.
  found.own = Object.fromEntries([...address].filter(([field]) => field !== "view" && !FIELDS.includes(field)));
  return found;
}

export function address(state) {
  const kept = new URLSearchParams({ view: state.view });
  for (const field of FIELDS) {
    const usual = field === "period" && (state.period === "30" || state.period === "own");
    if (state[field] && !usual) kept.set(field, state[field]);
  }
  for (const [field, value] of Object.entries(state.own ?? {})) if (value) kept.set(field, value);
  return `?${kept}`;
}

// How far the data goes, as the services tell it; null where the key does not see it.
export const dated = (extent) => ([extent.first, extent.last].every((day) => day === null || isDay(day)) ? extent : null);

// First and last day that count. All time goes from the first day of the data, `extent`, to today or its last, and
// ends with old data that would not fit in otherwise; null where nobody knows the extent.
export function days(state, extent) {
  if (state.period === "own") return [state.from, state.to];
  const now = today();
  if (state.period !== "all") return [following(now, 1 - Number(state.period)), now];
  if (!extent) return [null, null];
  const old = extent.last && extent.last <= following(now, -MOST_DAYS);
  const last = old || extent.last > now ? extent.last : now, first = extent.first ?? now;
  const earliest = following(last, 1 - MOST_DAYS);
  return [first < earliest ? earliest : first, last];
}

// What a page says of all time where it is not all; null where it is.
export function cut(state, extent) {
  if (state.period !== "all" || !extent?.first) return null;
  const [first] = days(state, extent);
  return extent.first < first
    ? `The data begins on ${extent.first}. Shown is what is from ${first} on, because a period has 3,660 days at most.` : null;
}

// What the services are asked: `to` is the day after the last.
export function query(state, [first, last]) {
  return { from: first, to: last && following(last), kind: state.kind, category: state.category };
}

// The form; `fields` says which of its fields the page has. Gives a function that shows the state in it.
export function form(element, change) {
  const fields = element.elements;
  let state = null;
  const show = (next, names, [first, last]) => {
    state = next;
    for (const label of element.querySelectorAll("label")) label.hidden = !names.includes(label.dataset.field);
    element.hidden = !names.length;
    for (const field of FIELDS) if (fields[field]) fields[field].value = state[field];
    fields.from.value = first ?? "";
    fields.to.value = last ?? "";
  };
  element.addEventListener("submit", (event) => event.preventDefault());
  element.addEventListener("change", ({ target }) => {
    const next = { ...state, [target.name]: target.value.trim() };
    if (target.name === "period" && target.value === "own") {
      [next.from, next.to] = [fields.from.value || following(today(), -29), fields.to.value || today()];
    } else if (target.name === "period") next.from = next.to = "";
    else if (target.name === "from" || target.name === "to") {
      [next.from, next.to] = [fields.from.value, fields.to.value];
      // A day that is still being typed.
      if (!isDay(next.from) || !isDay(next.to)) return;
      if (next.from > next.to) next[target.name === "from" ? "to" : "from"] = target.value;
      next.period = "own";
    }
    if (target.name === "tenant") next.own = {};
    change(next);
  });
  return show;
}
