"use strict";
// Panels: an image with a label map over it. Colours come as data; nothing of a run is ever put into the page as HTML.

const IGNORE = 255;

class Panel {
  // caption: text; image: ImageBitmap; label: {width, height, values} or null; size: [w, h] of the whole image in pixels
  constructor(caption, image, label, size, categories) {
    this.image = image;
    this.label = label;
    this.size = size;
    this.categories = categories;
    this.only = false;
    this.figure = document.createElement("figure");
    this.canvas = document.createElement("canvas");
    const zoom = Math.max(1, Math.floor(1024 / Math.max(image.width, image.height)));  // lines on it are thinner than its pixels
    this.canvas.width = image.width * zoom;
    this.canvas.height = image.height * zoom;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", caption);
    const title = document.createElement("figcaption");
    title.textContent = caption;
    this.figure.append(title, this.canvas);
    this.layer = label ? tint(label, categories, null) : null;
  }

  // As large as the room for it.
  fill(width, height) {
    const scale = Math.min(width / this.canvas.width, height / this.canvas.height);
    this.canvas.style.width = `${Math.max(1, Math.round(this.canvas.width * Math.max(scale, 0.05)))}px`;
  }

  // Show only where two labels differ; null: everything.
  differing(mask) {
    this.layer = this.label ? tint(this.label, this.categories, mask) : null;
  }

  draw(opacity, region) {
    const context = this.canvas.getContext("2d");
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.image, 0, 0, this.canvas.width, this.canvas.height);
    if (this.layer && opacity > 0) {
      context.globalAlpha = opacity;
      context.drawImage(this.layer, 0, 0, this.canvas.width, this.canvas.height);
      context.globalAlpha = 1;
    }
    if (region) this.frame(context, region);
  }

  // White on black, so that it is seen on any ground; the line is as wide on the screen whatever the image's size.
  frame(context, [left, top, right, bottom]) {
    const [x, y] = [this.canvas.width / this.size[0], this.canvas.height / this.size[1]];
    const width = Math.max(1, Math.round((2 * this.canvas.width) / (this.canvas.clientWidth || this.canvas.width)));
    const box = [left * x, top * y, (right - left) * x, (bottom - top) * y];
    context.setLineDash([]);
    context.lineWidth = 2 * width;
    context.strokeStyle = "#000";
    context.strokeRect(...box);
    context.lineWidth = width;
    context.strokeStyle = "#fff";
    context.setLineDash([4 * width, 3 * width]);
    context.strokeRect(...box);
    context.setLineDash([]);
  }

  // Where on the whole image an event of the pointer is, in its pixels.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.size[0],
      ((event.clientY - box.top) / box.height) * this.size[1],
    ];
  }
}

// Return a canvas with the colours of a label map; ignored pixels are hatched.
function tint(label, categories, mask) {
  const canvas = document.createElement("canvas");
  canvas.width = label.width;
  canvas.height = label.height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(label.width, label.height);
  const table = new Uint32Array(256);  // colours as the bytes red, green, blue, 255
  if (mask) table.fill(0xffffffff);
  for (const { position, color: [r, g, b], tinted } of categories) if (tinted) table[position] = (255 << 24) | (b << 16) | (g << 8) | r;
  const out = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < label.values.length; i++) {
    const value = label.values[i];
    if (mask && !mask[i]) continue;
    if (value !== IGNORE) out[i] = table[value];
    else if (((i % label.width) + Math.floor(i / label.width)) % 8 < 3) out[i] = 0xff808080;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Return where two label maps differ, null if they can't be compared.
function difference(first, second) {
  if (!first || !second || first.values.length !== second.values.length) return null;
  return first.values.map((value, i) => (value === second.values[i] ? 0 : 1));
}

// Return {width, height, values} of a gray PNG as a bitmap.
function labelOf(bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const values = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  return { width: bitmap.width, height: bitmap.height, values };
}

async function bitmapOf(blob) {
  return createImageBitmap(blob, { colorSpaceConversion: "none" });
}

function element(name, text, more = {}) {
  const found = document.createElement(name);
  if (text !== undefined) found.textContent = text;
  for (const [key, value] of Object.entries(more)) found.setAttribute(key, value);
  return found;
}
