// Ranges, smoothing, and what a column of numbers looks like to a search.
(() => {
  const P = Podium;
  P.kinds = {};
  P.array = (place) => P.data.arrays[place];
  const usable = (v, log) => v !== null && Number.isFinite(v) && (!log || v > 0);

  // Least and greatest usable value of several arrays, as [low, high]; null without any.
  P.extent = (arrays, log) => {
    let low = Infinity, high = -Infinity;
    for (const values of arrays) {
      const [a, b] = ends(values, log);
      if (a < low) low = a;
      if (b > high) high = b;
    }
    return low <= high ? [low, high] : null;
  };
  // The arrays of a page never change: each is searched once.
  const known = [new WeakMap(), new WeakMap()];
  const ends = (values, log) => {
    const before = known[Number(!!log)].get(values);
    if (before) return before;
    let low = Infinity, high = -Infinity;
    for (const v of values) {
      if (usable(v, log)) { if (v < low) low = v; if (v > high) high = v; }
    }
    known[Number(!!log)].set(values, [low, high]);
    return [low, high];
  };

  // A range with room at both ends; one value alone stands in the middle.
  P.padded = (extent, log, share = 0.04) => {
    if (!extent) return log ? [0.1, 10] : [0, 1];
    let [low, high] = extent;
    if (log) {
      const a = Math.log10(low), b = Math.log10(high), pad = b > a ? (b - a) * share : 0.5;
      return [10 ** (a - pad), 10 ** (b + pad)];
    }
    const pad = high > low ? (high - low) * share : Math.abs(high) * 0.1 || 1;
    return [low - pad, high + pad];
  };

  // Debiased exponential mean: the weight of what came before is `weight` a point. Gaps stay gaps.
  P.smoothed = (values, weight) => {
    let sum = 0, share = 0;
    return values.map((v) => {
      if (v === null) return null;
      sum = weight * sum + (1 - weight) * v;
      share = weight * share + (1 - weight);
      return sum / share;
    });
  };

  P.sorted = (values) => {
    for (let i = 1; i < values.length; i++) {
      if (!(values[i] >= values[i - 1])) return false;
    }
    return true;
  };

  // The place whose value is nearest to v; of places for which `has` holds.
  P.nearest = (values, v, sorted, has) => {
    if (!sorted) {
      let best = -1, least = Infinity;
      values.forEach((w, i) => {
        const distance = Math.abs(w - v);
        if (w !== null && distance < least && has(i)) { least = distance; best = i; }
      });
      return best;
    }
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < v) low = middle + 1; else high = middle;
    }
    let below = low - 1, above = low;
    while (below >= 0 && !has(below)) below--;
    while (above < values.length && !has(above)) above++;
    if (below < 0 && above >= values.length) return -1;
    if (below < 0) return above;
    if (above >= values.length) return below;
    return v - values[below] <= values[above] - v ? below : above;
  };

  // Text cut to a width, with an ellipsis.
  P.fitted = (ctx, text, width) => {
    if (ctx.measureText(text).width <= width) return text;
    let low = 0, high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ctx.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle; else high = middle - 1;
    }
    return `${text.slice(0, low)}…`;
  };
})();
