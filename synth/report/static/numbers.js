// Figures as people read them; what there is none of is a dash.

const NOTHING = "–";

function number(value, digits = 3) {
  if (value === null || value === undefined) return NOTHING;
  const text = Number(value).toPrecision(digits);
  return text.includes("e") ? text.replace(/\.?0+e/, "e") : String(Number(text));
}

const whole = (value) =>
  value === null || value === undefined ? NOTHING : value.toLocaleString("en");

const percent = (value) =>
  value === null || value === undefined ? NOTHING : `${number(100 * value, 3)} %`;

const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
