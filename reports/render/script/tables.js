/* The tables, one at a time: methods by tasks, as ours, the paper's, or the difference. */
const TABLES = (() => {
  const { data, el, small, unseen, gateWords, plainTable } = PAGE;
  const MODES = [["ours", "Ours"], ["paper", "Paper"], ["difference", "Ours − paper"]];
  const SHEET = 10; // columns that fit a sheet of paper
  const SHOWN = {
    ours: { value: "mean", text: "text" }, paper: { value: "paper", text: "paper_text" },
    difference: { value: "difference", text: "difference_text" },
  };

  /* The contrasts behind the marks of a number, in words for those who hear the page. */
  function findings(entry) {
    const own = entry.contrasts.map((anchor) => data.contrast.get(anchor)).filter(Boolean);
    return own.map((c) => `${c.finding} against ${CONTRASTS.label(c.reference)}`).join("; ");
  }
  function number(entry, mode) {
    if (!entry) return PAGE.NONE;
    const text = entry[SHOWN[mode].text];
    const rank = mode === "ours" ? entry.rank : "";
    const words = mode === "ours" && entry.marks ? findings(entry) : "";
    return el("span", { class: "entry" },
      el("button", { type: "button", class: `number ${rank}`, "data-open": entry.cell }, text,
        rank ? unseen(` (${rank})`) : ""),
      mode === "ours" && entry.marks ? el("span", { class: "marks", "aria-hidden": "true", title: words }, entry.marks) : "",
      words ? unseen(` ${words}`) : "", mode === "ours" && entry.done ? small(entry.done, "count") : "");
  }
  function methodCell(row) {
    return el("span", {}, CONTRASTS.label(row.method), small(gateWords(row.gate), "unlearnt"),
      small(row.added ? "not in the paper’s table" : ""), small(row.against ? `vs ${row.against}` : ""));
  }

  function columns(table, mode) {
    const facts = table.facts.map((title, place) => ({
      title, kind: "fact", value: (row) => row.facts[place] || "", text: (row) => row.facts[place] || "",
      show: (row) => row.facts[place] || "",
    }));
    const numbers = table.columns.map((column, place) => ({
      title: column.heading, kind: "value", first: "desc",
      notes: [column.measured, column.labels, data.mixed ? column.stamp : ""].filter(Boolean),
      value: (row) => (row.entries[place] ? row.entries[place][SHOWN[mode].value] : null),
      text: (row) => (row.entries[place] ? row.entries[place][SHOWN[mode].text] : ""),
      show: (row) => number(row.entries[place], mode),
    }));
    const label = (row) => CONTRASTS.label(row.method);
    return [{ title: "Method", kind: "first", value: label, text: label, show: methodCell }, ...facts, ...numbers];
  }

  const contrastsOf = (row) => row.entries.filter(Boolean).flatMap((entry) => entry.contrasts)
    .map((anchor) => data.contrast.get(anchor)).filter(Boolean);

  function said(table, mode) {
    const own = table.rows.flatMap(contrastsOf);
    const sentences = [table.setting];
    const word = own.length ? CONTRASTS.sharedAgreement(own) : null;
    if (word) sentences.push(`Agreement with the paper, for every number: ${word}.`);
    if (mode === "difference") {
      sentences.push("Ours − paper: the difference of the two means. Where the two are not comparable it is no test.");
    }
    return sentences.filter(Boolean);
  }

  /* Hide the columns of other tasks and label fractions than the chosen ones. */
  function choices(table, host, made) {
    const offset = 1 + table.facts.length;
    const own = [["Task", (c) => data.task.get(c.task)], ["Labels", (c) => c.fraction]];
    const selects = own.map(([name, of]) => {
      const values = [...new Set(table.columns.map(of))];
      const select = el("select", { "aria-label": `${name} of the columns` },
        el("option", { value: "" }, "all"), values.map((one) => el("option", { value: one }, one)));
      return { name, of, values, select, box: el("label", {}, el("span", {}, name), select) };
    }).filter((one) => one.values.length > 1);
    const apply = () => {
      table.columns.forEach((column, place) => {
        const fits = selects.every(({ of, select }) => select.value === "" || of(column) === select.value);
        made.table.column(offset + place).visible(fits, false);
      });
      made.table.columns.adjust();
    };
    selects.forEach(({ select }) => select.addEventListener("change", apply));
    const bar = host.querySelector(".choices");
    if (bar) bar.prepend(...selects.map((one) => one.box));
  }

  function draw(host, table, mode, bare) {
    const made = GRID.make(host, {
      name: `${table.name}-${mode}`, label: table.title, kind: "values", rows: table.rows, bare,
      columns: columns(table, mode), said: said(table, mode), pageLength: -1, choosable: true,
      rowKind: (row) => (row.added ? "added" : ""),
      filters: [
        { label: "Method", of: (row) => CONTRASTS.label(row.method) },
        { label: "Base", of: (row) => data.method.get(row.method).base },
        { label: "Gate", of: (row) => gateWords(row.gate) || "no gate failed" },
        { label: "Finding", of: (row) => [...new Set(contrastsOf(row).map((c) => c.finding))] },
        { label: "Agreement", of: (row) => [...new Set(contrastsOf(row).map((c) => c.agreement))] },
      ],
    });
    if (!bare) choices(table, host, made);
    return made;
  }
  function below(table) {
    const gains = table.gains.length
      ? plainTable(["Average gain", "Average over", "Gain [95 %]", "Paper prints"], table.gains, "Average gains") : "";
    const files = el("p", { class: "small" }, "Also as ",
      ...["html", "csv", "md", "tex"].flatMap((kind, place) => [place ? ", " : "",
        el("a", { href: `tables/${table.name}.${kind}` }, { html: "page", csv: "CSV", md: "Markdown", tex: "LaTeX" }[kind])]), ".");
    return [gains, ...table.notes.map((note) => el("p", { class: "small" }, note)), files];
  }

  function start(host) {
    if (!data.tables.length) return;
    const select = el("select", { id: "which-table", "aria-label": "Table" },
      data.tables.map((table) => el("option", { value: table.name }, table.title)));
    const buttons = MODES.map(([mode, text]) => el("button", { type: "button", "data-mode": mode }, text));
    const body = el("div", {});
    let mode = "ours";
    let made = null;
    function redraw() {
      const table = data.tables.find((one) => one.name === select.value);
      if (made) GRID.destroy(made);
      const printed = table.rows.some((row) => row.entries.some((entry) => entry && entry.paper !== null));
      for (const button of buttons) button.disabled = !printed && button.dataset.mode !== "ours";
      if (!printed) mode = "ours";
      const grid = el("div", {});
      body.replaceChildren(el("h3", { id: `table-${table.name}` }, table.title), el("p", { class: "small" }, table.caption), grid,
        ...below(table));
      made = draw(grid, table, mode, false);
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    for (const button of buttons) {
      button.addEventListener("click", () => { mode = button.dataset.mode; redraw(); });
    }
    select.addEventListener("change", redraw);
    host.append(el("div", { class: "bar switch" }, el("label", {}, el("span", {}, "Table"), select),
      el("div", { class: "modes", role: "group", "aria-label": "Whose numbers" }, buttons)), body);
    redraw();
    return (name) => { select.value = name; redraw(); };
  }

  /* Cut a table into parts that fit a sheet of paper; a row that has nothing in a part is left out there. */
  function cut(table, mode) {
    const starts = table.columns.map((column, place) => place).filter((place) => place % SHEET === 0);
    return starts.map((start) => {
      const within = (list) => list.slice(start, start + SHEET);
      const rows = table.rows.map((row) => ({ ...row, entries: within(row.entries) }));
      const filled = (entry) => entry && entry[SHOWN[mode].text] !== PAGE.NONE;
      return { ...table, columns: within(table.columns), rows: rows.filter((row) => row.entries.some(filled)) };
    }).filter((part) => part.rows.length);
  }
  /* Draw every table for print: ours, and the paper's. */
  function print(host) {
    return data.tables.flatMap((table) => ["ours", "paper"].flatMap((mode) => {
      const parts = cut(table, mode);
      if (!parts.length) return [];
      host.append(el("h3", {}, `${table.title}${mode === "paper" ? ": as the paper prints it" : ""}`),
        el("p", { class: "small" }, table.caption));
      const drawn = parts.map((part) => {
        const box = el("div", { class: "printed" });
        host.append(box);
        return draw(box, part, mode, true);
      });
      if (mode === "ours") host.append(...below(table).slice(0, -1).filter(Boolean));
      return drawn;
    }));
  }

  return { start, print };
})();
