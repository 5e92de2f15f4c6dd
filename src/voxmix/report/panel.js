// What every panel of what-ifs shares: its state in controls, in the page's address and as commands; tables with their CSV; what
// is said; copying. What is a panel's own is given to `panel` (what_if.js, what_if_scores.js).
"use strict";
const percent = (v) => `${(100 * v).toFixed(1)}%`, short = (v) => v.toPrecision(4), whole = (v) => (+v.toPrecision(6)).toLocaleString("en-US");
const range = (ends, word) => ends ? `${word(ends[0])} to ${word(ends[1])}` : "–";
const quoted = (t) => /^[\w.,:=+\/-]+$/.test(t) ? t : `'${t.replace(/'/g, `'\\''`)}'`;
const svg = (tag, more) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const k in more) e.setAttribute(k, more[k]); return e; };
const across = (x1, x2, y, name) => svg("line", { x1, x2, y1: y, y2: y, class: name });
// A drawing that fills a cell of a table, 200 by 18.
function strip(...parts) {
  const all = svg("svg", { viewBox: "0 0 200 18", preserveAspectRatio: "none", "aria-hidden": "true" });
  all.append(...parts);
  return all;
}
// The number that a text says, as voxmix._amounts reads it: 8k, 1e5 or 16,000; NaN or 0 where it says none.
function amount(text) {
  const found = /^\s*(\d{1,3}(?:,\d{3})+|[\d_]*)(\.\d*)?(e[+-]?\d+)?\s*([kmgb]?)\s*$/i.exec(text) ?? ["", "no"];
  return Number(found[1].replace(/[_,]/g, "") + (found[2] ?? "") + (found[3] ?? "")) * ({ k: 1e3, m: 1e6, g: 1e9, b: 1e9 }[found[4]?.toLowerCase()] ?? 1);
}

// `make` gets the data and ways to show, and returns what is the panel's own:
//   begin      the state at first; copy(state) a copy of it
//   pairs      (state) -> what its address holds, by key; read(state, key, text) takes it back
//   commands   (state) -> name to the words of a command, "" where there is none
//   place      (control, state) writes a control; text(control, state) what it says in words
//   take       (control, state) reads a control into the state; false where it says nothing
//   solve      (state) shows all that follows
function panel(make) {
  const root = document.getElementById("what-if-panel"), D = JSON.parse(document.getElementById("what-if-data").textContent);
  const find = (name) => root.querySelector(`[data-is="${name}"]`), say = (name, text) => { find(name).textContent = text; };
  const controls = [...root.querySelectorAll("[data-set]")];
  let timer = 0, kept = 0, address = "";

  function tell(text, impossible = false) {  // what a screen reader says, once the controls rest
    root.classList.toggle("impossible", impossible);
    clearTimeout(timer);
    timer = setTimeout(() => say("live", text), 500);
    say("problem", impossible ? text : "");
  }
  // Rows of cells: texts, drawings, or pairs of what is shown and its value; `firsts` stand before them in the CSV.
  function fill(name, rows, firsts) {
    find(name).replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((cell, k) => {
        const e = row.appendChild(document.createElement(k ? "td" : "th")), pair = Array.isArray(cell);
        if (k) e.className = pair ? "n" : cell instanceof Element ? "bar" : ""; else e.scope = "row";
        e.append(pair ? cell[0] : cell);
        if (pair) e.dataset.value = JSON.stringify(cell[1] ?? null);
      });
      return row;
    }));
    const heads = [...find(`${name}-head`).cells], textOf = (c) => c.textContent ?? (Array.isArray(c) ? [c[1] ?? ""].flat().join(" ") : c);
    const csv = [heads, ...rows].map((row, k) => [...(firsts ? [["task", ...firsts][k]] : []), ...[...row].filter((_, i) => heads[i].textContent !== "drawn").map(textOf)]);
    find(`${name}-csv`).href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv.map((row) => row.map((t) => `"${String(t).replace(/"/g, '""')}"`).join(",")).join("\r\n"))}`;
  }

  const own = make({ D, root, find, say, tell, fill }), { begin, copy } = own;
  let state = copy(begin);

  function place(but) {
    for (const c of controls) {
      if (c === but) continue;
      if (c.dataset.set !== "n") own.place(c, state);
      else if (c.type === "range") c.value = Math.log10(state.n);
      else { c.value = state.n; c.ariaInvalid = null; }
    }
  }
  function show() {
    for (const c of controls) {
      if (c.type !== "range") continue;
      const text = c.dataset.set === "n" ? `${whole(state.n)} ${D.unit}` : own.text(c, state);
      c.parentElement.querySelector("i").textContent = text;
      c.setAttribute("aria-valuetext", text);
    }
    address = `#what-if?${new URLSearchParams(own.pairs(state))}`;
    find("link").href = address;
    for (const [name, words] of Object.entries(own.commands(state))) {
      find(name).replaceChildren(...words.split(/ (?=--)/).flatMap((part, k) => {
        const e = document.createElement("span");
        e.textContent = part;
        return [k ? " " : "", e];
      }));
    }
    own.solve(state);
  }
  root.addEventListener("input", (event) => {
    const c = event.target;
    if (!c.dataset.set) return;
    if (c.dataset.set === "n") {
      const v = c.type === "range" ? Number((10 ** c.value).toPrecision(3)) : amount(c.value), n = D.whole ? Math.round(v) : v, good = n > 0 && isFinite(n);
      c.ariaInvalid = good ? null : "true";
      if (!good) return;
      state.n = n;
    } else {
      const taken = own.take(c, state);
      if (!taken) return;
      if (taken !== true) state = copy(taken);
    }
    const preset = find("preset");
    if (preset && c !== preset) preset.value = "";
    place(c.type === "text" && c);
    show();
    clearTimeout(kept);
    kept = setTimeout(() => { try { history.replaceState(null, "", address); } catch { location.replace(address); } }, 200);
  });
  root.addEventListener("focusout", () => place());
  root.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("click", async (event) => {
    const what = event.target.dataset?.copy;
    if (!what) return;
    const text = what === "link" ? new URL(address, location.href).href : own.commands(state)[what];
    try { await navigator.clipboard.writeText(text); say("copied", "Copied."); } catch {
      getSelection().selectAllChildren(find(what)); say("copied", "Selected: copy it with Ctrl+C.");
    }
    setTimeout(() => say("copied", ""), 3000);
  });
  const arrive = () => {
    if (!location.hash.startsWith("#what-if?") || location.hash === address) return false;
    state = own.blank();
    for (const [key, text] of new URLSearchParams(location.hash.slice(9))) {
      if (key !== "n") own.read(state, key, text); else if (text && text >= 0 && text <= 1e18) state.n = Number(text);
    }
    place(); show();
    root.closest("section").scrollIntoView();
    return true;
  };
  addEventListener("hashchange", arrive);
  root.hidden = false;
  if (!arrive()) { place(); show(); }
}
