// @ts-check
/** Line charts as SVG: axes with round numbers, a legend, a read-out for pointer and keyboard, smoothing, a logarithmic
 * scale, a band, gaps where there is no number, and a table with the same values.
 *
 *     const one = chart({ title: "How wrong it still is", term: "loss", unit: "" });
 *     place.append(one.node);
 *     one.show([{ label: "training", steps, values }], { smooth: true, log: false });
 *
 * Curves differ in colour and in dashes, so that nobody needs to tell colours apart. */

import { el, fill } from "./dom.js";

/** @typedef {{label: string, steps: number[], values: (number | null)[], low?: (number | null)[], high?: (number | null)[]}} Curve */
/** @typedef {{smooth: boolean, log: boolean}} View */
/** @typedef {{left: number, right: number, top: number, bottom: number, width: number, height: number, x: (step: number) => number, y: (value: number) => number, xs: number[], ys: number[]}} Frame */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 210;
const TABLE_ROWS = 60;
const KEEP = 0.9; // of the mean so far, when smoothing

/** @param {string} tag @param {Record<string, string | number>} [props] @param {...(Node | string)} children @returns {any} */
function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** A number as people read it: 6.28, 12,300, 2.1e-5. @param {number | null | undefined} value */
export function shown(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size > 0 && size < 0.001) return value.toExponential(1).replace("e-", "e−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** About `count` round numbers from `low` to `high`. @param {number} low @param {number} high @param {number} count */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw * 0.999) ?? raw;
  const found = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number += 1) found.push(number * step);
  return found;
}

/** Powers of ten between, with 2 and 5 where these are few. @param {number} low @param {number} high */
function logTicks(low, high) {
  const found = [];
  const few = Math.log10(high / low) < 2;
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const digit of few ? [1, 2, 5] : [1]) found.push(digit * 10 ** power);
  }
  const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  return inside.length > 1 ? inside : ticks(low, high, 4);
}

/** A running mean in which every value counts less the older it is. @param {(number | null)[]} values */
export function smoothed(values) {
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = KEEP * sum + (1 - KEEP) * value;
    weight = KEEP * weight + (1 - KEEP);
    return sum / weight;
  });
}

/** @param {Curve[]} curves @param {boolean} log @param {number} width @returns {Frame | null} */
function frame(curves, log, width) {
  const steps = curves.flatMap((curve) => [curve.steps[0], curve.steps[curve.steps.length - 1]]).filter((step) => step !== undefined);
  let low = Infinity;
  let high = -Infinity;
  for (const curve of curves) {
    for (const value of [...curve.values, ...(curve.low ?? []), ...(curve.high ?? [])]) {
      if (value === null || (log && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (!steps.length || low > high) return null;
  if (high - low < Math.abs(high) * 1e-9 + 1e-12) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  const pad = log ? 0 : (high - low) * 0.06;
  [low, high] = [low - pad, high + pad];
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const span = { left: 52, right: 10, top: 8, bottom: 26, width, height: HEIGHT };
  const inner = { w: width - span.left - span.right, h: HEIGHT - span.top - span.bottom };
  const at = (/** @type {number} */ value) => (log ? (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (value - low) / (high - low));
  return {
    ...span,
    x: (step) => span.left + (last > first ? ((step - first) / (last - first)) * inner.w : inner.w / 2),
    y: (value) => span.top + (1 - at(value)) * inner.h,
    xs: last > first ? ticks(first, last, width < 400 ? 4 : 7).filter((step) => Number.isInteger(step)) : [first],
    ys: log ? logTicks(low, high) : ticks(low, high, 4),
  };
}

/** @param {number[]} steps @param {(number | null)[]} values @param {Frame} area @param {boolean} log */
function line(steps, values, area, log) {
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    const step = steps[index];
    if (value === null || value === undefined || step === undefined || (log && value <= 0)) pen = "M";
    else {
      path += `${pen}${area.x(step).toFixed(1)} ${area.y(value).toFixed(1)}`;
      pen = "L";
    }
  });
  return path;
}

/** @param {Curve} curve @param {Frame} area @param {boolean} log */
function band(curve, area, log) {
  const points = curve.steps.map((step, index) => ({ step, low: curve.low?.[index] ?? null, high: curve.high?.[index] ?? null }));
  const known = points.filter((each) => each.low !== null && each.high !== null && !(log && each.low <= 0));
  const there = known.map((each) => `${area.x(each.step).toFixed(1)} ${area.y(Number(each.high)).toFixed(1)}`);
  const back = known.reverse().map((each) => `${area.x(each.step).toFixed(1)} ${area.y(Number(each.low)).toFixed(1)}`);
  return there.length > 1 ? `M${[...there, ...back].join("L")}Z` : "";
}

/** What a curve has at a step, or at the last one before it. @param {Curve} curve @param {number} step */
function valueAt(curve, step) {
  for (let index = curve.steps.length - 1; index >= 0; index -= 1) if (Number(curve.steps[index]) <= step) return curve.values[index] ?? null;
  return null;
}

/** A small curve without axes, for lists. @param {number[]} values @param {string} label */
export function spark(values, label) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const path = values.map((value, index) => `${index ? "L" : "M"}${((index / Math.max(values.length - 1, 1)) * 96 + 2).toFixed(1)} ${(high > low ? 22 - ((value - low) / (high - low)) * 20 : 12).toFixed(1)}`).join("");
  return svg("svg", { class: "spark", viewBox: "0 0 100 24", role: "img", "aria-label": label }, svg("path", { d: values.length > 1 ? path : "", class: "curve curve-0" }));
}

/** @param {{title: string, term?: string, unit?: string, help?: string}} about */
export function chart(about) {
  /** @type {Curve[]} */
  let curves = [];
  /** @type {View} */
  let view = { smooth: false, log: false };
  /** @type {Frame | null} */
  let area = null;
  let drawing = 0;
  let place = -1;
  const readout = el("p", { class: "readout small" });
  const legend = el("p", { class: "legend small" });
  const canvas = svg("svg", { "aria-hidden": "true", focusable: "false" });
  const stage = el("div", { class: "stage", tabindex: "0", role: "group" }, canvas);
  const table = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${about.title}: the numbers` });
  const details = el("details", { class: "small" }, el("summary", {}, "As a table"), table);
  const heading = el("h3", {}, about.title, about.term ? el("small", { class: "dim" }, ` (${about.term})`) : null);
  const node = el("figure", { class: "chart card" }, heading, about.help ? el("p", { class: "small dim" }, about.help) : null, readout, stage, legend, details);

  const allSteps = () => [...new Set(curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);

  function draw() {
    drawing = 0;
    const log = view.log && curves.some((curve) => curve.values.some((value) => value !== null && value > 0));
    const width = Math.max(stage.clientWidth, 200);
    area = frame(curves, log, width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    canvas.replaceChildren();
    if (!area) {
      stage.setAttribute("aria-label", `${about.title}: nothing yet`);
      readout.textContent = "nothing yet";
      return;
    }
    const now = area;
    for (const value of now.ys) {
      canvas.append(svg("line", { class: "rule", x1: now.left, x2: width - now.right, y1: now.y(value), y2: now.y(value) }));
      canvas.append(svg("text", { class: "tick", x: now.left - 6, y: now.y(value) + 4, "text-anchor": "end" }, shown(value)));
    }
    for (const step of now.xs) canvas.append(svg("text", { class: "tick", x: now.x(step), y: HEIGHT - 8, "text-anchor": "middle" }, shown(step)));
    curves.forEach((curve, index) => {
      if (curve.low) canvas.append(svg("path", { class: `band band-${index % 4}`, d: band(curve, now, log) }));
      if (view.smooth) canvas.append(svg("path", { class: `curve curve-${index % 4} faint`, d: line(curve.steps, curve.values, now, log) }));
      canvas.append(svg("path", { class: `curve curve-${index % 4}`, d: line(curve.steps, view.smooth ? smoothed(curve.values) : curve.values, now, log) }));
      if (curve.steps.length === 1 && curve.values[0] !== null) canvas.append(svg("circle", { class: `dot dot-${index % 4}`, cx: now.x(Number(curve.steps[0])), cy: now.y(Number(curve.values[0])), r: 3 }));
    });
    fill(legend, curves.length > 1 ? curves.map((curve, index) => el("span", { class: "key" }, svg("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { class: `curve curve-${index % 4}`, d: "M0 4L24 4" })), curve.label)) : []);
    stage.setAttribute("aria-label", summary());
    point(place);
    if (details.open) tabulate();
  }

  function summary() {
    const parts = curves.map((curve) => `${curve.label} from ${shown(curve.values[0])} at step ${curve.steps[0] ?? "–"} to ${shown(curve.values[curve.values.length - 1])} at step ${curve.steps[curve.steps.length - 1] ?? "–"}`);
    return `${about.title}: ${parts.join("; ")}. Left and right arrows read values.`;
  }

  /** Read out the values at a place among the steps; −1 is the last. @param {number} wanted */
  function point(wanted) {
    const steps = allSteps();
    place = wanted < 0 || wanted >= steps.length ? -1 : wanted;
    const step = steps[place < 0 ? steps.length - 1 : place];
    if (step === undefined || !area) return;
    readout.textContent = `step ${step.toLocaleString("en")}: ${curves.map((curve) => `${curves.length > 1 ? `${curve.label} ` : ""}${shown(valueAt(curve, step))}`).join(", ")}${about.unit ? ` ${about.unit}` : ""}`;
    canvas.querySelectorAll(".cursor").forEach((/** @type {Element} */ each) => each.remove());
    if (place >= 0) canvas.append(svg("line", { class: "cursor", x1: area.x(step), x2: area.x(step), y1: area.top, y2: HEIGHT - area.bottom }));
  }

  function tabulate() {
    const steps = allSteps();
    const every = Math.max(1, Math.ceil(steps.length / TABLE_ROWS));
    const rows = steps.filter((_, index) => index % every === 0 || index === steps.length - 1);
    const cells = (/** @type {number} */ step) => curves.map((curve) => el("td", { class: "num" }, shown(curve.steps.includes(step) ? valueAt(curve, step) : null)));
    fill(table, el("table", { class: "table" }, el("thead", {}, el("tr", {}, el("th", { class: "num", scope: "col" }, "step"), curves.map((curve) => el("th", { class: "num", scope: "col" }, curve.label)))), el("tbody", {}, rows.map((step) => el("tr", {}, el("td", { class: "num" }, step.toLocaleString("en")), cells(step))))));
  }

  details.addEventListener("toggle", () => details.open && tabulate());
  stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const now = area;
    if (!now) return;
    const x = event.clientX - stage.getBoundingClientRect().left;
    const steps = allSteps();
    let best = 0;
    steps.forEach((step, index) => { if (Math.abs(now.x(step) - x) < Math.abs(now.x(Number(steps[best])) - x)) best = index; });
    point(best);
  });
  stage.addEventListener("pointerleave", () => point(-1));
  stage.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  stage.addEventListener("blur", () => { readout.removeAttribute("aria-live"); point(-1); });
  stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const last = allSteps().length - 1;
    const here = place < 0 ? last : place;
    const move = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - 10, PageDown: here + 10, Home: 0, End: last }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    point(Math.max(0, Math.min(last, move)));
  });
  const again = () => { if (!drawing) drawing = requestAnimationFrame(draw); };
  new ResizeObserver(again).observe(stage);

  return {
    node,
    /** Show these curves. @param {Curve[]} shownCurves @param {View} [how] */
    show(shownCurves, how = view) {
      curves = shownCurves;
      view = how;
      again();
    },
  };
}
