// The page itself: what the address after # asks for is shown.

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const layerOf = new Map(data.layers.flatMap((head) => head.units.map((name) => [name, head])));
const bodies = new Map();

const layerHref = (head) => `${place(head)}#layer/${encodeURIComponent(head.name)}`;
const place = (head) => (head.packed || !head.file ? "" : encodeURIComponent(head.file));

function unitHref(name) {
  const head = layerOf.get(name);
  return `${head ? place(head) : ""}#unit/${encodeURIComponent(name)}`;
}

const say = (text) => { document.querySelector(".said").textContent = text; };

// The units of a layer, unpacked when they are first asked for.
function bodyOf(head) {
  if (!bodies.has(head.name)) bodies.set(head.name, unpacked(head.packed));
  return bodies.get(head.name);
}

async function unpacked(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// Where an address leads: a title and the elements of a page.
async function asked(address) {
  const [kind, ...rest] = address.split("/");
  const name = decoded(rest.join("/"));
  if (kind === "layer") return layerAsked(name);
  if (kind === "unit") return unitAsked(name);
  return { title: data.title, elements: () => overviewPage(data) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function layerAsked(name) {
  const head = data.layers.find((one) => one.name === name);
  if (!head) return missing("layer", name);
  if (!head.packed) return elsewhere(head, layerHref(head));
  const body = await bodyOf(head);
  return { title: name, elements: () => layerPage(head, body), at: head };
}

async function unitAsked(text) {
  const name = layerOf.has(text) ? text : byLabel(text);
  const head = layerOf.get(name);
  if (!head) return missing("unit", text);
  if (!head.packed) return elsewhere(head, unitHref(name));
  const body = await bodyOf(head);
  const unit = body.units.find((one) => one.name === name);
  return { title: name, elements: () => unitPage(head, body, unit), at: head };
}

// A unit by the layer and the number of its channel, as conv1[3].
function byLabel(text) {
  const found = /^(.*)\[(\d+)\]$/su.exec(text);
  const head = found && data.layers.find((one) => one.name === found[1]);
  return head ? head.units[Number(found[2])] : undefined;
}

const missing = (kind, name) =>
  ({ title: data.title, elements: () => [el("h1", {}, "Not found"),
    el("p", {}, `This run has no ${kind} ${name}.`)] });

const elsewhere = (head, href) => ({ title: head.name, elements: () => [el("h1", {}, head.name),
  el("p", {}, el("a", { href }, `It is in ${head.file}.`))] });

let turn = 0;

async function show() {
  const mine = ++turn;
  const page = await asked(location.hash.slice(1));
  if (mine !== turn) return; // the reader has gone on
  forgetDrawings();
  main.replaceChildren(...page.elements().filter(Boolean));
  showChosen(main.querySelector(".front .chosen"));
  document.title = page.title === data.title ? data.title : `${page.title} – ${data.title}`;
  for (const link of document.querySelectorAll("header nav a")) {
    const here = page.at && link.textContent === page.at.name;
    here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }
  document.documentElement.dataset.shown = location.hash || "#";
}

// The list of candidates scrolled to the one that was chosen.
function showChosen(item) {
  if (item) item.parentElement.scrollTop = item.offsetTop - 60;
}

async function go() {
  await show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function furnish() {
  document.querySelector("header .home").textContent = data.title;
  document.querySelector("header nav").append(...data.layers.map((head) =>
    el("a", { href: layerHref(head) }, head.name)));
  document.getElementById("units").append(...[...layerOf.keys()].map((name) => el("option", { value: name })));
  const find = document.getElementById("find");
  document.querySelector("form.find").addEventListener("submit", (event) => {
    event.preventDefault();
    location.href = unitHref(find.value.trim());
    find.value = "";
  });
}

// "/" looks for a unit; j and k go to the next and the one before; u goes up to the layer.
const KEYS = { j: "next", k: "prev", u: "up" };

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find").focus();
  } else if (Object.hasOwn(KEYS, event.key)) {
    document.querySelector(`main a[rel="${KEYS[event.key]}"]`)?.click();
  }
}

furnish();
addEventListener("hashchange", go);
addEventListener("keydown", pressed);
show();
