// Every figure of the page: values under the pointer and to the arrow keys, series off and on, files of it. What a figure
// shows is in the JSON beside its SVG: no figure has code of its own. Plain script, as charts of a library would be a
// megabyte or more on each page, and would draw anew what matplotlib has drawn for the page, the notebook and print alike.
(() => {
  "use strict";
  const NEAR = 14, SVG = "http://www.w3.org/2000/svg", SHARP = 3;
  const light = document.styleSheets[0].cssRules[0].style;  // the first rule: colors of the light page, for files
  const tip = document.body.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.setAttribute("role", "status");
  const ring = document.createElement("div");
  ring.className = "ring";

  function button(text, label, act) {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = text;
    if (label) b.setAttribute("aria-label", label);
    b.addEventListener("click", act);
    return b;
  }

  function hide() { tip.textContent = ""; tip.classList.remove("on"); ring.remove(); }

  class Plot {
    constructor(root) {
      this.root = root;
      this.svg = root.querySelector("svg");
      Object.assign(this, JSON.parse(root.querySelector("script").textContent));
      this.off = new Set();
      this.at = -1;
      const title = this.svg.querySelector("title");  // as an attribute: browsers show the element under the pointer
      this.svg.removeAttribute("aria-labelledby");
      this.svg.setAttribute("aria-label", `${title.textContent}. ${this.svg.querySelector("desc").textContent}`);
      title.remove(); this.svg.querySelector("desc").remove();
      if (this.told.length) this.listen();
      const row = document.createElement("p");
      row.className = "saves";
      row.append("Save as");
      for (const kind of ["SVG", "PNG", "CSV"]) row.append(button(kind, `Save as ${kind}: ${this.title}`, () => this.save(kind)));
      root.closest(".drawing").append(row);
    }

    listen() {
      const { root } = this;
      root.tabIndex = 0;
      root.setAttribute("role", "application");
      root.setAttribute("aria-label", `${this.title}. Arrow keys read its ${this.told.length} values.`);
      root.addEventListener("pointermove", (e) => this.show(this.near(e), e.pointerType === "mouse"));
      root.addEventListener("pointerdown", (e) => this.show(this.near(e)));
      root.addEventListener("pointerleave", (e) => { if (e.pointerType === "mouse") hide(); });
      root.addEventListener("blur", hide);
      root.addEventListener("keydown", (e) => {
        const seen = this.told.map((_, k) => k).filter((k) => !this.off.has(this.told[k][4])), now = seen.indexOf(this.at);
        const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now < 0 ? 0 : now - 1, ArrowUp: now < 0 ? 0 : now - 1, Home: 0, End: seen.length - 1 }[e.key];
        if (e.key === "Escape") hide();
        if (to === undefined || !seen.length || e.ctrlKey || e.altKey || e.metaKey) return;
        e.preventDefault();
        this.show(seen[(to + seen.length) % seen.length]);
      });
    }

    near(event) {
      const b = this.svg.getBoundingClientRect(), s = this.width / b.width;
      const x = (event.clientX - b.left) * s, y = (event.clientY - b.top) * s;
      let best = -1, least = NEAR;
      this.told.forEach(([l, t, r, d, series], k) => {
        if (this.off.has(series)) return;
        const far = Math.hypot(Math.max(l - x, x - r, 0), Math.max(t - y, y - d, 0));
        if (far < least || (far === least && (r - l) * (d - t) < this.area(best))) { best = k; least = far; }
      });
      return best;
    }

    area(k) { return k < 0 ? Infinity : (this.told[k][2] - this.told[k][0]) * (this.told[k][3] - this.told[k][1]); }

    show(k) {
      if (k < 0) return hide();
      this.at = k;
      const [l, t, r, d, , text] = this.told[k], b = this.svg.getBoundingClientRect(), s = b.width / this.width;
      const pad = r - l < 6 || d - t < 6 ? 5 : 0;
      Object.assign(ring.style, { left: `${(l - pad) * s}px`, top: `${(t - pad) * s}px`, width: `${(r - l + 2 * pad) * s}px`, height: `${(d - t + 2 * pad) * s}px`, borderRadius: pad ? "9px" : "2px" });
      this.root.append(ring);
      if (tip.textContent !== text) tip.textContent = text;
      tip.classList.add("on");
      const at = ring.getBoundingClientRect(), w = tip.offsetWidth, h = tip.offsetHeight, wide = document.documentElement.clientWidth;
      const middle = Math.min(Math.max((at.left + at.right) / 2, b.left), b.right) - w / 2;
      tip.style.left = `${Math.max(4, Math.min(middle, wide - w - 4))}px`;
      tip.style.top = `${at.top - h - 6 > 0 ? at.top - h - 6 : at.bottom + 6}px`;
    }

    set(series, on) {
      if (on) this.off.delete(series); else this.off.add(series);
      for (const g of this.svg.querySelectorAll(`[data-series="${series}"]`)) g.style.display = on ? "" : "none";
      hide();
    }

    text() {
      const copy = this.svg.cloneNode(true), back = document.createElementNS(SVG, "rect"), title = document.createElementNS(SVG, "title");
      for (const g of copy.querySelectorAll("[data-series]")) if (g.style.display === "none") g.remove();
      title.textContent = this.title;
      for (const [k, v] of Object.entries({ width: this.width, height: this.height, fill: "var(--page)" })) back.setAttribute(k, v);
      copy.prepend(title, back);
      for (const k of ["role", "aria-label", "style"]) copy.removeAttribute(k);
      for (const [k, v] of Object.entries({ width: this.width, height: this.height, "font-family": "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif", "stroke-linejoin": "round" })) copy.setAttribute(k, v);
      return new XMLSerializer().serializeToString(copy).replace(/var\((--[a-z]+)\)/g, (_, name) => light.getPropertyValue(name).trim());
    }

    async save(kind) {
      const plain = (type, text) => `data:${type};charset=utf-8,${encodeURIComponent(text)}`;
      const a = document.createElement("a");
      a.download = `${this.name}.${kind.toLowerCase()}`;
      if (kind === "CSV") a.href = plain("text/csv", this.csv);
      else if (kind === "SVG") a.href = plain("image/svg+xml", this.text());
      else {
        const image = new Image(), canvas = document.createElement("canvas");
        image.src = plain("image/svg+xml", this.text());
        await image.decode();
        canvas.width = this.width * SHARP; canvas.height = this.height * SHARP;
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        a.href = canvas.toDataURL("image/png");
      }
      a.click();
    }
  }

  for (const figure of document.querySelectorAll("figure.drawn")) {
    const plots = [...figure.querySelectorAll(".plot")].map((root) => new Plot(root));
    const colors = new Map(plots.flatMap((plot) => plot.series));
    if (colors.size < 2) continue;
    let list = figure.querySelector(".legend");
    if (!list) {
      list = document.createElement("ul");
      list.className = "legend";
      list.setAttribute("aria-label", "Legend");
      figure.prepend(list);
    }
    const named = new Map([...list.children].map((item) => [item.dataset.label, item]));
    for (const [label, color] of colors) {
      let item = named.get(label);
      if (!item) {
        item = list.appendChild(document.createElement("li"));
        if (new Set(colors.values()).size > 1) {  // one color for all says nothing
          const swatch = item.appendChild(document.createElement("span"));
          swatch.className = "swatch"; swatch.style.background = color;
        }
        item.append(label);
      }
      const b = button("", "", () => {
        const on = b.getAttribute("aria-pressed") !== "true";
        b.setAttribute("aria-pressed", on);
        for (const plot of plots) plot.set(plot.series.findIndex(([name]) => name === label), on);
      });
      b.setAttribute("aria-pressed", "true");
      b.append(...item.childNodes);
      item.append(b);
    }
  }
  addEventListener("scroll", hide, { passive: true, capture: true });
})();
