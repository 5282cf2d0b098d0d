// A canvas context that writes SVG: what is drawn on the page is drawn once more into a file.
(() => {
  const P = Podium;
  const measuring = document.createElement("canvas").getContext("2d");
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const short = (v) => String(Math.round(v * 100) / 100);

  class Record {
    constructor(canvas) {
      this.canvas = canvas;
      this.parts = [];
      this.stack = [];
      this.clips = 0;
      this.path = "";
      this.state = {
        fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, font: "10px sans-serif", textAlign: "start", textBaseline: "alphabetic",
        globalAlpha: 1, lineCap: "butt", lineJoin: "miter", lineDashOffset: 0, dash: [], matrix: "", clip: "",
      };
      for (const name of Object.keys(this.state)) {
        if (name !== "dash" && name !== "matrix" && name !== "clip") {
          Object.defineProperty(this, name, { get: () => this.state[name], set: (v) => { this.state[name] = v; } });
        }
      }
    }
    save() { this.stack.push({ ...this.state, dash: [...this.state.dash] }); }
    restore() { if (this.stack.length) this.state = this.stack.pop(); }
    translate(x, y) { this.state.matrix += ` translate(${short(x)} ${short(y)})`; }
    rotate(angle) { this.state.matrix += ` rotate(${short(angle * 180 / Math.PI)})`; }
    setTransform() { this.state.matrix = ""; }
    setLineDash(dash) { this.state.dash = dash; }
    getLineDash() { return this.state.dash; }
    beginPath() { this.path = ""; }
    moveTo(x, y) { this.path += `M${short(x)} ${short(y)}`; }
    lineTo(x, y) { this.path += this.path ? `L${short(x)} ${short(y)}` : `M${short(x)} ${short(y)}`; }
    closePath() { this.path += "Z"; }
    rect(x, y, w, h) { this.path += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z`; }
    arc(x, y, r) { this.path += `M${short(x - r)} ${short(y)}a${short(r)} ${short(r)} 0 1 0 ${short(2 * r)} 0a${short(r)} ${short(r)} 0 1 0 ${short(-2 * r)} 0`; }
    clip() {
      const id = `clip${++this.clips}`;
      this.parts.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath>`);
      this.state.clip = ` clip-path="url(#${id})"`;
    }
    attributes() {
      const { matrix, clip, globalAlpha } = this.state;
      return (matrix ? ` transform="${matrix.trim()}"` : "") + clip + (globalAlpha < 1 ? ` opacity="${short(globalAlpha)}"` : "");
    }
    stroke() {
      if (!this.path) return;
      const { strokeStyle, lineWidth, dash, lineCap, lineJoin } = this.state;
      const dashes = dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "";
      const ends = (lineCap !== "butt" ? ` stroke-linecap="${lineCap}"` : "") + (lineJoin !== "miter" ? ` stroke-linejoin="${lineJoin}"` : "");
      this.parts.push(`<path d="${this.path}" fill="none" stroke="${escape(strokeStyle)}" stroke-width="${short(lineWidth)}"${dashes}${ends}${this.attributes()}/>`);
    }
    fill() { if (this.path) this.parts.push(`<path d="${this.path}" fill="${escape(this.state.fillStyle)}"${this.attributes()}/>`); }
    fillRect(x, y, w, h) {
      this.parts.push(`<path d="M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z" fill="${escape(this.state.fillStyle)}"${this.attributes()}/>`);
    }
    strokeRect(x, y, w, h) { this.beginPath(); this.rect(x, y, w, h); this.stroke(); }
    clearRect() {}
    measureText(text) { measuring.font = this.state.font; return measuring.measureText(text); }
    fillText(text, x, y) {
      const { font, textAlign, textBaseline, fillStyle } = this.state;
      const anchor = { center: "middle", right: "end", end: "end" }[textAlign] || "start";
      const base = { top: "hanging", middle: "central", bottom: "text-after-edge" }[textBaseline] || "auto";
      this.parts.push(`<text x="${short(x)}" y="${short(y)}" style="font:${escape(font)}" text-anchor="${anchor}" dominant-baseline="${base}" fill="${escape(fillStyle)}"${this.attributes()}>${escape(text)}</text>`);
    }
    // `legend`: [{name, color, dash}], put below.
    svg(width, height, ratio, title, legend) {
      const lines = [], step = 18;
      let x = 10, y = height + 14;
      measuring.font = "12px system-ui, sans-serif";
      for (const { name, color, dash } of legend) {
        const wide = 34 + measuring.measureText(name).width;
        if (x + wide > width && x > 10) { x = 10; y += step; }
        const dashes = dash && dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "";
        lines.push(`<path d="M${short(x)} ${y}h18" stroke="${color}" stroke-width="3"${dashes}/><text x="${short(x + 22)}" y="${y}" dominant-baseline="central" fill="${P.ink("text")}">${escape(name)}</text>`);
        x += wide + 8;
      }
      const tall = (legend.length ? y + 12 : height) + 26;
      return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${tall}" viewBox="0 0 ${width} ${tall}" font-family="system-ui, sans-serif" font-size="12">\n` +
        `<rect width="100%" height="100%" fill="${P.ink("panel")}"/>\n<text x="10" y="17" font-size="14" font-weight="600" fill="${P.ink("text")}">${escape(title)}</text>\n` +
        `<g transform="translate(0 26)"><g transform="scale(${1 / ratio})">\n${this.parts.join("\n")}\n</g>\n${lines.join("\n")}</g>\n</svg>\n`;
    }
  }
  P.Record = Record;

  // Runs `build` while every new canvas records, and waits until it has drawn.
  P.recorded = async (build) => {
    const records = [], real = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function () {
      const record = new Record(this);
      records.push(record);
      return record;
    };
    let built;
    try { built = build(); } finally { HTMLCanvasElement.prototype.getContext = real; }
    for (let i = 0; i < 4; i++) await Promise.resolve();
    return [built, records[0]];
  };
})();
