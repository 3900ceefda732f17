/* What a pretraining recorded, a small picture a quantity: steps to the right, training dashed, validation solid. */
const CURVES = (() => {
  const { data, el } = PAGE;
  const SPACE = "http:" + "//www.w3.org/2000/svg";
  const WIDE = 300;
  const HIGH = 130;
  const EDGE = { left: 50, right: 8, top: 8, bottom: 26 };

  function shape(tag, attributes, text) {
    const made = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  const short = (value) => String(Number(value.toPrecision(3)));

  function picture(quantity, lines) {
    const steps = lines.flatMap((line) => line.steps);
    const values = lines.flatMap((line) => line.values);
    const [x0, x1, y0, y1] = [Math.min(...steps), Math.max(...steps), Math.min(...values), Math.max(...values)];
    const x = (step) => EDGE.left + ((step - x0) / (x1 - x0 || 1)) * (WIDE - EDGE.left - EDGE.right);
    const y = (value) => HIGH - EDGE.bottom - ((value - y0) / (y1 - y0 || 1)) * (HIGH - EDGE.top - EDGE.bottom);
    const last = lines.map((line) => `${line.side} ${short(line.values.at(-1))}`).join(", ");
    const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${quantity}, last: ${last}` });
    const base = HIGH - EDGE.bottom;
    svg.append(shape("path", { class: "axis", d: `M${EDGE.left} ${EDGE.top}V${base}H${WIDE - EDGE.right}` }),
      shape("text", { x: EDGE.left - 4, y: EDGE.top + 6, "text-anchor": "end" }, short(y1)),
      shape("text", { x: EDGE.left - 4, y: base, "text-anchor": "end" }, short(y0)),
      shape("text", { x: EDGE.left, y: HIGH - 12 }, `step ${x0}`),
      shape("text", { x: WIDE - EDGE.right, y: HIGH - 12, "text-anchor": "end" }, String(x1)));
    for (const line of lines) {
      const points = line.steps.map((step, place) => `${x(step).toFixed(1)},${y(line.values[place]).toFixed(1)}`);
      svg.append(points.length > 1 ? shape("polyline", { class: line.side, points: points.join(" ") })
        : shape("circle", { class: line.side, r: 2.5, cx: x(line.steps[0]), cy: y(line.values[0]) }));
    }
    return el("figure", { class: "curve" }, el("figcaption", {}, quantity), svg);
  }

  function draw(method, seed) {
    const own = data.curves.filter((curve) => curve.method === method && (seed === undefined || curve.seed === seed));
    if (!own.length) return el("p", { class: "small" }, "This method has no pretraining of its own, so no curve is recorded.");
    const grouped = new Map();
    const parted = own.some((curve) => !curve.name.endsWith(" total"));
    for (const curve of own) {
      if (parted && curve.name.endsWith(" total")) continue; // it follows from its parts
      const [side, ...rest] = curve.name.split(" ");
      const name = `${curve.phase}: ${rest.join(" ") || "loss"}${seed === undefined && curve.seed ? `, pretraining ${curve.seed}` : ""}`;
      grouped.set(name, [...(grouped.get(name) || []), { ...curve, side }]);
    }
    return el("div", { class: "curves" }, el("p", { class: "small" }, "Training dashed, validation solid."),
      [...grouped].map(([name, lines]) => picture(name, lines)));
  }

  return { draw };
})();
