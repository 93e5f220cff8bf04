"use strict";
// Where items come from and answers go: the server, or what the file holds and the browser keeps.

const ELSEWHERE = "open the address that it prints in another tab, then go on here: what you drew stays until this tab is reloaded.";
const GONE = `The server doesn’t answer, so nothing was saved. Start it again (maskwright review RUN), on the same port; ${ELSEWHERE}`;
const ANEW = `The server was started again since, with another token, so nothing was saved; ${ELSEWHERE}`;

class Server {
  async call(path, body) {
    const options = body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    };
    let answer;
    try {
      answer = await fetch(path, { credentials: "same-origin", ...options });
    } catch {
      throw new Error(GONE);
    }
    if (answer.ok) return answer;
    let why = `the server answered ${answer.status}`;
    try {
      why = (await answer.json()).error;
    } catch { /* no JSON: the status says it */ }
    throw new Error(answer.status === 403 && why.startsWith("the token") ? ANEW : why);
  }
  async json(path, body) {
    return (await this.call(path, body)).json();
  }
  async bitmap(path) {
    return bitmapOf(await (await this.call(path)).blob());
  }
  async labelled(path) {
    const answer = await this.call(path);
    return { bitmap: await bitmapOf(await answer.blob()), shown: answer.headers.get("X-Label-Digest") };
  }
  state(by) { return this.json(`api/state?by=${encodeURIComponent(by)}`); }
  next(by, second, after) { return this.json(`api/next?by=${encodeURIComponent(by)}&second=${second ? 1 : 0}&after=${after}`); }
  item(place, by) { return this.json(`api/item/${place}?by=${encodeURIComponent(by)}`); }
  image(place, which) { return this.bitmap(`api/image/${place}/${which}?side=${sideOf()}`); }
  label(place, which) { return this.labelled(`api/label/${place}/${which}?side=${sideOf()}`); }
  decide(reply) { return this.json("api/decide", reply); }
  undo(by) { return this.json("api/undo", { by }); }
  agreement() { return this.json("api/agreement"); }
}

function sideOf() {
  return Math.min(2048, Math.max(512, Math.ceil(Math.max(innerWidth, innerHeight) * (devicePixelRatio || 1))));
}

class Disk {
  constructor(data) {
    this.data = data;
    this.place = `maskwright-review-${data.made}`;
    this.replies = JSON.parse(recalled(this.place) || "[]");
  }
  // Answers that weren't taken back. What takes one back is kept as well: it may have been taken in elsewhere.
  get standing() {
    const gone = new Set(this.replies.filter((r) => r.undo).map((r) => r.undo));
    return this.replies.filter((r) => !r.undo && !gone.has(r.id));
  }
  mine(by) { return new Set(this.standing.filter((r) => r.by === by).map((r) => r.item)); }
  async state(by) {
    const keys = new Set(this.standing.map((r) => r.item));
    return { categories: this.data.categories, total: this.data.items.length, decided: keys.size, mine: this.mine(by).size };
  }
  async next(by, second, after) {
    const done = this.mine(by), left = this.data.items.filter((item) => !done.has(item.key));
    const item = left.find(({ place }) => place > after) || left[0];
    return { place: item ? item.place : null };
  }
  async item(place, by) {
    const item = this.data.items[place];
    const mine = this.standing.filter((r) => r.by === by && r.item === item.key).pop();
    return { ...item, mine: mine ? mine.answer : "", others: 0 };
  }
  async image(place, which) { return bitmapOf(bytesOf(this.data.items[place].images[which])); }
  async label(place, which) {
    const item = this.data.items[place];
    return { bitmap: await bitmapOf(bytesOf(item.labels[which])), shown: item.shown[which] };
  }
  async decide(reply) {
    this.replies.push(reply);
    return { id: reply.id, lost: !this.keep() };
  }
  async undo(by) {
    const last = this.standing.filter((r) => r.by === by).pop();
    if (!last) return { place: null };
    this.replies.push({ undo: last.id, by, time: new Date().toISOString() });
    return { place: this.data.items.findIndex((item) => item.key === last.item), lost: !this.keep() };
  }
  keep() {
    this.unsaved = !remember(this.place, JSON.stringify(this.replies));
    return !this.unsaved;
  }
  async agreement() { return { rows: [] }; }
  download() {
    const text = JSON.stringify({ maskwright_review: 1, made: this.data.made, replies: this.replies }, null, 1);
    const link = element("a", "", { download: "review-answers.json", href: URL.createObjectURL(new Blob([text], { type: "application/json" })) });
    link.click();
    this.unsaved = false;
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

function bytesOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]);
}

// A browser may keep nothing: then answers of a page on disk live as long as the page.
function recalled(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name, text) {
  try {
    localStorage.setItem(name, text);
    return true;
  } catch {
    return false; // full, or forbidden
  }
}
