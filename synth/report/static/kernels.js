// Kernels and patches, drawn from numbers on canvases.

const ACROSS = 8; // channels beside one another,
const GAP = 5; // and the pixels between them, of which a frame takes two
const SIZE = 208; // of what is drawn, in pixels, about
const ZERO = [252, 252, 252];
const FRAME = "rgb(150, 155, 162)";
const [BLUE, RED] = [[33, 102, 172], [190, 40, 35]]; // below and above zero

function canvas(columns, rows, label, draw) {
  const node = el("canvas", { width: columns, height: rows, role: "img", "aria-label": label });
  return lazily(node, () => draw(node.getContext("2d")));
}

// The channels of a kernel as tiles: blue below zero, red above, as strong as the weight is large.
function tiles(kernel, levels, label) {
  const { rows, columns, channels } = kernel;
  const beside = Math.min(channels.length, ACROSS);
  const zoom = Math.max(3, Math.min(14, Math.floor(SIZE / (beside * columns))));
  const [wide, high] = [columns * zoom + GAP, rows * zoom + GAP];
  const down = Math.ceil(channels.length / beside);
  const tile = (i) => [1 + (i % beside) * wide, 1 + Math.floor(i / beside) * high];
  return canvas(beside * wide - GAP + 2, down * high - GAP + 2, label, (context) => {
    channels.forEach((_, i) => {
      const [x, y] = tile(i);
      context.fillStyle = FRAME;
      context.fillRect(x - 1, y - 1, columns * zoom + 2, rows * zoom + 2);
      cells(context, kernel, levels, i, x, y, zoom);
    });
  });
}

function cells(context, { rows, columns }, levels, channel, x, y, zoom) {
  for (let i = 0; i < rows * columns; i += 1) {
    context.fillStyle = `rgb(${shade(levels[channel * rows * columns + i] / 127)})`;
    context.fillRect(x + (i % columns) * zoom, y + Math.floor(i / columns) * zoom, zoom, zoom);
  }
}

const shade = (level) =>
  ZERO.map((zero, i) => Math.round(zero + Math.abs(level) * ((level < 0 ? BLUE : RED)[i] - zero)));

const KINDS = ["unit", "program", "difference"];

// Unit, program and difference beside one another, on one scale.
function kernelRow(kernel, name) {
  const shown = KINDS.filter((kind) => kernel[kind]);
  return el("div", { class: "kernels" }, shown.map((kind) =>
    el("figure", {}, tiles(kernel, kernel[kind], `${kind} of ${name}`), el("figcaption", {}, kind))));
}

function kernelNote(kernel) {
  const channels = kernel.of > kernel.channels.length
    ? `; ${kernel.channels.length} of ${kernel.of} channels, those of the largest weights` : "";
  return `−${number(kernel.scale)} is blue, +${number(kernel.scale)} is red${channels}`;
}

// A part of a picture.
function patchCanvas(patch, label) {
  const { rows, columns, colours } = patch;
  const node = canvas(columns, rows, label, (context) => {
    const [bytes, image] = [bytesOf(patch.px), context.createImageData(columns, rows)];
    for (let i = 0; i < rows * columns; i += 1) {
      const at = (c) => bytes[i * colours + Math.min(c, colours - 1)];
      image.data.set([at(0), at(1), at(2), 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
  });
  node.style.width = `${Math.max(2, Math.floor(96 / Math.max(rows, columns))) * columns}px`;
  return node;
}

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
