/* Puts everything into its place: lists, what opens, the detail, links, figures, colours, print. */
(() => {
  const { data, el } = PAGE;
  const $ = (selector) => document.querySelector(selector);
  const every = (selector) => [...document.querySelectorAll(selector)];

  /* ---- The detail: one dialog, with the way back. */
  const dialog = $("#detail");
  const path = [];
  function found(anchor) {
    if (data.contrast.has(anchor)) return CONTRASTS.detail(data.contrast.get(anchor));
    if (data.cell.has(anchor)) return CELLS.detail(data.cell.get(anchor));
    const trial = anchor.startsWith("trial-") && data.trial.get(anchor.slice(6));
    return trial ? CELLS.trialDetail(trial) : null;
  }
  function open(anchor) {
    const what = found(anchor);
    if (!what) return false;
    if (path.at(-1) !== anchor) path.push(anchor);
    const back = el("button", { type: "button", onclick: () => { path.pop(); open(path.at(-1)); } }, "Back");
    const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
    const heading = el("h2", { id: "detail-title", tabindex: "-1" }, what.title);
    dialog.replaceChildren(el("div", { class: "dialog-bar" }, heading, el("span", { class: "links" }, path.length > 1 ? back : "", close)),
      el("div", { class: "dialog-body" }, what.body));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    heading.focus();
    history.replaceState(null, "", `#${encodeURIComponent(anchor)}`);
    return true;
  }
  dialog.addEventListener("close", () => { path.length = 0; history.replaceState(null, "", "#"); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-open], button[data-copy]");
    if (!button) return;
    if (button.dataset.open) open(button.dataset.open);
    else PAGE.copyFrom(button);
  });

  /* ---- Lists. */
  const effects = CONTRASTS.show($("[data-contrasts]"), data.contrasts, "effects");
  $("[data-contrasts]").prepend(CONTRASTS.presets(effects, data.contrasts));
  const chooseTable = TABLES.start($("[data-tables]"));
  CELLS.show($("[data-cells]"));

  function textTable(host, table) {
    const number = (text) => { const at = parseFloat(text.replace("−", "-").replace("+", "")); return Number.isNaN(at) ? null : at; };
    GRID.make(host, {
      name: table.name, label: table.label, rows: table.rows,
      columns: table.headings.map((title, place) => ({
        title, kind: place === 0 ? "first" : table.numeric.includes(place) ? "n" : "wrap",
        value: (row) => (table.numeric.includes(place) ? number(row[place]) : row[place]),
        text: (row) => row[place],
        show: (row) => (row[place] === "failed" || row[place] === "not learnt"
          ? el("b", { class: "unlearnt" }, row[place]) : row[place]),
      })),
      filters: table.filters.map((place) => ({ label: table.headings[place], of: (row) => row[place] })),
    });
  }

  /* ---- What opens is drawn when it opens. */
  const parts = {
    facts: (host, box) => {
      for (const part of data.facts(host.id)) {
        if (part.title) box.append(el("h3", {}, part.title));
        if (part.pairs.length) box.append(PAGE.pairs(part.pairs));
        if (part.rows.length) box.append(PAGE.plainTable(part.headings, part.rows, part.title || "Findings"));
      }
      if (host.id.startsWith("pretraining-")) {
        const method = host.id.slice("pretraining-".length);
        if (data.curves.some((curve) => curve.method === method)) box.append(CURVES.draw(method));
      }
    },
    text: (host, box) => { textTable(box, data.texts.get(host.dataset.text)); },
    contrastsOf: (host, box) => {
      const own = host.dataset.contrastsOf.split(" ").map((anchor) => data.contrast.get(anchor)).filter(Boolean);
      if (own.length) CONTRASTS.show(box, own, "contrasts", own.length < 10);
    },
  };
  function fill(host) {
    if (host.dataset.filled) return;
    host.dataset.filled = "yes";
    const box = el("div", { class: "inside" });
    host.append(box);
    for (const [name, draw] of Object.entries(parts)) if (name in host.dataset) draw(host, box);
  }
  const opening = every("[data-facts], [data-text], [data-contrasts-of]");
  for (const host of opening) {
    if (host.tagName === "DETAILS") host.addEventListener("toggle", () => { if (host.open) fill(host); });
    else fill(host);
  }

  /* ---- Figures stand in the page compressed; they are unpacked while nothing else is to do. */
  const pictures = new Map();
  async function unpack(name) {
    if (pictures.has(name)) return;
    const bytes = Uint8Array.from(atob(data.figures[name]), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    pictures.set(name, await new Response(stream).text());
  }
  function place(host) {
    const box = host.querySelector(".picture");
    if (box.firstChild || !pictures.has(host.dataset.figure)) return;
    const parsed = new DOMParser().parseFromString(pictures.get(host.dataset.figure), "text/html").querySelector("svg");
    box.append(document.adoptNode(parsed));
  }
  const figures = every("[data-figure]");
  async function ready() {
    for (const host of figures) await unpack(host.dataset.figure);
  }
  for (const host of figures) {
    const show = async () => { if (host.open) { await unpack(host.dataset.figure); place(host); } };
    host.addEventListener("toggle", show);
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && entry.target.open) unpack(entry.target.dataset.figure).then(() => place(entry.target));
  }, { rootMargin: "300px" });
  figures.forEach((host) => seen.observe(host));
  (window.requestIdleCallback || ((go) => setTimeout(go, 500)))(() => { ready(); });

  /* ---- Links into the page: a cell, a contrast or a trial opens; a line that opens is opened. */
  function reveal() {
    const anchor = decodeURIComponent(location.hash.slice(1));
    if (!anchor || open(anchor)) return;
    if (anchor.startsWith("table-") && chooseTable && data.tables.some((table) => `table-${table.name}` === anchor)) {
      chooseTable(anchor.slice("table-".length));
    }
    const target = document.getElementById(anchor);
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    if (target) target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();

  /* ---- Light and dark: as the machine says, unless the reader chooses. */
  const theme = el("button", { type: "button", class: "theme" });
  const dark = () => (document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const named = () => { theme.textContent = dark() ? "Light colours" : "Dark colours"; };
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; named(); });
  named();
  $("nav.page").append(el("span", { class: "page-tools" }, theme,
    el("button", { type: "button", onclick: async () => { await ready(); print(); } }, "Print")));

  /* ---- Print: every list in full, everything open, each table drawn; put back afterwards. */
  let undo = [];
  addEventListener("beforeprint", () => {
    if (undo.length) return;
    // The contrasts behind an answer stand in the list of effects already.
    opening.filter((host) => !("contrastsOf" in host.dataset)).forEach(fill);
    for (const host of every("main details:not([data-contrasts-of])")) {
      if (!host.open) { host.open = true; undo.push(() => { host.open = false; }); }
    }
    figures.forEach(place);
    for (const made of [...GRID.all]) {
      const before = made.table.page.len();
      if (before !== -1) { made.table.page.len(-1).draw(); undo.push(() => made.table.page.len(before).draw()); }
    }
    const host = $("[data-tables]");
    const whole = el("div", { class: "on-paper" });
    host.after(whole);
    const drawn = TABLES.print(whole);
    undo.push(() => { drawn.forEach(GRID.destroy); whole.remove(); });
  });
  addEventListener("afterprint", () => { undo.reverse().forEach((back) => back()); undo = []; });
})();
