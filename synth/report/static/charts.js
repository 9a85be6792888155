// Charts as SVG: an area with two axes, and what is drawn on it.

const PLOT = { width: 420, height: 260, left: 72, right: 12, top: 12, bottom: 40 };

function scale(values, from, to, log) {
  const known = values.filter((v) => v !== null && Number.isFinite(v));
  if (!log) return linear(Math.min(...known), Math.max(...known), from, to);
  const positive = known.filter((v) => v > 0);
  const least = positive.length ? Math.min(...positive) : 1e-6;
  const floor = positive.length < known.length ? least / 3 : least; // where zeros stand
  const inner = linear(Math.log10(floor), Math.log10(Math.max(...positive, floor)), from, to);
  const at = (v) => inner.at(Math.log10(Math.max(v, floor)));
  return { at, ticks: powers(inner.low, inner.high) };
}

function linear(low, high, from, to) {
  const margin = (high - low || Math.abs(high) || 1) * 0.04;
  const [a, b] = [low - margin, high + margin];
  const at = (v) => from + ((v - a) / (b - a)) * (to - from);
  return { at, ticks: steps(a, b), low: a, high: b };
}

function steps(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// Powers of ten between two exponents; where there are few, twice and five times them as well.
function powers(low, high) {
  const every = Math.max(1, Math.ceil((high - low) / 5));
  const found = [];
  for (let e = Math.ceil(low / every) * every; e <= high; e += every) found.push(10 ** e);
  if (found.length > 1) return found;
  const between = [-1, 0, 1].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** (Math.floor(low) + e)))
    .filter((v) => Math.log10(v) >= low && Math.log10(v) <= high);
  return between.length ? between : [10 ** ((low + high) / 2)];
}

// An empty chart: `x` and `y` are {label, values, log}; gives the SVG and both scales.
function plot(title, x, y) {
  const { width, height, left, right, top, bottom } = PLOT;
  const across = scale(x.values, left, width - right, x.log);
  const up = scale(y.values, height - bottom, top, y.log);
  const grid = svg("g", { class: "grid" },
    across.ticks.map((v) => tick(across.at(v), null, v)),
    up.ticks.map((v) => tick(null, up.at(v), v)));
  const labels = svg("g", { class: "axes" },
    svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, x.label),
    svg("text", { x: 0, y: 0, transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`,
      "text-anchor": "middle" }, y.label));
  const inside = svg("svg", { x: left, y: top, width: width - left - right,
    height: height - top - bottom, viewBox: `${left} ${top} ${width - left - right} ${height - top - bottom}` });
  const frame = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": title }, grid, labels, inside);
  return { frame, inside, x: across.at, y: up.at };
}

function tick(x, y, value) {
  const { width, height, left, right, top, bottom } = PLOT;
  const text = number(value, 3);
  return x !== null
    ? [svg("line", { x1: x, x2: x, y1: top, y2: height - bottom }),
       svg("text", { x, y: height - bottom + 14, "text-anchor": "middle" }, text)]
    : [svg("line", { x1: left, x2: width - right, y1: y, y2: y }),
       svg("text", { x: left - 5, y: y + 4, "text-anchor": "end" }, text)];
}

const dot = (x, y, title, kind = "") =>
  svg("circle", { cx: x, cy: y, r: kind ? 6 : 4, class: `dot ${kind}` }, svg("title", {}, title));

// What was chosen is drawn over the others.
const chosenLast = (dots) =>
  [...dots].sort((a, b) => a.classList.contains("chosen") - b.classList.contains("chosen"));

const line = (points, kind) =>
  svg("polyline", { points: points.map((p) => p.join(",")).join(" "), class: `line ${kind}` });

// Bits against KL of the operating points.
function pointsChart(points) {
  const chart = plot("Operating points: bits against KL", 
    { label: "bits", values: points.map((p) => p.bits) },
    { label: "KL on select, nats", values: points.map((p) => p.kl), log: true });
  const places = points.map((p) => [chart.x(p.bits), chart.y(p.kl)]);
  const dots = points.map((p, i) => dot(...places[i],
    `${whole(p.bits)} bits, KL ${number(p.kl)}, agreement ${percent(p.agreement)}`,
    p.chosen ? "chosen" : ""));
  chart.inside.append(line(places, "thin"), ...chosenLast(dots));
  return chart.frame;
}

// Bits against FVU of the candidates of a unit; `pick` is told which one was clicked.
function frontChart(front, pick) {
  const shown = front.map((c, i) => [c, i]).filter(([c]) => c.fvu_select !== null && c.bits !== null);
  if (!shown.length) return null;
  const chart = plot("Front: bits against FVU on select",
    { label: "bits", values: shown.map(([c]) => c.bits) },
    { label: "FVU on select", values: shown.map(([c]) => c.fvu_select), log: true });
  const dots = shown.map(([one, place]) => {
    const title = `${whole(one.bits)} bits, FVU ${number(one.fvu_select)}, ${one.engine}`;
    const spot = dot(chart.x(one.bits), chart.y(one.fvu_select), title, one.chosen ? "chosen" : "");
    spot.addEventListener("click", () => pick(place));
    return spot;
  });
  chart.inside.append(...chosenLast(dots));
  return chart.frame;
}

// What a unit says against what its program says; the band is as wide as the proved bound.
function scatterChart(units, programs, bound) {
  const all = [...units, ...programs];
  const axis = { values: [Math.min(...all), Math.max(...all)] };
  const chart = plot("Unit against program on held-out probes",
    { label: "unit", ...axis }, { label: "program", ...axis });
  const [low, high] = axis.values;
  const [a, b] = [low - (high - low), high + (high - low)];
  const edge = (v, shift) => [chart.x(v), chart.y(v + shift)];
  if (bound !== null && bound !== undefined) {
    const corners = [edge(a, bound), edge(b, bound), edge(b, -bound), edge(a, -bound)];
    chart.inside.append(svg("polygon", { class: "band", points: corners.map((p) => p.join(",")).join(" ") }));
  }
  chart.inside.append(line([edge(a, 0), edge(b, 0)], "thin"));
  chart.inside.append(...units.map((unit, i) => dot(chart.x(unit), chart.y(programs[i]),
    `unit ${number(unit, 4)}, program ${number(programs[i], 4)}`)));
  return chart.frame;
}

// A tuning curve of unit and program.
function curveChart(curve) {
  const order = curve.values.map((_, i) => i).sort((i, j) => curve.values[i] - curve.values[j]);
  const chart = plot(`Responses to a ${curve.name} by ${curve.axis}`,
    { label: curve.axis, values: curve.values },
    { label: "response", values: [...curve.unit, ...curve.program] });
  const path = (kind) => line(order.map((i) => [chart.x(curve.values[i]), chart.y(curve[kind][i])]), kind);
  chart.inside.append(path("unit"), path("program"));
  return chart.frame;
}
