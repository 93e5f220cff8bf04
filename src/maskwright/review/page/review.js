"use strict";
// The page: an item, its answers, the keys.

const at = (id) => document.getElementById(id);

const app = {
  source: null, categories: [], item: null, panels: [], shown: [], ready: false, editor: null, hidden: false, differs: false, asked: 0, busy: false,

  get by() { return at("by").value.trim(); },
  get opacity() { return this.hidden ? 0 : Number(at("opacity").value) / 100; },

  say(text, bad = false) {
    at("status").textContent = text;
    at("status").classList.toggle("bad", bad);
  },

  async start() {
    if (location.search) history.replaceState(null, "", location.pathname);  // the token isn't left in the address
    const data = at("data");
    addEventListener("beforeunload", (event) => {  // strokes, or answers that neither browser nor file keeps
      if (this.editor?.strokes.length || this.source?.unsaved) event.preventDefault();
    });
    this.source = data ? new Disk(JSON.parse(data.textContent)) : new Server();
    at("by").value = recalled("maskwright-review-by") || "";
    if (data) at("second").parentElement.hidden = true;
    this.categories = (await this.source.state(this.by)).categories;
    legend(this.categories);
    this.listen();
    await this.forward();
    if (!this.by) at("by").focus();
  },

  async refresh() {
    const { total, decided, mine } = await this.source.state(this.by);
    at("bar").max = Math.max(total, 1);
    at("bar").value = decided;
    at("count").textContent = `${decided} of ${total} answered${this.by ? `, ${mine} by you` : ""}`;
  },

  async forward(after = -1) {
    const { place } = await this.source.next(this.by, at("second").checked, after);
    if (place !== null) return this.show(place);
    this.stopDrawing();
    this.item = null;
    at("question").textContent = "Nothing is left to answer.";
    for (const id of ["names", "detail"]) at(id).textContent = "";
    for (const id of ["panels", "answers"]) at(id).replaceChildren();
    await this.refresh();
  },

  async show(place) {
    const asked = ++this.asked;
    this.ready = false;
    this.shown = [];
    this.stopDrawing();
    await this.refresh();
    const item = await this.source.item(place, this.by);
    if (asked !== this.asked) return;
    this.item = item;
    at("question").textContent = item.question;
    at("names").textContent = item.names.join("  ·  ");
    const others = item.others ? ` Answered by ${item.others} other${item.others > 1 ? "s" : ""}.` : "";
    const mine = item.mine ? ` Your answer: ${labelled(item, item.mine)}.` : "";
    at("detail").textContent = `Item ${place + 1}: ${item.detail}.${others}${mine}`;
    at("answers").replaceChildren(...item.answers.map((answer) => button(answer, item.mine, () => this.answer(answer.name))));
    this.answerable(false);
    at("panels").replaceChildren(element("p", "Loading the pictures…"));
    if (document.activeElement !== at("by")) at("question").focus({ preventScroll: true });  // what follows is read from there
    const two = item.suggestions.length > 1;
    at("differ").hidden = !two;
    try {
      const panels = await this.load(item);
      if (asked !== this.asked) return;
      this.panels = panels;
      this.answerable(true);
      at("panels").replaceChildren(...panels.map((panel) => panel.figure));
      at("panels").style.setProperty("--panels", panels.length);
      this.draw();
    } catch (error) {
      if (asked !== this.asked) return;
      this.panels = [];
      at("panels").replaceChildren(element("p", "This item can’t be shown."));
      this.say(error.message, true);
    }
  },

  // Nothing but leaving an image out can be answered before it was seen.
  answerable(ready) {
    this.ready = ready;
    for (const [which, made] of [...at("answers").children].entries()) made.disabled = !ready && !this.blind(this.item.answers[which].name);
  },

  blind(name) { return name === "reject"; },

  async load(item) {
    const pictures = await Promise.all(item.names.map((_, which) => this.source.image(item.place, which)));
    const read = await Promise.all(item.suggestions.map((_, which) => this.source.label(item.place, which)));
    const labels = read.map(({ bitmap }) => labelOf(bitmap));
    this.shown = read.map(({ shown }) => shown);
    const panel = (caption, picture, label) => new Panel(caption, picture, label, item.size, this.categories);
    if (!labels.length) return item.names.map((name, which) => panel(name, pictures[which], null));
    return labels.map((label, which) => {
      const letter = labels.length > 1 ? `${"AB"[which]}: ` : "";
      return panel(`${letter}${item.suggestions[which]}`, pictures[Math.min(which, pictures.length - 1)], label);
    });
  },

  draw() {
    if (this.editor) return this.editor.draw();
    const [first, second] = this.panels;
    for (const panel of this.panels) {
      panel.fill(at("panels").clientWidth / (innerWidth > 736 ? this.panels.length : 1) - 14, innerHeight * 0.6);
      if (panel.only !== this.differs) {
        panel.only = this.differs;
        panel.differing(this.differs && second ? difference(first.label, second.label) : null);
      }
      panel.draw(this.opacity, this.item.region);
    }
  },

  // Everything that changes something goes one after the other: a key that is held answers one item.
  async alone(work) {
    if (this.busy) return;
    this.busy = true;
    try {
      await work();
    } catch (error) {
      this.say(error.message, true);
    } finally {
      this.busy = false;
    }
  },

  named() {
    at("by").setAttribute("aria-invalid", String(!this.by));
    if (!this.by) {
      this.say("Type your name first: every answer says whose it is.", true);
      at("by").focus();
    }
    return Boolean(this.by);
  },

  answer(name) {
    if (!this.item || !this.named()) return;
    if (!this.ready && !this.blind(name)) return this.say("The pictures aren’t there yet: what wasn’t seen can’t be judged.", true);
    if (name === "edit") return this.edit({});
    if (name === "ignore" && !this.item.region) return this.edit({ box: true });
    return this.alone(() => this.send({ answer: name }));
  },

  async send(more) {
    const item = this.item;
    const id = [...crypto.getRandomValues(new Uint8Array(8))].map((v) => v.toString(16).padStart(2, "0")).join("");
    const kept = await this.source.decide({ item: item.key, by: this.by, id, time: new Date().toISOString(), shown: this.shown, ...more });
    const told = `${labelled(item, more.answer)} (item ${item.place + 1}).`;
    if (kept.lost) this.say(`Answered, but this browser keeps nothing: download the answers before you close the page. ${told}`, true);
    else this.say(`Saved: ${told}`);
    this.stopDrawing();
    await this.forward(item.place);
  },

  edit({ box, base = 0, strokes = [] }) {
    this.stopDrawing();
    this.draw();
    const panel = base < 0 ? this.empty() : this.panels[base];
    if (!panel) return;
    const pool = ["disagreement", "objectness", "uncertain"].includes(this.item.kind);
    const bases = [...this.item.suggestions.map((_, which) => which), ...(pool ? [-1] : [])];
    const next = bases[(bases.indexOf(base) + 1) % bases.length];
    at("draw-base").hidden = bases.length < 2;
    at("draw-base").firstChild.textContent = `begin with ${next < 0 ? "nothing" : "AB"[next]} instead `;
    this.rebase = () => this.edit({ base: next, strokes: this.editor.strokes });
    at("editor").hidden = Boolean(box);
    at("answers").hidden = true;
    at("panels").classList.add("editing");
    const tools = {
      tool: () => document.querySelector("input[name=tool]:checked").value,
      category: () => Number(at("category").value),
      radius: () => Number(at("radius").value),
      opacity: () => this.opacity,
      say: (text) => this.say(text, true),
    };
    this.drawing(true);
    this.say(box ? "Drag a box around what is to be ignored (Esc stops)." : "Draw on the picture, then save with Enter.");
    this.editor = new Editor(panel, tools, {
      box, strokes,
      stopped: () => { this.say("Nothing was changed."); this.stopDrawing(); this.draw(); },
      done: (drawn, region) => this.alone(() => this.send(box ? { answer: "ignore", region } : { answer: "edit", base, strokes: drawn })),
    });
  },

  // The picture with a label that knows nothing, in the place of the first one.
  empty() {
    const { label, image } = this.panels[0], values = new Uint8Array(label.values.length).fill(IGNORE);
    const panel = new Panel("nothing is drawn yet", image, { ...label, values }, this.item.size, this.categories);
    at("panels").replaceChildren(panel.figure);
    panel.fill(at("panels").clientWidth - 14, innerHeight * 0.6);
    return panel;
  },

  // What would throw a drawing away is out of reach while there is one.
  drawing(now) {
    for (const id of ["back", "forward", "undo", "second", "by"]) at(id).disabled = now;
  },

  stopDrawing() {
    this.drawing(false);
    if (this.panels.length && this.item) at("panels").replaceChildren(...this.panels.map((panel) => panel.figure));
    if (this.editor) this.editor.close();
    this.editor = null;
    at("editor").hidden = true;
    at("answers").hidden = false;
    at("panels").classList.remove("editing");
  },

  undo() {
    if (!this.named()) return;
    return this.alone(async () => {
      const { place, lost } = await this.source.undo(this.by);
      if (lost) this.say("Taken back, but this browser keeps nothing: download the answers before you close the page.", true);
      else this.say(place === null ? "There is no answer of yours to take back." : `Taken back: your answer to item ${place + 1}.`);
      if (place !== null) await this.show(place);
    });
  },

  async step(by) {
    const total = at("bar").max, place = (this.item ? this.item.place : -1) + by;
    if (place < 0 || place >= total) return this.say(place < 0 ? "This is the first item." : "This is the last item.");
    await this.alone(() => this.show(place));
  },

  toggle(id) {
    const now = at(id).getAttribute("aria-pressed") !== "true";
    at(id).setAttribute("aria-pressed", String(now));
    if (id === "hide") this.hidden = now;
    else this.differs = now;
    if (this.item) this.draw();
  },

  fade(by) {
    at("opacity").value = Number(at("opacity").value) + by;
    if (this.item) this.draw();
  },

  key(event) {
    const typing = event.target instanceof HTMLInputElement && !["radio", "checkbox", "range"].includes(event.target.type);
    if (event.ctrlKey || event.metaKey || event.altKey || typing || event.target instanceof HTMLSelectElement) return;
    if (this.editor) {
      if (this.editor.key(event)) event.preventDefault();
      return;
    }
    const range = event.target instanceof HTMLInputElement && event.target.type === "range";
    const keys = {
      h: () => this.toggle("hide"), d: () => this.toggle("differ"), u: () => this.undo(),
      "[": () => this.fade(-10), "]": () => this.fade(10),
      ArrowLeft: range ? null : () => this.step(-1), ArrowRight: range ? null : () => this.step(1),
    };
    const answer = this.item && this.item.answers.find((known) => known.key === event.key);
    const work = answer && !event.repeat ? () => this.answer(answer.name) : keys[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  },

  listen() {
    document.addEventListener("keydown", (event) => this.key(event));
    at("by").addEventListener("change", () => {
      remember("maskwright-review-by", this.by);
      at("by").removeAttribute("aria-invalid");
      this.say("");
      this.alone(() => this.forward());
    });
    const clicks = {
      hide: () => this.toggle("hide"), differ: () => this.toggle("differ"), undo: () => this.undo(),
      back: () => this.step(-1), forward: () => this.step(1), "draw-undo": () => this.editor && this.editor.undo(),
      "draw-close": () => this.editor && this.editor.finishStroke("polygon"), "draw-save": () => this.editor && this.editor.save(),
      "draw-base": () => this.editor && this.rebase(), "draw-cancel": () => this.editor && this.editor.options.stopped(), download: () => this.source.download(),
    };
    for (const [id, work] of Object.entries(clicks)) at(id)?.addEventListener("click", work);
    at("opacity").addEventListener("input", () => this.item && this.draw());
    at("radius").addEventListener("input", () => { at("radius-of").textContent = at("radius").value; });
    at("second").addEventListener("change", () => this.alone(() => this.forward()));
    at("more").addEventListener("toggle", () => at("more").open && this.alone(() => this.compare()));
    addEventListener("resize", () => this.item && this.draw());
  },

  async compare() {
    const { rows } = await this.source.agreement();
    const head = ["reviewers", "kind", "items", "alike", "Cohen’s κ"];
    const cells = rows.map((r) => [`${r.first}, ${r.second}`, r.kind || "all", r.items, `${Math.round(100 * r.share)} %`, r.kappa === null ? "–" : r.kappa.toFixed(2)]);
    const table = element("table"), line = (name, values) => {
      const row = element("tr");
      row.append(...values.map((value) => element(name, String(value))));
      return row;
    };
    table.append(line("th", head), ...cells.map((values) => line("td", values)));
    at("agreement").replaceChildren(rows.length ? table : element("p", "No two reviewers have answered the same item."));
  },
};

function labelled(item, name) {
  const known = item.answers.find((answer) => answer.name === name);
  return known ? known.label : name;
}

function button(answer, mine, work) {
  const found = element("button", `${answer.label} `, { type: "button" });
  found.append(element("kbd", answer.key));
  found.classList.toggle("chosen", answer.name === mine);
  found.addEventListener("click", work);
  return found;
}

function legend(categories) {
  at("legend").replaceChildren(...categories.filter((c) => c.tinted).map((category) => {
    const entry = element("li"), swatch = element("span", "", { class: "swatch" });
    swatch.style.background = `rgb(${category.color.join(",")})`;
    entry.append(swatch, category.name);
    return entry;
  }));
  const painted = [...categories.filter((c) => c.tinted), ...categories.filter((c) => !c.tinted)];
  const options = painted.map((category) => element("option", category.name, { value: category.position }));
  at("category").replaceChildren(...options, element("option", "ignore", { value: IGNORE }));
}

app.start().catch((error) => app.say(error.message, true));
