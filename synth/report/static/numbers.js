// Figures as people read them; what there is none of is a dash.

const NOTHING = "–";

function number(value, digits = 3) {
  if (value === null || value === undefined) return NOTHING;
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e6)) return Number(value.toPrecision(digits)).toExponential();
  return String(Number(Number(value).toPrecision(digits)));
}

const percent = (value) =>
  value === null || value === undefined ? NOTHING : `${(100 * value).toFixed(2)} %`;

const whole = (value) =>
  value === null || value === undefined ? NOTHING : value.toLocaleString("en");

const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;
