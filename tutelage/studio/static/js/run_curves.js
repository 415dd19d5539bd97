// @ts-check
/** The charts of one run: those that everybody reads, and all other metrics under "More curves". */

import { chart } from "./chart.js";
import { el } from "./dom.js";
import { keyHint } from "./keys.js";
import { NOT_DRAWN, PLOTS } from "./run_words.js";

/** @typedef {{steps: number[], values: (number | null)[]}} Series */

export class Curves {
  /** @param {HTMLElement} place @param {HTMLElement} more @param {HTMLElement} other @param {HTMLElement} tools @param {HTMLElement} empty */
  constructor(place, more, other, tools, empty) {
    this.place = place;
    this.more = more;
    this.other = other;
    this.empty = empty;
    /** @type {Map<string, Series>} */
    this.series = new Map();
    this.lastStep = 0;
    /** @type {Map<string, ReturnType<typeof chart>>} */
    this.charts = new Map();
    /** @type {import("./chart.js").View} */
    this.view = { smooth: false, log: false };
    /** @type {Record<string, any>} */
    this.boxes = {};
    for (const [key, text] of /** @type {[("smooth" | "log"), string][]} */ ([["smooth", "Smooth curves"], ["log", "Logarithmic scale"]])) {
      this.boxes[key] = el("input", { type: "checkbox", onchange: () => this.toggle(key, this.boxes[key].checked) });
      tools.append(el("label", { class: "check" }, this.boxes[key], text, el("kbd", {}, keyHint(key) || { smooth: "M", log: "L" }[key])));
    }
  }

  /** @param {"smooth" | "log"} key @param {boolean} [on] */
  toggle(key, on = !this.view[key]) {
    this.view = { ...this.view, [key]: on };
    this.boxes[key].checked = on;
    this.draw();
  }

  /** All curves anew. @param {Record<string, Series>} series @param {number} lastStep */
  set(series, lastStep) {
    this.series = new Map(Object.entries(series).map(([name, each]) => [name, { steps: [...each.steps], values: [...each.values] }]));
    this.lastStep = lastStep;
    this.draw();
  }

  /** New points; one of a step that is known already changes nothing. @param {{step: number, metrics: Record<string, number | null>}[]} points */
  add(points) {
    for (const { step, metrics } of points) {
      if (step <= this.lastStep) continue;
      this.lastStep = step;
      for (const [name, value] of Object.entries(metrics)) {
        const one = this.series.get(name) ?? { steps: [], values: [] };
        one.steps.push(step);
        one.values.push(value);
        this.series.set(name, one);
      }
    }
    this.draw();
  }

  draw() {
    this.empty.hidden = this.series.size > 0;
    const used = new Set(NOT_DRAWN);
    for (const plot of PLOTS) {
      const drawn = plot.curves.filter(([metric]) => this.series.has(metric));
      for (const [metric] of plot.curves) used.add(metric);
      const about = plot.practice && this.series.has("reward") ? { ...plot, ...plot.practice } : plot;
      if (drawn.length) this.show(this.place, PLOTS.indexOf(plot), plot.id, about, drawn.map(([metric, label]) => this.curve(metric, label, plot.band)));
    }
    const parts = [...this.series.keys()].filter((metric) => metric.startsWith("reward/"));
    if (parts.length > 1) this.show(this.place, 0, "parts", { title: "Score by part", term: "reward by component" }, parts.slice(0, 4).map((metric) => this.curve(metric, metric.slice(7))));
    const others = [...this.series.keys()].filter((metric) => !used.has(metric) && !(parts.length > 1 && parts.indexOf(metric) >= 0 && parts.indexOf(metric) < 4)).sort();
    this.other.hidden = !others.length;
    for (const metric of others) this.show(this.more, 0, metric, { title: metric.replaceAll("_", " ") }, [this.curve(metric, metric)]);
  }

  /** @param {string} metric @param {string} label @param {boolean} [band] @returns {import("./chart.js").Curve} */
  curve(metric, label, band = false) {
    const found = this.series.get(metric) ?? { steps: [], values: [] };
    if (!band || !this.series.has(`${metric}_low`)) return { label, ...found };
    return { label, ...found, low: this.series.get(`${metric}_low`)?.values ?? [], high: this.series.get(`${metric}_high`)?.values ?? [] };
  }

  /** @param {HTMLElement} place @param {number} order @param {string} id @param {{title: string, term?: string, unit?: string, help?: string}} about @param {import("./chart.js").Curve[]} lines */
  show(place, order, id, about, lines) {
    let one = this.charts.get(id);
    if (!one) {
      one = chart(about);
      one.node.dataset.chart = id;
      one.node.style.order = String(order);
      this.charts.set(id, one);
      place.append(one.node);
    }
    one.show(lines, this.view);
  }
}

