// A program with colours: names of units are links, and the whole of it can be copied.

const TOKEN = /(\d[\w.]*(?:e[+-]?\d+)?)|([\p{L}_][\p{L}\p{N}_]*)|(#.*)|(\s+)|([^\s])/gu;
const COLOURED = 40000; // characters; a longer program is plain
const WORDS = new Set(["def", "return", "for", "in"]);

function programBlock(text, links) {
  const code = el("code", {}, text.length > COLOURED ? text : coloured(text, links));
  const copy = button("copy", () => copyText(text, copy), { class: "copy" });
  return el("div", { class: "program" }, copy,
    el("pre", { tabindex: "0", "aria-label": "program" }, code));
}

function coloured(text, links) {
  return [...text.matchAll(TOKEN)].map((match) => {
    const [token, figure, name, note] = match;
    if (figure) return el("span", { class: "figure" }, token);
    if (note) return el("span", { class: "note" }, token);
    if (!name) return token;
    if (Object.hasOwn(links, name)) return el("a", { href: unitHref(links[name]) }, token);
    const after = text[match.index + token.length];
    const kind = WORDS.has(name) ? "word" : after === "(" ? "call" : after === "=" ? "key" : null;
    return kind ? el("span", { class: kind }, token) : token;
  });
}

async function copyText(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  from.textContent = "copied";
  say("The program is copied.");
  setTimeout(() => { from.textContent = "copy"; }, 1500);
}

function copyBySelection(text) {
  const area = el("textarea", { class: "away" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most)} …` : text);
