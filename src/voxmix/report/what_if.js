// The panel of mixtures: what is asked, as controls, address and command; what the solver finds, as tables and sentences.
panel(({ D, root, find, say, tell, fill }) => {
  const copy = (s) => ({ ...s, w: { ...s.w }, max: { ...s.max }, fix: { ...s.fix } });
  let turn = 0;

  const known = new Map();  // law to its numbers, and to those of each draw
  function numbersOf(law) {
    if (known.has(law)) return known.get(law);
    const S = D.domains.length, T = law.targets.length, names = Object.keys(law.numbers), rest = { B: new Float64Array(T), a: new Float64Array(T).fill(1) };
    law.unique = law.unique.map((v) => v ?? Infinity);
    const repeats = law.repeats.map((v) => v ?? Infinity), draws = [];
    const best = { ...rest, repeats, tau: Float64Array.from(law.tau) };
    for (const name of names) best[name] = Float64Array.from(law.numbers[name]);
    if (law.draws) {
      const bytes = Uint8Array.from(atob(law.packed), (c) => c.charCodeAt(0)), fades = law.unique.some(isFinite), M = law.moving.length;
      const row = names.length * T + (fades ? S : 0), floats = new (law.exact ? Float64Array : Float32Array)(bytes.buffer, 0, row * law.draws);
      const transfers = law.exact && new Float64Array(bytes.buffer, floats.byteLength, M * law.draws);
      const bits = new Uint32Array(1), value = new Float32Array(bits.buffer);
      for (let d = 0; d < law.draws; d++) {
        const p = { ...rest, repeats, tau: Float64Array.from(law.still) };
        names.forEach((name, k) => { p[name] = Float64Array.from(floats.subarray(d * row + k * T, d * row + (k + 1) * T)); });
        if (fades) p.repeats = floats.subarray(d * row + names.length * T, (d + 1) * row);
        law.moving.forEach((pair, k) => {
          if (law.exact) { p.tau[pair] = transfers[d * M + k]; return; }
          const at = floats.byteLength + 3 * (d * M + k);
          bits[0] = (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16) << 7;
          p.tau[pair] = value[0];
        });
        draws.push(p);
      }
    }
    const found = { best, draws };
    known.set(law, found);
    return found;
  }

  // What a state asks of a law, or why no mixture can meet it.
  function aimOf(s, law) {
    const low = new Float64Array(D.domains.length), high = new Float64Array(low.length);
    if (!(s.n > 0)) return "The budget must be above 0.";
    for (const [i, name] of D.domains.entries()) {
      low[i] = s.fix[name] ?? s.min;
      high[i] = s.fix[name] ?? s.max[name] ?? 1;
      const most = (law.stock[i] ?? Infinity) / s.n;
      if (most < high[i]) {
        if (s.fix[name] > most + 1e-9) return `${name} has volumes for ${percent(most)} of this budget at most.`;
        high[i] = most;
      }
      if (low[i] > high[i] + 1e-9) return `${name} should get at least ${percent(low[i])} and at most ${percent(high[i])}: raise the one or lower the other.`;
      high[i] = Math.max(low[i], high[i]);
    }
    if (sum(low) > 1 + 1e-9) return `The least shares add up to ${percent(sum(low))}: lower the least share, or hold fewer domains.`;
    if (sum(high) < 1 - 1e-9) return `The limits allow ${percent(sum(high))} of the budget: raise one of them.`;
    let importance = law.targets.map((name) => s.w[name] ?? 1);
    if (!sum(importance)) return "The weights of all targets are 0: raise one.";
    importance = importance.map((v) => v / sum(importance));
    return { kind: s.obj, low, high, importance, guard: law.guard && Float64Array.from(law.guard) };
  }

  function solve(now) {
    const mine = ++turn, s = copy(now), law = D.laws[s.law], aim = aimOf(s, law);
    say("law-label", law.label);
    if (typeof aim === "string") { tell(aim, true); return; }
    root.classList.remove("impossible"); say("problem", "");
    const { best: p, draws } = numbersOf(law), land = landscape(law, p, s.n), best = optimum(land, aim, 1e-9);
    if (aim.guard && best.violation > 1e-6) { tell(`No mixture within these limits is no worse than ${D.guard ?? "the one named"} for every target.`, true); return; }
    const even = new Float64Array(land.S).fill(1 / land.S), result = {
      law, aim, best, loss: land.loss(best.x), even: land.loss(even), evenValue: valueOf(aim, best.cost, land.loss(even)), told: null,
    };
    show(result, s);
    const near = [], shares = [], losses = [];
    let wins = 0, k = 0, all = land.S + draws.length;
    const step = () => {  // a slice of work at a time, so that the page answers
      const until = performance.now() + 30;
      while (k < all && performance.now() < until) {
        if (k < land.S) near.push(nearOptimal(land, aim, best, D.tolerance, k));
        else {
          const there = landscape(law, draws[k - land.S], s.n), found = optimum(there, aim, 1e-6);
          shares.push(found.x); losses.push(there.loss(best.x));
          const ours = valueOf(aim, found.cost, losses.at(-1)), theirs = valueOf(aim, found.cost, there.loss(even));
          wins += Math.abs(ours - theirs) <= 1e-6 * theirs ? 0.5 : +(ours < theirs);
        }
        k++;
      }
      if (mine !== turn) return;
      if (k < all) return void setTimeout(step);
      result.near = near;
      if (draws.length) {
        const column = (rows, i) => rows.map((r) => r[i]);
        result.shares = D.domains.map((_, i) => interval(column(shares, i), D.level, law.corrected ? best.x[i] : null));
        result.losses = law.targets.map((_, j) => widened(interval(column(losses, j), D.level), result.loss[j], law.seeds));
        result.told = wins / draws.length;
      }
      show(result, s);
    };
    setTimeout(step);
  }

  function bar(i, share, sure, near) {
    const line = (ends, y, name) => ends ? [across(200 * ends[0], 200 * ends[1], y, name)] : [];
    return strip(svg("rect", { x: 0, y: 3, width: 200 * share, height: 12, fill: D.colors[i] }), ...line(near, 16.5, "near"), ...line(sure, 9, "sure"));
  }
  function show(r, s) {
    const { law, aim, best } = r, of = (loss) => law.best === null ? loss : law.best - loss, ends = (e) => e && (law.best === null ? e : [of(e[1]), of(e[0])]);
    fill("shares", D.domains.map((name, i) => [name, bar(i, best.x[i], r.shares?.[i], r.near?.[i]), [percent(best.x[i]), best.x[i]],
      [range(r.shares?.[i], percent), r.shares?.[i]], [range(r.near?.[i], percent), r.near?.[i]]]));
    fill("losses", law.targets.map((name, j) => [name, [short(of(r.loss[j])), of(r.loss[j])], [range(ends(r.losses?.[j]), short), ends(r.losses?.[j])],
      [short(of(r.even[j])), of(r.even[j])], [`${r.loss[j] > r.even[j] ? "+" : ""}${percent(r.loss[j] / r.even[j] - 1)}`, r.loss[j] / r.even[j] - 1]]));
    const order = [...D.domains.keys()].sort((a, b) => best.x[b] - best.x[a]).slice(0, 3), gain = 1 - best.value / r.evenValue;
    const value = law.best !== null && aim.kind === "mean" ? `mean ${law.response} ${short(of(best.value))}` : `${D.words[aim.kind]} ${short(best.value)}`;
    const times = Math.max(s.n / law.fitted[1], law.fitted[0] / s.n);
    const sentences = [
      `For ${whole(s.n)} ${D.unit}, by the law ${s.law}: ${order.map((i) => `${percent(best.x[i])} ${D.domains[i]}`).join(", ")}${D.domains.length > 3 ? " and others" : ""}.`,
      `Predicted ${value}, ${percent(Math.abs(gain))} ${gain < 0 ? "above" : "below"} that of the uniform mixture` + (r.told === null ? "." : `; better than it in ${(100 * r.told).toFixed(0)}% of resamples.`),
      `Proven within ${best.gap.toExponential(0)} of the best possible.`,
      times > 1 ? `This budget lies ${whole(times)} times outside the fitted ones, ${whole(law.fitted[0])} to ${whole(law.fitted[1])}${times > 10 ? ": no run near it backs this, so it is a guess" : ""}.` : "",
    ];
    say("answer", sentences[0]);
    say("doubt", sentences.slice(1).join(" ").trim());
    Object.assign(find("results").dataset, { gap: best.gap, objective: best.value, told: r.told });
    if (r.near) tell(sentences.join(" "));
  }

  // The address, the command and the controls that hold a state.
  function pairs(s) {
    const found = [["law", s.law], ["n", s.n], ["min", s.min], ["obj", s.obj]];
    for (const map of ["w", "max", "fix"]) for (const name in s[map]) found.push([`${map}:${name}`, s[map][name]]);
    return found;
  }
  function read(s, key, text) {
    const [, map, name] = /^(w|max|fix):(.*)/s.exec(key) ?? [], v = Number(text);
    const names = map === "w" ? D.targets : D.domains, fits = text !== "" && v >= 0 && v <= (map === "w" ? 1e18 : 1);
    if (map && names.includes(name) && fits) s[map][name] = v;
    else if (key === "law" && Object.hasOwn(D.laws, text)) s.law = text;
    else if (key === "obj" && Object.hasOwn(D.words, text)) s.obj = text;
    else if (key === "min" && fits) s.min = v;
  }
  function blank() {
    find("preset").value = "";
    return { ...copy(D.asked), w: {}, max: {}, fix: {} };
  }
  function commands(s) {
    const parts = [D.command, "--budget", s.n, "--min-weight", s.min, "--objective", s.obj];
    for (const [map, flag] of [["max", "--max-weight"], ["fix", "--fix"], ["w", "--target-weight"]]) {
      const back = map === "fix" ? {} : Object.fromEntries(Object.keys(D.whole_study ? D.asked[map] : {}).map((name) => [name, 1]));
      for (const [name, v] of Object.entries({ ...back, ...s[map] })) parts.push(flag, quoted(`${name}=${v}`));
    }
    for (const [name, usual] of D.whole_study ? [] : [["level", 0.9], ["tolerance", 0.01]]) if (D[name] !== usual) parts.push(`--${name}`, D[name]);
    return { command: parts.join(" ") };
  }
  const limitOf = (s, name) => s.fix[name] ?? s.max[name] ?? 1;
  function place(c, s) {
    const { set, name } = c.dataset;
    if (set === "law" || set === "obj") c.value = s[set];
    else if (set === "min") c.value = 100 * s.min;
    else if (set === "w") { c.value = s.w[name] ?? 1; c.disabled = !D.laws[s.law].targets.includes(name); }
    else if (set === "max") c.value = +(100 * limitOf(s, name)).toPrecision(6);
    else if (set === "fix") c.checked = name in s.fix;
  }
  function text(c, s) {
    const { set, name } = c.dataset;
    if (set === "max") return name in s.fix ? `exactly ${percent(s.fix[name])}` : `at most ${percent(limitOf(s, name))}`;
    return set === "min" ? percent(s.min) : String(s.w[name] ?? 1);
  }
  function take(c, s) {
    const { set, name } = c.dataset, v = Number(c.value);
    if (set === "preset") return D.presets[c.value];
    if (set === "law" || set === "obj") s[set] = c.value;
    else if (set === "min") s.min = Number((v / 100).toFixed(4));
    else if (set === "w") { if (v === 1) delete s.w[name]; else s.w[name] = v; }
    else if (set === "max") {
      const share = Number((v / 100).toFixed(4)), map = name in s.fix ? "fix" : "max";
      if (map === "max" && share >= 1) delete s.max[name]; else s[map][name] = share;
    } else if (c.checked) { s.fix[name] = limitOf(s, name) < 1 ? limitOf(s, name) : Number((1 / D.domains.length).toFixed(4)); delete s.max[name]; }
    else delete s.fix[name];
    return true;
  }
  return { begin: D.asked, copy, blank, pairs, read, commands, place, text, take, solve };
});
