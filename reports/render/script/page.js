"use strict";
/* The data of the page, and what every part of it uses: elements without HTML, copying, files, details. */
const PAGE = (() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  const NESTED = {
    tables: ["columns", "rows"], rows: ["entries"], cells: ["summaries", "trials"],
  };

  /* Give the places of a list the names that `fields` says; null stays null. */
  function named(kind, values) {
    if (values === null) return null;
    const row = {};
    raw.fields[kind].forEach((name, place) => { row[name] = values[place]; });
    for (const inner of NESTED[kind] || []) row[inner] = row[inner].map((one) => named(inner, one));
    return row;
  }
  const many = (kind) => raw[kind].map((values) => named(kind, values));
  const by = (rows, key) => new Map(rows.map((row) => [row[key], row]));

  const data = { ...raw, methods: many("methods"), contrasts: many("contrasts"), cells: many("cells") };
  data.tables = many("tables");
  data.texts = by(many("texts"), "name");
  data.curves = many("curves");
  data.facts = (anchor) => (raw.facts[anchor] || []).map((values) => named("facts", values));
  data.method = by(data.methods, "name");
  data.task = new Map(raw.tasks);
  data.family = new Map(raw.families.map(([name, label, block]) => [name, { label, block }]));
  data.contrast = by(data.contrasts, "anchor");
  data.cell = by(data.cells, "anchor");
  data.cellOf = (row, method) => data.cell.get(data.places.get([method, row.task, row.fraction].join("|")));
  data.places = new Map(data.cells.map((cell) => [[cell.method, cell.task, cell.fraction].join("|"), cell.anchor]));
  data.trial = new Map();
  for (const cell of data.cells) {
    for (const trial of cell.trials) if (trial.id) data.trial.set(trial.id, { cell, trial });
  }

  /* Make an element; a text is a text, never markup. */
  function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }
  const small = (text, kind) => (text ? el("small", kind ? { class: kind } : {}, text) : "");
  const unseen = (text) => el("span", { class: "unseen" }, text);
  const scroll = (label, ...children) =>
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);

  function say(text) {
    document.getElementById("said").textContent = text;
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { readonly: true, class: "unseen" });
      area.value = text;
      (button.closest("dialog") || document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    say(`Copied: ${text}`);
    setTimeout(() => { button.textContent = before; }, 1500);
  }
  const copyFrom = (button) => copy(button.dataset.copy, button);
  function command(text) {
    const button = el("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy: ${text}` }, "Copy");
    return el("div", { class: "command" }, el("code", {}, text), button);
  }

  /* Offer rows of texts as a CSV file. */
  function download(name, rows) {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const text = rows.map((row) => row.map((one) => quoted(String(one ?? ""))).join(",")).join("\r\n");
    const address = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
    const link = el("a", { href: address, download: `${name}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    say(`${name}.csv saved: ${rows.length - 1} row${rows.length === 2 ? "" : "s"}`);
  }

  /* A plain table of texts; a long one is made of the same parts. */
  function plainTable(headings, rows, label) {
    return scroll(label, el("table", {},
      el("thead", {}, el("tr", {}, headings.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((one, place) =>
        el(place ? "td" : "th", place ? {} : { scope: "row" }, one)))))));
  }
  function pairs(list) {
    return el("dl", { class: "facts" },
      list.filter(([, text]) => text !== "").map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
  }

  const where = (row) => data.task.get(row.task) + (row.fraction === "100 %" ? "" : `, ${row.fraction}`);
  function gateWords(gate) {
    if (gate.includes("method not learnt") && gate.includes("reference not learnt")) return "both not learnt";
    return gate.includes("not learnt") ? gate : "";
  }
  const stampOf = (row) => (data.mixed && row.stamp ? el("span", { class: "stamp" }, row.stamp) : "");

  return {
    data, el, small, unseen, scroll, say, copyFrom, command, download, plainTable, pairs, where, gateWords, stampOf, NONE: "–",
  };
})();
