// What all parts of a page share: colours, theme, numbers, the hover, downloads.
"use strict";
const Podium = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const slots = new Map(data.colors);
  const fixed = new Map(data.fixed);
  const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
  const listeners = [];
  const modules = new Map();
  let printing = false;

  // --- theme -------------------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const changed = () => listeners.forEach((f) => f());
  const setTheme = (name) => { root.dataset.theme = name; changed(); };
  prefersDark.addEventListener("change", changed);
  // Paper is white: what is drawn is drawn again for it.
  window.addEventListener("beforeprint", () => { printing = true; changed(); });
  window.addEventListener("afterprint", () => { printing = false; changed(); });
  const INKS = {
    light: { text: "#1b1f24", muted: "#57606a", line: "#d8dee4", page: "#ffffff", panel: "#ffffff" },
    dark: { text: "#e6edf3", muted: "#9aa6b2", line: "#333b45", page: "#14181d", panel: "#1a1f26" },
  };
  const ink = (what) => INKS[dark() ? "dark" : "light"][what];

  // --- colours -----------------------------------------------------------------------------------------------------
  const hue = (slot) => slot < 0 ? ink("text") : data.palette[dark() ? "dark" : "light"][slot % data.palette.light.length];
  const dash = (slot) => DASHES[Math.floor(Math.max(slot, 0) / data.palette.light.length) % DASHES.length];
  // Names that no chart of the page has take the next free slot, in the order in which they are asked for.
  const slot = (name) => {
    if (fixed.has(name)) return fixed.get(name);
    if (!slots.has(name)) {
      const taken = new Set(slots.values());
      let next = fnv(name) % data.palette.light.length;
      for (let i = 0; i < 4 * data.palette.light.length && taken.has(next); i++) next = (next + 1) % (4 * data.palette.light.length);
      slots.set(name, next);
    }
    return slots.get(name);
  };
  // FNV-1a of 64 bits, as the writer of the page has it.
  const fnv = (name) => {
    let sum = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(name)) sum = ((sum ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    return Number(sum % BigInt(data.palette.light.length));
  };

  // Sequential: dark blue to yellow (after cividis, which reads alike for all); diverging: blue over the page's ground to orange.
  const SEQUENTIAL = [[0, 34, 78], [33, 61, 109], [78, 87, 108], [112, 113, 115], [149, 140, 120], [190, 169, 105], [229, 200, 79], [254, 232, 56]];
  const BLUE = [0, 92, 158], ORANGE = [200, 82, 0];
  const between = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
  const shade = (share, diverging) => {
    const t = Math.min(1, Math.max(0, share));
    if (diverging) {
      const ground = dark() ? [42, 48, 56] : [246, 246, 246];
      return t < 0.5 ? between(ground, BLUE, 1 - 2 * t) : between(ground, ORANGE, 2 * t - 1);
    }
    const at = t * (SEQUENTIAL.length - 1), low = Math.min(Math.floor(at), SEQUENTIAL.length - 2);
    return between(SEQUENTIAL[low], SEQUENTIAL[low + 1], at - low);
  };
  const rgb = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;

  // --- numbers -----------------------------------------------------------------------------------------------------
  const number = (v, digits = 6) => {
    if (v === null || v === undefined || !Number.isFinite(v)) return "–";
    if (v === 0) return "0";
    if (Number.isInteger(v) && Math.abs(v) < 1e9) return String(v);
    const size = Math.floor(Math.log10(Math.abs(v)));
    if (size < -4 || size >= 7) return v.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
    return String(Number(v.toPrecision(digits)));
  };
  const time = (seconds) => {
    const s = Math.abs(seconds), sign = seconds < 0 ? "-" : "";
    if (s < 60) return `${sign}${number(s, 3)} s`;
    const two = (v) => String(Math.floor(v)).padStart(2, "0");
    return s < 3600 ? `${sign}${Math.floor(s / 60)}:${two(s % 60)}` : `${sign}${Math.floor(s / 3600)}:${two((s % 3600) / 60)}:${two(s % 60)}`;
  };

  // --- the hover, one for the page -----------------------------------------------------------------------------------
  let box = null;
  const tip = (x, y, lines) => {
    if (!box) {
      box = document.createElement("div");
      box.id = "tip";
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    if (!lines || !lines.length) { box.hidden = true; return; }
    box.replaceChildren(...lines.map((line) => {
      const row = document.createElement("div");
      if (typeof line === "string") { row.textContent = line; return row; }
      const mark = document.createElement("i"), name = document.createElement("span"), value = document.createElement("b");
      mark.style.background = line.color || "transparent";
      name.textContent = line.name;
      value.textContent = line.value;
      row.append(mark, name, value);
      return row;
    }));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    box.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - height - 4))}px`;
  };

  // --- pieces ------------------------------------------------------------------------------------------------------
  const make = (tag, inside = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(inside)) {
      if (name in element && typeof value !== "string") element[name] = value; else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const toolsOf = (stage) => stage.closest("figure").querySelector(".tools");
  const button = (stage, label, title, action) => {
    const made = make("button", { type: "button", title, "aria-label": title, onclick: action }, label);
    toolsOf(stage).append(made);
    return made;
  };
  const select = (stage, label, names, action) => {
    const list = make("select", { "aria-label": label, onchange: () => action(list.selectedIndex) });
    names.forEach((name) => list.append(make("option", {}, name)));
    toolsOf(stage).append(make("label", {}, `${label} `, list));
    return list;
  };
  const save = (name, content, type = "text/plain") => {
    const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const csv = (rows) => rows.map((row) => row.map((cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",")).join("\n") + "\n";
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const onResize = (element, action) => {
    let asked = 0;
    new ResizeObserver(() => { cancelAnimationFrame(asked); asked = requestAnimationFrame(action); }).observe(element);
  };

  return {
    data, modules, listeners, dark, setTheme, ink, hue, dash, shade, rgb, number, time, tip, make, save, csv, bytes, floats,
    button, select, onResize, toolsOf,
    color: (name) => hue(slot(name)),
    onTheme: (action) => listeners.push(action),
    module: (name, draw) => modules.set(name, draw),
  };
})();
