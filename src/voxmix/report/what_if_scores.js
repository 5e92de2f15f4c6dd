// The panel of laws of scores: errors with a number of images beside the references', images that an aim needs, and data
// equivalents; the same interpolation as voxmix.scaling.ask, of the lines that the laws keep.
panel(({ D, find, say, tell, fill }) => {
  const copy = (s) => ({ ...s, off: [...s.off] }), number = (v) => v === null ? NaN : v === "inf" ? Infinity : v;
  const logs = (values) => values.map((v) => Math.log(number(v)));
  const plain = (v) => Number.isNaN(v) ? null : isFinite(v) ? v : "inf", told = (x) => [x.value, x.low, x.high].map(plain);
  const listed = (names, last = "and") => names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;
  const signed = (v) => `${v > 0 ? "+" : ""}${percent(v)}`.replace("-", "−"), near = (v) => whole(Number(v.toPrecision(3)));
  const count = (v) => v < 10 ? String(Number(v.toPrecision(2))) : v < 1000 ? v.toFixed(0) : near(v);

  const lineOf = (line) => line && { samples: line.samples, at: logs(line.samples), value: logs(line.errors), low: logs(line.low), high: logs(line.high) };
  for (const one of [...D.series, ...D.crossings]) one.line = lineOf(one.line);
  for (const pair of D.pairs) if (pair.between) {
    const { samples, first, second, reach } = pair.between;
    pair.between = { samples, at: logs(samples), first: logs(first), second: logs(second), reach: reach.map((row) => row.map(number)) };
  }
  const ends = (samples) => [samples[0], samples.at(-1)];
  const within = (samples, n) => samples[0] * (1 - 1e-9) <= n && n <= samples.at(-1) * (1 + 1e-9);
  function between(x, xs, ys) {
    const k = xs.findIndex((v) => v >= x);
    if (k < 1) return k ? ys.at(-1) : ys[0];
    return ys[k - 1] + (ys[k] - ys[k - 1]) / (xs[k] - xs[k - 1]) * (x - xs[k - 1]);
  }
  function firstCrossing(grid, values) {  // minus infinity where the first value is not above 0, infinity where none falls to it
    const n = values.findIndex((v) => v <= 0);
    if (n < 1) return n ? Infinity : -Infinity;
    return grid[n - 1] + values[n - 1] / (values[n - 1] - values[n]) * (grid[n] - grid[n - 1]);
  }
  const unknown = (why) => ({ value: NaN, low: NaN, high: NaN, why });

  // What a line says with n images; `less` is taken from it.
  function read(series, line, n, less = 0) {
    if (!line) return unknown(series.why || "these laws were fitted by an earlier voxmix; voxmix scale fits them again");
    if (!within(line.samples, n)) return unknown("so far from the measured sizes that nothing can be told");
    const [value, low, high] = [line.value, line.low, line.high].map((v) => Math.exp(between(Math.log(n), line.at, v)) - less);
    return { value, low, high };
  }
  function samplesFor(series, error) {
    const { line, sizes: [smallest, largest] } = series;
    if (!line) return unknown(series.why);
    const [value, low, high] = [line.value, line.low, line.high].map((v) => Math.exp(firstCrossing(line.at, v.map((e) => e - Math.log(error)))));
    const found = { value: value > 0 && value < Infinity ? value : NaN, low, high };
    if (value === Infinity) found.why = `not reached: not within ten times the largest size${low < Infinity && low > 0 ? `, though perhaps from ${count(low)} on` : ""}`;
    else if (value === 0) found.why = `a tenth of the smallest size is enough${series.worse}`;
    else found.outside = value < smallest || value > largest;
    return found;
  }
  // Images of the other series of a pair that are worth n of one.
  function equivalent(pair, name, n) {
    if (!pair.between) return unknown("these laws were fitted by an earlier voxmix; voxmix scale fits them again");
    const { samples, at, first, second, reach } = pair.between, ours = name === pair.first;
    if (!within(samples, n)) return unknown(`no curve is followed outside of the sizes that both have (${ends(samples).map(whole).join(" to ")})`);
    const own = between(Math.log(n), at, ours ? first : second), gap = (ours ? second : first).map((v) => v - own);
    const wide = at.map((_, k) => between(Math.log(n), at, ours ? reach.map((row) => row[k]) : reach[k]));
    const sure = reach.flat().every(isFinite), value = firstCrossing(at, gap);
    const low = sure ? firstCrossing(at, gap.map((v, k) => v - wide[k])) : -Infinity, high = sure ? firstCrossing(at, gap.map((v, k) => v + wide[k])) : Infinity;
    const found = { value: isFinite(value) ? Math.exp(value) : NaN, low: Math.exp(low), high: Math.exp(high) };
    if (low === -Infinity && high === Infinity) found.why = "cannot be told: fewer than the smallest size or more than the largest";
    else if (value === -Infinity) found.why = high > at[0] ? `the smallest size or fewer, at most ${count(found.high)}` : "the smallest size or fewer";
    else if (value === Infinity) found.why = `more than the largest size${low < Infinity ? `, or from ${count(found.low)} on` : ""}`;
    return found;
  }

  function bar(x, [left, right], color) {
    const place = (v) => 4 + 192 * (v - left) / (right - left), zero = svg("line", { x1: place(0), x2: place(0), y1: 0, y2: 18, class: "near" });
    const told = isFinite(x.value) ? [across(place(x.low), place(x.high), 9, "sure"), svg("rect", { x: place(x.value) - 2.5, y: 4, width: 5, height: 10, fill: color })] : [];
    return strip(zero, ...told);
  }
  function named(series) {
    const e = document.createElement("span"), mark = e.appendChild(document.createElement("span"));
    mark.className = "glyph"; mark.style.color = series.color; mark.textContent = series.glyph; mark.setAttribute("aria-hidden", "true");
    e.append(series.name);
    return e;
  }
  const small = (text, below) => { const e = document.createElement("span"), s = document.createElement("small"); s.textContent = below; e.append(text, s); return e; };
  const images = (x) => x.why ? [x.why, told(x)] : [small(`${count(x.value)}${x.outside ? ", a guess" : ""}`, `${x.low > 0 ? count(x.low) : "fewer"} to ${x.high < Infinity ? count(x.high) : "more"}`), told(x)];
  const nothing = ["–", null];

  const aimOf = (s) => s.goal > 0 && s.goal < 1 ? (s.by === "error" ? s.goal : Number((1 - s.goal).toPrecision(12))) : NaN;
  const seen = (s) => D.series.filter((one) => (!s.task || one.task === s.task) && !s.off.includes(one.objective));
  function rowsOf(s) {
    const aim = aimOf(s);
    return seen(s).map((series) => {
      const crossing = D.crossings.find((c) => c.task === series.task && c.name === series.name && (s.ref ? c.reference === s.ref : c.own));
      const pair = D.pairs.find((p) => p.task === series.task && [p.first, p.second].includes(series.name) && [p.first, p.second].includes(s.like));
      return {
        series, crossing, error: read(series, series.line, s.n), change: crossing && read(series, crossing.line, s.n, 1),
        times: Math.max(s.n / series.sizes[1], series.sizes[0] / s.n), needed: aim > 0 ? samplesFor(series, aim) : null,
        equal: series.name === s.like ? null : pair && equivalent(pair, series.name, s.n),
      };
    });
  }
  function verdict(rows) {  // of one task: which beat what they are set against
    const known = rows.filter((r) => r.change && isFinite(r.change.value)), names = (some) => some.map((r) => r.series.name);
    const refs = [...new Set(known.map((r) => r.crossing.called))], ref = refs.length > 1 ? "what they began from" : refs[0];
    if (!known.length) {
      const best = rows.filter((r) => isFinite(r.error.value)).sort((a, b) => a.error.value - b.error.value)[0];
      return best ? `the least error is predicted of ${best.series.name}, ${short(best.error.value)}, and it is set against nothing` : "nothing can be told";
    }
    const better = known.filter((r) => r.change.high < 0), worse = known.filter((r) => r.change.low > 0), open = known.filter((r) => r.change.low <= 0 && r.change.high >= 0);
    const hurt = worse.length ? `${listed(names(worse))} ${worse.length > 1 ? "are" : "is"} worse than ${ref}` : "", out = D.tasks[rows[0].series.task].outside;
    if (better.length) return `${listed(names(better))} ${better.length > 1 ? "beat" : "beats"} ${ref}${out && hurt ? `, and ${hurt}` : ""}`;
    return open.length ? `it cannot be told whether ${listed(names(open), "or")} beats ${ref}` : hurt;
  }
  function fillTasks(name, by, cellsOf) {  // with a row above those of each task
    fill(name, by.flat().map(cellsOf), by.flat().map((r) => r.series.task));
    const rows = [...find(name).rows], wide = rows[0].cells.length;
    for (const own of by) {
      const row = document.createElement("tr"), e = row.appendChild(document.createElement("th")), { task } = own[0].series;
      e.scope = "rowgroup"; e.className = "group"; e.colSpan = wide;
      e.textContent = `${task} (score: ${D.tasks[task].metric}${D.tasks[task].outside ? "; out of domain" : ""})`;
      rows.splice(0, own.length)[0].before(row);
    }
  }
  function solve(s) {
    if (!(s.n >= 1)) { tell("The number of images must be 1 or more.", true); return; }
    const rows = rowsOf(s);
    if (!rows.length) { tell("Every objective of this task is switched off: switch one on.", true); return; }
    const tasks = [...new Set(rows.map((r) => r.series.task))], by = tasks.map((task) => rows.filter((r) => r.series.task === task));
    const changes = rows.flatMap((r) => r.change && isFinite(r.change.value) ? [r.change.low, r.change.high] : []), scale = [Math.min(0, ...changes), Math.max(0, ...changes)];
    const refs = [...new Set(rows.flatMap((r) => r.crossing ? [r.crossing.reference] : []))], both = (x, word, of = "") => small(word(x.value), `${word(x.low)} to ${word(x.high)}${of}`);
    fillTasks("errors", by, (r) => {
      const e = r.error, c = r.change, score = { value: 1 - e.value, low: 1 - e.high, high: 1 - e.low };
      if (e.why) return [named(r.series), ["–", told(e)], ["–", told(score)], bar(e, [-1, 1], ""), ["–", c ? told(c) : null], e.why];
      const of = refs.length > 1 && c ? ` of ${r.crossing.reference}` : "";
      return [named(r.series), [both(e, short), told(e)], [both(score, short), told(score)], c ? bar(c, scale[0] < scale[1] ? scale : [-1, 1], r.series.color) : "",
        c ? [c.why ?? both(c, signed, of), told(c)] : nothing, r.times > 1 ? `no: ${near(r.times)} times outside` : "yes"];
    });
    fillTasks("needs", by, (r) => [named(r.series), r.crossing ? [r.crossing.words, told(r.crossing)] : nothing,
      r.needed ? images(r.needed) : nothing, r.equal ? images(r.equal) : nothing]);
    const aim = aimOf(s), heads = find("needs-head").cells, out = Math.max(...rows.map((r) => r.times)), sure = `${100 * D.level}% intervals below each`;
    heads[1].textContent = `to beat ${refs.length === 1 ? refs[0] : "the reference"}`;
    heads[2].textContent = aim > 0 ? `to reach ${s.by === "error" ? `an error of ${s.goal}` : `a score of ${s.goal}`}` : "to reach the aim";
    heads[3].textContent = `${whole(s.n)} are worth so many of ${s.like}`;
    find("errors-head").cells[4].textContent = refs.length === 1 ? `change of the error of ${refs[0]}` : "change of the reference's error";
    say("errors-title", `Predicted errors with ${whole(s.n)} images, ${sure}`);
    say("needs-title", `Images needed, ${sure}`);
    const verdicts = new Map();  // to its tasks
    for (const own of by) verdicts.set(verdict(own), [...(verdicts.get(verdict(own)) ?? []), own[0].series.task]);
    const some = [...verdicts].slice(0, 3).map(([text, names]) => `for ${listed(names)} ${text}`), more = verdicts.size - some.length;
    const answer = `With ${whole(s.n)} images, ${out > 1 ? "if the lines went on" : "by these laws"}: ${some.join("; ")}${more ? "; for other tasks see below" : ""}.`;
    const doubt = out > 1 ? `${whole(s.n)} images lie ${near(out)} times ${D.outside}.` : "";
    say("answer", answer); say("doubt", doubt);
    tell(`${answer} ${doubt}`);
  }

  const pairs = (s) => [["n", s.n], ["task", s.task], ["ref", s.ref], ["goal", s.goal], ["by", s.by], ["like", s.like], ...s.off.map((name) => ["off", name])];
  const choices = { task: Object.keys(D.tasks), ref: [...new Set(D.crossings.map((c) => c.reference))], like: [...new Set(D.series.map((one) => one.name))], by: ["error", "score"] };
  function fromAddress(s, key, text) {
    if (key === "off") { if (D.series.some((one) => one.objective === text) && !s.off.includes(text)) s.off.push(text); }
    else if (key === "goal") { if (Number(text) > 0 && Number(text) < 1) s.goal = Number(text); }
    else if (Object.hasOwn(choices, key) && (choices[key].includes(text) || (text === "" && (key === "task" || key === "ref")))) s[key] = text;
  }
  function commands(s) {
    const rows = seen(s), objectives = [...new Set(rows.map((one) => one.objective))], tasks = [...new Set(rows.map((one) => one.task))], aim = aimOf(s);
    if (!rows.length) return { predict: "", plan: "" };
    const only = (flag) => s.off.length ? objectives.map((name) => ` ${flag} ${quoted(name)}`).join("") : "";
    const task = s.task ? ` --task ${quoted(s.task)}` : "";
    return {
      predict: `${D.predict} --samples ${Math.round(s.n)}${task}${only("--objective")}`,
      plan: aim > 0 ? `${D.plan}${tasks.map((name) => ` --error ${quoted(`${name}=${aim}`)}`).join("")}${only("--learned-by")}` : "",
    };
  }
  function place(c, s) {
    const { set, name } = c.dataset;
    if (set === "on") c.checked = !s.off.includes(name);
    else { c.value = s[set]; c.ariaInvalid = null; }
  }
  const text = (c, s) => `${s.by === "error" ? "an error of at most" : "a score of at least"} ${s.goal}`;
  function take(c, s) {
    const { set, name } = c.dataset, v = Number(c.value);
    if (set === "on") s.off = c.checked ? s.off.filter((one) => one !== name) : [...s.off, name];
    else if (set === "goal") {
      const good = v > 0 && v < 1;
      c.ariaInvalid = good ? null : "true";
      if (!good) return false;
      s.goal = v;
    } else if (set === "by") { if (s.by !== c.value) s.goal = Number((1 - s.goal).toPrecision(12)); s.by = c.value; }
    else s[set] = c.value;
    return true;
  }
  const blank = () => copy(D.asked);
  return { begin: D.asked, copy, blank, pairs, read: fromAddress, commands, place, text, take, solve };
});
