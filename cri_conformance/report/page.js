// SPDX-License-Identifier: Apache-2.0
// Comfort only: the page says everything without it. It never makes markup out of text.
(() => {
  "use strict";

  // An anchor may lie in something that is folded away.
  const reveal = () => {
    let at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!at) return;
    const goal = at;
    for (; at; at = at.parentElement) if (at instanceof HTMLDetailsElement) at.open = true;
    goal.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  // A second click on the same link changes no hash.
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal();
  });

  // What an element, or a text beside it, says: to the clipboard, and the label tells.
  const copy = async (label, text, source) => {
    const was = label.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened from a file may not use the clipboard: leave the text selected.
      const shown = source ?? label.appendChild(document.createElement("code"));
      if (!source) shown.textContent = text;
      getSelection().selectAllChildren(shown);
      done = document.execCommand("copy");
      if (!source) shown.remove();
    }
    label.textContent = done ? "copied" : "press Ctrl+C";
    setTimeout(() => { label.textContent = was; }, 1500);
  };
  for (const button of document.querySelectorAll("button.copy")) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", () => copy(button, code.textContent, code));
  }
  // The link of a clause goes there, as any link, and lies ready to be sent.
  addEventListener("click", (event) => {
    const link = event.target.closest("a.link");
    if (link) copy(link, link.href);
  });

  // Earlier calls are rows only once somebody looks: there may be thousands of them.
  const cell = (row, text, kind) => {
    const made = row.insertCell();
    made.className = kind;
    made.textContent = text;
    return made;
  };
  // A message in one line that unfolds, as the last calls have it, and below it its other lines.
  const message = (text) => {
    const [head, ...lines] = text.split("\n");
    if (head.length <= 100 && !lines.length) return document.createTextNode(head);
    const fold = document.createElement(head.length > 100 ? "details" : "span");
    fold.className = "message";
    const short = head.length > 100 ? fold.appendChild(document.createElement("summary")) : fold;
    short.textContent = head.length > 100 ? `${head.slice(0, 100)}…` : head;
    for (const text of lines) {
      const below = short.appendChild(document.createElement("span"));
      below.className = "below";
      below.textContent = text;
    }
    if (head.length > 100) fold.appendChild(document.createElement("pre")).textContent = head;
    return fold;
  };
  const asRows = (fold) => {
    const lines = fold.querySelector("pre.lines");
    if (!lines) return;
    const threads = "threads" in fold.dataset;
    const table = document.createElement("table");
    table.className = "calls";
    const head = table.createTHead().insertRow();
    for (const title of ["at, s", "took", ...(threads ? ["thread"] : []), "call", "request", "answer"]) {
      const th = head.appendChild(document.createElement("th"));
      th.textContent = title;
    }
    const body = table.createTBody();
    const data = JSON.parse(fold.querySelector("script").textContent);
    data.forEach(([at, took, thread, rpc, request, outcome, said, response], number) => {
      const row = body.insertRow();
      row.dataset.row = number;
      if (outcome !== "OK") row.className = "refused";
      cell(row, at, "number");
      cell(row, took, "number");
      if (threads) cell(row, thread, "number");
      cell(row, rpc, "rpc");
      cell(row, "", "").append(message(request));
      const answer = cell(row, "", "");
      const code = answer.appendChild(document.createElement("span"));
      code.className = outcome === "OK" ? "outcome ok" : "outcome";
      code.textContent = outcome;
      answer.append(` ${said} `, message(response));
    });
    lines.replaceWith(table);
  };
  addEventListener("toggle", (event) => {
    if (!event.target.open) return;
    if (event.target.matches("details.earlier")) asRows(event.target);
    else if (event.target.matches("details.card")) {
      for (const fold of event.target.querySelectorAll("details.earlier[open]")) asRows(fold);
    }
  }, true);

  // The call of the diagram that the pointer is at: the outlines are of many calls each.
  const rowAt = (svg, event) => {
    const box = svg.createSVGPoint();
    [box.x, box.y] = [event.clientX, event.clientY];
    const at = box.matrixTransform(svg.getScreenCTM().inverse());
    let best, least = 6;
    for (const path of svg.querySelectorAll("path.bars")) {
      const rows = path.dataset.rows.split(" ");
      [...path.getAttribute("d").matchAll(/M([\d.]+) ([\d.]+)h([\d.]+)/g)].forEach((found, number) => {
        const [x, y, width] = found.slice(1).map(Number);
        const off = Math.max(x - at.x, at.x - x - width, 0);
        if (at.y >= y - 3 && at.y <= y + 17 && off < least) [best, least] = [rows[number], off];
      });
    }
    return best;
  };
  // From the diagram to the row.
  addEventListener("click", (event) => {
    const svg = event.target.closest("svg.time");
    const number = svg && rowAt(svg, event);
    if (!number) return;
    const body = svg.closest(".body");
    const find = () => body.querySelector(`tr[data-row="${Number(number)}"]`);
    const fold = body.querySelector("details.earlier");
    if (fold && !find()) asRows(fold);
    if (fold?.contains(find())) fold.open = true;
    for (const row of body.querySelectorAll("tr.found")) row.classList.remove("found");
    find()?.classList.add("found");
    find()?.scrollIntoView({ block: "center" });
  });

  const form = document.querySelector("form.filters");
  const said = form.querySelector("output");
  const calls = [...document.querySelectorAll("details.call")];
  const clauses = [...document.querySelectorAll("ul.clauses > li")];
  // Read once they are sought for the first time, not while the page opens.
  const words = new Map();
  const wordsOf = (li) => {
    if (!words.has(li)) words.set(li, `${li.querySelector("a.id").title} ${li.textContent}`.toLowerCase());
    return words.get(li);
  };
  const before = new Map(calls.map((call) => [call, call.open]));

  const chosen = () => Object.fromEntries(new FormData(form));
  const apply = () => {
    const { text, verdict, level, kind, reason } = chosen();
    const sought = text.toLowerCase().split(/\s+/).filter(Boolean);
    const active = Boolean(sought.length || verdict || level || kind || reason);
    let shown = 0;
    for (const li of clauses) {
      const fits = (!verdict || li.dataset.verdict === verdict)
        && (!level || li.dataset.level === level)
        && (!kind || li.dataset.kind === kind)
        && (!reason || li.dataset.reason === reason)
        && sought.every((word) => wordsOf(li).includes(word));
      li.hidden = !fits;
      shown += fits;
    }
    const empty = (box) => !box.querySelector("ul.clauses > li:not([hidden])");
    for (const group of document.querySelectorAll(".group")) group.hidden = empty(group);
    for (const call of calls) {
      call.hidden = empty(call);
      call.open = active ? !call.hidden : before.get(call);
    }
    for (const service of document.querySelectorAll(".service")) service.hidden = empty(service);
    said.textContent = active ? `${shown} of ${clauses.length} clauses` : "";
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  // Browsers keep what was chosen when a page is loaded again.
  if (Object.values(chosen()).some(Boolean)) apply();

  // On paper everything that is shown is open.
  addEventListener("beforeprint", () => {
    for (const card of document.querySelectorAll("#broken details.card")) card.open = true;
  });
  reveal();
})();
