// The first page: the network as a graph, the operating points, and what is told of the whole run.

const STATUSES = ["program", "rounded", "ablated", "inactive", "opaque"];
const NODE = { width: 216, height: 62, view: 28, gap: 20, row: 26 };

function overviewPage(data) {
  const found = data.overview;
  const layers = data.layers;
  return [
    el("h1", {}, data.title, " ", found.verdict ? el("span", { class: `verdict ${found.verdict === "drop-in" ? "good" : "open"}` }, found.verdict) : null),
    ...data.notes.map((note) => el("p", { class: "notice" }, note)),
    layers.length ? legend(found.units) : el("p", {}, "Nothing has been searched yet."),
    el("div", { class: "sheets" },
      found.graph.length ? section("Network", el("div", { class: "wide" }, graph(found.graph, layers))) : null,
      layers.length ? section("Layers", layerTable(layers)) : null,
      found.points.length ? section("Operating points", operating(found.points)) : null,
      found.sections.map(toldSection)),
  ];
}

function legend(units) {
  return el("p", { class: "legend" }, Object.entries(units).filter(([, count]) => count)
    .map(([status, count]) => el("span", {}, badge(status), ` ${whole(count)}`)));
}

function toldSection(told) {
  return section(told.title, told.pairs ? pairs(told.pairs) : plainTable(told.columns, told.rows));
}

function layerTable(layers) {
  const rows = layers.map((head) => el("tr", {},
    el("th", { scope: "row" }, el("a", { href: layerHref(head) }, head.name)),
    el("td", {}, head.source ?? NOTHING),
    el("td", { class: "figure" }, whole(head.units.length)),
    el("td", { class: "figure" }, whole(head.bits)),
    el("td", {}, coverageBar(head.statuses))));
  const titles = ["layer", "reads", "units", "bits", "coverage"].map((t) => el("th", { scope: "col" }, t));
  return el("div", { class: "wide" }, el("table", { class: "plain" },
    el("thead", {}, el("tr", {}, titles)), el("tbody", {}, rows)));
}

function coverageBar(statuses) {
  const text = Object.entries(statuses).map(([name, count]) => `${count} ${name}`).join(", ");
  const bar = svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none",
    role: "img", "aria-label": text }, barParts(statuses, 0, 0, 100, 10), svg("title", {}, text));
  return bar;
}

function barParts(statuses, x, y, width, height) {
  const total = Object.values(statuses).reduce((a, b) => a + b, 0) || 1;
  let at = x;
  return Object.entries(statuses).sort(([a], [b]) => STATUSES.indexOf(a) - STATUSES.indexOf(b))
    .map(([status, count]) => {
      const part = svg("rect", { x: at, y, height, width: (width * count) / total,
        class: STATUSES.includes(status) ? status : "other" });
      at += (width * count) / total;
      return part;
    });
}

function operating(points) {
  const rows = points.map((p) => [whole(p.bits), number(p.kl), percent(p.agreement), p.chosen ? "chosen" : ""]);
  return el("div", {}, pointsChart(points), el("details", {}, el("summary", {}, plural(points.length, "point")),
    plainTable(["bits", "KL on select", "agreement", ""], rows)));
}

// Banks in rows, each below all that it reads.
function graph(banks, layers) {
  const places = placed(banks);
  const heads = new Map(layers.map((head) => [head.name, head]));
  const wide = Math.max(...[...places.values()].map((p) => p.x + NODE.width));
  const high = Math.max(...[...places.values()].map((p) => p.y + p.height));
  const edges = banks.flatMap((bank) => bank.reads.filter((name) => places.has(name))
    .map((name) => edge(places.get(name), places.get(bank.name))));
  const nodes = banks.map((bank) => graphNode(bank, places.get(bank.name), heads.get(bank.name)));
  const [width, height] = [wide + 2, high + 2];
  const frame = svg("svg", { class: "graph", viewBox: `-1 -1 ${width} ${height}`, width, height,
    role: "group", "aria-label": "The network" }, edges, nodes);
  return frame;
}

function placed(banks) {
  const depth = new Map();
  const rows = [];
  for (const bank of banks) {
    const above = bank.reads.map((name) => depth.get(name) ?? -1);
    const level = bank.reads.length ? Math.max(...above) + 1 : (bank.kind === "input" ? 0 : rows.length);
    depth.set(bank.name, level);
    (rows[level] ??= []).push(bank);
  }
  const most = Math.max(...rows.map((row) => row?.length ?? 0));
  const places = new Map();
  let y = 0;
  for (const row of rows.filter(Boolean)) {
    const height = row.some((bank) => bank.kind === "layer") ? NODE.height : NODE.view;
    const start = ((most - row.length) * (NODE.width + NODE.gap)) / 2;
    row.forEach((bank, i) => places.set(bank.name, { x: start + i * (NODE.width + NODE.gap), y,
      height: bank.kind === "layer" ? NODE.height : NODE.view }));
    y += height + NODE.row;
  }
  return places;
}

function edge(from, to) {
  const [x1, y1] = [from.x + NODE.width / 2, from.y + from.height];
  const [x2, y2] = [to.x + NODE.width / 2, to.y];
  const bend = Math.max(12, (y2 - y1) / 2);
  return svg("path", { class: "edge", d: `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}` });
}

function graphNode(bank, place, head) {
  const { x, y, height } = place;
  const box = svg("rect", { x, y, width: NODE.width, height, rx: 6, class: `node ${bank.kind}` });
  const middle = x + NODE.width / 2;
  const line = (text, dy, kind) => svg("text", { x: middle, y: y + dy, "text-anchor": "middle", class: kind }, text);
  const told = [bank.operation, bank.name].filter((text, i, all) => text && all.indexOf(text) === i).join(" · ");
  const name = line(shortened(told, 28), 19, "name");
  if (!head) return svg("g", {}, box, name, svg("title", {}, `${bank.kind} ${told}`));
  const figures = line(`${plural(head.units.length, "unit")} · ${whole(head.bits)} bits`, 37, "small");
  return svg("a", { href: layerHref(head) }, box, name, figures,
    barParts(head.statuses, x + 12, y + 46, NODE.width - 24, 8), svg("title", {}, bank.name));
}
