// Numbers as colours (heat maps, the sky) and bars over time.
(() => {
  const P = Podium, { make } = P;
  const nameOf = (axis, v) => axis.names ? axis.names[Math.round(v)] ?? "" : axis.seconds ? P.time(v) : P.number(v, 4);

  // Colour of a value; null where it has none.
  const shader = (chart) => {
    const [low, high] = chart.bounds, f = chart.logColor ? Math.log10 : (v) => v;
    const a = f(low), b = f(high);
    return (v) => {
      if (v === null || (chart.logColor && v <= 0)) return null;
      return P.shade(b > a ? (f(v) - a) / (b - a) : 0.5, chart.diverging);
    };
  };

  // The bar that says which colour is which value, drawn at x.
  const scaleBar = (ctx, chart, x, top, height, ratio) => {
    const [low, high] = chart.bounds, wide = 12 * ratio, steps = 64;
    for (let i = 0; i < steps; i++) {
      ctx.fillStyle = P.rgb(P.shade((i + 0.5) / steps, chart.diverging));
      const from = Math.floor(top + height * (1 - (i + 1) / steps)), to = Math.ceil(top + height * (1 - i / steps));
      ctx.fillRect(x, from, wide, to - from);
    }
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.fillStyle = P.ink("muted");
    ctx.textAlign = "left";
    const g = chart.logColor ? (t) => 10 ** (Math.log10(low) + t * (Math.log10(high) - Math.log10(low))) : (t) => low + t * (high - low);
    const small = chart.logColor ? 0 : 1e-3 * Math.max(Math.abs(low), Math.abs(high));
    let widest = 0;
    [0, 0.25, 0.5, 0.75, 1].forEach((t) => {
      const text = P.number(Math.abs(g(t)) < small ? 0 : g(t), 3);
      widest = Math.max(widest, ctx.measureText(text).width);
      ctx.textBaseline = t === 0 ? "bottom" : t === 1 ? "top" : "middle";
      ctx.fillText(text, x + wide + 4 * ratio, top + height * (1 - t));
    });
    ctx.save();
    ctx.translate(x + wide + widest + 13 * ratio, top + height / 2);
    ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(P.fitted(ctx, chart.value, height), 0, 0);
    ctx.restore();
  };
  const BAR = 92; // CSS pixels that the bar and its numbers take

  P.kinds.heat = (figure, chart) => {
    const values = P.array(chart.values), color = shader(chart);
    const edges = (axis, given) => given || Array.from({ length: chart[axis].names.length + 1 }, (_, i) => i - 0.5);
    const xs = edges("x", chart.xEdges), ys = edges("y", chart.yEdges), columns = xs.length - 1, rowsOf = ys.length - 1;
    const bounds = (axis, log) => {
      const all = axis === "x" ? xs : ys;
      return P.extent([all], log) || [0.1, 1];
    };
    const draw = (v) => {
      const { ctx, ratio } = v;
      ctx.save();
      ctx.beginPath();
      ctx.rect(v.left, v.top, v.width, v.height);
      ctx.clip();
      const written = columns * rowsOf <= 900;
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      for (let r = 0; r < rowsOf; r++) {
        const a = v.Y(ys[r]), b = v.Y(ys[r + 1]), top = Math.floor(Math.min(a, b)), tall = Math.ceil(Math.max(a, b)) - top;
        for (let c = 0; c < columns; c++) {
          const value = values[r * columns + c], shade = color(value);
          if (!shade) continue;
          const p = v.X(xs[c]), q = v.X(xs[c + 1]), left = Math.floor(Math.min(p, q)), wide = Math.ceil(Math.max(p, q)) - left;
          ctx.fillStyle = P.rgb(shade);
          ctx.fillRect(left, top, wide, tall);
          if (!written || tall <= 15 * ratio) continue;
          // As many digits as the cell has room for.
          const text = [3, 2, 1].map((digits) => P.number(value, digits)).find((t) => ctx.measureText(t).width + 4 * ratio < wide);
          if (text) {
            ctx.fillStyle = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 140 ? "#101418" : "#ffffff";
            ctx.fillText(text, left + wide / 2, top + tall / 2);
          }
        }
      }
      ctx.restore();
      scaleBar(ctx, chart, v.left + v.width + 12 * ratio, v.top, v.height, ratio);
    };
    const cellOf = (v, p, all, F) => {
      for (let i = 0; i + 1 < all.length; i++) {
        const a = F(all[i]), b = F(all[i + 1]);
        if (p >= Math.min(a, b) && p < Math.max(a, b)) return i;
      }
      return -1;
    };
    const label = (axis, all, i) => chart[axis].names ? nameOf(chart[axis], i) : `${P.number(all[i], 4)} to ${P.number(all[i + 1], 4)}`;
    const hover = (v, px, py) => {
      const c = cellOf(v, px, xs, v.X), r = cellOf(v, py, ys, v.Y);
      if (c < 0 || r < 0) return null;
      const place = r * columns + c, value = values[place], shade = color(value);
      const lines = [{ name: chart.x.label, value: label("x", xs, c) }, { name: chart.y.label, value: label("y", ys, r) }, { name: chart.value, value: P.number(value), color: shade && P.rgb(shade) }];
      if (chart.notes) lines.push(chart.notes[place]);
      return { lines };
    };
    const places = (v) => values.map((_, i) => {
      const c = i % columns, r = Math.floor(i / columns);
      return [(v.X(xs[c]) + v.X(xs[c + 1])) / 2, (v.Y(ys[r]) + v.Y(ys[r + 1])) / 2];
    });
    const rows = () => [[chart.x.label || "x", chart.y.label || "y", chart.value], ...values.map((value, i) => {
      const c = i % columns, r = Math.floor(i / columns);
      return [label("x", xs, c), label("y", ys, r), value];
    })];
    const square = chart.x.names && chart.y.names;
    const height = square ? (wide) => Math.round(Math.min(Math.max(140, rowsOf * 30 + 60), Math.max(240, wide * 0.9))) : undefined;
    const says = () => `${columns} by ${rowsOf} values of ${chart.value} from ${P.number(chart.bounds[0], 4)} to ${P.number(chart.bounds[1], 4)}.`;
    P.frame(figure, chart, { bounds, draw, hover, places, rows, says, height, right: BAR, still: true, linear: !!(chart.x.names || chart.y.names), legend: [] });
  };

  P.kinds.gantt = (figure, chart) => {
    const names = chart.y.names, states = [];
    chart.bars.forEach((bar) => { if (!states.some((s) => s.name === bar.state)) states.push({ name: bar.state, slot: bar.slot, on: true }); });
    const isOn = (bar) => states.find((s) => s.name === bar.state).on;
    const bounds = (axis) => {
      if (axis === "y") return [-0.5, names.length - 0.5];
      const extent = P.extent([chart.bars.map((b) => b.from), chart.bars.map((b) => b.to)]) || [0, 1];
      return [extent[0], extent[1] > extent[0] ? extent[1] + (extent[1] - extent[0]) * 0.02 : extent[0] + 1];
    };
    const box = (v, bar) => {
      const left = v.X(bar.from), wide = Math.max(v.X(bar.to) - left, 3 * v.ratio), a = v.Y(bar.row - 0.36), b = v.Y(bar.row + 0.36);
      return [left, Math.min(a, b), wide, Math.abs(b - a)];
    };
    const draw = (v) => {
      const { ctx, ratio } = v;
      ctx.save();
      ctx.beginPath();
      ctx.rect(v.left, v.top, v.width, v.height);
      ctx.clip();
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textBaseline = "middle";
      for (const bar of chart.bars.filter(isOn)) {
        const [x, y, w, h] = box(v, bar);
        ctx.fillStyle = P.hue(bar.slot);
        ctx.fillRect(x, y, w, h);
        const text = P.time(bar.to - bar.from), room = ctx.measureText(text).width + 8 * ratio;
        if (h < 11 * ratio) continue;
        ctx.fillStyle = P.ink("muted");
        // Beside the bar where there is room, before it where there is none.
        const after = x + w + room < v.left + v.width;
        ctx.textAlign = after ? "left" : "right";
        const free = after ? chart.bars.every((o) => o === bar || o.row !== bar.row || v.X(o.from) > x + w + room || v.X(o.to) < x + w) : x - room > v.left;
        if (free) ctx.fillText(text, after ? x + w + 4 * ratio : x - 4 * ratio, y + h / 2);
      }
      ctx.restore();
    };
    const told = (bar) => [names[bar.row], { name: bar.state, value: P.time(bar.to - bar.from), color: P.hue(bar.slot) }, `${P.time(bar.from)} to ${P.time(bar.to)}`, ...(bar.note ? bar.note.split("\n") : [])];
    const hover = (v, px, py) => {
      for (const bar of chart.bars.filter(isOn)) {
        const [x, y, w, h] = box(v, bar), slack = 3 * v.ratio;
        if (px >= x - slack && px <= x + w + slack && py >= y && py <= y + h) return { lines: told(bar) };
      }
      return null;
    };
    const places = (v) => chart.bars.filter(isOn).map((bar) => { const [x, y, w, h] = box(v, bar); return [x + w / 2, y + h / 2]; });
    const rows = () => [["row", "state", "from_s", "to_s", "note"], ...chart.bars.map((b) => [names[b.row], b.state, b.from, b.to, b.note])];
    const says = () => `${chart.bars.length} bars in ${names.length} rows: ${states.map((s) => s.name).join(", ")}.`;
    P.frame(figure, chart, { bounds, draw, hover, places, rows, says, legend: states, still: true, linear: true, height: () => Math.max(120, names.length * 24 + 66) });
  };

  // --- the sky, in Hammer's projection --------------------------------------------------------------------------------
  // Longitude 180 stands in the middle and grows to the right; the outline is an ellipse twice as wide as high.
  const RAD = Math.PI / 180;
  const project = (longitude, latitude) => {
    const l = (longitude - 180) * RAD, p = latitude * RAD, z = Math.sqrt(1 + Math.cos(p) * Math.cos(l / 2));
    return [Math.cos(p) * Math.sin(l / 2) / z, Math.sin(p) / z];
  };
  const unproject = (x, y) => {
    const z2 = 1 - (x * x + y * y) / 2;
    if (x * x + y * y > 1) return null;
    // With x and y in units of the half axes, as `project` gives them: X = 2 sqrt2 x, Y = sqrt2 y.
    const X = 2 * Math.SQRT2 * x, Y = Math.SQRT2 * y, w = Math.sqrt(Math.max(0, 1 - (X / 4) ** 2 - (Y / 2) ** 2));
    return z2 < 0 ? null : [180 + 2 * Math.atan2(w * X, 2 * (2 * w * w - 1)) / RAD, Math.asin(Math.max(-1, Math.min(1, w * Y))) / RAD];
  };

  P.kinds.sky = (figure, chart) => {
    const values = P.array(chart.values), color = shader(chart), xs = chart.xEdges, ys = chart.yEdges, columns = xs.length - 1;
    const tools = make("div", { class: "tools" }), plot = make("div", { class: "plot", tabindex: "0", role: "img" });
    plot.setAttribute("aria-label", `${chart.title}. ${columns} by ${ys.length - 1} cells of ${chart.value} from ${P.number(chart.bounds[0], 4)} to ${P.number(chart.bounds[1], 4)}.`);
    figure.append(tools, plot);
    const canvas = make("canvas");
    canvas.style.width = "100%";
    plot.append(canvas);
    let size = null;
    const layout = () => {
      const wide = Math.min(plot.clientWidth, 1100), half = Math.max(90, (wide - BAR - 16) / 2);
      return { wide: plot.clientWidth, tall: half + 24, half, cx: half + 8, cy: half / 2 + 12 };
    };
    const paint = (ctx, ratio) => {
      const { half, cx, cy } = size;
      const at = (l, b) => { const [x, y] = project(l, b); return [(cx + half * x) * ratio, (cy - half / 2 * y) * ratio]; };
      const line = (points) => points.forEach(([l, b], i) => { const [x, y] = at(l, b); if (i) ctx.lineTo(x, y); else ctx.moveTo(x, y); });
      const arc = (from, to, point) => Array.from({ length: 13 }, (_, i) => point(from + (to - from) * i / 12));
      values.forEach((value, i) => {
        const shade = color(value);
        if (!shade) return;
        const c = i % columns, r = Math.floor(i / columns);
        ctx.beginPath();
        line([...arc(xs[c], xs[c + 1], (l) => [l, ys[r]]), ...arc(ys[r], ys[r + 1], (b) => [xs[c + 1], b]), ...arc(xs[c + 1], xs[c], (l) => [l, ys[r + 1]]), ...arc(ys[r + 1], ys[r], (b) => [xs[c], b])]);
        ctx.closePath();
        ctx.fillStyle = ctx.strokeStyle = P.rgb(shade);
        ctx.lineWidth = 0.6 * ratio;
        ctx.fill();
        ctx.stroke();
      });
      ctx.strokeStyle = P.ink("muted");
      ctx.globalAlpha = 0.45;
      ctx.lineWidth = 0.7 * ratio;
      ctx.beginPath();
      for (let l = 0; l <= 360; l += 60) line(Array.from({ length: 61 }, (_, i) => [l, -90 + 3 * i]));
      for (let b = -60; b <= 60; b += 30) line(Array.from({ length: 73 }, (_, i) => [5 * i, b]));
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.font = `${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      const written = (text, x, y) => {
        const wide = ctx.measureText(text).width;
        ctx.globalAlpha = 0.75;
        ctx.fillStyle = P.ink("panel");
        ctx.fillRect(x - wide / 2 - 2 * ratio, y - 7 * ratio, wide + 4 * ratio, 14 * ratio);
        ctx.globalAlpha = 1;
        ctx.fillStyle = P.ink("text");
        ctx.fillText(text, x, y);
      };
      const sparse = half < 260;
      for (const l of sparse ? [90, 270] : [60, 120, 180, 240, 300]) written(`${l}°`, ...at(l, 0));
      for (const b of sparse ? [-45, 45] : [-60, -30, 30, 60]) written(`${b}°`, ...at(180, b));
      scaleBar(ctx, chart, (cx + half + 10) * ratio, (cy - half / 2) * ratio, half * ratio, ratio);
    };
    const build = () => {
      size = layout();
      const ratio = devicePixelRatio || 1;
      canvas.width = Math.round(size.wide * ratio);
      canvas.height = Math.round(size.tall * ratio);
      canvas.style.height = `${size.tall}px`;
      paint(canvas.getContext("2d"), ratio);
      figure.dataset.drawn = "yes";
    };
    const cellAt = (left, top) => {
      const place = unproject((left - size.cx) / size.half, (size.cy - top) / (size.half / 2));
      if (!place) return -1;
      const find = (all, v) => all.findIndex((edge, i) => i + 1 < all.length && v >= edge && v <= all[i + 1]);
      const c = find(xs, place[0]), r = find(ys, place[1]);
      return c < 0 || r < 0 ? -1 : r * columns + c;
    };
    const range = (all, i) => `${P.number(all[i], 4)}° to ${P.number(all[i + 1], 4)}°`;
    const told = (cell) => {
      const c = cell % columns, r = Math.floor(cell / columns), shade = color(values[cell]);
      const lines = [{ name: chart.x.label, value: range(xs, c) }, { name: chart.y.label, value: range(ys, r) }, { name: chart.value, value: P.number(values[cell]), color: shade && P.rgb(shade) }];
      if (chart.notes) lines.push(chart.notes[cell]);
      return lines;
    };
    plot.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), cell = cellAt(event.clientX - box.left, event.clientY - box.top);
      P.tip(event.clientX, event.clientY, cell < 0 ? null : told(cell));
    });
    plot.addEventListener("pointerleave", () => P.tip());
    let chosen = -1;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: columns, ArrowDown: -columns }[event.key];
      if (step === undefined) { if (event.key === "Escape") P.tip(); return; }
      event.preventDefault();
      chosen = Math.max(0, Math.min(values.length - 1, chosen + step));
      const c = chosen % columns, r = Math.floor(chosen / columns), [x, y] = project((xs[c] + xs[c + 1]) / 2, (ys[r] + ys[r + 1]) / 2), box = canvas.getBoundingClientRect();
      P.tip(box.left + size.cx + size.half * x, box.top + size.cy - size.half / 2 * y, told(chosen));
    });
    plot.addEventListener("blur", () => P.tip());
    const rows = () => [[`${chart.x.label} from`, `${chart.x.label} to`, `${chart.y.label} from`, `${chart.y.label} to`, chart.value], ...values.map((value, i) => {
      const c = i % columns, r = Math.floor(i / columns);
      return [xs[c], xs[c + 1], ys[r], ys[r + 1], value];
    })];
    const svg = async () => {
      const record = new P.Record(canvas);
      paint(record, 1);
      return record.svg(Math.round(Math.min(size.wide, 2 * size.half + BAR + 16)), Math.round(size.tall), 1, chart.title, []);
    };
    const tool = (label, title, action) => tools.append(make("button", { type: "button", title, onclick: action }, label));
    tool("svg", `save this chart as ${chart.file}.svg`, async () => P.save(`${chart.file}.svg`, await svg(), "image/svg+xml"));
    tool("csv", `save the data of this chart as ${chart.file}.csv`, () => P.save(`${chart.file}.csv`, P.csv(rows()), "text/csv"));
    build();
    let wide = plot.clientWidth;
    P.onResize(plot, () => { if (plot.clientWidth !== wide) { wide = plot.clientWidth; build(); } });
    P.onTheme(build);
    figure.podium = { chart, svg, rows: () => P.csv(rows()), cellAt, project: (l, b) => { const [x, y] = project(l, b); return [size.cx + size.half * x, size.cy - size.half / 2 * y]; }, over: () => canvas };
  };
})();
