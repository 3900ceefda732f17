/* The list of effects, and one contrast in detail. */
const CONTRASTS = (() => {
  const { data, el, small, unseen, where, gateWords, stampOf, NONE } = PAGE;
  const label = (name) => (data.method.get(name) || { label: name }).label;
  const title = (c) => `${label(c.method)} − ${label(c.reference)}`;
  const magnitude = (value) => (value === null ? null : Math.abs(value));

  function opener(c) {
    return el("button", { type: "button", class: "open", "data-open": c.anchor }, title(c));
  }
  function finding(c) {
    return el("span", {}, el("span", { class: `finding ${c.finding.split(" ")[0]}` }, `${c.mark} ${c.finding}`),
      small(gateWords(c.gate), "unlearnt"));
  }
  function agreement(word) {
    return el("span", { class: `agreement ${word.split(" ")[0]}` }, word);
  }
  /* A bar from the middle, as long as the effect in margins; five margins fill it. */
  function bar(c) {
    if (c.size === null) return NONE;
    const share = Math.min(Math.abs(c.size) / 5, 1) * 50;
    const fill = el("i", { class: c.finding.split(" ")[0] });
    fill.style.width = `${share}%`;
    fill.style[c.size < 0 ? "right" : "left"] = "50%";
    const text = `${c.size < 0 ? "−" : "+"}${Math.abs(c.size).toFixed(1)}`;
    return el("span", { class: "measure" }, el("b", {}, text), el("span", { class: "track", "aria-hidden": "true" }, fill));
  }

  /* What all rows share is said once, and its column left out. */
  function shared(rows, of) {
    const found = new Set(rows.map(of));
    return found.size === 1 ? [...found][0] : null;
  }

  /* The one word of Agreement that all rows share, with the reasons that occur; null where they differ. */
  function sharedAgreement(rows) {
    const word = shared(rows, (c) => c.agreement);
    const reasons = [...new Set(rows.map((c) => c.reason).filter(Boolean))];
    return word === null || reasons.length > 3 ? null : `${word}${reasons.length ? ` (${reasons.join("; or ")})` : ""}`;
  }

  function columns(rows, sameAgreement) {
    const printed = rows.some((c) => c.paper !== null);
    return [
      { title: "Contrast", kind: "first", value: title, show: opener, text: title },
      { title: "On", value: where, text: (c) => `${where(c)} ${c.metric}`,
        show: (c) => el("span", {}, where(c), small(c.metric), stampOf(c)) },
      { title: "Finding", value: (c) => c.finding, text: (c) => `${c.finding} ${gateWords(c.gate)}`, show: finding },
      { title: "Effect [95 %]", kind: "n", first: "desc", value: (c) => c.effect, text: (c) => c.effect_text,
        show: (c) => c.effect_text },
      { title: "× margin", kind: "n", first: "asc", value: (c) => c.size, text: (c) => String(c.size ?? ""), show: bar },
      { title: "", visible: false, value: (c) => magnitude(c.size), text: () => "", show: () => "" },
      { title: "p", kind: "n", value: (c) => c.p, text: (c) => c.p_text, show: (c) => c.p_text },
      { title: "Paper’s effect", kind: "n", visible: printed, first: "desc", value: (c) => c.paper,
        text: (c) => c.paper_text, show: (c) => c.paper_text },
      { title: "Ours − paper", kind: "n", visible: printed, first: "desc", value: (c) => magnitude(c.difference),
        text: (c) => c.difference_text, show: (c) => c.difference_text },
      { title: "Agreement", visible: sameAgreement === null, value: (c) => c.agreement,
        text: (c) => `${c.agreement}: ${c.reason}`, show: (c) => el("span", {}, agreement(c.agreement), small(c.reason)) },
      { title: "Family", kind: "wrap", value: (c) => data.family.get(c.family).label,
        text: (c) => data.family.get(c.family).label, show: (c) => data.family.get(c.family).label },
    ];
  }

  function said(rows) {
    const sentences = [];
    const word = sharedAgreement(rows);
    if (word) sentences.push(`Agreement with the paper, for every row: ${word}.`);
    const untested = rows.filter((c) => c.paper !== null && c.difference !== null && c.agreement === "not comparable");
    if (untested.length) {
      sentences.push("Where ours and the paper’s are not comparable, “Ours − paper” says how far apart they are. It is no test.");
    }
    return sentences;
  }

  /* Show contrasts below `host`; `bare` leaves out what stands above a table. */
  function show(host, rows, name, bare) {
    const same = sharedAgreement(rows);
    const base = (c) => data.method.get(c.method).base;
    const made = GRID.make(host, {
      name, bare, rows, label: "contrasts", kind: "effects", columns: columns(rows, same), said: said(rows),
      order: [[5, "desc"]],
      filters: [
        { label: "Method", of: (c) => [label(c.method), label(c.reference)] },
        { label: "Base", of: base },
        { label: "Task", of: (c) => data.task.get(c.task) },
        { label: "Labels", of: (c) => c.fraction },
        { label: "Finding", of: (c) => c.finding },
        { label: "Agreement", of: (c) => c.agreement },
        { label: "Gate", of: (c) => gateWords(c.gate) || "no gate failed" },
        { label: "Family", of: (c) => data.family.get(c.family).label },
        { label: "Block", of: (c) => data.family.get(c.family).block },
      ],
    });
    return made;
  }

  function presets(made, rows) {
    const go = (order) => () => { made.clear(); made.table.order(order).draw(); };
    const buttons = [
      el("button", { type: "button", onclick: go([[5, "desc"]]) }, "Largest effect first"),
      el("button", { type: "button", onclick: go([[4, "asc"]]) }, "Worst first"),
      el("button", { type: "button", onclick: go([[4, "desc"]]) }, "Best first"),
    ];
    if (rows.some((c) => c.difference !== null)) {
      buttons.push(el("button", { type: "button", onclick: go([[8, "desc"]]) }, "Farthest from the paper first"));
    }
    return el("div", { class: "presets", role: "group", "aria-label": "Order of the effects" }, buttons);
  }

  function detail(c) {
    const both = data.detail_headings.map((name, place) => [name, c.details[place]]);
    const paper = [["Paper’s effect", c.paper_text], ["Ours − paper", c.difference_text],
      ["Agreement", `${c.agreement}${c.reason ? `: ${c.reason}` : ""}`]];
    return {
      title: `${title(c)}, ${where(c)}`,
      body: [
        el("p", {}, finding(c), " ", c.effect_text, ` (${c.metric})`, unseen("."), stampOf(c)),
        c.why ? el("p", { class: "small" }, c.why) : "",
        el("p", { class: "links" }, [c.method, c.reference].filter((name) => data.cellOf(c, name)).map((name) =>
          el("button", { type: "button", "data-open": data.cellOf(c, name).anchor }, `Trials of ${label(name)}`))),
        PAGE.pairs([["Family", data.family.get(c.family).label],
          ...(c.details.every((text) => text === "") ? [] : both), ...paper]),
      ],
    };
  }

  return { show, presets, detail, finding, agreement, label, title, opener, shared, sharedAgreement };
})();
