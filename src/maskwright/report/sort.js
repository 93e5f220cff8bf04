"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  const first = [...body.rows];
  for (const head of table.tHead.rows[0].cells) {
    if (!head.textContent.trim()) continue;  // a button without a name says nothing to a screen reader
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, body, first, head));
  }
}
function sort(table, body, first, head) {
  const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  const rows = [...first];
  if (next !== "none") {
    head.setAttribute("aria-sort", next);
    const text = (row) => row.cells[head.cellIndex].textContent.trim();
    const value = (row) => parseFloat(text(row).replace(/[\s\u202f]/g, "").replace("\u2212", "-").replace(/^[^\d+.-]+(?=\d)/, ""));
    const down = next === "descending" ? -1 : 1;
    const numbers = head.classList.contains("n");
    rows.sort((a, b) => {
      if (!numbers) return down * text(a).localeCompare(text(b), undefined, { numeric: true });
      const [x, y] = [value(a), value(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return down * (x - y);
    });
  }
  body.append(...rows);
}
