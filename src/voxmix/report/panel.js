// What every panel of what-ifs shares: its state in controls, in the page's address and as commands; tables with their CSV; what
// is said; copying. What is a panel's own is given to `panel` (what_if.js, what_if_scores.js).
"use strict";
const percent = (v) => `${(100 * v).toFixed(1)}%`, short = (v) => v.toPrecision(4), whole = (v) => (+v.toPrecision(6)).toLocaleString("en-US");
const range = (ends, word) => ends ? `${word(ends[0])} to ${word(ends[1])}` : "–";
const quoted = (t) => /^[\w.,:=+\/-]+$/.test(t) ? t : `'${t.replace(/'/g, `'\\''`)}'`;
const svg = (tag, more) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const k in more) e.setAttribute(k, more[k]); return e; };
// The number that a text says, as voxmix._amounts reads it: 8k, 1e5 or 16,000; NaN where it says none.
function amount(text) {
  const found = /^\s*(\d{1,3}(?:,\d{3})+|\d[\d_]*|(?=\.\d))(\.\d*)?(e[+-]?\d+)?\s*([kmgb]?)\s*$/i.exec(text);
  if (!found) return NaN;
  const times = { "": 1, k: 1e3, m: 1e6, g: 1e9, b: 1e9 }[found[4].toLowerCase()];
  return Number(`${found[1].replace(/[_,]/g, "") || 0}${found[2] ?? ""}${found[3] ?? ""}`) * times;
}

// `make` gets the data and ways to show, and returns what is the panel's own:
//   begin      the state at first; copy(state) a copy of it
//   pairs      (state) -> what its address holds, by key; read(state, key, text) takes it back
//   commands   (state) -> name to the words of a command, or null where there is none
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
  // Rows of cells: a text first, then drawings, or pairs of a text and its value; a row that is a text heads those below it.
  function fill(name, rows) {
    const heads = [...find(`${name}-head`).cells].map((c) => c.textContent), grouped = rows.some((cells) => typeof cells === "string");
    const csv = [grouped ? ["", ...heads] : heads];
    let group = "";
    find(name).replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      if (typeof cells === "string") {
        const e = row.appendChild(document.createElement("th"));
        e.scope = "rowgroup"; e.colSpan = heads.length; e.className = "group"; e.textContent = group = cells;
        return row;
      }
      cells.forEach((cell, k) => {
        const e = row.appendChild(document.createElement(k ? "td" : "th"));
        if (!k) { e.scope = "row"; e.append(cell); }
        else if (cell instanceof Element) { e.className = "bar"; e.append(cell); }
        else if (typeof cell === "string") e.textContent = cell;
        else {
          const [first, more] = cell[0].split("\n");
          e.className = "n"; e.textContent = first; e.dataset.value = JSON.stringify(cell[1] ?? null);
          if (more) e.appendChild(document.createElement("small")).textContent = more;
        }
      });
      const texts = cells.map((c) => c instanceof Element ? c.textContent : Array.isArray(c) ? [c[1] ?? ""].flat().map((v) => v ?? "").join(" ") : c);
      csv.push(grouped ? [group, ...texts] : texts);
      return row;
    }));
    const drawn = new Set(rows.flatMap((cells) => typeof cells === "string" ? [] : cells.flatMap((c, k) => k && c instanceof Element ? [k + grouped] : [])));
    const text = csv.map((row) => row.filter((_, k) => !drawn.has(k)).map((t) => `"${String(t).replace(/"/g, '""')}"`).join(",")).join("\r\n");
    find(`${name}-csv`).href = `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`;
  }

  const own = make({ D, root, find, say, tell, fill }), { begin, copy } = own;
  let state = copy(begin);

  const amountOf = (c) => c.type === "range" ? Number((10 ** Number(c.value)).toPrecision(3)) : amount(c.value);
  function place(but) {
    for (const c of controls) {
      if (c === but) continue;
      if (c.dataset.set !== "n") own.place(c, state);
      else if (c.type === "range") c.value = Math.log10(state.n);
      else { c.value = state.n; c.removeAttribute("aria-invalid"); }
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
      find(name).closest(".copied").hidden = !words;
      find(name).replaceChildren(...(words ?? "").split(/ (?=--)/).flatMap((part, k) => {
        const e = document.createElement("span");
        e.textContent = part;
        return k ? [" ", e] : [e];
      }));
    }
    own.solve(state);
  }
  root.addEventListener("input", (event) => {
    const c = event.target;
    if (!c.dataset.set) return;
    if (c.dataset.set === "n") {
      const v = amountOf(c), n = D.whole ? Math.round(v) : v;
      c.toggleAttribute("aria-invalid", false);
      if (!(n > 0 && isFinite(n))) { c.setAttribute("aria-invalid", "true"); return; }
      state.n = n;
    } else {
      const taken = own.take(c, state);
      if (!taken) return;
      if (taken !== true) state = copy(taken);
    }
    const preset = find("preset");
    if (preset && c !== preset) preset.value = "";
    place(c.type === "range" || c.type === "checkbox" || c.tagName === "SELECT" ? null : c);
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
      if (key === "n") { const v = Number(text); if (text !== "" && v >= 0 && v <= 1e18) state.n = v; } else own.read(state, key, text);
    }
    place(); show();
    root.closest("section").scrollIntoView();
    return true;
  };
  addEventListener("hashchange", arrive);
  root.hidden = false;
  if (!arrive()) { place(); show(); }
}
