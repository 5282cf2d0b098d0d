// What surrounds the views of scene.js: choice of event, colours, layers and filters, mouse, touch and keys, legends, and
// what is saved.
"use strict";
(() => {
const Scene = PodiumScene, { make, clamp, rgb, css, ramp, canvasPen, svgPen, tickText } = Scene;
const KEYS = "Drag turns (flat views: moves), Shift-drag or the right button moves, the wheel or two fingers zoom, a double click looks at a point. "
  + "Keys: arrows turn, Shift and arrows move, + and \u2212 zoom, 0 fits, [ and ] go from point to point, Enter looks at it, , and . change the event, Escape lets go.";
const HEAD = 34;

Object.assign(Scene.prototype, {
  build() {
    const { spec, stage } = this, bar = make("div", { className: "scene-bar" });
    stage.classList.add("scene");
    this.choice(bar, "Event", spec.events.map(e => e.name), i => this.show(i), list => (this.select = list));
    this.back = this.button(bar, "\u2039", "Previous event", () => this.show(this.event - 1));
    this.next = this.button(bar, "\u203a", "Next event", () => this.show(this.event + 1));
    if (spec.events.length < 2) [this.select.parentNode, this.back, this.next].forEach(e => (e.hidden = true));
    if (spec.units && spec.units.length > 1) this.choice(bar, "Units", spec.units.map(u => u.name), i => { this.unit = i; this.request(); });
    const fit = frame => () => { this.frame = frame; this.fit(); };
    this.button(bar, "Fit event", "Bring the event into view", fit("event"));
    if (spec.box) this.button(bar, "Fit " + (spec.box_name || "detector"), "Bring all of it into view", fit("box"));
    this.check(bar, "parallel", false, on => { this.parallel = on; this.request(); });
    const size = make("input", { type: "range", min: -1, max: 1.5, step: 0.1, value: 0, ariaLabel: "Size of points" });
    size.oninput = () => { this.size = 2 ** size.value; this.request(); };
    bar.append(make("label", { textContent: "Size " }, size));
    this.button(bar, "PNG", "Save the picture as PNG", () => this.png());
    this.button(bar, "SVG", "Save the picture as SVG", () => this.kit.save(this.file("svg"), this.svg(), "image/svg+xml"));
    this.button(bar, "CSV", "Save the numbers of this event", () => this.kit.save(this.file("csv"), this.csv(), "text/csv"));
    this.note = make("p", { className: "scene-note" });
    this.sift = make("div", { className: "scene-bar" });
    this.canvas = make("canvas", { className: "scene-gl", ariaHidden: "true" });
    this.top = make("canvas", { className: "scene-gl", ariaHidden: "true" });
    this.grid = make("div", { className: "scene-grid" });
    this.panels = spec.panels.map((given, number) => this.panel(given, number));
    this.grid.append(...this.panels.map(p => p.node), this.canvas, this.top);
    this.key = make("div", { className: "scene-legend" });
    this.said = make("p", { className: "scene-said", role: "status" });
    this.help = make("details", { className: "scene-help" }, make("summary", { textContent: "Mouse, touch and keys" }), make("p", { textContent: KEYS }));
    stage.append(bar, this.sift, this.note, this.grid, this.said, this.key, this.help);
  },

  panel(given, number) {
    const { spec } = this, head = make("div", { className: "scene-head" });
    const node = make("div", { className: "scene-panel" + (given.wide ? " scene-wide" : ""), tabIndex: 0 });
    const panel = { node, number, view: spec.views.find(v => v.id === given.view), flat: { at: null, zoom: 1 }, color: spec.colors.find(c => c.id === given.color) };
    node.setAttribute("role", "application");
    head.append(make("span", { textContent: given.label || panel.view.label }));
    if (spec.colors.length > 1 && panel.color) {
      const names = spec.colors.map(c => c.label);
      this.choice(head, "colour", names, i => { panel.color = spec.colors[i]; this.legend(); this.describe(); this.request(); },
        list => (list.value = spec.colors.indexOf(panel.color)));
    }
    if (panel.view.flat) {
      panel.stretch = !!panel.view.stretch;
      this.check(head, "equal scales", !panel.stretch, on => { panel.stretch = !on; this.request(); });
    }
    node.append(head);
    this.listen(panel, head);
    return panel;
  },

  choice(bar, label, names, act, keep) {
    const list = make("select", { ariaLabel: label });
    names.forEach((name, i) => list.append(make("option", { value: i, textContent: name })));
    list.onchange = () => act(Number(list.value));
    bar.append(make("label", { textContent: label + " " }, list));
    if (keep) keep(list);
  },
  button(bar, text, title, act) {
    const b = make("button", { type: "button", textContent: text, title, ariaLabel: title, onclick: act });
    bar.append(b);
    return b;
  },
  check(bar, text, on, act, color) {
    const b = make("input", { type: "checkbox", checked: on, onchange: () => act(b.checked) }), label = make("label", {}, b);
    if (color) { const i = make("i"); i.style.background = color; label.append(i); }
    label.append(text);
    bar.append(label);
  },

  describe() {
    const e = this.spec.events[this.event];
    for (const p of this.panels) p.node.setAttribute("aria-label", `${e.name}, ${p.view.label}${p.color ? ", coloured by " + p.color.label : ""}; keys: arrows, +, \u2212, 0, [ and ]`);
  },

  // ---- mouse, touch and keys ----
  listen(panel, head) {
    const { node } = panel, held = new Map(), local = e => { const r = this.grid.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    let moved = 0, two = null;
    node.addEventListener("contextmenu", e => e.preventDefault());
    node.addEventListener("pointerdown", e => {
      if (head.contains(e.target)) return;
      node.focus({ preventScroll: true });
      node.setPointerCapture(e.pointerId);
      held.set(e.pointerId, [e.clientX, e.clientY]);
      moved = held.size > 1 ? 99 : 0; two = null;
    });
    node.addEventListener("pointermove", e => {
      const last = held.get(e.pointerId);
      if (!last) {
        if (e.pointerType === "mouse" && !head.contains(e.target)) this.hover(panel, local(e), e);
        return;
      }
      const dx = e.clientX - last[0], dy = e.clientY - last[1];
      held.set(e.pointerId, [e.clientX, e.clientY]);
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved < 4) return;
      this.kit.tip();
      if (held.size === 2) {
        const [a, b] = [...held.values()], now = { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, d: Math.hypot(a[0] - b[0], a[1] - b[1]) };
        if (two) {
          this.shift(panel, now.x - two.x, now.y - two.y);
          const r = this.grid.getBoundingClientRect();
          this.zoom(panel, two.d / (now.d || 1), now.x - r.left, now.y - r.top);
        }
        two = now;
      } else if (panel.view.flat || e.shiftKey || e.buttons & 6) this.shift(panel, dx, dy);
      else this.turn(-dx * 0.008, dy * 0.008);
    });
    const end = e => {
      if (held.delete(e.pointerId) && moved < 4 && e.type === "pointerup" && !head.contains(e.target)) {
        const [x, y] = local(e), found = this.pick(panel, x, y, e.pointerType === "touch" ? 18 : 9);
        this.choose(found, true);
        if (found) this.kit.tip(e.clientX, e.clientY, this.tell(found)); else this.kit.tip();
      }
      two = null;
    };
    ["pointerup", "pointercancel"].forEach(name => node.addEventListener(name, end));
    node.addEventListener("pointerleave", () => { if (!held.size) this.kit.tip(); });
    node.addEventListener("dblclick", e => { if (!head.contains(e.target)) { const f = this.pick(panel, ...local(e)); if (f) this.look(f); } });
    node.addEventListener("wheel", e => {
      e.preventDefault();
      this.kit.tip();
      this.zoom(panel, Math.exp(clamp(e.deltaY, -240, 240) * 0.0016), ...local(e));
    }, { passive: false });
    node.addEventListener("keydown", e => { if (e.target === node && this.press(panel, e)) e.preventDefault(); });
  },

  /** At most one search a frame. */
  hover(panel, at, e) {
    this.under = { panel, at, x: e.clientX, y: e.clientY };
    if (this.seeking || !this.gl || this.moving) return;
    this.seeking = requestAnimationFrame(() => {
      this.seeking = 0;
      const { panel, at, x, y } = this.under, found = this.pick(panel, ...at);
      if (found) this.kit.tip(x, y, this.tell(found)); else this.kit.tip();
      panel.node.style.cursor = found ? "crosshair" : "";
    });
  },

  turn(yaw, pitch) {
    this.camera.yaw += yaw; this.camera.pitch = clamp(this.camera.pitch + pitch, -1.56, 1.56);
    this.request(true);
  },
  shift(panel, dx, dy) {
    if (panel.view.flat) { const f = panel.flat; f.at = [f.at[0] - dx / f.sx, f.at[1] + dy / f.sy]; }
    else this.slide(panel, -dx, dy);
    this.request(true);
  },
  /** Moves the target by pixels to the right and up. */
  slide(panel, right, up) {
    const b = this.basis(), k = this.perPixel(panel), at = this.camera.at;
    this.camera.at = at.map((v, a) => v + k * (right * b.right[a] + up * b.up[a]));
  },
  perPixel(panel) { return 2 * this.camera.far / (panel.m[5] ? this.focal(panel) * panel.rect.h : 1); },
  focal(panel) { return 1 / Math.tan(0.26 * clamp(panel.rect.h / panel.rect.w, 1, 1.8)); },
  zoom(panel, factor, x, y) {
    const r = panel.rect, off = x === undefined ? [0, 0] : [x - r.x - r.w / 2, r.y + r.h / 2 - y];
    if (panel.view.flat) {
      const f = panel.flat, before = f.zoom;
      f.zoom = clamp(f.zoom / factor, 0.3, 4000);
      f.at = [f.at[0] + off[0] / f.sx * (1 - before / f.zoom), f.at[1] + off[1] / f.sy * (1 - before / f.zoom)];
    } else {
      const c = this.camera, far = clamp(c.far * factor, this.home * 0.002, this.home * 5);
      this.slide(panel, off[0] * (1 - far / c.far), off[1] * (1 - far / c.far));
      c.far = far;
    }
    this.request(true);
  },
  look(found) {
    const p = this.place(found);
    this.camera.at = p;
    for (const panel of this.panels) if (panel.view.flat) panel.flat.at = panel.view.flat.map(k => (k === 3 ? Math.hypot(p[0], p[1]) : p[k]));
    this.choose(found, true);
  },

  /** The next object that is there in a panel, from the picked one on. */
  step(panel, by) {
    const items = this.items().filter(i => this.shown(i, panel) && i.data.n && i.layer.pick !== false);
    if (!items.length) return;
    const item = this.picked && items.includes(this.picked.item) ? this.picked.item : items.find(i => !i.layer.hollow) || items[0], n = item.data.n;
    const seen = this.paint(item, panel.color);
    let at = this.picked && this.picked.item === item ? this.picked.index : by > 0 ? -1 : n;
    for (let k = 0; k < n; k++) {
      at = (at + by + n) % n;
      if (seen[4 * at + 3]) return this.choose({ item, index: at, panel }, true);
    }
  },

  press(panel, e) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (e.ctrlKey || e.metaKey || e.altKey) return false;
    if (way && (e.shiftKey || panel.view.flat)) this.shift(panel, -way[0] * 24, way[1] * 24);
    else if (way) this.turn(way[0] * 0.08, way[1] * 0.08);
    else if ("+=".includes(e.key)) this.zoom(panel, 0.87);
    else if ("-_\u2212".includes(e.key)) this.zoom(panel, 1.15);
    else if (e.key === "0" || e.key === "Home") this.fit();
    else if (e.key === "]") this.step(panel, 1);
    else if (e.key === "[") this.step(panel, -1);
    else if (e.key === "Enter" && this.picked) this.look(this.picked);
    else if (e.key === "." && !this.next.disabled) this.show(this.event + 1);
    else if (e.key === "," && !this.back.disabled) this.show(this.event - 1);
    else if (e.key === "Escape") { this.choose(null); this.said.textContent = ""; this.kit.tip(); }
    else return false;
    return true;
  },

  // ---- legends and filters ----
  /** What the colours of the panels mean, each way of colouring once. */
  meanings() {
    const used = [...new Set(this.panels.map(p => p.color).filter(Boolean))], dark = this.kit.dark() ? 1 : 0;
    return used.map(color => {
      if (color.kind === "names") {
        // The first layer that has the column is counted: tracks rather than their hits.
        const counts = color.names.map(() => 0), last = counts.length - 1, first = this.items().find(i => i.data[color.column]);
        if (first) first.data[color.column].forEach(v => counts[Math.min(v, last)]++);
        return { color, rows: color.names.map((name, k) => ({ k, name, count: counts[k], css: color.colors[k][dark] })).filter(r => r.count) };
      }
      return { color, range: color.kind === "ramp" ? this.range[color.column] : null, text: color.note || "" };
    });
  },
  unit_of(color) { return color.unit ? `${color.label} (${color.unit})` : color.label; },
  middle(color, [low, high]) { return color.log ? Math.sqrt(low * high) : (low + high) / 2; },

  legend() {
    const dark = this.kit.dark() ? 1 : 0, table = this.spec.ramp.map(rgb);
    this.key.replaceChildren();
    for (const { color, rows, range, text } of this.meanings()) {
      const group = make("div", { className: "scene-key", role: "group", ariaLabel: color.label }, make("b", { textContent: this.unit_of(color) }));
      for (const r of rows || []) {
        const hidden = (this.hidden[color.id] ||= new Set()), set = on => { if (on) hidden.delete(r.k); else hidden.add(r.k); this.recolor(); this.request(); };
        this.check(group, `${r.name} ${r.count}`, !hidden.has(r.k), set, r.css);
      }
      if (range) {
        const bar = make("span", { className: "scene-ramp" }), ends = [range[0], this.middle(color, range), range[1]];
        bar.style.background = `linear-gradient(90deg,${table.map(css).join(",")})`;
        group.append(make("span", { className: "scene-scale" }, bar, make("span", { className: "scene-ends" }, ...ends.map(v => make("span", { textContent: this.kit.number(v, 4) })))));
        if (color.log) group.append(make("small", { textContent: "logarithmic" }));
      }
      if (text) group.append(make("small", { textContent: text }));
      this.key.append(group);
    }
    const layers = this.spec.layers.filter(l => this.own[l.id] || this.shared[l.id]);
    const group = make("div", { className: "scene-key", role: "group", ariaLabel: "Layers" }, make("b", { textContent: "Shown" }));
    for (const l of layers) {
      const item = this.own[l.id] || this.shared[l.id];
      this.check(group, `${l.label} ${item.data.n}`, this.layers[l.id], on => { this.layers[l.id] = on; this.request(); }, l.color && l.color[dark]);
    }
    this.key.append(group);
  },

  filters() {
    this.sift.replaceChildren();
    for (const f of this.spec.filters || []) {
      const again = () => { this.recolor(); this.request(); };
      if (!Object.values(this.own).some(i => i.data[f.column])) continue;
      if (f.flag) { this.check(this.sift, f.label, !!this.only[f.column], on => { this.only[f.column] = on; again(); }); continue; }
      const [low, high] = this.range[f.column], value = t => (f.log && low > 0 ? low * (high / low) ** t : low + t * (high - low));
      const out = make("output"), group = make("span", { className: "scene-filter", role: "group", ariaLabel: f.label }, f.label + " ");
      const ends = [0, 1].map(k => make("input", { type: "range", min: 0, max: 1000, value: 1000 * k, ariaLabel: (k ? "Most " : "Least ") + f.label }));
      const set = () => {
        const [a, b] = ends.map(e => e.value / 1000);
        // The ends of the sliders let everything through, whatever rounding makes of them.
        this.limits[f.column] = [a > 0 ? value(a) : -Infinity, b < 1 ? value(b) : Infinity];
        out.textContent = `${this.kit.number(value(a), 4)} to ${this.kit.number(value(b), 4)} ${f.unit || ""}`;
        again();
      };
      ends.forEach(e => (e.oninput = set));
      group.append(...ends, out);
      this.sift.append(group);
      set();
    }
  },

  // ---- what is saved ----
  file(kind) { return `${this.spec.file || "event"}-${this.event}.${kind}`; },

  /** Title, axes and legends around the data, for a file: gives the height below the views. */
  around(pen) {
    const ink = this.kit.ink("text"), muted = this.kit.ink("muted"), e = this.spec.events[this.event];
    pen.text(8, 22, `${this.spec.title}: ${e.name}`, ink, "start", 15);
    let x = 8, y = this.height + HEAD + 22;
    const room = w => { if (x + w > this.width - 8) { x = 8; y += 22; } };
    for (const { color, rows, range } of this.meanings()) {
      room(160); pen.text(x, y, this.unit_of(color), ink); x += 7.2 * this.unit_of(color).length + 14;
      for (const r of rows || []) {
        const text = `${r.name} ${r.count}`, w = 7 * text.length + 26;
        room(w); pen.circle(x + 5, y - 4, 5, r.css); pen.text(x + 14, y, text, muted); x += w;
      }
      if (range) {
        room(260); pen.text(x, y, this.kit.number(range[0], 4), muted); x += 50;
        for (let k = 0; k < 60; k++) pen.rect(x + 2 * k, y - 10, 2.3, 12, css(ramp(this.spec.ramp.map(rgb), k / 59)));
        pen.text(x + 126, y, this.kit.number(range[1], 4) + (color.log ? " (log)" : ""), muted); x += 210;
      }
      x = 8; y += 22;
    }
    for (const l of this.spec.layers.filter(l => l.color && this.layers[l.id] && (this.own[l.id] || this.shared[l.id]))) {
      const w = 7 * l.label.length + 26;
      room(w); pen.circle(x + 5, y - 4, 5, l.color[this.kit.dark() ? 1 : 0]); pen.text(x + 14, y, l.label, muted); x += w;
    }
    return y + 14;
  },

  png() {
    const ratio = 2, canvas = make("canvas"), deep = this.around(svgPen());
    this.moving = 0; this.draw();
    canvas.width = this.width * ratio; canvas.height = deep * ratio;
    const ctx = canvas.getContext("2d"), pen = canvasPen(ctx);
    ctx.scale(ratio, ratio);
    pen.rect(0, 0, this.width, deep, this.kit.ink("page"));
    ctx.save(); ctx.translate(0, HEAD); ctx.drawImage(this.canvas, 0, 0, this.width, this.height);
    for (const p of this.panels) { this.axes(pen, p); this.titled(pen, p); }
    ctx.restore();
    this.around(pen);
    canvas.toBlob(blob => this.kit.save(this.file("png"), blob, "image/png"));
  },

  titled(pen, p) { pen.text(p.whole.x + 8, p.whole.y + 18, p.view.label + (p.color ? ", " + p.color.label : ""), this.kit.ink("text")); },

  svg() {
    const pen = svgPen(), deep = this.around(svgPen()), out = pen.out, o = [0, 0, 0];
    this.draw();
    pen.rect(0, 0, this.width, deep, this.kit.ink("page"));
    this.around(pen);
    out.push(`<g transform="translate(0 ${HEAD})">`);
    this.panels.forEach((p, k) => {
      const r = p.rect, shapes = [];
      out.push(`<clipPath id="c${k}"><rect x="${r.x}" y="${r.y}" width="${r.w}" height="${r.h}"/></clipPath><g clip-path="url(#c${k})">`);
      for (const item of this.items().filter(i => this.shown(i, p))) {
        const { layer, data } = item, seen = this.paint(item, p.color), paint = i => css(seen.subarray(4 * i, 4 * i + 3));
        if (layer.kind === "points") {
          for (let i = 0; i < data.n; i++) if (seen[4 * i + 3]) {
            this.project(p, ...data.xyz.subarray(3 * i, 3 * i + 3), o);
            const d = Math.max(1.5, this.dot(layer, p) * (item.sizes ? item.sizes[i] : 1)) / 2;
            if (o[2] <= 1) { const at = [...o]; shapes.push([at[2], () => pen.circle(at[0], at[1], layer.hollow ? d * 0.8 : d, paint(i), layer.hollow ? 1.2 : 0)]); }
          }
          continue;
        }
        const { xyz, starts, owner } = item.shape;
        for (let q = 0; q < owner.length; q++) if (seen[4 * owner[q] + 3]) {
          const list = []; let z = 0;
          for (let j = starts[q]; j < starts[q + 1]; j++) { this.project(p, ...xyz.subarray(3 * j, 3 * j + 3), o); if (o[2] <= 1) { list.push([o[0], o[1]]); z += o[2]; } }
          if (list.length > 1) shapes.push([z / list.length, () => pen.path(list, paint(owner[q]), layer.size || 1.2, seen[4 * owner[q] + 3] / 255)]);
        }
      }
      // The farthest first; equal ones in the order of the layers.
      shapes.sort((a, b) => b[0] - a[0]).forEach(s => s[1]());
      out.push("</g>");
      this.axes(pen, p); this.titled(pen, p);
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.round(this.width)}" height="${Math.round(deep)}" viewBox="0 0 ${Math.round(this.width)} ${Math.round(deep)}" font-family="system-ui, sans-serif">\n${out.join("\n")}\n</g></svg>\n`;
  },

  csv() {
    const quote = t => (/[",\n]/.test(t) ? `"${String(t).replace(/"/g, '""')}"` : t), items = Object.values(this.own), fields = [...new Set(items.flatMap(i => (i.layer.fields || []).map(f => f.column)))];
    const rows = [["layer", "number", "x", "y", "z", ...fields].join()];
    for (const { layer, data } of items) for (let i = 0; i < data.n; i++) {
      const at = layer.kind === "points" ? [...data.xyz.subarray(3 * i, 3 * i + 3)] : ["", "", ""];
      rows.push([layer.id, i, ...at, ...fields.map(c => (data[c] ? data[c][i] : ""))].map(v => quote(v)).join());
    }
    return rows.join("\n") + "\n";
  },
});

Podium.module("scene", (stage, spec, kit) => { stage.scene = new Scene(stage, spec, kit); });
})();
