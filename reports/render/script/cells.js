/* The list of cells, one cell with its trials, and one trial with its record, command and curve. */
const CELLS = (() => {
  const { data, el, small, where, gateWords, stampOf, command, plainTable } = PAGE;
  const label = (cell) => CONTRASTS.label(cell.method);
  const first = (cell) => cell.summaries[0];
  const done = (cell) => cell.done || (first(cell).n ? `all ${first(cell).n}` : "none");

  function show(host) {
    const rows = data.cells;
    const printed = rows.some((cell) => first(cell).paper !== null);
    const title = (cell) => label(cell);
    const column = (name, kind, field, value) => ({
      title: name, kind, first: "desc", value: (cell) => first(cell)[value], text: (cell) => first(cell)[field],
      show: (cell) => first(cell)[field],
    });
    return GRID.make(host, {
      name: "cells", label: "cells", rows, kind: "cells", hint: "Number or name",
      columns: [
        { title: "Method", kind: "first", value: title, text: title,
          show: (cell) => el("span", {}, el("button", { type: "button", class: "open", "data-open": cell.anchor }, label(cell)),
            small(gateWords(cell.gate), "unlearnt")) },
        { title: "On", value: where, text: where, show: (cell) => el("span", {}, where(cell), stampOf(cell)) },
        { title: "Labels", value: (cell) => parseFloat(cell.fraction), text: (cell) => cell.labels || cell.fraction,
          show: (cell) => cell.labels || cell.fraction },
        { title: "Metric", value: (cell) => first(cell).metric, text: (cell) => first(cell).metric,
          show: (cell) => first(cell).metric },
        column("Mean ± sd", "n", "text", "mean"), column("95 % over runs", "n", "runs", "mean"),
        { title: "Trials", kind: "n", value: (cell) => first(cell).n, text: done, show: done },
        { ...column("Paper", "n", "paper_text", "paper"), visible: printed },
        { ...column("Ours − paper", "n", "difference_text", "difference"), visible: printed,
          value: (cell) => (first(cell).difference === null ? null : Math.abs(first(cell).difference)) },
        { title: "Gate", value: (cell) => cell.gate, text: (cell) => cell.gate, show: (cell) => cell.gate || PAGE.NONE },
        { title: "Notes", kind: "wrap", value: (cell) => first(cell).notes, text: (cell) => first(cell).notes,
          show: (cell) => first(cell).notes },
      ],
      filters: [
        { label: "Method", of: label },
        { label: "Base", of: (cell) => data.method.get(cell.method).base },
        { label: "Task", of: (cell) => data.task.get(cell.task) },
        { label: "Labels", of: (cell) => cell.fraction },
        { label: "Agreement", of: (cell) => first(cell).agreement },
        { label: "Gate", of: (cell) => cell.gate },
      ],
    });
  }

  /* What all metrics share is said once; a column that says nothing is left out. */
  function summaries(cell) {
    const agreement = (s) => (s.reason ? `${s.agreement}: ${s.reason}` : s.agreement);
    const same = CONTRASTS.shared(cell.summaries, agreement);
    const columns = [
      ["Metric", (s) => s.metric], ["n", (s) => String(s.n)], ["Mean ± sd", (s) => s.text],
      ["sd (ddof 0)", (s) => s.population], ["95 % over runs", (s) => s.runs], ["95 % over patients", (s) => s.patients],
      ["Paper", (s) => (s.place ? `${s.paper_text} (${s.place})` : s.paper_text)],
      ["Ours − paper", (s) => s.difference_text], ["Agreement", same === null ? agreement : () => ""], ["Notes", (s) => s.notes],
    ].filter(([, of]) => cell.summaries.some((s) => !["", PAGE.NONE].includes(of(s))));
    return [same ? el("p", { class: "said" }, `Agreement with the paper: ${same}.`) : "",
      plainTable(columns.map(([name]) => name), cell.summaries.map((s) => columns.map(([, of]) => of(s))), "Metrics")];
  }
  const rerun = (id) => `dira-bench run --profile ${data.profile} --trial ${id}`;

  /* The places of the metrics that any trial of a cell has: a column that says nothing would push others out of sight. */
  const measured = (cell) => [...cell.metrics.keys()].filter((place) => cell.trials.some((t) => t.values[place] !== PAGE.NONE));

  function trialRow(cell, trial, seeds) {
    const name = trial.id
      ? el("button", { type: "button", class: "open", "data-open": `trial-${trial.id}` }, `Repeat ${trial.repeat}`)
      : `Repeat ${trial.repeat}`;
    const copy = trial.id ? el("button", { type: "button", class: "copy", "data-copy": rerun(trial.id) }, "Copy command") : "";
    const id = trial.id ? el("code", { title: trial.id }, trial.id.slice(0, 12)) : "";
    return [name, copy, ...(seeds ? [String(trial.seed)] : []), ...measured(cell).map((place) => trial.values[place]), trial.status, id];
  }
  function detail(cell) {
    const seeds = cell.trials.some((trial) => trial.seed > 0);
    const contrasts = data.contrasts.filter((c) => [c.method, c.reference].includes(cell.method)
      && c.task === cell.task && c.fraction === cell.fraction);
    return {
      title: `${label(cell)} on ${where(cell)}`,
      body: [
        el("p", {}, el("b", {}, first(cell).text), ` ${first(cell).metric}`, cell.done ? ` · ${cell.done} trials` : "",
          cell.labels ? ` · ${cell.labels}` : "", small(gateWords(cell.gate), "unlearnt"), stampOf(cell)),
        summaries(cell),
        el("h3", {}, "Trials"),
        cell.trials.length ? plainTable(["Trial", "Run it again", ...(seeds ? ["Pretraining"] : []), ...measured(cell).map((place) => cell.metrics[place]), "Status", "Id"],
          cell.trials.map((trial) => trialRow(cell, trial, seeds)), "Trials") : el("p", {}, "None was planned."),
        el("p", { class: "small" }, `Device: ${cell.device}. Each trial’s device, duration and software, by trial id: `,
          el("a", { href: `${data.provenance}/${cell.method}.csv` }, `provenance/${cell.method}.csv`), "."),
        contrasts.length ? el("details", {}, el("summary", {}, contrasts.length === 1 ? "Its contrast" : `Its ${contrasts.length} contrasts`),
          el("ul", {}, contrasts.map((c) => el("li", {}, CONTRASTS.opener(c), ` ${c.mark} ${c.finding}`)))) : "",
        el("details", {}, el("summary", {}, "Curves of its pretraining"), CURVES.draw(cell.method)),
      ],
    };
  }

  function trialDetail({ cell, trial }) {
    return {
      title: `${label(cell)} on ${where(cell)}, repeat ${trial.repeat}`,
      body: [
        el("p", { class: "links" }, el("button", { type: "button", "data-open": cell.anchor }, "All trials of this cell")),
        PAGE.pairs([...cell.metrics.map((name, place) => [name, trial.values[place]]), ["Status", trial.status],
          ["Pretraining seed", String(trial.seed)], ["Labelled training images", String(trial.labelled ?? "")],
          ["Cohort", trial.cohort], ["Id", trial.id]]),
        el("h3", {}, "Run just this one again"), command(rerun(trial.id)),
        el("h3", {}, "Print its whole record"), command(`dira-bench show ${trial.id}`),
        el("p", { class: "small" }, "Device, duration and software, by trial id: ",
          el("a", { href: `${data.provenance}/${cell.method}.csv` }, `provenance/${cell.method}.csv`), "."),
        el("h3", {}, "Curves of its pretraining"), CURVES.draw(cell.method, trial.seed),
      ],
    };
  }

  return { show, detail, trialDetail };
})();
