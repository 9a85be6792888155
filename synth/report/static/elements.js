// Elements made of data: every text is set as text, and none is ever parsed.

const SVG = "http://www.w3.org/2000/svg";

function grown(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (tag, attributes = {}, ...children) =>
  grown(document.createElement(tag), attributes, children);

const svg = (tag, attributes = {}, ...children) =>
  grown(document.createElementNS(SVG, tag), attributes, children);

const section = (title, ...children) =>
  el("section", {}, el("h2", {}, title), ...children);

function button(text, act, attributes = {}) {
  const node = el("button", { type: "button", ...attributes }, text);
  node.addEventListener("click", act);
  return node;
}

function pairs(rows) {
  return el("dl", {}, rows.map(([name, text]) => [
    el("dt", {}, name), el("dd", {}, String(text)),
  ]));
}

function plainTable(columns, rows) {
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
  const lines = rows.map((row) => el("tr", {}, row.map((text, i) =>
    i ? el("td", {}, text) : el("th", { scope: "row" }, text))));
  return el("div", { class: "wide" },
    el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, lines)));
}

// What is drawn only when it comes near the screen.
const watched = new Map();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    watcher.unobserve(entry.target);
    watched.get(entry.target)();
    watched.delete(entry.target);
  }
}, { rootMargin: "300px" });

function lazily(node, draw) {
  watched.set(node, draw);
  watcher.observe(node);
  return node;
}

function forgetDrawings() {
  watcher.disconnect();
  watched.clear();
}
