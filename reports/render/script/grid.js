/* A table that sorts, filters and searches: DataTables draws the rows in sight, the choices above it are ours. */
const GRID = (() => {
  const { el, download, NONE } = PAGE;
  const all = [];
  let count = 0;

  /* What is missing comes last, whichever way the column is sorted. */
  const absent = (value) => value === null || value === undefined || value === "";
  const compare = (sign) => (a, b) => {
    if (absent(a) || absent(b)) return absent(a) - absent(b);
    if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
    return sign * (a - b);
  };
  Object.assign(DataTable.ext.type.order, { "dira-asc": compare(1), "dira-desc": compare(-1) });

  const node = (shown) => (shown instanceof Node ? shown : el("span", {}, shown === "" ? NONE : shown));

  /* Rows that any filter value keeps; a value of a row may be a list. */
  function keeps(filter, wanted, row) {
    const own = filter.of(row);
    return wanted === "" || (Array.isArray(own) ? own.includes(wanted) : own === wanted);
  }

  /* A choice above a table, of the values that occur; null if there is nothing to choose. */
  function choice(filter, rows, changed) {
    const values = filter.values || [...new Set(rows.flatMap((row) => filter.of(row)))].filter((one) => one !== "");
    if (values.length < 2) return null;
    const select = el("select", { "aria-label": filter.label },
      el("option", { value: "" }, "all"), values.map((one) => el("option", { value: one }, one)));
    select.addEventListener("change", changed);
    return { filter, select, box: el("label", {}, el("span", {}, filter.label), select) };
  }

  function toolbar(spec, rows, changed) {
    const search = el("input", { type: "search", placeholder: spec.hint || "Search", "aria-label": `Search ${spec.label}` });
    search.addEventListener("input", changed);
    const choices = (spec.filters || []).map((filter) => choice(filter, rows, changed)).filter(Boolean);
    const clear = el("button", { type: "button" }, "Clear");
    const csv = el("button", { type: "button" }, "Download CSV");
    const filters = el("details", { class: "filters", open: innerWidth > 640 }, el("summary", {}, "Filters"),
      el("div", { class: "bar choices" }, choices.map((one) => one.box)));
    const bar = el("div", { class: "tools", role: "group", "aria-label": `Filters of ${spec.label}` },
      el("div", { class: "bar" }, el("label", {}, el("span", {}, "Search"), search), clear, csv),
      choices.length || spec.choosable ? filters : null);
    return { bar, search, choices, clear, csv };
  }

  function head(columns) {
    return el("thead", {}, el("tr", {}, columns.map((column) =>
      el("th", { scope: "col", class: column.kind || null },
        el("span", {}, column.title), (column.notes || []).map((note) => PAGE.small(note))))));
  }

  function definition(column, place) {
    return {
      data: null,
      type: "dira",
      className: column.kind || "",
      visible: column.visible !== false,
      cellType: place === 0 ? "th" : "td",
      ariaTitle: column.title,
      orderSequence: column.first === "desc" ? ["desc", "asc"] : ["asc", "desc"],
      render: (row, type) => {
        if (type === "display") return node(column.show(row));
        if (type === "filter") return column.text(row);
        return column.value(row);
      },
      createdCell: place === 0 ? (cell) => cell.setAttribute("scope", "row") : undefined,
    };
  }

  /* Make a table below `host`.

     spec.columns: title, notes, kind, first, visible; value(row) to sort by, show(row), text(row) to search and save.
     spec.filters: label, of(row). spec.order: pairs of column and direction. spec.said: sentences above it. */
  function make(host, spec) {
    const rows = spec.rows;
    const changed = () => apply();
    const parts = spec.bare ? null : toolbar(spec, rows, changed);
    const table = el("table", { class: `grid ${spec.kind || ""}`, id: `grid-${count += 1}`, "aria-label": spec.label },
      head(spec.columns), el("tbody", {}));
    if (parts) host.append(parts.bar);
    for (const sentence of spec.said || []) host.append(el("p", { class: "said" }, sentence));
    host.append(table);
    const own = new DataTable(table, {
      data: rows,
      columns: spec.columns.map(definition),
      order: spec.order || [],
      autoWidth: false,
      deferRender: true,
      pageLength: spec.pageLength || 20,
      lengthMenu: [20, 50, 100, { label: "all", value: -1 }],
      createdRow: (line, row) => { if (spec.rowKind) line.className = spec.rowKind(row); },
      layout: {
        topStart: null, topEnd: null, bottomStart: rows.length > 20 ? ["info", "pageLength"] : null,
        bottomEnd: rows.length > 20 ? "paging" : null,
      },
      language: {
        info: "Rows _START_ to _END_ of _TOTAL_", infoEmpty: "No row", infoFiltered: "(of _MAX_)",
        zeroRecords: "No row fits. Choose “Clear” to see all of them.", lengthMenu: "Show _MENU_ rows",
      },
    });
    /* The library wraps the table; that part scrolls, and what stands below the table does not. */
    const frame = table.parentElement;
    frame.classList.add("scroll");
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", spec.label]]) {
      frame.setAttribute(name, value);
    }
    const pages = host.querySelector("nav");
    if (pages) pages.setAttribute("aria-label", `Pages of ${spec.label}`);
    for (const { filter, select } of parts ? parts.choices : []) {
      own.search.fixed(filter.label, (text, row) => keeps(filter, select.value, row));
    }
    function apply() {
      own.search(parts.search.value).draw();
      if (spec.onFilter) spec.onFilter(own, new Map(parts.choices.map((one) => [one.filter.label, one.select.value])));
    }
    function clear() {
      if (!parts) return;
      parts.search.value = "";
      for (const { select } of parts.choices) select.value = "";
      own.order(spec.order || []);
      apply();
    }
    function choose(label, value) {
      const found = parts.choices.find((one) => one.filter.label === label);
      if (found) found.select.value = value;
      apply();
    }
    if (parts) {
      parts.clear.addEventListener("click", clear);
      parts.csv.addEventListener("click", () => {
        const shown = spec.columns.filter((column) => column.title !== "");
        const heads = shown.map((column) => [column.title, ...(column.notes || [])].join(" · "));
        const lines = own.rows({ search: "applied", order: "applied" }).data().toArray();
        download(spec.name, [heads, ...lines.map((row) => shown.map((column) => String(column.text(row)).trim()))]);
      });
    }
    const made = { table: own, clear, choose, host, pageLength: spec.pageLength || 20 };
    all.push(made);
    return made;
  }

  function destroy(made) {
    all.splice(all.indexOf(made), 1);
    made.table.destroy();
    made.host.replaceChildren();
  }

  return { make, destroy, all };
})();
