"use strict";
// Drawing on a panel: brush, polygon, box. Strokes are kept in pixels of the whole image; the mask is made of them later.

class Editor {
  // panel: Panel; options: box: one rectangle; strokes to go on from; done(strokes, region); stopped()
  constructor(panel, tools, options) {
    this.panel = panel;
    this.tools = tools;
    this.options = options;
    this.strokes = [...options.strokes];
    this.points = [];
    this.down = false;
    this.cross = [panel.size[0] / 2, panel.size[1] / 2];
    this.showsCross = false;
    this.listeners = [];
    this.base = panel.label ? tint(panel.label, panel.categories, null) : null;
    panel.figure.classList.add("drawing");
    panel.canvas.tabIndex = 0;
    panel.canvas.setAttribute("role", "application");
    this.on(panel.canvas, "pointerdown", (event) => this.press(event));
    this.on(panel.canvas, "pointermove", (event) => this.move(event));
    this.on(panel.canvas, "pointerup", () => this.release());
    this.on(panel.canvas, "pointercancel", () => this.release());
    panel.canvas.focus({ preventScroll: true });
    this.draw();
  }

  on(target, name, listener) {
    target.addEventListener(name, listener);
    this.listeners.push(() => target.removeEventListener(name, listener));
  }

  close() {
    this.listeners.forEach((remove) => remove());
    this.panel.figure.classList.remove("drawing");
    this.panel.canvas.removeAttribute("tabindex");
    this.panel.canvas.setAttribute("role", "img");
  }

  get tool() {
    return this.options.box ? "box" : this.tools.tool();
  }

  press(event) {
    if (event.button > 0) return;
    event.preventDefault();
    this.panel.canvas.focus({ preventScroll: true });
    this.showsCross = false;
    this.begin(this.panel.place(event));
    try {
      this.panel.canvas.setPointerCapture(event.pointerId);
    } catch { /* a pointer that is gone again */ }
  }

  begin(point) {
    if (this.tool === "polygon") this.points.push(point);
    else {
      this.points = [point];
      this.down = true;
    }
    this.draw();
  }

  move(event) {
    if (!this.down) return;
    const point = this.panel.place(event);
    if (this.tool === "box") this.points = [this.points[0], point];
    else this.points.push(point);
    this.draw();
  }

  release() {
    if (!this.down) return;
    this.down = false;
    if (this.tool === "box") this.finishBox();
    else this.finishStroke("brush");
  }

  finishBox() {
    if (this.points.length < 2) return;
    const [[a, b], [c, d]] = this.points;
    const region = [Math.floor(Math.min(a, c)), Math.floor(Math.min(b, d)), Math.ceil(Math.max(a, c)), Math.ceil(Math.max(b, d))];
    this.points = [];
    this.options.done([], region);
  }

  finishStroke(tool) {
    if (tool === "polygon" && this.points.length < 3) return;
    const points = this.points.map(([x, y]) => [Math.round(x * 100) / 100, Math.round(y * 100) / 100]);
    this.strokes.push({ tool, category: this.tools.category(), points, radius: this.tools.radius() });
    this.points = [];
    this.draw();
  }

  undo() {
    if (this.points.length) this.points.pop();
    else this.strokes.pop();
    this.draw();
  }

  // Return true if the key was for drawing.
  key(event) {
    const step = event.shiftKey ? 10 : 1;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in ways && document.activeElement === this.panel.canvas) {
      this.cross = this.cross.map((value, axis) => Math.min(Math.max(value + ways[event.key][axis], 0), this.panel.size[axis]));
      this.showsCross = true;
      this.draw();
    } else if (event.key === " " && document.activeElement === this.panel.canvas) this.dab();
    else if (event.key === "z") this.undo();
    else if (event.key === "c" && this.tool === "polygon") this.finishStroke("polygon");
    else if (event.key === "Enter" && !(document.activeElement instanceof HTMLButtonElement)) this.save();
    else if (event.key === "Escape") this.options.stopped();
    else return false;
    return true;
  }

  dab() {
    this.showsCross = true;
    if (this.tool === "box") {
      this.points.push([...this.cross]);
      if (this.points.length === 2) this.finishBox();
    } else if (this.tool === "polygon") this.points.push([...this.cross]);
    else {
      this.points = [[...this.cross]];
      this.finishStroke("brush");
    }
    this.draw();
  }

  save() {
    if (this.options.box) return;
    if (this.tool === "polygon" && this.points.length >= 3) this.finishStroke("polygon");
    if (this.strokes.length) this.options.done(this.strokes, null);
    else this.tools.say("Nothing is drawn yet.");
  }

  // Base and strokes as one layer, so that a later stroke covers an earlier one whatever the opacity.
  draw() {
    const { canvas, categories, size } = this.panel;
    const layer = document.createElement("canvas");
    layer.width = canvas.width;
    layer.height = canvas.height;
    const context = layer.getContext("2d");
    context.imageSmoothingEnabled = false;
    if (this.base) context.drawImage(this.base, 0, 0, layer.width, layer.height);
    const scale = [layer.width / size[0], layer.height / size[1]];
    const open = this.points.length && this.tool === "brush"
      ? [{ tool: "brush", category: this.tools.category(), points: this.points, radius: this.tools.radius() }] : [];
    for (const stroke of [...this.strokes, ...open]) paint(context, stroke, scale, categories);
    const before = this.panel.layer;
    this.panel.layer = layer;
    this.panel.draw(Math.max(this.tools.opacity(), 0.25), null);
    this.panel.layer = before;
    const top = canvas.getContext("2d");
    const width = Math.max(1, (2 * canvas.width) / (canvas.clientWidth || canvas.width));
    if (this.tool === "box" && this.points.length === 2) {
      const [[a, b], [c, d]] = this.points;
      this.panel.frame(top, [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]);
    }
    if (this.tool !== "brush") outline(top, this.points, scale, width);
    if (this.showsCross) crossAt(top, this.cross, scale, width);
  }
}

function paint(context, stroke, [x, y], categories) {
  const category = categories.find((c) => c.position === stroke.category);
  const erases = category && !category.tinted;
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  context.fillStyle = context.strokeStyle = category ? `rgb(${category.color.join(",")})` : "rgb(128,128,128)";
  context.beginPath();
  stroke.points.forEach(([px, py], i) => (i ? context.lineTo(px * x, py * y) : context.moveTo(px * x, py * y)));
  if (stroke.tool === "polygon") {
    context.closePath();
    context.fill();
  } else {
    if (stroke.points.length === 1) context.lineTo(stroke.points[0][0] * x + 0.01, stroke.points[0][1] * y);
    context.lineWidth = 2 * stroke.radius * x;
    context.lineCap = context.lineJoin = "round";
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

function outline(context, points, [x, y], width) {
  for (const [color, thick] of [["#000", 2 * width], ["#fff", width]]) {
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = thick;
    context.beginPath();
    points.forEach(([px, py], i) => (i ? context.lineTo(px * x, py * y) : context.moveTo(px * x, py * y)));
    context.stroke();
    for (const [px, py] of points) context.fillRect(px * x - thick, py * y - thick, 2 * thick, 2 * thick);
  }
}

function crossAt(context, [px, py], [x, y], width) {
  for (const [color, thick] of [["#000", 3 * width], ["#fff", width]]) {
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.beginPath();
    context.moveTo(px * x - 8 * width, py * y);
    context.lineTo(px * x + 8 * width, py * y);
    context.moveTo(px * x, py * y - 8 * width);
    context.lineTo(px * x, py * y + 8 * width);
    context.stroke();
  }
}
