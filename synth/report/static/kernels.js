// Kernels and patches, drawn from numbers on a canvas of one pixel a number.

const ACROSS = 8; // channels beside one another
const SIZE = 260; // of what is drawn, in pixels of the screen, about
const GAP = [128, 128, 128, 110]; // between channels
const [BLUE, RED] = [[33, 102, 172], [200, 50, 40]]; // below and above zero

function canvas(columns, rows, label, draw) {
  const node = el("canvas", { width: columns, height: rows, role: "img", "aria-label": label });
  return lazily(node, () => {
    const context = node.getContext("2d");
    const image = context.createImageData(columns, rows);
    draw(image.data);
    context.putImageData(image, 0, 0);
  });
}

// The channels of a kernel as tiles: blue below zero, red above, as strong as the weight is large.
function tiles(kernel, levels, label) {
  const { rows, columns, channels } = kernel;
  const beside = Math.min(channels.length, ACROSS);
  const [wide, high] = [columns + 1, rows + 1];
  const down = Math.ceil(channels.length / beside);
  const width = beside * wide - 1;
  const node = canvas(width, down * high - 1, label, (pixels) => {
    for (let i = 0; i < pixels.length; i += 4) pixels.set(GAP, i);
    levels.forEach((level, i) => {
      const [tile, place] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
      const x = (tile % beside) * wide + (place % columns);
      const y = Math.floor(tile / beside) * high + Math.floor(place / columns);
      const strength = Math.round((Math.abs(level) / 127) * 255);
      pixels.set([...(level < 0 ? BLUE : RED), strength], 4 * (y * width + x));
    });
  });
  const pixel = Math.max(3, Math.min(14, Math.floor(SIZE / width)));
  node.style.width = `${pixel * width}px`;
  return node;
}

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
  const node = canvas(columns, rows, label, (pixels) => {
    const bytes = bytesOf(patch.px);
    for (let i = 0; i < rows * columns; i += 1) {
      const at = (c) => bytes[i * colours + Math.min(c, colours - 1)];
      pixels.set([at(0), at(1), at(2), 255], 4 * i);
    }
  });
  node.style.width = `${Math.max(2, Math.floor(96 / Math.max(rows, columns))) * columns}px`;
  return node;
}

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
