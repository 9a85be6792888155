// One unit: its program, its claim, its candidates, and how it and its program respond.

function unitPage(head, body, unit) {
  return [
    beside(head, body, unit),
    el("h1", {}, unit.name, " ", badge(unit.status)),
    section("Program", unit.program === null ? el("p", {}, unit.instead) : programBlock(unit.program, body.links), memberOf(head, unit)),
    el("div", { class: "sheets" },
      section("Claim", pairs(unit.facts)),
      unit.kernels ? section("Kernels", kernelRow(unit.kernels, unit.name),
        el("p", { class: "hint" }, kernelNote(unit.kernels))) : null,
      unit.seen ? seenSections(unit) : null),
    unit.tuning ? tuningSection(unit.tuning) : null,
    frontSection(unit, body.links),
    section("Connections", unit.program === null ? null : linkList("reads", unit.sources, "no unit"),
      linkList("is read by", unit.consumers, "no program")),
  ];
}

// The units before and after it in the layer.
function beside(head, body, unit) {
  const names = body.units.map((u) => u.name);
  const at = names.indexOf(unit.name);
  const link = (name, text, rel) => name === undefined ? null
    : el("a", { href: unitHref(name), rel }, text);
  return el("nav", { class: "beside-units", "aria-label": "Units of the layer" },
    link(names[at - 1], `← ${names[at - 1]}`, "prev"),
    el("a", { href: layerHref(head), rel: "up" }, head.name),
    link(names[at + 1], `${names[at + 1]} →`, "next"));
}

function memberOf(head, unit) {
  if (unit.family === null) return null;
  return el("p", {}, "One of ", el("a", { href: layerHref(head) }, `family ${unit.family}`), " of its layer.");
}

function linkList(title, names, nothing) {
  const links = names.map((name) => el("li", {}, el("a", { href: unitHref(name) }, name)));
  return el("div", {}, el("h3", {}, `${title}: ${names.length ? plural(names.length, "unit") : nothing}`),
    links.length ? el("ul", { class: "links" }, links) : null);
}

function frontSection(unit, links) {
  if (!unit.front.length) return section("Front", el("p", {}, "It was not searched, so it has no front."));
  const items = unit.front.map((one, i) => candidate(one, i, links));
  const chart = frontChart(unit.front, (i) => items[i].querySelector("summary").focus());
  return section(`Front: ${plural(unit.front.length, "candidate")}`,
    el("div", { class: "front-of" }, chart, el("ol", { class: "front" }, items)));
}

function candidate(one, place, links) {
  const figures = [`${whole(one.bits)} bits`, `FVU ${number(one.fvu_fit)} fit, ${number(one.fvu_select)} select`,
    `worst ${number(one.worst)}`, `bound ${number(one.bound)}`, one.engine ?? NOTHING];
  const item = el("details", { open: one.chosen }, el("summary", {},
    el("span", {}, one.chosen ? el("strong", {}, "chosen · ") : null, figures.join(" · ")),
    el("code", { class: "line-of" }, shortened(one.program, 160))));
  const fill = () => { if (item.open && item.children.length === 1) item.append(...candidateText(one, links)); };
  item.addEventListener("toggle", fill);
  fill();
  return el("li", { id: `candidate-${place}`, class: one.chosen ? "chosen" : "" }, item);
}

function candidateText(one, links) {
  const cut = one.cut
    ? el("p", { class: "hint" }, `Cut off: ${whole(one.cut)} characters in all; synth show --json has them.`) : null;
  return [programBlock(one.program, links), cut].filter(Boolean);
}

function seenSections(unit) {
  const [units, programs] = unit.seen.points;
  const active = section("Most activating", strip(unit.seen.active, "It is nowhere above zero."));
  if (unit.program === null) return active; // it is its own program
  const bound = unit.verdict === "proved" ? unit.bound : null;
  const said = bound === null ? "Nothing is proved of it."
    : `The band is the proved bound ${number(bound)}${wideNote(units, bound)}; it holds in the envelope, which some probes leave.`;
  return [
    section("On held-out probes", scatterChart(units, programs, bound), el("p", { class: "hint" }, said)),
    active,
    section("Most disagreeing", strip(unit.seen.apart, "They are equal everywhere.")),
  ];
}

const wideNote = (values, bound) =>
  (bound > Math.max(...values) - Math.min(...values) ? ", wider than what is shown" : "");

function strip(peaks, otherwise) {
  if (!peaks.length) return el("p", {}, otherwise);
  return el("div", { class: "strip" }, peaks.map((peak) => el("figure", { class: "patch" },
    peak.patch ? patchCanvas(peak.patch, `probe ${peak.probe}`) : null,
    el("figcaption", {}, `probe ${peak.probe}`, el("br"), `unit ${number(peak.unit)}`, el("br"),
      `program ${number(peak.program)}`))));
}

function tuningSection(tuning) {
  const key = el("p", { class: "hint" }, el("span", { class: "key unit" }, "unit"), " ",
    el("span", { class: "key program" }, "program"), ` R² on all stimuli ${number(tuning.r2, 4)}`);
  return section("Tuning", key, el("div", { class: "beside" }, tuning.families.map((family) =>
    el("figure", {}, curveChart(family), el("figcaption", {}, `${family.name}: R² ${number(family.r2, 4)}`)))));
}
