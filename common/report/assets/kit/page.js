// Brings a page to life: charts, scenes, tables, theme.
(() => {
  const P = Podium, { make } = P;
  const THEMES = ["as the system", "light", "dark"];

  const themes = () => {
    const list = make("select", { "aria-label": "theme", onchange: () => {
      if (list.selectedIndex === 0) { delete document.documentElement.dataset.theme; P.listeners.forEach((f) => f()); }
      else P.setTheme(THEMES[list.selectedIndex]);
    } });
    THEMES.forEach((name) => list.append(make("option", {}, name)));
    document.querySelector("header").append(make("label", { class: "theme" }, "theme ", list));
  };

  // A click on a column's head sorts by it: numbers by value, the rest by text.
  const sortable = (figure) => {
    const table = figure.querySelector("table"), body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const sort = make("button", { type: "button", class: "sort" }, head.textContent || "#");
      let order = 0;
      sort.onclick = () => {
        order = order === 1 ? -1 : 1;
        [...table.tHead.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
        const key = (row) => row.cells[column]?.textContent ?? "";
        const numeric = head.classList.contains("n");
        const value = (row) => { const v = parseFloat(key(row)); return Number.isNaN(v) ? Infinity : v; };
        const rows = [...body.rows].map((row, place) => [row, place]);
        rows.sort(([a, i], [b, j]) => (numeric ? order * (value(a) - value(b)) || 0 : order * key(a).localeCompare(key(b), "en")) || i - j);
        body.append(...rows.map(([row]) => row));
      };
      head.replaceChildren(sort);
    });
    const rows = () => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    const file = `${figure.dataset.file}.csv`;
    const take = make("button", { type: "button", class: "take", title: `save this table as ${file}` }, "csv");
    take.onclick = () => P.save(file, P.csv(rows()), "text/csv");
    figure.querySelector(".scroll").before(make("div", { class: "tools" }, take));
  };

  const copyable = (code) => {
    if (!navigator.clipboard) return;
    const copy = make("button", { type: "button", title: "copy the command" }, "copy");
    copy.onclick = () => navigator.clipboard.writeText(code.textContent).then(() => {
      copy.textContent = "copied";
      setTimeout(() => { copy.textContent = "copy"; }, 1500);
    }, () => getSelection().selectAllChildren(code));
    code.after(copy);
  };

  P.start = () => {
    themes();
    document.querySelectorAll("figure.table").forEach(sortable);
    document.querySelectorAll("dl.commands code").forEach(copyable);
    document.querySelectorAll("figure[data-chart]").forEach((figure) => {
      const chart = P.data.charts[Number(figure.dataset.chart)];
      (P.kinds[chart.kind])(figure, chart);
    });
    document.querySelectorAll("figure[data-raw]").forEach((figure) => {
      const { module, data, file } = P.data.raw[Number(figure.dataset.raw)];
      const stage = figure.querySelector(".stage");
      stage.dataset.file = file;
      const draw = P.modules.get(module);
      if (draw) draw(stage, data, P); else stage.textContent = `the page has no module ${module}`;
    });
    addEventListener("scroll", () => P.tip(), { passive: true });
    document.documentElement.dataset.ready = "yes";
  };
})();
