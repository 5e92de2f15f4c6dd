// The allocation of voxmix in the browser: the law family, and the interior-point methods of voxmix.allocation, for one law
// at a time. Names, steps and tolerances are those of law/forms.py, allocation/interior.py and allocation/program.py.
const sum = (a) => a.reduce((s, v) => s + v, 0);
const clip = (v, low, high) => Math.min(Math.max(v, low), high);
const dot = (a, b) => { let s = 0; for (let i = 0; i < a.length; i++) s += a[i] * b[i]; return s; };
const vector = (n, f) => Float64Array.from({ length: n }, (_, i) => f(i));

// What n draws of U volumes are worth in fresh draws, and the two derivatives.
function worth(n, U, R) {
  if (!(isFinite(U) && isFinite(R)) || n <= U) return [n, 1, 0];
  const slope = Math.exp(-(n / U - 1) / R);
  return [U + U * R * (1 - slope), slope, -slope / (U * R)];
}

// Losses of one law at one budget, and their derivatives by the weights.
function landscape(law, p, budget) {
  const S = law.unique.length, T = p.E.length, scale = law.by_share ? budget : 1;
  const straight = p.rho.every((r) => r === 1), plain = straight && !law.unique.some(isFinite);
  const tau = vector(S * T, (k) => { const v = p.tau[k] / scale; return straight ? v : Math.pow(v, p.rho[k % T]); });
  const base = vector(T, (j) => p.E[j] + p.B[j] * Math.pow(budget, -p.a[j]));
  const raised = (d) => {  // d_i ** rho_j, computed once where all targets share rho
    const out = new Float64Array(S * T);
    for (let i = 0; i < S; i++) for (let j = 0; j < T; j++)
      out[i * T + j] = p.rho[j] === 1 ? d[i] : j && p.rho[j] === p.rho[j - 1] ? out[i * T + j - 1] : Math.pow(d[i], p.rho[j]);
    return out;
  };
  const totals = (powered) => {
    const out = new Float64Array(T);
    for (let i = 0; i < S; i++) for (let j = 0; j < T; j++) out[j] += powered[i * T + j] * tau[i * T + j];
    return out;
  };
  const fall = (j, total) => {  // A h, -dL/dtotal, and d2L/dtotal2 over the square of that
    const A = p.A[j], b = p.beta[j], r = p.rho[j];
    if (!p.kappa) {
      const steep = b / r, loss = A * Math.pow(total, -steep), down = steep * loss / total;
      return [loss, down, down > 0 ? (steep + 1) / (steep * loss) : 0];
    }
    const n = Math.pow(total, 1 / r), far = p.kappa[j] + n;
    const first = total > 0 ? n / (r * total) : r === 1 ? 1 : 0, second = total > 0 ? first * (1 / r - 1) / total : 0;
    const slope = -b * Math.pow(far, -b - 1), bend = b * (b + 1) * Math.pow(far, -b - 2), down = -A * slope * first;
    return [A * Math.pow(far, -b), down, down > 0 ? A * (bend * first * first + slope * second) / (down * down) : 0];
  };
  return {
    S, T, straight,
    loss(x) {
      const total = totals(raised(vector(S, (i) => worth(x[i] * budget, law.unique[i], p.repeats[i])[0])));
      return vector(T, (j) => base[j] + (p.A[j] > 0 ? fall(j, total[j])[0] : 0));
    },
    at(x) {
      const w = Array.from(x, (v, i) => worth(v * budget, law.unique[i], p.repeats[i]));
      const powered = raised(w.map((v) => v[0])), total = totals(powered);
      const loss = new Float64Array(T), spread = new Float64Array(T), down = new Float64Array(T);
      for (let j = 0; j < T; j++) {
        const [value, slope, curve] = fall(j, p.A[j] > 0 ? total[j] : 1);
        loss[j] = base[j] + value; down[j] = slope; spread[j] = curve;
      }
      const slope = new Float64Array(S * T), bend = plain ? null : new Float64Array(S * T);
      for (let i = 0; i < S; i++) {
        const some = w[i][0] > 0 ? w[i][0] : 1, first = budget * w[i][1], second = budget * budget * w[i][2];
        for (let j = 0; j < T; j++) {
          const k = i * T + j, r = p.rho[j], rate = straight ? 1 : r * powered[k] / some;
          slope[k] = -rate * first * tau[k] * down[j];
          if (bend) bend[k] = -r * powered[k] / some * ((r - 1) * first * first / some + second) * tau[k] * down[j];
        }
      }
      return { loss, slope, spread, bend };
    },
  };
}

// Sources' derivatives of sum_j cost_j L_j.
function slopeOf(at, cost, S) {
  const T = cost.length, out = new Float64Array(S);
  for (let i = 0; i < S; i++) for (let j = 0; j < T; j++) out[i] += at.slope[i * T + j] * cost[j];
  return out;
}
// Adds the Hessian of sum_j cost_j L_j to the upper left of a square matrix of `size`.
function addHessian(H, size, at, cost, S) {
  const T = cost.length;
  for (let i = 0; i < S; i++) {
    for (let k = 0; k <= i; k++) {
      let s = 0;
      for (let j = 0; j < T; j++) s += at.slope[i * T + j] * at.slope[k * T + j] * cost[j] * at.spread[j];
      H[i * size + k] += s;
      if (k !== i) H[k * size + i] += s;
    }
    if (at.bend) for (let j = 0; j < T; j++) H[i * size + i] += at.bend[i * T + j] * cost[j];
  }
}
// Solves M x = b for each of the right sides, in place; partial pivoting.
function solveLinear(M, n, sides) {
  for (let c = 0; c < n; c++) {
    let top = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(M[r * n + c]) > Math.abs(M[top * n + c])) top = r;
    if (top !== c) {
      for (let k = c; k < n; k++) [M[c * n + k], M[top * n + k]] = [M[top * n + k], M[c * n + k]];
      for (const b of sides) [b[c], b[top]] = [b[top], b[c]];
    }
    for (let r = c + 1; r < n; r++) {
      const f = M[r * n + c] / M[c * n + c];
      if (!f) continue;
      for (let k = c; k < n; k++) M[r * n + k] -= f * M[c * n + k];
      for (const b of sides) b[r] -= f * b[c];
    }
  }
  for (const b of sides) for (let r = n - 1; r >= 0; r--) {
    for (let k = r + 1; k < n; k++) b[r] -= M[r * n + k] * b[k];
    b[r] /= M[r * n + r];
  }
}
// The feasible point that minimizes slope . s: room goes to the smallest slopes first.
function bestVertex(slope, low, high) {
  const order = Array.from(slope.keys()).sort((a, b) => slope[a] - slope[b] || a - b), out = Float64Array.from(low);
  let left = 1 - sum(low);
  for (const i of order) { out[i] += clip(left, 0, high[i] - low[i]); left -= high[i] - low[i]; }
  return out;
}
const stride = (move, room) => {  // longest step, at most 1, that keeps room + step * move above 0
  let reach = Infinity;
  for (let i = 0; i < move.length; i++) if (move[i] < 0) reach = Math.min(reach, -room[i] / move[i]);
  return Math.min(1, 0.995 * reach);
};
function certificate(land, cost, x, low, high) {
  const at = land.at(x), slope = slopeOf(at, cost, land.S), vertex = bestVertex(slope, low, high);
  let gap = 0;
  for (let i = 0; i < land.S; i++) gap += slope[i] * (x[i] - vertex[i]);
  return [dot(at.loss, cost), Math.max(gap, 0)];
}

// Least sum_j cost_j L_j on the simplex between the bounds: weights, and a proven gap.
function solvePlain(land, cost, low, high, tolerance) {
  const S = land.S, only = bestVertex(new Float64Array(S), low, high);
  let free = Array.from(low, (v, i) => high[i] - v > 1e-12);
  if (1 - sum(low) <= 1e-12 || sum(high) - 1 <= 1e-12 || free.filter(Boolean).length < 2) {
    const [value, gap] = certificate(land, cost, only, low, high);
    return { x: only, value, gap };
  }
  const x = centralPath(land, cost, low, high, free, only, tolerance);
  return snapped(land, cost, x, low, high, free);
}
function centralPath(land, given, low, high, free, only, tolerance) {
  const S = land.S, held = vector(S, (i) => free[i] ? low[i] : only[i]), room = vector(S, (i) => free[i] ? high[i] - low[i] : 0);
  const share = (1 - sum(held)) / sum(room), count = 2 * free.filter(Boolean).length;
  let x = vector(S, (i) => held[i] + share * room[i]);
  const unit = dot(land.loss(x), given), cost = given.map((c) => c / (isFinite(unit) && unit > 0 ? unit : 1));
  const steepest = Math.max(...slopeOf(land.at(x), cost, S).map(Math.abs)), barrier = Math.max(steepest * 0.2 / count, 1e-6);
  let roomLow = vector(S, (i) => free[i] ? x[i] - low[i] : 1), roomHigh = vector(S, (i) => free[i] ? high[i] - x[i] : 1);
  let zLow = vector(S, (i) => free[i] ? barrier / roomLow[i] : 0), zHigh = vector(S, (i) => free[i] ? barrier / roomHigh[i] : 0);
  let best = x, bestGap = Infinity;
  for (let step = 0; step < 200; step++) {
    const at = land.at(x), slope = slopeOf(at, cost, S), vertex = bestVertex(slope, low, high), value = dot(at.loss, cost);
    let gap = 0, left = 0;
    for (let i = 0; i < S; i++) { gap += slope[i] * (x[i] - vertex[i]); left += zLow[i] * roomLow[i] + zHigh[i] * roomHigh[i]; }
    if (gap < bestGap) { best = x; bestGap = gap; }
    if (bestGap <= tolerance * Math.abs(value) || !isFinite(value)) return best;
    const target = 0.1 * left / count, H = new Float64Array(S * S);
    addHessian(H, S, at, cost, S);
    const right = vector(S, (i) => free[i] ? -(slope[i] - target / roomLow[i] + target / roomHigh[i]) : 0);
    for (let i = 0; i < S; i++) {
      if (!free[i]) for (let k = 0; k < S; k++) H[i * S + k] = H[k * S + i] = 0;
      H[i * S + i] += free[i] ? zLow[i] / roomLow[i] + zHigh[i] / roomHigh[i] : 1;
    }
    const ones = vector(S, (i) => +free[i]);
    solveLinear(H, S, [right, ones]);
    const level = sum(right) / sum(ones), dx = vector(S, (i) => right[i] - level * ones[i]);
    const dLow = vector(S, (i) => free[i] ? target / roomLow[i] - zLow[i] - zLow[i] / roomLow[i] * dx[i] : 0);
    const dHigh = vector(S, (i) => free[i] ? target / roomHigh[i] - zHigh[i] + zHigh[i] / roomHigh[i] * dx[i] : 0);
    const primal = Math.min(stride(dx, roomLow), stride(dx.map((v) => -v), roomHigh));
    const dual = Math.min(stride(dLow, zLow), stride(dHigh, zHigh));
    x = x.map((v, i) => v + primal * dx[i]);
    roomLow = roomLow.map((v, i) => free[i] ? v + primal * dx[i] : 1);
    roomHigh = roomHigh.map((v, i) => free[i] ? v - primal * dx[i] : 1);
    zLow = zLow.map((v, i) => v + dual * dLow[i]);
    zHigh = zHigh.map((v, i) => v + dual * dHigh[i]);
  }
  return best;
}
// Puts weights that rest on a bound exactly there, where that proves no worse.
function snapped(land, cost, x, low, high, free) {
  let [value, gap] = certificate(land, cost, x, low, high);
  const near = 1e-6 / land.S, rests = x.map((v, i) => v - low[i] < near || high[i] - v < near || !free[i] ? 1 : 0);
  let tidy = x.map((v, i) => v - low[i] < near ? low[i] : high[i] - v < near ? high[i] : v);
  const moving = sum(tidy.filter((_, i) => !rests[i])), needed = 1 - sum(tidy.filter((_, i) => rests[i]));
  tidy = tidy.map((v, i) => rests[i] ? v : v * needed / moving);
  const ok = tidy.every((v, i) => isFinite(v) && v >= low[i] && v <= high[i]) && Math.abs(sum(tidy) - 1) < 1e-12;
  if (ok && (land.straight || tidy.every((v) => v > 0))) {
    const [again, gapAgain] = certificate(land, cost, tidy, low, high);
    if (gapAgain <= Math.max(gap, 1e-9 * Math.abs(value))) { x = tidy; value = again; gap = gapAgain; }
  }
  return { x, value, gap };
}

// min cost . L + linear . x + t  s.t.  caps L - epigraph t <= limit, sum x = 1, low <= x <= high.
function solveProgram(land, { cost, linear, caps, limit, epigraph, low, high }) {
  const S = land.S, V = S + 1, Q = caps.length, minimax = epigraph.some((e) => e > 0);
  const free = Array.from(low, (v, i) => high[i] - v > 1e-12), held = bestVertex(new Float64Array(S), low, high);
  const base = vector(S, (i) => free[i] ? low[i] : held[i]), room = vector(S, (i) => free[i] ? high[i] - low[i] : 0);
  const share = clip((1 - sum(base)) / (sum(room) || 1), 1e-6, 1), edges = 2 * free.filter(Boolean).length, count = Math.max(edges + Q, 1);
  const excess = (loss, t) => vector(Q, (q) => dot(caps[q], loss) - epigraph[q] * t - limit[q]);
  const over = (loss, t) => Math.max(0, ...excess(loss, t));
  let x = vector(S, (i) => base[i] + share * room[i]), at = land.at(x);
  let t = minimax ? Math.max(0, ...caps.map((c) => dot(c, at.loss))) * 1.1 + 0.1 : 0;
  let s = excess(at.loss, t).map((v) => Math.max(-v, 1e-2)), z = s.map((v) => 0.1 / v), y = 0;
  let rLow = vector(S, (i) => free[i] ? x[i] - low[i] : 1), rHigh = vector(S, (i) => free[i] ? high[i] - x[i] : 1);
  let zLow = vector(S, (i) => free[i] ? 0.01 / rLow[i] : 0), zHigh = vector(S, (i) => free[i] ? 0.01 / rHigh[i] : 0);
  let best = { x, t, z }, bestMerit = Infinity;
  for (let step = 0; step < 150; step++) {
    at = land.at(x);
    const tight = excess(at.loss, t).map((v, q) => v + s[q]), jac = caps.map((c, q) => {
      const row = new Float64Array(V); row.set(slopeOf(at, c, S)); row[S] = -epigraph[q]; return row;
    });
    const slope = new Float64Array(V); slope.set(slopeOf(at, cost, S).map((v, i) => v + linear[i])); slope[S] = +minimax;
    const off = 1 - sum(x);
    let mu = dot(s, z), residual = 0;
    for (let i = 0; i < S; i++) if (free[i]) mu += zLow[i] * rLow[i] + zHigh[i] * rHigh[i];
    mu /= count;
    for (let v = 0; v < V; v++) {
      if (v < S ? !free[v] : !minimax) continue;
      let d = slope[v] + (v < S ? y + zHigh[v] - zLow[v] : 0);
      for (let q = 0; q < Q; q++) d += jac[q][v] * z[q];
      residual = Math.max(residual, Math.abs(d));
    }
    const merit = residual + mu * count + Math.max(0, ...tight.map(Math.abs)) + Math.abs(off);
    if (merit < bestMerit) { best = { x, t, z }; bestMerit = merit; }
    if (bestMerit < 1e-9 || mu * count < 1e-14 || !isFinite(merit)) break;
    const target = 0.1 * mu, n = V + 1, M = new Float64Array(n * n), pull = Float64Array.from(cost);
    for (let q = 0; q < Q; q++) for (let j = 0; j < land.T; j++) pull[j] += z[q] * caps[q][j];
    addHessian(M, n, at, pull, S);
    const right = new Float64Array(n);
    for (let v = 0; v < V; v++) {
      right[v] = -slope[v];
      for (let q = 0; q < Q; q++) {
        right[v] -= jac[q][v] * (target + z[q] * tight[q]) / s[q];
        const f = jac[q][v] * z[q] / s[q];
        if (f) for (let w = 0; w < V; w++) M[v * n + w] += f * jac[q][w];
      }
      if (v < S && free[v]) { right[v] += target / rLow[v] - target / rHigh[v]; M[v * n + v] += zLow[v] / rLow[v] + zHigh[v] / rHigh[v]; }
    }
    let largest = 0;
    const moves = (v) => v < S ? free[v] : minimax;
    for (let v = 0; v < V; v++) for (let w = 0; w < V; w++) largest = Math.max(largest, Math.abs(M[v * n + w]));
    for (let v = 0; v < V; v++) {
      if (!moves(v)) { for (let w = 0; w < n; w++) M[v * n + w] = M[w * n + v] = 0; M[v * n + v] = 1; right[v] = 0; continue; }
      M[v * n + v] += 1e-11 + 1e-13 * largest;
      if (v < S) M[v * n + V] = M[V * n + v] = 1;
    }
    const dead = !free.some(Boolean);
    M[V * n + V] = dead ? 1 : -1e-14; right[V] = dead ? 0 : off;
    solveLinear(M, n, [right]);
    const dx = right.slice(0, S), dt = right[S];
    const ds = s.map((_, q) => -tight[q] - dot(jac[q], right.subarray(0, V))), dz = s.map((v, q) => (target - v * z[q] - z[q] * ds[q]) / v);
    const dLow = vector(S, (i) => free[i] ? target / rLow[i] - zLow[i] - zLow[i] / rLow[i] * dx[i] : 0);
    const dHigh = vector(S, (i) => free[i] ? target / rHigh[i] - zHigh[i] + zHigh[i] / rHigh[i] * dx[i] : 0);
    const primal = Math.min(stride(dx, rLow), stride(dx.map((v) => -v), rHigh), stride(ds, s));
    const dual = Math.min(stride(dLow, zLow), stride(dHigh, zHigh), stride(dz, z));
    x = x.map((v, i) => v + primal * dx[i]); t += primal * dt; s = s.map((v, q) => v + primal * ds[q]);
    rLow = rLow.map((v, i) => free[i] ? v + primal * dx[i] : 1); rHigh = rHigh.map((v, i) => free[i] ? v - primal * dx[i] : 1);
    z = z.map((v, q) => v + dual * dz[q]);
    zLow = zLow.map((v, i) => v + dual * dLow[i]); zHigh = zHigh.map((v, i) => v + dual * dHigh[i]);
    y += dual * (right[V] - y);
  }
  x = best.x.map((v, i) => free[i] ? clip(v, low[i], high[i]) : held[i]);
  return { x, z: best.z, violation: Math.max(over(land.loss(x), best.t), Math.abs(sum(x) - 1)) };
}

// What each target's loss counts in the objective; under minimax, in its ratio.
function costOf(land, aim) {
  const even = land.loss(new Float64Array(land.S).fill(1 / land.S));
  return vector(land.T, (j) => aim.kind === "mean" ? aim.importance[j]
    : (aim.kind === "relative" ? aim.importance[j] : +(aim.importance[j] > 0)) / (even[j] > 0 ? even[j] : 1));
}
const valueOf = (aim, cost, loss) => aim.kind === "minimax" ? Math.max(...loss.map((v, j) => v * cost[j])) : dot(loss, cost);

function programOf(land, aim, cost) {
  const unit = (j, v) => { const c = new Float64Array(land.T); c[j] = v; return c; };
  const caps = [], limit = [], epigraph = [];
  if (aim.kind === "minimax") aim.importance.forEach((w, j) => { if (w > 0) { caps.push(unit(j, cost[j])); limit.push(0); epigraph.push(1); } });
  if (aim.guard) land.loss(aim.guard).forEach((v, j) => { caps.push(unit(j, 1 / v)); limit.push(1 + 1e-7); epigraph.push(0); });
  const none = new Float64Array(land.T);
  return { cost: aim.kind === "minimax" ? none : cost, linear: new Float64Array(land.S), caps, limit, epigraph, low: aim.low, high: aim.high };
}

// The best shares for one law: weights, objective and a proven gap.
function optimum(land, aim, tolerance) {
  const cost = costOf(land, aim);
  if (aim.kind !== "minimax" && !aim.guard) return { ...solvePlain(land, cost, aim.low, aim.high, tolerance), cost };
  const program = programOf(land, aim, cost), { x, z, violation } = solveProgram(land, program), at = land.at(x);
  const total = sum(z.filter((_, q) => program.epigraph[q] > 0)) || 1;
  const price = z.map((v, q) => program.epigraph[q] > 0 ? v / total : v), pull = Float64Array.from(program.cost);
  program.caps.forEach((c, q) => c.forEach((v, j) => { pull[j] += price[q] * v; }));
  const slope = slopeOf(at, pull, land.S), vertex = bestVertex(slope, aim.low, aim.high), value = valueOf(aim, cost, at.loss);
  const below = dot(at.loss, pull) - dot(price, program.limit) - dot(slope, x.map((v, i) => v - vertex[i]));
  return { x, value, gap: Math.max(value - below, 0), cost, violation };
}

// Least and largest weight of one source among mixtures within `tolerance` of the best.
function nearOptimal(land, aim, best, tolerance, i) {
  const limit = best.value * (1 + tolerance), x = best.x;
  if (land.S === 1) return [1, 1];
  if (land.S > 40) return [0, 1].map((side) => scaledEnd(land, aim, best, limit, i, side));
  const program = programOf(land, aim, best.cost);
  if (aim.kind === "minimax") {
    program.caps = program.caps.map((c, q) => program.epigraph[q] > 0 ? c.map((v) => v / limit) : c);
    program.limit = program.limit.map((v, q) => program.epigraph[q] > 0 ? 1 : v);
  } else {
    program.caps.push(best.cost.map((v) => v / limit)); program.limit.push(1);
  }
  program.epigraph = program.caps.map(() => 0);
  program.cost = new Float64Array(land.T);
  return [1, -1].map((sign) => {
    program.linear = new Float64Array(land.S); program.linear[i] = sign;
    const point = solveProgram(land, program), bound = sign > 0 ? Math.min(aim.low[i], x[i]) : Math.max(aim.high[i], x[i]);
    let end = point.violation < 1e-5 ? point.x[i] : x[i];
    if (Math.abs(end - bound) < 1e-6) end = bound;
    return sign > 0 ? clip(end, bound, x[i]) : clip(end, x[i], bound);
  });
}
function scaledEnd(land, aim, best, limit, i, side) {  // of many domains: the others are scaled together
  const x = best.x, others = x.map((v, k) => k === i ? 0 : v - aim.low[k]), total = sum(others);
  let inside = x[i], outside = side ? Math.min(aim.high[i], x[i] + total) : aim.low[i];
  for (let k = 0; k < 14; k++) {
    const trial = inside === x[i] && k === 0 ? outside : (inside + outside) / 2;
    const moved = total <= 0 ? Float64Array.from(x) : aim.low.map((v, q) => v + others[q] * (total + x[i] - trial) / total);
    moved[i] = trial;
    if (moved.every((v, q) => v <= aim.high[q] + 1e-9) && valueOf(aim, best.cost, land.loss(moved)) <= limit) inside = trial;
    else outside = trial;
    if (inside === outside) break;
  }
  return inside;
}

// Intervals of draws: percentiles, and those that are bias-corrected (law/uncertainty.py).
function normal(x) {  // the distribution of the standard normal, to 1.2e-7
  const v = Math.abs(x) / Math.SQRT2, t = 1 / (1 + v / 2), series = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
    -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223].reduce((s, c) => s * t + c, 0);
  const tail = t * Math.exp(-v * v + series) / 2;
  return x > 0 ? 1 - tail : tail;
}
function normalQuantile(p) {
  let low = -10, high = 10;
  for (let k = 0; k < 60; k++) { const middle = (low + high) / 2; if (normal(middle) < p) low = middle; else high = middle; }
  return (low + high) / 2;
}
function quantile(sorted, q) {
  const at = q * (sorted.length - 1), k = Math.floor(at);
  return sorted[k] + (at - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
}
function interval(draws, level, estimate = null) {
  const sorted = Float64Array.from(draws).sort(), tails = [(1 - level) / 2, (1 + level) / 2], n = sorted.length;
  if (estimate === null) return tails.map((q) => quantile(sorted, q));
  const below = (sorted.filter((v) => v < estimate - 1e-4).length + sorted.filter((v) => v <= estimate + 1e-4).length) / (2 * n);
  const shift = normalQuantile(clip(below, 0.005, 0.995));
  return tails.map((q) => quantile(sorted, normal(2 * shift + normalQuantile(q))));
}
// Adds what one more seed may differ by (law/seeds.py, widened).
function widened([low, high], value, seeds) {
  if (!seeds || !(value > 0)) return [low, high];
  const ends = [low, high].map((end, side) => {
    const own = (Math.log(end / value) / seeds.normal) ** 2;
    if (!isFinite(own)) return end;
    const half = (own * seeds.normal + seeds.variance * seeds.student) / Math.sqrt(own + seeds.variance);
    return value * Math.exp(side ? half : -half);
  });
  return [Math.min(ends[0], low), Math.max(ends[1], high)];
}
