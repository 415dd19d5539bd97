"use strict";
// Filters the prompts and reads values off the charts. The page is complete without it.

const cases = [...document.querySelectorAll(".case")];
const texts = cases.map((element) => element.textContent.toLowerCase());
const byId = (id) => document.getElementById(id);
const search = byId("search"), category = byId("category"), flag = byId("flag");

function applyFilters() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  cases.forEach((element, i) => {
    const visible =
      words.every((word) => texts[i].includes(word)) &&
      (!category || !category.value || element.dataset.category === category.value) &&
      (!flag || !flag.value || element.dataset.flags.split("|").includes(flag.value));
    element.hidden = !visible;
    shown += visible;
  });
  const noun = cases.length === 1 ? "prompt" : "prompts";
  byId("count").textContent = shown === cases.length ? `${shown} ${noun}` : `${shown} of ${cases.length} ${noun}`;
  document.querySelector(".nothing").hidden = shown > 0;
}

function setUpFilters() {
  const form = document.querySelector(".filters");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  [search, category, flag].forEach((control) => control && control.addEventListener("input", applyFilters));
  const button = byId("references");
  const references = [...document.querySelectorAll(".reference")];
  button.hidden = references.length === 0;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Hide references" : "Show references";
    references.forEach((element) => { element.open = open; });
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    }
  });
  applyFilters();
}

function setUpChart(plot) {
  const lines = JSON.parse(plot.dataset.lines);
  const [low, high] = plot.dataset.range.split(" ").map(Number);
  const readout = plot.closest("figure").querySelector(".readout");
  const cursor = plot.querySelector(".cursor");
  const steps = [...new Set(lines.flatMap(([, points]) => points.map(([x]) => x)))].sort((a, b) => a - b);
  let at = steps.length - 1;

  function nearest(points, step) {
    return points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
  }
  function show(index) {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const x = ((steps[at] - low) / (high - low)) * 1000;
    cursor.setAttribute("d", `M${x} 0V400`);
    cursor.setAttribute("visibility", "visible");
    const values = lines.map(([name, points]) => {
      const [step, value] = nearest(points, steps[at]);
      return `${name} ${value}` + (step === steps[at] ? "" : ` (step ${step})`);
    });
    readout.textContent = `Step ${steps[at]}: ${values.join(" · ")}`;
  }
  function hide() {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = "";
  }
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const step = low + ((event.clientX - box.left) / box.width) * (high - low);
    show(steps.indexOf(nearest(steps.map((x) => [x]), step)[0]));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("focus", () => show(at));
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 };
    if (event.key in moves) {
      event.preventDefault();
      show(moves[event.key]);
    }
  });
}

setUpFilters();
document.querySelectorAll(".plot").forEach(setUpChart);
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((element) => { element.open = true; }));
