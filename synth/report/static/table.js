// The table of a layer's units: sorted by any column, filtered by words and by status.

const COLUMNS = [
  { key: "name", title: "unit", cell: (u) => el("a", { href: unitHref(u.name) }, u.name) },
  { key: "status", title: "status", cell: (u) => badge(u.status) },
  { key: "program", title: "program", cell: (u) => el("code", {}, shortened(u.written ?? u.program ?? u.instead, 240)) },
  { key: "bits", title: "bits", figure: true, cell: (u) => whole(u.bits) },
  { key: "fvu_in_situ", title: "FVU in situ", figure: true, cell: (u) => number(u.fvu_in_situ) },
  { key: "bound", title: "proved bound", figure: true, cell: (u) => number(u.bound) },
  { key: "bound_over_std", title: "bound/std", figure: true, cell: (u) => number(u.bound_over_std) },
  { key: "engine", title: "engine", cell: (u) => u.engine ?? NOTHING },
  { key: "family", title: "family", figure: true, cell: (u) => (u.family === null ? NOTHING : String(u.family)) },
];

const badge = (status) => el("span", { class: `badge ${STATUSES.includes(status) ? status : "other"}` }, status);

// Remembered while the page is open, so that the way back shows the same table.
const sorted = { key: null, down: false };

function unitTable(units) {
  const body = el("tbody");
  const count = el("p", { class: "count", "aria-live": "polite" });
  const words = el("input", { type: "search", id: "filter", placeholder: "words in names, programs, engines" });
  const status = statusChoice(units);
  const heads = COLUMNS.map((column) => heading(column, () => show()));
  const rows = new Map(units.map((unit) => [unit, unitRow(unit)]));
  const show = () => {
    const found = ordered(units.filter((u) => matches(u, words.value, status.value)));
    body.replaceChildren(...found.map((unit) => rows.get(unit)));
    count.textContent = `${found.length} of ${plural(units.length, "unit")}`;
    heads.forEach((head, i) => head.setAttribute("aria-sort", direction(COLUMNS[i].key)));
  };
  words.addEventListener("input", show);
  status.addEventListener("change", show);
  show();
  return el("div", {},
    el("div", { class: "tools" }, el("label", { for: "filter" }, "Filter"), words,
      el("label", { for: "status" }, "Status"), status, count),
    el("table", { class: "units" }, el("thead", {}, el("tr", {}, heads)), body));
}

function unitRow(unit) {
  return el("tr", {}, COLUMNS.map((column) =>
    el("td", { class: `${column.figure ? "figure " : ""}of-${column.key}`, "data-title": column.title },
      column.cell(unit))));
}

function heading(column, show) {
  const act = () => {
    Object.assign(sorted, sorted.key === column.key
      ? { down: !sorted.down } : { key: column.key, down: false });
    show();
  };
  return el("th", { scope: "col", class: column.figure ? "figure" : "" }, button(column.title, act));
}

function statusChoice(units) {
  const found = [...new Set(units.map((u) => u.status))].sort();
  return el("select", { id: "status" }, el("option", { value: "" }, "all"),
    found.map((name) => el("option", { value: name }, name)));
}

function matches(unit, words, status) {
  if (status && unit.status !== status) return false;
  const text = [unit.name, unit.label, unit.program, unit.engine, unit.verdict].join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function ordered(units) {
  if (!sorted.key) return units;
  const sign = sorted.down ? -1 : 1;
  return [...units].sort((a, b) => sign * compared(a[sorted.key], b[sorted.key], sign));
}

// What there is none of stands last, whichever way the rest is sorted.
function compared(a, b, sign) {
  if (a === null || b === null) return sign * ((a === null) - (b === null));
  return typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

const direction = (key) =>
  key !== sorted.key ? "none" : sorted.down ? "descending" : "ascending";
