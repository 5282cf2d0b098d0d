// Series on axes: lines, points, bars, steps, with intervals.
(() => {
  const P = Podium, { make } = P;
  const LISTED = 16; // values that a hover lists at most
  const numberOf = (axis, v) => axis.names ? axis.names[Math.round(v)] ?? P.number(v) : axis.seconds ? P.time(v) : P.number(v);

  P.kinds.xy = (figure, chart) => {
    const series = chart.series.map((s) => {
      const x = P.array(s.x), y = P.array(s.y), made = { ...s, x, y, on: !s.hidden };
      for (const name of ["low", "high", "from", "to"]) made[name] = s[name] === undefined ? null : P.array(s[name]);
      made.free = chart.alongY ? y : x;
      made.value = chart.alongY ? x : y;
      made.sorted = P.sorted(made.free);
      made.has = (i) => made.x[i] !== null && made.y[i] !== null;
      return made;
    });
    let weight = 0;
    const shown = () => series.filter((s) => s.on);
    const valueAxis = chart.alongY ? "x" : "y";
    const bars = series.filter((s) => s.style === "bars");
    // Bars of one place share the least distance between places.
    const gap = (() => {
      const places = [...new Set(bars.flatMap((s) => s.free))].filter((v) => v !== null).sort((a, b) => a - b);
      let least = Infinity;
      for (let i = 1; i < places.length; i++) least = Math.min(least, places[i] - places[i - 1]);
      return Number.isFinite(least) ? least : 1;
    })();
    const lineOf = (s) => weight > 0 && s.style === "line" && s.value.length > 2 ? P.smoothed(s.value, weight) : s.value;

    const bounds = (axis, log) => {
      const spec = chart[axis], all = [], chosen = shown();
      for (const s of chosen.length ? chosen : series) {
        all.push(s[axis]);
        if (axis === valueAxis && s.low) all.push(s.low, s.high);
        if (axis !== valueAxis && s.from) all.push(s.from, s.to);
        if (s.style === "bars") {
          if (axis === valueAxis) { if (!log) all.push([0]); } else all.push(s.free.map((v) => v - gap / 2), s.free.map((v) => v + gap / 2));
        }
      }
      if (spec.range) all.push(spec.range);
      if (spec.names) return [-0.5, spec.names.length - 0.5];
      const edged = axis !== valueAxis && chosen.length && chosen.every((s) => s.style === "steps" || s.style === "bars");
      return P.padded(P.extent(all, log), log, edged ? 0 : 0.04);
    };

    // --- drawing -----------------------------------------------------------------------------------------------------
    const path = (v, xs, ys, many) => {
      const { ctx, X, Y } = v;
      ctx.beginPath();
      let pen = false;
      if (!many) {
        for (let i = 0; i < xs.length; i++) {
          const px = X(xs[i]), py = Y(ys[i]);
          if (!Number.isFinite(px) || !Number.isFinite(py)) { pen = false; continue; }
          if (pen) ctx.lineTo(px, py); else ctx.moveTo(px, py);
          pen = true;
        }
        return;
      }
      // Of the points in one column of pixels, the first, the extremes and the last: the picture is the same.
      let column = NaN, low = 0, high = 0, last = 0;
      const flush = () => {
        if (Number.isNaN(column)) return;
        ctx.lineTo(column, low);
        if (high !== low) ctx.lineTo(column, high);
        if (last !== high) ctx.lineTo(column, last);
        column = NaN;
      };
      const left = v.left - 2, right = v.left + v.width + 2;
      for (let i = 0; i < xs.length; i++) {
        const px = Math.round(X(xs[i])), py = Y(ys[i]);
        if (Number.isNaN(px) || Number.isNaN(py)) { flush(); pen = false; continue; }
        if ((px < left || px > right) && i > 0 && i < xs.length - 1) {
          // Only the last point before the view and the first after it matter.
          const next = Math.round(X(xs[i + 1]));
          if ((px < left && next < left) || (px > right && next > right && column !== column)) { pen = false; continue; }
        }
        if (px !== column) {
          flush();
          if (pen) ctx.lineTo(px, py); else ctx.moveTo(px, py);
          pen = true;
          column = px;
          low = high = py;
        }
        if (py < low) low = py;
        if (py > high) high = py;
        last = py;
      }
      flush();
    };
    // Classes have their middle where it is on the axis, also on a logarithmic one.
    const centred = (v, s) => {
      if (!s.from) return v;
      const F = chart.alongY ? v.Y : v.X, middles = new Map(s.free.map((f, i) => [f, (F(s.from[i]) + F(s.to[i])) / 2]));
      const middle = (f) => middles.get(f) ?? F(f);
      return chart.alongY ? { ...v, Y: middle } : { ...v, X: middle };
    };
    const dots = (v, xs, ys, color, size, shift = 0) => {
      const { ctx, X, Y, ratio } = v;
      ctx.fillStyle = color;
      const r = size * ratio;
      for (let i = 0; i < xs.length; i++) {
        const px = X(xs[i]) + (chart.alongY ? 0 : shift), py = Y(ys[i]) + (chart.alongY ? shift : 0);
        if (!(px >= v.left - r && px <= v.left + v.width + r && py >= v.top - r && py <= v.top + v.height + r)) continue;
        if (size < 1.5) { ctx.fillRect(px - r, py - r, 2 * r, 2 * r); continue; }
        ctx.beginPath();
        ctx.arc(px, py, r, 0, 2 * Math.PI);
        ctx.fill();
      }
    };
    // Points without a neighbour would not show in a line.
    const lonely = (s) => {
      const xs = [], ys = [];
      for (let i = 0; i < s.x.length; i++) {
        if (s.has(i) && !(i > 0 && s.has(i - 1)) && !(i + 1 < s.x.length && s.has(i + 1))) { xs.push(s.x[i]); ys.push(s.y[i]); }
      }
      return [xs, ys];
    };
    const whiskers = (v, s, color, shift = 0) => {
      const { ctx, X, Y, ratio } = v, cap = 3 * ratio;
      ctx.strokeStyle = color;
      ctx.lineWidth = 1.3 * ratio;
      ctx.setLineDash([]);
      ctx.beginPath();
      for (let i = 0; i < s.x.length; i++) {
        if (!s.has(i) || s.low[i] === null || s.high[i] === null) continue;
        if (chart.alongY) {
          const y = Y(s.y[i]) + shift, a = X(s.low[i]), b = X(s.high[i]);
          ctx.moveTo(a, y); ctx.lineTo(b, y); ctx.moveTo(a, y - cap); ctx.lineTo(a, y + cap); ctx.moveTo(b, y - cap); ctx.lineTo(b, y + cap);
        } else {
          const x = X(s.x[i]) + shift, a = Y(s.low[i]), b = Y(s.high[i]);
          ctx.moveTo(x, a); ctx.lineTo(x, b); ctx.moveTo(x - cap, a); ctx.lineTo(x + cap, a); ctx.moveTo(x - cap, b); ctx.lineTo(x + cap, b);
        }
      }
      ctx.stroke();
    };
    const band = (v, s, color) => {
      const { ctx, X, Y } = v, n = s.x.length;
      ctx.save();
      ctx.globalAlpha = 0.18;
      ctx.fillStyle = color;
      ctx.beginPath();
      let pen = false;
      const at = (i, end) => chart.alongY ? [X(end[i]), Y(s.y[i])] : [X(s.x[i]), Y(end[i])];
      for (let i = 0; i < n; i++) { const [x, y] = at(i, s.low); if (Number.isFinite(x) && Number.isFinite(y)) { if (pen) ctx.lineTo(x, y); else ctx.moveTo(x, y); pen = true; } }
      for (let i = n - 1; i >= 0; i--) { const [x, y] = at(i, s.high); if (Number.isFinite(x) && Number.isFinite(y)) ctx.lineTo(x, y); }
      ctx.closePath();
      ctx.fill();
      ctx.restore();
    };
    const barOf = (v, s, i) => {
      const k = bars.filter((b) => b.on).indexOf(s), count = bars.filter((b) => b.on).length, wide = 0.8 * gap / count;
      const from = s.free[i] - 0.4 * gap + k * wide;
      return [from, from + wide];
    };
    const drawOne = (v, s) => {
      const { ctx, ratio } = v, color = P.hue(s.slot), stroke = (s.slot < 0 ? 2.4 : 1.8) * ratio;
      ctx.lineWidth = stroke;
      ctx.lineJoin = "round";
      if (s.style === "line") {
        if (s.low) band(v, s, color);
        const many = s.sorted && !chart.alongY && s.x.length > 3 * v.width;
        const value = lineOf(s), smooth = value !== s.value;
        const [xs, ys] = chart.alongY ? [value, s.y] : [s.x, value];
        if (smooth) {
          ctx.save();
          ctx.globalAlpha = 0.25;
          ctx.strokeStyle = color;
          path(v, s.x, s.y, many);
          ctx.stroke();
          ctx.restore();
        }
        ctx.strokeStyle = color;
        ctx.setLineDash(P.dash(s.slot).map((d) => d * ratio));
        path(v, xs, ys, many);
        ctx.stroke();
        ctx.setLineDash([]);
        const room = (chart.alongY ? v.height : v.width) / ratio;
        if (s.x.length <= room / 9) dots(v, s.x, s.y, color, 2.8); else dots(v, ...lonely(s), color, 2.8);
      } else if (s.style === "points") {
        const size = s.x.length > 20000 ? 0.75 : s.x.length > 3000 ? 1.2 : 3;
        ctx.save();
        if (s.x.length > 400) ctx.globalAlpha = 0.6;
        if (s.low) whiskers(v, s, color);
        dots(v, s.x, s.y, color, size);
        ctx.restore();
      } else if (s.style === "bars") {
        ctx.fillStyle = color;
        const middle = [];
        for (let i = 0; i < s.x.length; i++) {
          if (!s.has(i)) { middle.push(null); continue; }
          const [from, to] = barOf(v, s, i);
          middle.push((from + to) / 2);
          const floor = (axis, log) => log ? v.range[axis][0] : 0;
          if (chart.alongY) {
            const a = v.X(floor("x", v.state.logX)), b = v.X(s.x[i]), c = v.Y(from), d = v.Y(to);
            ctx.fillRect(Math.min(a, b), Math.min(c, d), Math.max(Math.abs(b - a), ratio), Math.abs(d - c));
          } else {
            const a = v.X(from), b = v.X(to), c = v.Y(floor("y", v.state.logY)), d = v.Y(s.y[i]);
            ctx.fillRect(Math.min(a, b), Math.min(c, d), Math.abs(b - a), Math.max(Math.abs(d - c), ratio));
          }
        }
        if (s.low) whiskers(v, chart.alongY ? { ...s, y: middle } : { ...s, x: middle }, P.ink("text"));
      } else {
        ctx.strokeStyle = color;
        ctx.setLineDash(P.dash(s.slot).map((d) => d * ratio));
        ctx.beginPath();
        let end = null;
        for (let i = 0; i < s.x.length; i++) {
          if (!s.has(i)) { end = null; continue; }
          const [a, b] = chart.alongY ? [[s.x[i], s.from[i]], [s.x[i], s.to[i]]] : [[s.from[i], s.y[i]], [s.to[i], s.y[i]]];
          const p = [v.X(a[0]), v.Y(a[1])], q = [v.X(b[0]), v.Y(b[1])];
          if (end !== null && end === s.from[i]) ctx.lineTo(...p); else ctx.moveTo(...p);
          ctx.lineTo(...q);
          end = s.to[i];
        }
        ctx.stroke();
        ctx.setLineDash([]);
        if (s.low) {
          whiskers(centred(v, s), s, color, shift(v, s));
          dots(centred(v, s), s.x, s.y, color, 2.5, shift(v, s));
        }
      }
    };
    // Whiskers of several series in the same classes stand beside each other.
    const shift = (v, s) => {
      const beside = shown().filter((o) => o.style === "steps" && o.low);
      return (beside.indexOf(s) - (beside.length - 1) / 2) * 5 * v.ratio;
    };

    const draw = (v) => {
      const { ctx } = v;
      ctx.save();
      ctx.beginPath();
      ctx.rect(v.left, v.top, v.width, v.height);
      ctx.clip();
      for (const s of shown()) drawOne(v, s);
      if (chart.diagonal) {
        const low = Math.max(v.range.x[0], v.range.y[0]), high = Math.min(v.range.x[1], v.range.y[1]);
        if (low < high) {
          ctx.strokeStyle = P.ink("text");
          ctx.lineWidth = v.ratio;
          ctx.setLineDash([4 * v.ratio, 3 * v.ratio]);
          ctx.beginPath();
          ctx.moveTo(v.X(low), v.Y(low));
          ctx.lineTo(v.X(high), v.Y(high));
          ctx.stroke();
          ctx.setLineDash([]);
        }
      }
      ctx.restore();
      if (weight > 0) {
        ctx.save();
        ctx.font = `${11.5 * v.ratio}px system-ui, sans-serif`;
        ctx.fillStyle = P.ink("muted");
        ctx.textAlign = "right";
        ctx.textBaseline = "bottom";
        ctx.fillText(`bold: smoothed, exponential mean of weight ${weight}; pale: as measured`, v.left + v.width - 4 * v.ratio, v.top + v.height - 4 * v.ratio);
        ctx.restore();
      }
    };

    // --- reading -----------------------------------------------------------------------------------------------------
    const describe = (s, i) => {
      let value = numberOf(chart[valueAxis], s.value[i]);
      if (s.low && s.low[i] !== null) value += ` [${P.number(s.low[i], 4)}, ${P.number(s.high[i], 4)}]`;
      if (weight > 0 && s.style === "line") value += ` (smoothed ${P.number(lineOf(s)[i], 5)})`;
      return value;
    };
    const hover = (v, px, py) => {
      const cloud = shown().filter((s) => s.style === "points"), rest = shown().filter((s) => s.style !== "points");
      let best = null;
      for (const s of cloud) {
        for (let i = 0; i < s.x.length; i++) {
          if (!s.has(i)) continue;
          const x = v.X(s.x[i]), y = v.Y(s.y[i]), d = (x - px) ** 2 + (y - py) ** 2;
          if (!best || d < best.d) best = { s, i, d, x, y };
        }
      }
      if (best && best.d < (26 * v.ratio) ** 2) {
        const { s, i, x, y } = best;
        const lines = [{ name: s.name, value: "", color: P.hue(s.slot) }, { name: chart.x.label || "x", value: numberOf(chart.x, s.x[i]) }, { name: chart.y.label || "y", value: describeY(s, i) }];
        if (s.notes) lines.push(s.notes[i]);
        return { lines, dots: [{ x, y, color: P.hue(s.slot) }] };
      }
      if (!rest.length) return null;
      const freeAxis = chart.alongY ? "y" : "x", F = chart.alongY ? v.Y : v.X, G = chart.alongY ? v.X : v.Y, pf = chart.alongY ? py : px, pg = chart.alongY ? px : py;
      // The place nearest to the pointer, in pixels, of all series; then of each its own value nearest to that place.
      const inverse = (() => {
        const [a, b] = v.range[freeAxis], log = freeAxis === "x" ? v.state.logX : v.state.logY;
        const f = log ? Math.log10 : (t) => t, g = log ? (t) => 10 ** t : (t) => t;
        const pa = F(a), pb = F(b);
        return g(f(a) + (pf - pa) / (pb - pa) * (f(b) - f(a)));
      })();
      let found = [];
      for (const s of rest) {
        let i = s.from ? s.from.findIndex((from, j) => inverse >= from && inverse < s.to[j] && s.has(j)) : -1;
        if (i < 0) i = P.nearest(s.free, inverse, s.sorted, s.has);
        if (i < 0) continue;
        const f = s.style === "bars" ? (() => { const [from, to] = barOf(v, s, i); return F((from + to) / 2); })() : s.from ? (F(s.from[i]) + F(s.to[i])) / 2 : F(s.free[i]), g = G(s.value[i]);
        found.push({ s, i, f, g });
      }
      if (!found.length) return null;
      const lead = found.reduce((a, b) => Math.abs(b.f - pf) < Math.abs(a.f - pf) - 0.5 ? b : a);
      const at = lead.s.free[lead.i];
      const classes = lead.s.from ? `${P.number(lead.s.from[lead.i])} to ${P.number(lead.s.to[lead.i])}` : numberOf(chart[freeAxis], at);
      const all = found.length;
      if (all > LISTED) {
        const near = [...found].sort((a, b) => Math.abs(a.g - pg) - Math.abs(b.g - pg)).slice(0, LISTED);
        found = found.filter((entry) => near.includes(entry));
      }
      const lines = [`${chart[freeAxis].label || freeAxis} ${classes}`];
      for (const { s, i } of found) {
        const off = !s.from && s.free[i] !== at ? ` at ${numberOf(chart[freeAxis], s.free[i])}` : "";
        lines.push({ name: s.name + off, value: describe(s, i), color: P.hue(s.slot) });
        if (s.notes && s.notes[i]) lines.push(s.notes[i]);
      }
      if (all > LISTED) lines.push(`and ${all - LISTED} more`);
      return { lines, dots: found.filter((e) => Number.isFinite(e.g)).map(({ s, f, g }) => chart.alongY ? { x: g, y: f, color: P.hue(s.slot) } : { x: f, y: g, color: P.hue(s.slot) }) };
    };
    const describeY = (s, i) => {
      let text = numberOf(chart.y, s.y[i]);
      if (s.low && s.low[i] !== null) text += ` [${P.number(s.low[i], 4)}, ${P.number(s.high[i], 4)}]`;
      return text;
    };
    const places = (v) => {
      const s = shown()[0];
      if (!s) return [];
      return s.x.map((x, i) => [v.X(x), v.Y(s.y[i])]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
    };
    const rows = () => {
      const head = ["series", chart.x.label || "x", chart.y.label || "y"], spread = series.some((s) => s.low), edges = series.some((s) => s.from), notes = series.some((s) => s.notes);
      if (spread) head.push("low", "high");
      if (edges) head.push("from", "to");
      if (notes) head.push("note");
      const cell = (axis, v) => axis.names && v !== null ? axis.names[v] ?? v : v;
      const all = [head];
      for (const s of series) {
        for (let i = 0; i < s.x.length; i++) {
          const row = [s.name, cell(chart.x, s.x[i]), cell(chart.y, s.y[i])];
          if (spread) row.push(s.low?.[i], s.high?.[i]);
          if (edges) row.push(s.from?.[i], s.to?.[i]);
          if (notes) row.push(s.notes?.[i]);
          all.push(row);
        }
      }
      return all;
    };
    const tools = (place, redraw) => {
      if (!chart.smoothing || !series.some((s) => s.style === "line" && s.x.length > 2)) return;
      const steps = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];
      const said = make("span", {}, "off");
      const slider = make("input", { type: "range", min: "0", max: String(steps.length - 1), value: "0", step: "1", "aria-label": "smoothing" });
      slider.oninput = () => { weight = steps[slider.value]; said.textContent = weight ? String(weight) : "off"; redraw(); };
      place.append(make("label", {}, "smooth", slider, said));
    };
    const says = () => `${series.length} series: ${series.slice(0, 12).map((s) => s.name).join(", ")}${series.length > 12 ? " .." : ""}; ${chart.x.label || "x"} across, ${chart.y.label || "y"} up.`;
    P.frame(figure, chart, { bounds, draw, hover, places, rows, tools, says, legend: series });
  };
})();
