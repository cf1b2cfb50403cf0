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

  for (const button of document.querySelectorAll("button.copy")) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        // A page opened from a file may not use the clipboard: leave the text selected.
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  const form = document.querySelector("form.filters");
  const said = form.querySelector("output");
  const calls = [...document.querySelectorAll("details.call")];
  const clauses = [...document.querySelectorAll("ul.clauses > li")];
  const words = new Map(clauses.map((li) => [
    li, `${li.querySelector("a.id").title} ${li.textContent}`.toLowerCase(),
  ]));
  const before = new Map(calls.map((call) => [call, call.open]));

  const apply = () => {
    const { text, verdict, level, kind } = Object.fromEntries(new FormData(form));
    const sought = text.toLowerCase().split(/\s+/).filter(Boolean);
    const active = Boolean(sought.length || verdict || level || kind);
    let shown = 0;
    for (const li of clauses) {
      const fits = (!verdict || li.dataset.verdict === verdict)
        && (!level || li.dataset.level === level)
        && (!kind || li.dataset.kind === kind)
        && sought.every((word) => words.get(li).includes(word));
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
  apply();

  // On paper everything that is shown is open.
  addEventListener("beforeprint", () => {
    for (const card of document.querySelectorAll("#broken details.card")) card.open = true;
  });
  reveal();
})();
