// Views of events in three dimensions and flat ones: points, lines, helices, boxes and cones on one WebGL canvas.
//
// The block's JSON says what there is (report::scene writes it): axes and their units, views, panels, layers, ways to
// colour, filters, and events whose numbers are base64 of typed arrays, unpacked when the event is chosen. Nothing is drawn
// but on a change. What lies under the pointer is sought on the CPU, so that a machine without a GPU is quick at it too.
"use strict";
(() => {
const TYPES = { u8: Uint8Array, u16: Uint16Array, i16: Int16Array, u32: Uint32Array, i32: Int32Array, f32: Float32Array };
const GREY = [[140, 146, 154], [118, 126, 136]];
/** Drawing that takes longer while the view moves, ms, is followed by one of fewer points. EYE: half the angle of view. */
const SLOW = 60, EYE = 0.26;

// ---- numbers ----
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const css = c => `rgb(${c[0]},${c[1]},${c[2]})`;
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = a => { const l = Math.hypot(...a) || 1; return a.map(v => v / l); };
const along = (a, b, t) => [a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]];

function unpack(array) {
  const text = atob(array.d), raw = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) raw[i] = text.charCodeAt(i);
  return new TYPES[array.t](raw.buffer);
}

/** Round places between two ends, about `count` of them. */
function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0) || count < 1) return [];
  const raw = span / count, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find(k => k * ten >= raw * 0.999), list = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k++) list.push(k === 0 ? 0 : k * step);
  return list;
}
const tickText = v => Number(v.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6, useGrouping: false })
  .replace("-", "\u2212");

/** A colour of a table of colours, `t` from 0 to 1. */
function ramp(table, t) {
  const at = (t > 0 ? Math.min(t, 1) : 0) * (table.length - 1), i = Math.min(table.length - 2, Math.floor(at)), f = at - i;
  return table[i].map((v, k) => Math.round(v + f * (table[i + 1][k] - v)));
}

// ---- programs ----
const PLACE = `#version 300 es
precision highp float; uniform mat4 m; uniform ivec2 plane;
float part(vec3 p,int i){return i==3?length(p.xy):i==0?p.x:i==1?p.y:p.z;}
vec4 place(vec3 p){return plane.x<0?m*vec4(p,1.):m*vec4(part(p,plane.x),part(p,plane.y),0.,1.);}
`;
const POINTS = [PLACE + `in vec3 p; in vec4 c; in float s; uniform float size; out vec4 color; out float wide;
void main(){gl_Position=c.a==0.?vec4(2.,2.,2.,1.):place(p);wide=max(1.5,size*s);gl_PointSize=wide;color=c;}`,
`#version 300 es
precision highp float; in vec4 color; in float wide; uniform float hollow; out vec4 o;
void main(){vec2 q=gl_PointCoord*2.-1.;float r=length(q);float a=wide<3.?1.:clamp((1.-r)*wide*.5,0.,1.);
if(a<.15||r<hollow)discard;o=vec4(wide>4.5&&r>.78?color.rgb*.78:color.rgb,color.a*a);}`];
const LINES = [PLACE + `in vec3 a,b; in vec4 c; uniform vec2 view; uniform float width; out vec4 color; out float across;
void main(){vec4 A=place(a),B=place(b);if(c.a==0.||(A.w<.01&&B.w<.01)){gl_Position=vec4(2.,2.,2.,1.);return;}
if(A.w<.01)A=mix(A,B,(.01-A.w)/(B.w-A.w));if(B.w<.01)B=mix(B,A,(.01-B.w)/(A.w-B.w));
vec2 d=(B.xy/B.w-A.xy/A.w)*view;float l=length(d);vec2 e=l>0.?d/l:vec2(1.,0.);
bool first=gl_VertexID<2;float side=gl_VertexID%2==0?-1.:1.;vec4 P=first?A:B;
float o=.5*width+1.;P.xy+=(vec2(-e.y,e.x)*side*o+e*(first?-.5:.5)*width)/view*P.w;gl_Position=P;color=c;across=side*o;}`,
`#version 300 es
precision highp float; in vec4 color; in float across; uniform float width; out vec4 o;
void main(){float a=clamp(.5*width+.5-abs(across),0.,1.);if(a<.05)discard;o=vec4(color.rgb,color.a*a);}`];
const FACES = [PLACE + `in vec3 p; in vec4 c; out vec4 color; void main(){gl_Position=c.a==0.?vec4(2.,2.,2.,1.):place(p);color=c;}`,
`#version 300 es
precision highp float; in vec4 color; out vec4 o; void main(){o=color;}`];

function program(gl, [vertex, fragment]) {
  const p = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const s = gl.createShader(kind);
    gl.shaderSource(s, text); gl.compileShader(s);
    if (!gl.getShaderParameter(s, gl.COMPILE_STATUS)) throw Error(gl.getShaderInfoLog(s));
    gl.attachShader(p, s);
  }
  gl.linkProgram(p);
  const places = {};
  for (const name of ["m", "plane", "size", "hollow", "view", "width"]) places[name] = gl.getUniformLocation(p, name);
  for (const name of ["p", "c", "s", "a", "b"]) places["in_" + name] = gl.getAttribLocation(p, name);
  return { p, ...places };
}

// ---- shapes: each layer becomes points, or segments of objects, and faces ----
function helix(h, i, steps, put) {
  const [cx, cy, r, phi, turn, z, dz] = h.subarray(7 * i, 7 * i + 7);
  for (let k = 0; k <= steps; k++) {
    const t = k / steps, a = phi + t * turn;
    put(cx + r * Math.cos(a), cy + r * Math.sin(a), z + t * dz);
  }
}

/** Lines of a layer: places, where each object begins, and faces of those that have any. */
function lines(layer, data) {
  const xyz = [], starts = [0], owner = [], faces = [], ofFace = [];
  const end = i => { starts.push(xyz.length / 3); owner.push(i); };
  const put = (x, y, z) => xyz.push(x, y, z);
  for (let i = 0; i < data.n; i++) {
    if (layer.kind === "helices") {
      helix(data.helix, i, clamp(Math.ceil(Math.abs(data.helix[7 * i + 4]) / 0.06), 8, 96), put); end(i);
    } else if (layer.kind === "lines") {
      for (let k = data.starts[i]; k < data.starts[i + 1]; k++) put(...data.xyz.subarray(3 * k, 3 * k + 3));
      end(i);
    } else if (layer.kind === "boxes") {
      box(data.low.subarray(3 * i, 3 * i + 3), data.high.subarray(3 * i, 3 * i + 3)).forEach(([a, b]) => { put(...a); put(...b); end(i); });
    } else if (layer.kind === "cones") {
      const apex = [...data.apex.subarray(3 * i, 3 * i + 3)], axis = unit([...data.axis.subarray(3 * i, 3 * i + 3)]);
      const side = unit(cross(axis, Math.abs(axis[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0])), other = cross(axis, side);
      const angle = data.angle[i], long = data.long[i], rim = [];
      for (let k = 0; k <= 64; k++) {
        const a = k * Math.PI / 32, s = Math.sin(angle) * long;
        rim.push(along(along(along(apex, axis, Math.cos(angle) * long), side, s * Math.cos(a)), other, s * Math.sin(a)));
      }
      rim.forEach(p => put(...p)); end(i);
      for (let k = 0; k < 64; k += 16) { put(...apex); put(...rim[k]); end(i); }
      for (let k = 0; k < 64; k++) { faces.push(...apex, ...rim[k], ...rim[k + 1]); ofFace.push(i); }
    }
  }
  return { xyz: Float32Array.from(xyz), starts, owner, faces: Float32Array.from(faces), ofFace };
}

function box(low, high) {
  const corner = k => [0, 1, 2].map(a => (k >> a & 1 ? high : low)[a]), edges = [];
  for (let k = 0; k < 8; k++) for (let a = 0; a < 3; a++) if (!(k >> a & 1)) edges.push([corner(k), corner(k | 1 << a), a]);
  return edges;
}

// ---- the two pens: what is drawn around the data looks the same on the screen and in a saved file ----
function canvasPen(ctx) {
  return {
    line(x, y, u, v, color, width = 1) {
      ctx.strokeStyle = color; ctx.lineWidth = width; ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(u, v); ctx.stroke();
    },
    path(list, color, width) {
      ctx.strokeStyle = color; ctx.lineWidth = width; ctx.beginPath();
      list.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y))); ctx.stroke();
    },
    circle(x, y, r, color, width) {
      ctx.beginPath(); ctx.arc(x, y, r, 0, 7);
      if (width) { ctx.strokeStyle = color; ctx.lineWidth = width; ctx.stroke(); } else { ctx.fillStyle = color; ctx.fill(); }
    },
    rect(x, y, w, h, color) { ctx.fillStyle = color; ctx.fillRect(x, y, w, h); },
    text(x, y, text, color, anchor = "start", size = 12, turn = 0) {
      ctx.font = `${size}px system-ui, sans-serif`; ctx.textAlign = anchor === "middle" ? "center" : anchor; ctx.fillStyle = color;
      ctx.save(); ctx.translate(x, y); ctx.rotate(turn * Math.PI / 180); ctx.fillText(text, 0, 0); ctx.restore();
    },
  };
}
function svgPen() {
  const out = [], n = v => Number(v.toFixed(1)), esc = t => String(t).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  return {
    out,
    line(x, y, u, v, color, width = 1) {
      out.push(`<line x1="${n(x)}" y1="${n(y)}" x2="${n(u)}" y2="${n(v)}" stroke="${color}" stroke-width="${width}"/>`);
    },
    path(list, color, width, opacity = 1, fill = "none") {
      out.push(`<polyline points="${list.map(p => n(p[0]) + "," + n(p[1])).join(" ")}" fill="${fill}" stroke="${color}" stroke-width="${width}" opacity="${opacity}"/>`);
    },
    circle(x, y, r, color, width) {
      out.push(`<circle cx="${n(x)}" cy="${n(y)}" r="${n(r)}" ${width ? `fill="none" stroke="${color}" stroke-width="${width}"` : `fill="${color}"`}/>`);
    },
    rect(x, y, w, h, color) { out.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${n(h)}" fill="${color}"/>`); },
    text(x, y, text, color, anchor = "start", size = 12, turn = 0) {
      out.push(`<text x="${n(x)}" y="${n(y)}" fill="${color}" text-anchor="${anchor}" font-size="${size}"${turn ? ` transform="rotate(${turn} ${n(x)} ${n(y)})"` : ""}>${esc(text)}</text>`);
    },
  };
}

const make = (tag, about = {}, ...inside) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(about)) k in e && k !== "list" ? (e[k] = v) : e.setAttribute(k, v);
  e.append(...inside);
  return e;
};

class Scene {
  constructor(stage, spec, kit) {
    Object.assign(this, { stage, spec, kit });
    this.event = clamp(spec.start || 0, 0, spec.events.length - 1);
    this.unit = 0; this.size = 1; this.parallel = false; this.share = 1; this.moving = 0;
    this.hidden = {}; this.limits = {}; this.only = {}; this.layers = {}; this.shared = {};
    spec.layers.forEach(l => (this.layers[l.id] = l.shown));
    this.frame = spec.box ? "box" : "event";
    this.camera = { at: [0, 0, 0], yaw: spec.yaw ?? 0.7, pitch: spec.pitch ?? 0.4, far: 1 };
    this.build();
    const gl = this.canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: false });
    if (!gl) {
      this.grid.replaceChildren(make("p", { className: "scene-none", role: "alert", textContent:
        "This view needs WebGL 2, which this browser does not offer or has switched off. " + (spec.instead || "") }));
      stage.dataset.drawn = "0";
      return;
    }
    this.gl = gl;
    this.canvas.addEventListener("webglcontextlost", e => { e.preventDefault(); this.lost = true; });
    this.canvas.addEventListener("webglcontextrestored", () => { this.lost = false; this.prepare(); this.show(this.event); });
    this.prepare();
    for (const [id, arrays] of Object.entries(spec.shared || {})) this.shared[id] = this.open(id, arrays);
    this.show(this.event);
    // A small event in a large detector is shown by itself.
    if (spec.box && Math.hypot(...sub(this.high, this.low)) < 0.5 * Math.hypot(...sub(spec.box[1], spec.box[0]))) this.frame = "event";
    this.fit();
    kit.onTheme(() => { this.recolor(); this.legend(); this.request(); });
    kit.onResize(stage, () => { this.measure(); this.request(); });
  }

  prepare() {
    const gl = this.gl;
    this.programs = { points: program(gl, POINTS), lines: program(gl, LINES), faces: program(gl, FACES) };
    this.buffers = [];
    gl.enable(gl.BLEND); gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.DEPTH_TEST); gl.depthFunc(gl.LEQUAL); gl.enable(gl.SCISSOR_TEST);
  }

  // ---- data ----
  /** The arrays of a layer, its shape and what surrounds it. */
  open(id, arrays) {
    const layer = this.spec.layers.find(l => l.id === id), data = { n: arrays.n };
    for (const [name, array] of Object.entries(arrays)) if (name !== "n") data[name] = unpack(array);
    if (data.xyz && !(data.xyz instanceof Float32Array)) data.xyz = Float32Array.from(data.xyz);
    const item = { layer, data, colors: {}, gpu: {} };
    if (layer.kind !== "points") item.shape = lines(layer, data);
    const xyz = item.shape ? item.shape.xyz : data.xyz;
    item.low = [Infinity, Infinity, Infinity]; item.high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < xyz.length; i += 3) for (let a = 0; a < 3; a++) {
      const v = xyz[i + a];
      if (v < item.low[a]) item.low[a] = v;
      if (v > item.high[a]) item.high[a] = v;
    }
    if (layer.size_by) {
      const sorted = Float32Array.from(data[layer.size_by]).sort(), most = sorted[Math.floor(sorted.length * 0.99)] || 1;
      item.sizes = Float32Array.from(data[layer.size_by], v => 0.7 + 2.3 * Math.sqrt(clamp(v / most, 0, 1.6)));
    }
    return item;
  }

  items() { return this.spec.layers.map(l => this.own[l.id] || this.shared[l.id]).filter(Boolean); }

  show(number) {
    const spec = this.spec;
    this.event = clamp(number, 0, spec.events.length - 1);
    this.buffers.forEach(b => this.gl.deleteBuffer(b)); this.buffers = [];
    this.own = {};
    const event = spec.events[this.event];
    for (const [id, arrays] of Object.entries(event.data)) this.own[id] = this.open(id, arrays);
    Object.values(this.shared).forEach(item => (item.gpu = {}, item.colors = {}));
    this.picked = null;
    const bounds = this.items().filter(i => i.layer.bounds !== false && i.data.n);
    const all = f => [0, 1, 2].map(a => f(...bounds.map(i => (f === Math.min ? i.low : i.high)[a])));
    this.low = bounds.length ? all(Math.min) : [0, 0, 0]; this.high = bounds.length ? all(Math.max) : [1, 1, 1];
    this.low.forEach((v, a) => { if (!(this.high[a] - v > 1e-9)) { this.low[a] -= 0.5; this.high[a] += 0.5; } });
    this.ranges();
    this.select.value = String(this.event);
    this.note.textContent = event.note || "";
    this.back.disabled = this.event === 0; this.next.disabled = this.event === spec.events.length - 1;
    this.stage.dataset.event = this.event;
    this.describe();
    this.legend(); this.filters();
    if (this.frame === "event" && this.home) this.fit(); else this.request();
  }

  /** The ends of each scale of colours and each filter, from the numbers of the event unless they are given. */
  ranges() {
    this.range = {};
    for (const { column, ends, log } of [...this.spec.colors, ...(this.spec.filters || [])]) {
      if (!column || this.range[column]) continue;
      let low = Infinity, high = -Infinity;
      for (const item of Object.values(this.own)) for (const v of item.data[column] || []) {
        if (v < low && (!log || v > 0)) low = v;
        if (v > high) high = v;
      }
      if (ends) [low, high] = ends;
      this.range[column] = low <= high ? [low, high] : [0, 1];
    }
  }

  share01(color, v) {
    const [low, high] = this.range[color.column];
    if (color.log && low > 0) return Math.log(Math.max(v, low) / low) / (Math.log(high / low) || 1);
    return (v - low) / (high - low || 1);
  }

  /** Which of an item's objects are there, whatever they are coloured by. */
  passes(item) {
    const list = [];
    for (const f of this.spec.filters || []) {
      const column = item.data[f.column];
      if (!column) continue;
      const [low, high] = this.limits[f.column] || [-Infinity, Infinity];
      if (f.flag ? this.only[f.column] : low > -Infinity || high < Infinity)
        list.push(f.flag ? i => column[i] !== 0 : i => column[i] >= low && column[i] <= high);
    }
    return list.length ? i => list.every(f => f(i)) : null;
  }

  /** Colour and presence of each object of an item in one way of colouring: four bytes each. */
  paint(item, color) {
    const key = color ? color.id : "";
    if (item.colors[key]) return item.colors[key];
    const { layer, data } = item, n = data.n, out = new Uint8ClampedArray(4 * n), dark = this.kit.dark();
    const alpha = Math.round(255 * (layer.opacity ?? 1)), pass = this.passes(item), column = color && data[color.column];
    const two = list => list.map(pair => rgb(pair[dark ? 1 : 0]));
    const plain = layer.color ? rgb(layer.color[dark ? 1 : 0]) : GREY[dark ? 1 : 0];
    const names = color && color.colors && two(color.colors), table = this.spec.ramp.map(rgb);
    const hidden = this.hidden[key], parts = color && color.columns && color.columns.map(name => data[name]);
    for (let i = 0; i < n; i++) {
      let c = plain, seen = !pass || pass(i);
      if (parts && parts[0]) c = parts.map(part => part[i]);
      else if (column && color.kind === "ramp") c = ramp(table, this.share01(color, column[i]));
      else if (column && color.kind === "ids") c = column[i] < 0 ? GREY[dark ? 1 : 0] : names[column[i] % names.length];
      else if (column && color.kind === "names") {
        const k = column[i] < names.length ? column[i] : names.length - 1;
        c = names[k];
        if (hidden && hidden.has(k)) seen = false;
      }
      out[4 * i] = c[0]; out[4 * i + 1] = c[1]; out[4 * i + 2] = c[2]; out[4 * i + 3] = seen ? alpha : 0;
    }
    return (item.colors[key] = out);
  }

  recolor() {
    for (const item of this.items()) {
      item.colors = {};
      for (const key of Object.keys(item.gpu)) if (key.startsWith("c:") || key.startsWith("f:")) delete item.gpu[key];
    }
  }

  // ---- GPU ----
  buffer(item, key, make) {
    if (!item.gpu[key]) {
      const gl = this.gl, b = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, b); gl.bufferData(gl.ARRAY_BUFFER, make(), gl.STATIC_DRAW);
      item.gpu[key] = b; this.buffers.push(b);
    }
    return item.gpu[key];
  }

  attribute(place, buffer, size, type, each = 0, stride = 0, offset = 0) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, type === gl.UNSIGNED_BYTE, stride, offset); gl.vertexAttribDivisor(place, each);
  }

  /** Numbers of points in an order in which each beginning is a fair sample. */
  order(n) {
    let step = Math.max(1, Math.floor(n * 0.618034));
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    while (n > 1 && gcd(step, n) !== 1) step++;
    const list = new Uint32Array(n);
    for (let i = 0, at = 0; i < n; i++, at = (at + step) % n) list[i] = at;
    return list;
  }

  drawItem(item, panel, w, h, ratio) {
    const gl = this.gl, { layer, data } = item, color = panel.color, key = color ? color.id : "", n = data.n;
    if (!n) return 0;
    if (layer.kind === "points") {
      const p = this.programs.points;
      item.order ||= this.order(n);
      const spread = (source, parts, type) => {
        const out = new type(parts * n);
        for (let i = 0; i < n; i++) for (let k = 0; k < parts; k++) out[parts * i + k] = source[parts * item.order[i] + k];
        return out;
      };
      gl.useProgram(p.p);
      this.attribute(p.in_p, this.buffer(item, "p", () => spread(data.xyz, 3, Float32Array)), 3, gl.FLOAT);
      this.attribute(p.in_c, this.buffer(item, "c:" + key, () => spread(this.paint(item, color), 4, Uint8Array)), 4, gl.UNSIGNED_BYTE);
      if (item.sizes) this.attribute(p.in_s, this.buffer(item, "s", () => spread(item.sizes, 1, Float32Array)), 1, gl.FLOAT);
      else { gl.disableVertexAttribArray(p.in_s); gl.vertexAttrib1f(p.in_s, 1); }
      this.uniforms(p, panel);
      gl.uniform1f(p.size, this.dot(layer, panel) * ratio); gl.uniform1f(p.hollow, layer.hollow ? 0.62 : 0);
      const count = this.moving && this.share < 1 ? Math.max(1, Math.ceil(n * this.share)) : n;
      gl.drawArrays(gl.POINTS, 0, count);
      return count;
    }
    const { xyz, starts, owner, faces, ofFace } = item.shape;
    const paint = list => {
      const from = this.paint(item, color), out = new Uint8Array(4 * list.length);
      list.forEach((i, k) => out.set(from.subarray(4 * i, 4 * i + 4), 4 * k));
      return out;
    };
    if (!item.of) {
      const ends = []; item.of = [];
      for (let o = 0; o < owner.length; o++) for (let k = starts[o]; k + 1 < starts[o + 1]; k++) {
        ends.push(...xyz.subarray(3 * k, 3 * k + 6)); item.of.push(owner[o]);
      }
      item.ends = Float32Array.from(ends);
    }
    const p = this.programs.lines;
    gl.useProgram(p.p); gl.depthMask(false);
    const b = this.buffer(item, "e", () => item.ends);
    this.attribute(p.in_a, b, 3, gl.FLOAT, 1, 24, 0); this.attribute(p.in_b, b, 3, gl.FLOAT, 1, 24, 12);
    this.attribute(p.in_c, this.buffer(item, "c:" + key, () => paint(item.of)), 4, gl.UNSIGNED_BYTE, 1);
    this.uniforms(p, panel);
    gl.uniform2f(p.view, w / 2, h / 2); gl.uniform1f(p.width, (layer.size || 1.2) * ratio);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, item.of.length);
    [p.in_a, p.in_b, p.in_c].forEach(a => gl.vertexAttribDivisor(a, 0));
    if (faces.length && !panel.view.flat) {
      const f = this.programs.faces;
      gl.useProgram(f.p);
      this.attribute(f.in_p, this.buffer(item, "t", () => faces), 3, gl.FLOAT);
      this.attribute(f.in_c, this.buffer(item, "f:" + key, () => {
        const one = paint(ofFace), out = new Uint8Array(3 * one.length);
        for (let k = 0; k < ofFace.length; k++) for (let v = 0; v < 3; v++) {
          out.set(one.subarray(4 * k, 4 * k + 3), 12 * k + 4 * v);
          out[12 * k + 4 * v + 3] = one[4 * k + 3] ? 30 : 0;
        }
        return out;
      }), 4, gl.UNSIGNED_BYTE);
      this.uniforms(f, panel);
      gl.drawArrays(gl.TRIANGLES, 0, faces.length / 3);
    }
    gl.depthMask(true);
    return n;
  }

  uniforms(p, panel) {
    this.gl.uniformMatrix4fv(p.m, false, panel.m);
    this.gl.uniform2i(p.plane, ...(panel.view.flat ? panel.view.flat : [-1, -1]));
  }

  /** Diameter of a layer's points in CSS pixels: they grow with the view, more slowly. */
  dot(layer, panel) {
    const near = panel.view.flat ? panel.flat.zoom : this.home / this.camera.far;
    return (layer.size || 4) * this.size * clamp(Math.sqrt(near), 0.5, 6);
  }

  // ---- cameras ----
  ends() { return this.frame === "box" && this.spec.box ? this.spec.box : [this.low, this.high]; }

  fit() {
    const [low, high] = this.ends();
    this.camera.at = low.map((v, a) => (v + high[a]) / 2);
    this.camera.far = this.home = 0.5 * Math.hypot(...sub(high, low)) / Math.sin(EYE) * 1.04;
    this.panels.forEach(p => (p.flat = { at: null, zoom: 1 }));
    this.measure();
    // Nearer, as far as the corners and the labels leave room.
    for (let k = 0; k < 4; k++) {
      let most = 0;
      for (const p of this.panels.filter(p => !p.view.flat)) {
        const r = p.rect, o = [0, 0, 0];
        this.aim(p, r.w, r.h);
        for (const [a, b] of box(low, high)) for (const c of [a, b]) {
          this.project(p, ...c, o);
          most = Math.max(most, Math.abs(o[0] - r.x - r.w / 2) / (r.w / 2 - 52), Math.abs(o[1] - r.y - r.h / 2 - 8) / (r.h / 2 - 42));
        }
      }
      if (most > 0) this.home = this.camera.far *= clamp(most, 0.4, 2.5);
    }
    this.request();
  }

  basis() {
    const up = this.spec.up ?? 2, one = a => [0, 1, 2].map(k => +(k === a)), { yaw, pitch } = this.camera;
    const [h, v] = [one((up + 1) % 3), one((up + 2) % 3)], u = one(up), c = Math.cos(pitch);
    const back = [0, 1, 2].map(k => c * (Math.cos(yaw) * h[k] + Math.sin(yaw) * v[k]) + Math.sin(pitch) * u[k]);
    const right = unit(cross(u, back));
    return { back, right, up: cross(back, right) };
  }

  /** The matrix of a panel that is `w` by `h` pixels. */
  aim(panel, w, h) {
    const m = new Float32Array(16);
    if (panel.view.flat) {
      const [i, j] = panel.view.flat, [low, high] = this.ends();
      const reach = k => {
        if (k < 3) return [low[k], high[k]];
        return [0, Math.max(...[low[0], high[0]].map(x => Math.max(...[low[1], high[1]].map(y => Math.hypot(x, y))))) / (this.frame === "box" ? Math.SQRT2 : 1)];
      };
      const [u, v] = [reach(i), reach(j)], f = panel.flat;
      f.at ||= [(u[0] + u[1]) / 2, (v[0] + v[1]) / 2];
      let sx = 0.94 * w / (u[1] - u[0]), sy = 0.94 * h / (v[1] - v[0]);
      if (!panel.stretch) sx = sy = Math.min(sx, sy);
      f.sx = sx * f.zoom; f.sy = sy * f.zoom;
      m.set([2 * f.sx / w, 0, 0, 0, 0, 2 * f.sy / h, 0, 0, 0, 0, 1, 0, -2 * f.sx / w * f.at[0], -2 * f.sy / h * f.at[1], 0, 1]);
    } else {
      const { back, right, up } = this.basis(), { at, far } = this.camera, eye = along(at, back, far);
      const s = 1 / Math.tan(EYE * Math.max(1, Math.min(1.8, h / w))), [sx, sy] = [s * h / w, s];
      const near = far * 0.02, deep = far * 3 + this.home * 3, rows = [right, up, back].map(r => [...r, -dot(r, eye)]);
      const z = this.parallel ? rows[2].map(v => -2 * v / (deep - near)) : rows[2].map(v => -v * (deep + near) / (deep - near));
      z[3] -= this.parallel ? (deep + near) / (deep - near) : 2 * deep * near / (deep - near);
      const last = this.parallel ? [0, 0, 0, far] : rows[2].map(v => -v);
      if (this.parallel) z.forEach((v, k) => (z[k] = v * far));
      [rows[0].map(v => v * sx), rows[1].map(v => v * sy), z, last].forEach((row, r) => row.forEach((v, c) => (m[4 * c + r] = v)));
    }
    panel.m = m;
  }

  /** Where a place is on the canvas, in CSS pixels, and how deep. */
  project(panel, x, y, z, out) {
    const m = panel.m, r = panel.rect, f = panel.view.flat;
    if (f) { const at = k => (k === 3 ? Math.hypot(x, y) : k === 0 ? x : k === 1 ? y : z); [x, y, z] = [at(f[0]), at(f[1]), 0]; }
    const w = m[3] * x + m[7] * y + m[11] * z + m[15];
    out[0] = r.x + (1 + (m[0] * x + m[4] * y + m[8] * z + m[12]) / w) * r.w / 2;
    out[1] = r.y + (1 - (m[1] * x + m[5] * y + m[9] * z + m[13]) / w) * r.h / 2;
    out[2] = w > 0 ? (m[2] * x + m[6] * y + m[10] * z + m[14]) / w : 9;
    return out;
  }

  // ---- drawing ----
  request(moves) {
    if (moves) { this.moving = 1; clearTimeout(this.settle); this.kit.tip(); }
    if (!this.asked && this.gl) this.asked = requestAnimationFrame(() => { this.asked = 0; this.draw(); });
  }

  measure() {
    const all = this.grid.getBoundingClientRect();
    this.width = all.width; this.height = all.height;
    for (const panel of this.panels) {
      const r = panel.node.getBoundingClientRect(), flat = panel.view.flat;
      const [left, top, bottom, right] = flat ? [58, panel.node.firstChild.offsetHeight + 8, 40, 10] : [0, 0, 0, 0];
      panel.whole = { x: r.left - all.left, y: r.top - all.top, w: r.width, h: r.height };
      panel.rect = { x: panel.whole.x + left, y: panel.whole.y + top, w: Math.max(8, r.width - left - right), h: Math.max(8, r.height - top - bottom) };
    }
  }

  shown(item, panel) {
    const views = item.layer.views;
    return this.layers[item.layer.id] && (!views || views.includes(panel.view.id)) && (!item.layer.panels || item.layer.panels.includes(panel.number));
  }

  draw() {
    if (this.lost) return;
    if (!this.width) this.measure();
    const gl = this.gl, ratio = this.moving && this.share < 1 ? 1 : Math.min(2, devicePixelRatio || 1);
    const [W, H] = [Math.max(1, Math.round(this.width * ratio)), Math.max(1, Math.round(this.height * ratio))];
    if (this.canvas.width !== W || this.canvas.height !== H) { this.canvas.width = W; this.canvas.height = H; }
    gl.viewport(0, 0, W, H); gl.scissor(0, 0, W, H); gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const begun = performance.now();
    let drawn = 0, points = 0;
    for (const panel of this.panels) {
      const r = panel.rect, [x, y, w, h] = [r.x, this.height - r.y - r.h, r.w, r.h].map(v => Math.round(v * ratio));
      this.aim(panel, r.w, r.h);
      gl.viewport(x, y, w, h); gl.scissor(x, y, w, h);
      // Depth is the points' alone: soft edges of lines would cut gaps into what lies behind. Flat views have points on top.
      const rank = i => (i.layer.kind === "points" ? (panel.view.flat ? 1 : -1) : i.layer.kind === "cones" ? 2 : 0);
      for (const item of this.items().sort((a, b) => rank(a) - rank(b))) {
        if (!this.shown(item, panel)) continue;
        const count = this.drawItem(item, panel, w, h, ratio);
        drawn += count;
        if (item.layer.kind === "points") points += count;
      }
    }
    if (this.moving) {
      // Waits for the pixels: what the next frame can hold follows from what this one took.
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      const took = performance.now() - begun;
      if (took > SLOW || (took < SLOW / 2 && this.share < 1)) this.share = clamp(this.share * clamp(0.8 * SLOW / took, 0.2, 1.4), Math.min(1, 6000 * this.share / (points + 1)), 1);
    }
    this.overlay();
    this.stage.dataset.drawn = drawn; this.stage.dataset.points = points;
    this.frames = (this.frames || 0) + 1;
    clearTimeout(this.settle);
    if (this.moving) this.settle = setTimeout(() => { this.moving = 0; this.request(); }, 300);
  }

  overlay() {
    const ratio = Math.min(2, devicePixelRatio || 1), top = this.top;
    top.width = Math.round(this.width * ratio); top.height = Math.round(this.height * ratio);
    const ctx = top.getContext("2d"); ctx.scale(ratio, ratio);
    const pen = canvasPen(ctx);
    for (const panel of this.panels) this.axes(pen, panel);
    if (this.picked) this.mark(pen);
    if (this.moving && this.share < 1) pen.text(8, this.height - 8, `drawing ${Math.round(100 * this.share)} % of the points while it moves`, this.kit.ink("muted"));
  }

  /** From places to the numbers of the chosen unit. */
  scale(axis) {
    const u = (this.spec.units || [])[this.unit];
    const f = u ? (Array.isArray(u.factor) ? u.factor[axis] : u.factor) : 1, zero = u && u.zero ? u.zero[axis] : 0;
    return { to: v => (v - zero) * f, from: v => v / f + zero, name: u ? u.name : this.spec.axes[axis].unit || "" };
  }

  title(k) {
    const s = this.scale(Math.min(k, 2)), name = k === 3 ? "r" : this.spec.axes[k].name;
    return s.name ? `${name} (${s.name})` : name;
  }

  axes(pen, panel) {
    const ink = this.kit.ink("muted"), line = this.kit.ink("line"), r = panel.rect, o = [0, 0, 0];
    if (panel.view.flat) {
      const f = panel.flat, [i, j] = panel.view.flat, half = [r.w / 2 / f.sx, r.h / 2 / f.sy];
      [[i, 0], [j, 1]].forEach(([k, way]) => {
        const s = this.scale(Math.min(k, 2)), long = way ? r.h : r.w;
        for (const t of ticks(s.to(f.at[way] - half[way]), s.to(f.at[way] + half[way]), long / (way ? 48 : 84))) {
          const v = (s.from(t) - f.at[way]) * (way ? f.sy : f.sx);
          if (way) { const y = r.y + r.h / 2 - v; pen.line(r.x - 4, y, r.x, y, ink); pen.text(r.x - 7, y + 4, tickText(t), ink, "end", 11); }
          else { const x = r.x + r.w / 2 + v; pen.line(x, r.y + r.h, x, r.y + r.h + 4, ink); pen.text(x, r.y + r.h + 16, tickText(t), ink, "middle", 11); }
        }
        if (way) pen.text(r.x - 44, r.y + r.h / 2, this.title(k), ink, "middle", 12, -90);
        else pen.text(r.x + r.w / 2, r.y + r.h + 33, this.title(k), ink, "middle", 12);
      });
      pen.path([[r.x, r.y], [r.x + r.w, r.y], [r.x + r.w, r.y + r.h], [r.x, r.y + r.h], [r.x, r.y]], line, 1);
      return;
    }
    const [low, high] = this.ends(), place = p => { this.project(panel, ...p, o); return o[2] > 1 ? null : [o[0], o[1]]; };
    const middle = place(low.map((v, a) => (v + high[a]) / 2)) || [r.x + r.w / 2, r.y + r.h / 2];
    const edges = box(low, high).map(([a, b, axis]) => ({ a, b, axis, u: place(a), v: place(b) })).filter(e => e.u && e.v);
    // An edge is on the outline when all corners lie to one side of it.
    const corners = edges.flatMap(e => [e.u, e.v]);
    const outer = e => {
      const side = corners.map(c => (e.v[0] - e.u[0]) * (c[1] - e.u[1]) - (e.v[1] - e.u[1]) * (c[0] - e.u[0]));
      return side.every(s => s < 40) || side.every(s => s > -40);
    };
    for (const e of edges) this.clipped(pen, r, e.u, e.v, line);
    if (this.frame === "event" && this.spec.box) for (const [a, b] of box(...this.spec.box)) {
      const u = place(a), v = place(b);
      if (u && v) this.clipped(pen, r, u, v, line);
    }
    for (let axis = 0; axis < 3; axis++) {
      const up = axis === (this.spec.up ?? 2), rank = e => (up ? -(e.u[0] + e.v[0]) : e.u[1] + e.v[1]);
      const e = edges.filter(e => e.axis === axis && outer(e)).sort((p, q) => rank(q) - rank(p))[0];
      if (!e) continue;
      const long = Math.hypot(e.v[0] - e.u[0], e.v[1] - e.u[1]);
      if (long < 30) continue;
      let n = [e.u[1] - e.v[1], e.v[0] - e.u[0]].map(v => v / long);
      const mid = [(e.u[0] + e.v[0]) / 2, (e.u[1] + e.v[1]) / 2];
      if (n[0] * (mid[0] - middle[0]) + n[1] * (mid[1] - middle[1]) < 0) n = n.map(v => -v);
      const anchor = n[0] > 0.4 ? "start" : n[0] < -0.4 ? "end" : "middle", s = this.scale(axis);
      const inside = (x, y) => x > r.x + 2 && x < r.x + r.w - 2 && y > r.y + 8 && y < r.y + r.h - 2;
      const [from, to] = [s.to(low[axis]), s.to(high[axis])];
      for (const t of ticks(Math.min(from, to), Math.max(from, to), clamp(long / 64, 1, 8))) {
        const at = e.a.slice(); at[axis] = s.from(t);
        const q = place(at);
        if (!q || !inside(q[0] + 22 * n[0], q[1] + 18 * n[1])) continue;
        pen.line(q[0], q[1], q[0] + 5 * n[0], q[1] + 5 * n[1], ink);
        pen.text(q[0] + 9 * n[0], q[1] + 9 * n[1] + 4 + 4 * Math.max(0, n[1]), tickText(t), ink, anchor, 11);
      }
      if (up) {
        const end = e.u[1] < e.v[1] ? e.u : e.v, y = Math.max(end[1] - 10, r.y + 46);
        if (inside(end[0], y)) pen.text(end[0], y, this.title(axis), this.kit.ink("text"), "middle", 12);
        continue;
      }
      const reach = 24 + 22 * Math.abs(n[0]), q = [mid[0] + reach * n[0], mid[1] + reach * n[1] + 5];
      const wide = 7 * this.title(axis).length;
      q[0] = anchor === "end" ? Math.max(q[0], r.x + wide + 4) : anchor === "start" ? Math.min(q[0], r.x + r.w - wide - 4) : q[0];
      if (inside(q[0], Math.min(q[1], r.y + r.h - 6))) pen.text(q[0], Math.min(q[1], r.y + r.h - 6), this.title(axis), this.kit.ink("text"), anchor, 12);
    }
  }

  /** A line inside of a rectangle (Liang and Barsky). */
  clipped(pen, r, u, v, color) {
    let t0 = 0, t1 = 1;
    const d = [v[0] - u[0], v[1] - u[1]];
    for (const [p, q] of [[-d[0], u[0] - r.x], [d[0], r.x + r.w - u[0]], [-d[1], u[1] - r.y], [d[1], r.y + r.h - u[1]]]) {
      if (p === 0) { if (q < 0) return; continue; }
      if (p < 0) t0 = Math.max(t0, q / p); else t1 = Math.min(t1, q / p);
    }
    if (t0 < t1) pen.line(u[0] + t0 * d[0], u[1] + t0 * d[1], u[0] + t1 * d[0], u[1] + t1 * d[1], color);
  }

  // ---- what lies under the pointer ----
  pick(panel, x, y, reach = 9) {
    let best = null, least = Infinity;
    const o = [0, 0, 0], other = [0, 0, 0];
    for (const item of this.items()) {
      const { layer, data } = item;
      if (!this.shown(item, panel) || layer.pick === false) continue;
      const seen = this.paint(item, panel.color);
      if (layer.kind === "points") {
        const half = this.dot(layer, panel) / 2;
        for (let i = 0; i < data.n; i++) {
          if (!seen[4 * i + 3]) continue;
          this.project(panel, data.xyz[3 * i], data.xyz[3 * i + 1], data.xyz[3 * i + 2], o);
          const d = Math.hypot(o[0] - x, o[1] - y), own = half * (item.sizes ? item.sizes[i] : 1);
          if (d > own + reach || o[2] > 1) continue;
          // Points under the pointer come first, the nearest to the eye of them; then those close by.
          const score = d <= own ? (panel.view.flat ? d * 1e-3 : o[2]) - 2 : d - own;
          if (score < least) { least = score; best = { item, index: i, panel }; }
        }
      } else {
        const { xyz, starts, owner } = item.shape;
        for (let q = 0; q < owner.length; q++) {
          if (!seen[4 * owner[q] + 3]) continue;
          for (let k = starts[q]; k + 1 < starts[q + 1]; k++) {
            this.project(panel, ...xyz.subarray(3 * k, 3 * k + 3), o); this.project(panel, ...xyz.subarray(3 * k + 3, 3 * k + 6), other);
            if (o[2] > 1 || other[2] > 1) continue;
            const dx = other[0] - o[0], dy = other[1] - o[1], t = clamp(((x - o[0]) * dx + (y - o[1]) * dy) / (dx * dx + dy * dy || 1), 0, 1);
            const d = Math.hypot(o[0] + t * dx - x, o[1] + t * dy - y);
            if (d < Math.min(6, reach) && d < least) { least = d; best = { item, index: owner[q], panel }; }
          }
        }
      }
    }
    return best;
  }

  /** What is known of a picked object, line by line. */
  tell({ item, index }) {
    const { layer, data } = item, list = [`${layer.one || layer.label} ${layer.names ? layer.names[index] : index}`], number = v => this.kit.number(v);
    if (layer.kind === "points") {
      list.push([0, 1, 2].map(a => `${this.spec.axes[a].name} ${number(this.scale(a).to(data.xyz[3 * index + a]))}`).join(", ") + " " + this.scale(0).name);
    }
    for (const f of layer.fields || []) {
      const v = data[f.column] && data[f.column][index];
      if (v === undefined || (f.none !== undefined && v === f.none)) continue;
      list.push(`${f.label}: ${f.names ? f.names[v] ?? "none" : number(v) + (f.unit ? " " + f.unit : "")}`);
    }
    return list;
  }

  place({ item, index }) {
    if (item.layer.kind === "points") return [...item.data.xyz.subarray(3 * index, 3 * index + 3)];
    const { xyz, starts, owner } = item.shape, q = owner.indexOf(index), k = (starts[q] + starts[q + 1]) >> 1;
    return [...xyz.subarray(3 * k, 3 * k + 3)];
  }

  mark(pen) {
    const { item, index } = this.picked, o = [0, 0, 0], ink = this.kit.ink("text");
    for (const panel of this.panels) {
      if (!this.shown(item, panel) || !this.paint(item, panel.color)[4 * index + 3]) continue;
      if (item.layer.kind === "points") {
        this.project(panel, ...this.place(this.picked), o);
        if (o[2] <= 1) pen.circle(o[0], o[1], this.dot(item.layer, panel) / 2 * (item.sizes ? item.sizes[index] : 1) + 4, ink, 2);
        continue;
      }
      const { xyz, starts, owner } = item.shape;
      for (let q = 0; q < owner.length; q++) if (owner[q] === index) {
        for (let k = starts[q]; k + 1 < starts[q + 1]; k++) {
          const u = [...this.project(panel, ...xyz.subarray(3 * k, 3 * k + 3), o)], v = [...this.project(panel, ...xyz.subarray(3 * k + 3, 3 * k + 6), o)];
          if (u[2] <= 1 && v[2] <= 1) { const r = panel.rect; this.clipped({ line: (a, b, c, d) => pen.line(a, b, c, d, ink, 3) }, r, u, v); }
        }
      }
    }
  }

  choose(found, said) {
    this.picked = found;
    if (found && said) this.said.textContent = this.tell(found).join("; ");
    this.request();
  }
}

Object.assign(Scene, { make, clamp, rgb, css, ramp, canvasPen, svgPen, ticks, tickText });
globalThis.PodiumScene = Scene;
})();
