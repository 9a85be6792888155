// One layer: its table, its kernels, its families.

function layerPage(head, body) {
  const pictured = body.units.filter((unit) => unit.kernels);
  return [
    el("h1", {}, head.name),
    el("p", { class: "legend" },
      `${plural(head.units.length, head.what.slice(0, -1))}, ${whole(head.bits)} bits`,
      head.source ? `, reads ${head.source}` : "", " ",
      Object.entries(head.statuses).map(([status, count]) => el("span", {}, badge(status), ` ${count}`))),
    section(head.what === "units" ? "Units" : "Directions", unitTable(body.units)),
    pictured.length ? section("Kernels", el("p", { class: "hint" },
      "Unit, program and difference, each unit on its own scale: blue below zero, red above."),
      el("div", { class: "gallery" }, pictured.map(kernelCard))) : null,
    body.common.length ? section("Common values", body.common.map((value) => commonValue(value, body))) : null,
    body.families.length ? section("Families", body.families.map((card) => familyCard(card, body))) : null,
  ];
}

function kernelCard(unit) {
  return el("a", { class: "card", href: unitHref(unit.name) },
    el("strong", {}, unit.name), kernelRow(unit.kernels, unit.name),
    el("small", {}, `±${number(unit.kernels.scale)}`));
}

// A value that units share, and which they are.
function commonValue(value, body) {
  return el("div", {},
    programBlock(`${value.name} = ${value.program}`, body.links),
    linkList(`${whole(value.bits)} bits, read by`, value.units));
}

function familyCard(card, body) {
  const links = Object.fromEntries(card.members.map((name) => [name, name]));
  const kernels = new Map(body.units.map((unit) => [unit.name, unit.kernels]));
  return el("article", { class: "family", id: `family-${card.number}` },
    el("h3", {}, `Family ${card.number}: ${plural(card.members.length, "unit")}, ${whole(card.bits)} bits together`),
    card.text ? programBlock(card.text, { ...body.links, ...links }) : null,
    Object.keys(card.columns).length ? familyTable(card) : null,
    el("div", { class: "gallery" }, card.members.map((name) => kernels.get(name)
      ? kernelCard({ name, kernels: kernels.get(name) })
      : el("a", { class: "card", href: unitHref(name) }, name))));
}

function familyTable(card) {
  const names = Object.keys(card.columns);
  const rows = card.members.map((member, i) => [member, ...names.map((name) => card.columns[name][i])]);
  return plainTable(["unit", ...names], rows);
}
