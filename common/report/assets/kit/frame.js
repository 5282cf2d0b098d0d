// The frame of a chart on axes: uPlot draws axes and grid and tells where the mouse is; what lies inside is a painter's.
//
// A painter is { bounds(axis, log), draw(view), hover(view, x, y), places(), legend, rows(), right }.
(() => {
  const P = Podium, { make } = P;
  const FONT = "12px system-ui, -apple-system, 'Segoe UI', sans-serif";
  const SECONDS = [1e-3, 1e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800];

  // Value to pixel of the canvas along one axis.
  const along = (range, log, reversed, start, length, up) => {
    const f = log ? Math.log10 : (v) => v;
    const a = f(range[0]), b = f(range[1]);
    const turned = reversed !== up;
    // Pixel = origin + slope * f(value).
    const slope = (turned ? -length : length) / (b - a), origin = (turned ? start + length : start) - slope * a;
    return log ? (v) => v > 0 ? origin + slope * Math.log10(v) : NaN : (v) => v === null ? NaN : origin + slope * v;
  };
  const back = (range, log, reversed, share, up) => {
    const f = log ? Math.log10 : (v) => v, g = log ? (v) => 10 ** v : (v) => v;
    const t = reversed !== up ? 1 - share : share;
    return g(f(range[0]) + t * (f(range[1]) - f(range[0])));
  };

  // Width of a text in CSS pixels.
  const ruler = document.createElement("canvas").getContext("2d");
  const widthOf = (text) => { ruler.font = FONT; return ruler.measureText(text).width; };
  P.widthOf = widthOf;

  // Ticks of a logarithmic axis: decades, with 2 and 5 or more of each where there are few.
  const decades = ([low, high], most) => {
    const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high)), all = [];
    const count = Math.log10(high) - Math.log10(low);
    if (count < 0.4) {
      const raw = (high - low) / 4, size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw);
      for (let v = Math.ceil(low / step) * step; v <= high; v += step) all.push(Number(v.toPrecision(10)));
      return all;
    }
    const every = Math.max(1, Math.ceil(count / most));
    const within = count * 5 <= most ? [1, 2, 3, 5, 7] : count * 3 <= most ? [1, 2, 5] : [1];
    for (let e = from; e <= to; e++) {
      if (e % every) continue;
      for (const m of within) {
        const v = Number(`${m}e${e}`);
        if (v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9)) all.push(v);
      }
    }
    return all;
  };

  P.frame = (figure, chart, painter) => {
    const tools = make("div", { class: "tools" }), plot = make("div", { class: "plot", tabindex: "0", role: "group" });
    const legend = make("div", { class: "legend" });
    plot.setAttribute("aria-roledescription", "chart");
    plot.setAttribute("aria-label", `${chart.title}. ${painter.says()} Arrow keys read values, plus and minus zoom, 0 shows all.`);
    figure.append(tools, plot, legend);
    const state = { logX: !!chart.x.log, logY: !!chart.y.log, zoom: null };
    const full = () => ({ x: painter.bounds("x", state.logX), y: painter.bounds("y", state.logY) });
    const shown = () => state.zoom || full();
    let u = null, current = shown();

    // Names below an axis that would touch each other stand upright, and make the chart higher.
    const LONGEST = 150;
    const upright = (wide) => {
      const names = chart.x.names;
      if (!names) return 0;
      const longest = Math.max(...names.map(widthOf)), shownNames = Math.max(1, Math.min(names.length, current.x[1] - current.x[0]));
      return longest + 10 > (wide - 90) / shownNames ? Math.min(longest, LONGEST) : 0;
    };
    const height = () => {
      const wide = plot.clientWidth;
      return plain(wide) + upright(wide);
    };
    const plain = (wide) => {
      if (painter.height) return painter.height(wide);
      const names = chart.y.names;
      if (names) return Math.max(160, names.length * 24 + 70);
      return Math.round(Math.max(220, Math.min(420, wide * (chart.alongY ? 0.85 : 0.55))));
    };
    const view = (ctx, chartOf) => {
      const { left, top, width, height: tall } = chartOf.bbox;
      return {
        ctx, left, top, width, height: tall, ratio: uPlot.pxRatio, range: current, state,
        X: along(current.x, state.logX, !!chart.x.reversed, left, width, false),
        Y: along(current.y, state.logY, !!chart.y.reversed, top, tall, true),
      };
    };

    const axis = (side, spec, log, wide) => {
      const across = side === 2;
      const made = {
        scale: across ? "x" : "y", side, stroke: P.ink("muted"), font: FONT, labelFont: FONT, label: spec.label || null, labelSize: spec.label ? 20 : 0,
        labelGap: 2, gap: 4, grid: { stroke: P.ink("line"), width: 1 }, ticks: { stroke: P.ink("line"), width: 1, size: 4 },
        space: across ? 64 : 30,
        values: (_, splits) => splits.map((v) => v === null ? "" : spec.seconds ? P.time(v) : P.number(v)),
        size: (_, values) => across ? 24 : Math.ceil(Math.max(16, ...(values || []).map(widthOf)) + 12),
      };
      if (spec.seconds) made.incrs = SECONDS;
      if (log) {
        made.splits = () => decades(current[across ? "x" : "y"], across ? wide / 64 : 8);
        made.filter = (_, splits) => splits;
        made.values = (_, splits) => splits.map((v) => v >= 1e5 || v < 1e-3 ? v.toExponential().replace("e+", "e") : P.number(v));
      }
      if (spec.names) {
        const longest = Math.max(...spec.names.map(widthOf));
        const most = across ? LONGEST : Math.max(60, Math.min(260, wide * 0.36));
        const fit = (name) => widthOf(name) <= most ? name : P.fitted(Object.assign(ruler, { font: FONT }), name, most);
        // Names that would touch each other stand upright; those that still would are thinned.
        const room = (chartOf) => (across ? chartOf.bbox.width : chartOf.bbox.height) / uPlot.pxRatio / Math.max(1e-9, current[across ? "x" : "y"][1] - current[across ? "x" : "y"][0]);
        const turned = across && upright(wide) > 0;
        made.grid = { show: false };
        made.splits = (chartOf) => {
          const [low, high] = current[across ? "x" : "y"], step = Math.max(1, Math.ceil((turned || !across ? 14 : longest + 10) / room(chartOf)));
          return spec.names.map((_, i) => i).filter((i) => i >= low && i <= high && i % step === 0);
        };
        made.values = (_, splits) => splits.map((i) => fit(spec.names[i] ?? ""));
        if (turned) made.rotate = 90;
        made.size = across ? (turned ? Math.ceil(Math.min(longest, most)) + 14 : 24) : Math.ceil(Math.min(longest, most)) + 14;
      }
      return made;
    };

    const options = (wide, tall) => ({
      width: wide, height: tall, legend: { show: false }, padding: [10, painter.right || margin(), 4, 4],
      scales: {
        x: { time: false, distr: state.logX ? 3 : 1, dir: chart.x.reversed ? -1 : 1, range: () => current.x },
        y: { distr: state.logY ? 3 : 1, dir: chart.y.reversed ? -1 : 1, range: () => current.y },
      },
      axes: [axis(2, chart.x, state.logX, wide), axis(3, chart.y, state.logY, wide)],
      series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
      cursor: {
        x: !painter.still, y: !!chart.alongY, points: { show: false }, drag: { x: true, y: true, uni: 16, setScale: false },
        bind: { dblclick: () => () => { reset(); return null; } },
      },
      hooks: {
        drawClear: [(chartOf) => { chartOf.ctx.fillStyle = P.ink("panel"); chartOf.ctx.fillRect(0, 0, chartOf.ctx.canvas.width, chartOf.ctx.canvas.height); }],
        draw: [(chartOf) => { const v = view(chartOf.ctx, chartOf); painter.draw(v); marks(v); }],
        setSelect: [(chartOf) => select(chartOf.select)],
        setCursor: [(chartOf) => point(chartOf)],
      },
    });
    // Labels of lines across stand beside the plot, where no curve is.
    const margin = () => Math.max(18, ...(chart.marks || []).filter((m) => m.onY).map((m) => Math.min(widthOf(m.label), plot.clientWidth * 0.25) + 10));
    const ends = () => [[current.x[0], current.x[1]], [current.y[0], current.y[1]]];

    const build = () => {
      current = shown();
      if (u) u.destroy();
      u = new uPlot(options(Math.max(220, plot.clientWidth), height()), ends(), plot);
      figure.dataset.drawn = "yes";
    };
    const redraw = () => { current = shown(); u.setData(ends()); again.hidden = !state.zoom; };
    const zoomTo = (x, y) => { state.zoom = { x, y }; redraw(); };
    const reset = () => { state.zoom = null; redraw(); };

    const select = ({ left, top, width, height: tall }) => {
      if (width < 4 && tall < 4) return;
      const wide = u.over.clientWidth, high = u.over.clientHeight;
      const at = (range, log, reversed, share, up) => back(range, log, reversed, share, up);
      const ordered = (a, b) => a < b ? [a, b] : [b, a];
      const x = width >= 4 ? ordered(at(current.x, state.logX, !!chart.x.reversed, left / wide, false), at(current.x, state.logX, !!chart.x.reversed, (left + width) / wide, false)) : current.x;
      const y = tall >= 4 ? ordered(at(current.y, state.logY, !!chart.y.reversed, top / high, true), at(current.y, state.logY, !!chart.y.reversed, (top + tall) / high, true)) : current.y;
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      zoomTo(x, y);
    };
    // Shares of the plot count from its left and its lower edge; `to` is where the place comes to lie, in shares as well.
    const scaleBy = (factor, from = { x: 0.5, y: 0.5 }, to = from) => {
      const one = (range, { reversed }, isLog, share, end) => {
        const f = isLog ? Math.log10 : (v) => v, g = isLog ? (v) => 10 ** v : (v) => v;
        if (reversed) { share = 1 - share; end = 1 - end; }
        const a = f(range[0]), b = f(range[1]), at = a + share * (b - a), wide = (b - a) * factor;
        return [g(at - end * wide), g(at + (1 - end) * wide)];
      };
      zoomTo(one(current.x, chart.x, state.logX, from.x, to.x), one(current.y, chart.y, state.logY, from.y, to.y));
    };
    const shareOf = (x, y) => {
      const box = u.over.getBoundingClientRect();
      return { x: (x - box.left) / box.width, y: 1 - (y - box.top) / box.height };
    };

    // --- hover -----------------------------------------------------------------------------------------------------
    const dots = make("div", { class: "dots" });
    const showDots = (found) => {
      dots.replaceChildren(...(found.dots || []).map(({ x, y, color }) => {
        const dot = make("i");
        dot.style.cssText = `position:absolute;pointer-events:none;width:9px;height:9px;margin:-4.5px 0 0 -4.5px;border-radius:50%;left:${x}px;top:${y}px;background:${color};border:1.5px solid ${P.ink("panel")}`;
        return dot;
      }));
      if (dots.parentNode !== u.over) u.over.append(dots);
    };
    const read = (left, top) => {
      const v = view(null, u), r = v.ratio;
      const found = painter.hover(v, v.left + left * r, v.top + top * r);
      const box = u.over.getBoundingClientRect();
      if (!found) { P.tip(); dots.replaceChildren(); return; }
      found.dots = (found.dots || []).map((d) => ({ ...d, x: (d.x - v.left) / r, y: (d.y - v.top) / r }))
        .filter((d) => d.x >= -1 && d.y >= -1 && d.x <= box.width + 1 && d.y <= box.height + 1);
      showDots(found);
      P.tip(box.left + left, box.top + top, found.lines);
    };
    const point = ({ cursor: { left, top } }) => {
      if (left === null || left < 0) { if (!keyed) { P.tip(); dots.replaceChildren(); } return; }
      keyed = false;
      read(left, top);
    };
    let keyed = false, place = -1;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 25, PageUp: -25, Home: -1e9, End: 1e9 }[event.key];
      if (step !== undefined) {
        const v = view(null, u), all = painter.places(v);
        if (!all.length) return;
        place = Math.max(0, Math.min(all.length - 1, place + step));
        keyed = true;
        read((all[place][0] - v.left) / v.ratio, (all[place][1] - v.top) / v.ratio);
      } else if (event.key === "+" || event.key === "=") scaleBy(0.6);
      else if (event.key === "-") scaleBy(1 / 0.6);
      else if (event.key === "0") reset();
      else if (event.key === "Escape") { keyed = false; P.tip(); dots.replaceChildren(); }
      else return;
      event.preventDefault();
    });
    plot.addEventListener("blur", () => { keyed = false; P.tip(); dots.replaceChildren(); });
    plot.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      scaleBy(event.deltaY < 0 ? 0.8 : 1.25, shareOf(event.clientX, event.clientY));
    }, { passive: false });
    // Two fingers zoom about the place between them and take it along; one finger scrolls the page and reads values.
    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
    };
    plot.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    plot.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? spread() : null;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (!before) return;
      const now = spread();
      if (before.apart > 1 && now.apart > 1) scaleBy(before.apart / now.apart, shareOf(before.x, before.y), shareOf(now.x, now.y));
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) plot.addEventListener(end, (event) => fingers.delete(event.pointerId));
    plot.addEventListener("touchmove", (event) => { if (event.touches.length > 1 && event.cancelable) event.preventDefault(); }, { passive: false });

    // --- lines across ------------------------------------------------------------------------------------------------
    const marks = (v) => {
      const { ctx, ratio } = v;
      ctx.save();
      ctx.font = FONT.replace("12px", `${12 * ratio}px`);
      ctx.fillStyle = P.ink("text");
      ctx.strokeStyle = P.ink("muted");
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 3 * ratio]);
      ctx.textBaseline = "middle";
      let line = 0;
      for (const { onY, at, label } of chart.marks || []) {
        const p = onY ? v.Y(at) : v.X(at);
        if (!(onY ? p >= v.top && p <= v.top + v.height : p >= v.left && p <= v.left + v.width)) continue;
        ctx.beginPath();
        if (onY) { ctx.moveTo(v.left, p); ctx.lineTo(v.left + v.width, p); } else { ctx.moveTo(p, v.top); ctx.lineTo(p, v.top + v.height); }
        ctx.stroke();
        if (onY) {
          ctx.textAlign = "left";
          ctx.fillText(P.fitted(ctx, label, plot.clientWidth * 0.25 * ratio), v.left + v.width + 4 * ratio, p);
          continue;
        }
        const right = p > v.left + v.width * 0.6;
        ctx.textAlign = right ? "right" : "left";
        const x = p + (right ? -5 : 5) * ratio;
        const y = v.top + (9 + 15 * line++) * ratio;
        // A ground behind the words, so that curves do not cross them.
        const wide = ctx.measureText(label).width;
        ctx.save();
        ctx.globalAlpha = 0.8;
        ctx.fillStyle = P.ink("panel");
        ctx.fillRect(ctx.textAlign === "right" ? x - wide - 2 * ratio : x - 2 * ratio, y - 8 * ratio, wide + 4 * ratio, 16 * ratio);
        ctx.restore();
        ctx.fillText(label, x, y);
      }
      ctx.restore();
    };

    // --- tools and legend --------------------------------------------------------------------------------------------
    const tool = (label, title, action) => {
      const made = make("button", { type: "button", title, onclick: action }, label);
      tools.append(made);
      return made;
    };
    const switched = (key, axisOf, label) => {
      if (axisOf.names || axisOf.seconds || painter.linear) return;
      const made = tool(label, `logarithmic ${label.slice(4)} axis`, () => {
        state[key] = !state[key];
        made.setAttribute("aria-pressed", String(state[key]));
        state.zoom = null;
        build();
        again.hidden = true;
      });
      made.setAttribute("aria-pressed", String(state[key]));
    };
    switched("logX", chart.x, "log x");
    switched("logY", chart.y, "log y");
    if (painter.tools) painter.tools(tools, redraw);
    const again = tool("show all", "show everything again (double click, or 0)", reset);
    again.hidden = true;
    tool("svg", `save this chart as ${chart.file}.svg`, async () => {
      P.save(`${chart.file}.svg`, await svg(), "image/svg+xml");
    });
    tool("csv", `save the data of this chart as ${chart.file}.csv`, () => P.save(`${chart.file}.csv`, P.csv(painter.rows()), "text/csv"));
    P.legend(legend, painter.legend, redraw);

    const svg = async () => {
      const wide = u.width, tall = u.height;
      const [other, record] = await P.recorded(() => new uPlot(options(wide, tall), ends(), make("div")));
      const text = record.svg(wide, tall, uPlot.pxRatio, chart.title, painter.legend.filter((item) => item.on).map((item) => ({ name: item.name, color: P.hue(item.slot), dash: P.dash(item.slot) })));
      other.destroy();
      return text;
    };
    build();
    let wide = plot.clientWidth;
    P.onResize(plot, () => { if (plot.clientWidth !== wide) { wide = plot.clientWidth; build(); } });
    P.onTheme(() => { build(); P.legend(legend, painter.legend, redraw); });
    figure.podium = { chart, painter, state, svg, rows: () => P.csv(painter.rows()), read, view: () => view(null, u), zoomTo, reset, over: () => u.over };
  };

  // Names with their colours; a click hides one, a double click shows it alone.
  P.legend = (place, items, redraw) => {
    place.hidden = items.length < 2;
    const buttons = items.map((item) => {
      const swatch = `<svg width="20" height="10" aria-hidden="true"><line x1="0" y1="5" x2="20" y2="5" stroke-width="3" stroke="${P.hue(item.slot)}" stroke-dasharray="${P.dash(item.slot).join(" ")}"/></svg>`;
      const made = make("button", { type: "button", title: "click: hide or show; double click: this one alone" });
      made.innerHTML = swatch;
      made.append(item.name);
      made.setAttribute("aria-pressed", String(item.on));
      return made;
    });
    const mark = () => { buttons.forEach((made, i) => made.setAttribute("aria-pressed", String(items[i].on))); redraw(); };
    buttons.forEach((made, i) => {
      made.onclick = () => { items[i].on = !items[i].on; mark(); };
      made.ondblclick = () => {
        const alone = items.every((item, j) => item.on === (i === j));
        items.forEach((item, j) => { item.on = alone || i === j; });
        mark();
      };
    });
    place.replaceChildren(...buttons);
  };
})();
