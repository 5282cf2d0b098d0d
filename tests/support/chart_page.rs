//! What every page of charts must do, looked at in a browser.

use std::path::Path;

use serde_json::Value;

use crate::browser::Browser;

/// All figures with a chart.
const CHARTS: &str = "[...document.querySelectorAll('figure[data-chart]')]";

/// Opens a page at three widths: it says nothing on the console, asks for nothing, fits, and draws every chart so that nothing
/// covers another thing; the numbers of the data are those under the pointer and in the files. Returns how many charts.
pub fn look(browser: &mut Browser, page: &Path) -> u64 {
    for width in [320, 2560, 1280] {
        browser.open(page, width, 900);
        quiet(browser, page);
        let wide = browser.js("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= u64::from(width), "{} is {wide} wide in a window of {width}", page.display());
        let covered = browser.js(COVERED);
        assert_eq!(covered, Value::Array(vec![]), "{} at {width}", page.display());
        assert_eq!(browser.js(BLANK), Value::Array(vec![]), "{} at {width}: nothing drawn", page.display());
    }
    assert!(browser.shot().len() > 10_000, "{} looks empty", page.display());
    assert_eq!(browser.js(UNTOLD), Value::Array(vec![]), "{}: hovers", page.display());
    assert_eq!(browser.js(FILES), Value::Array(vec![]), "{}: files", page.display());
    quiet(browser, page);
    browser.js(&format!("{CHARTS}.length")).as_u64().unwrap()
}

/// Nothing on the console, nothing asked for.
pub fn quiet(browser: &mut Browser, page: &Path) {
    browser.js("1");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", page.display());
    assert_eq!(browser.requests(), Vec::<String>::new(), "{}", page.display());
}

/// Pairs of parts of a page that lie over another: legends, plots, titles, tools, figures.
const COVERED: &str = "(() => {
  const bad = [], box = (e) => e.getBoundingClientRect();
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const parts = [...figure.children].filter((e) => e.getClientRects().length);
    parts.forEach((a, i) => parts.slice(i + 1).forEach((b) => { if (over(box(a), box(b))) bad.push(`${figure.id}: ${a.className || a.tagName} and ${b.className || b.tagName}`); }));
    for (const part of parts) if (box(part).right > box(figure).right + 1) bad.push(`${figure.id}: ${part.className} leaves its figure`);
  }
  const blocks = [...document.querySelectorAll('figure, .figure, header, footer')];
  blocks.forEach((a, i) => blocks.slice(i + 1).forEach((b) => { if (!a.contains(b) && over(box(a), box(b))) bad.push(`${a.id || a.className} and ${b.id || b.className}`); }));
  return bad;
})()";

/// Charts whose canvas shows fewer than two colours beside the axes', that is, no data.
const BLANK: &str = "(() => {
  const bad = [];
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const canvas = figure.querySelector('canvas');
    if (!canvas || figure.dataset.drawn !== 'yes') { bad.push(figure.id); continue; }
    // Read from a copy: the browser complains of a canvas that is read again and again.
    const own = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height }).getContext('2d', { willReadFrequently: true });
    own.drawImage(canvas, 0, 0);
    const { data } = own.getImageData(0, 0, canvas.width, canvas.height);
    const wanted = new Set();
    const chart = Podium.data.charts[figure.dataset.chart];
    (chart.series || chart.bars || []).forEach((s) => { if (!s.hidden) wanted.add(Podium.hue(s.slot)); });
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    const code = (hex) => parseInt(hex.slice(1), 16);
    // Clouds are half transparent: of them it is enough that many colours are there.
    const cloud = (chart.series || []).some((s) => s.style === 'points');
    for (const hex of wanted) if (!cloud && !seen.has(code(hex))) bad.push(`${figure.id} ${chart.title}: no pixel of ${hex}`);
    if (seen.size < 3) bad.push(`${figure.id} ${chart.title}: ${seen.size} colours`);
  }
  return bad;
})()";

/// Charts whose hover at a datum does not say its value.
const UNTOLD: &str = "(() => {
  const bad = [], P = Podium;
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const { chart, read, view, painter } = figure.podium;
    if (chart.kind === 'sky') continue;
    const v = view(), places = painter.places(v);
    const inside = places.map((p, i) => [...p, i]).filter(([x, y]) => x >= v.left && x <= v.left + v.width && y >= v.top && y <= v.top + v.height);
    if (!inside.length) { bad.push(`${chart.title}: no place`); continue; }
    for (const [x, y] of [inside[0], inside[Math.floor(inside.length / 2)], inside[inside.length - 1]]) {
      read((x - v.left) / v.ratio, (y - v.top) / v.ratio);
      const tip = document.getElementById('tip');
      if (!tip || tip.hidden || !tip.textContent) { bad.push(`${chart.title}: no hover`); continue; }
      if (chart.kind !== 'xy') continue;
      const s = painter.legend.find((s) => s.on);
      const numbers = s.value.filter((value) => value !== null).map((value) => chart[chart.alongY ? 'x' : 'y'].names ? '' : P.number(value));
      if (!numbers.some((text) => tip.textContent.includes(text))) bad.push(`${chart.title}: hover says ${tip.textContent}`);
    }
    P.tip();
  }
  return bad;
})()";

/// Charts whose csv lacks a number of the data, or whose picture holds what is no number.
const FILES: &str = "(async () => {
  const bad = [], P = Podium;
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const { chart, rows, svg } = figure.podium;
    const lines = rows().split('\\n').length - 2;
    const wanted = chart.kind === 'xy' ? chart.series.reduce((n, s) => n + P.array(s.x).length, 0) : chart.kind === 'gantt' ? chart.bars.length : P.array(chart.values).length;
    if (chart.kind !== 'gantt' && lines !== wanted) bad.push(`${chart.title}: ${lines} lines of csv for ${wanted} values`);
    const text = await svg();
    if (!text.startsWith('<svg') || text.includes('NaN')) bad.push(`${chart.title}: ${text.slice(0, 80)}`);
    if (new DOMParser().parseFromString(text, 'image/svg+xml').querySelector('parsererror')) bad.push(`${chart.title}: no XML`);
  }
  return bad;
})()";
