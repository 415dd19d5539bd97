// @ts-check
/** The lineage of a model as a graph: what it was made from, down to pairs, verdicts and people.
 *
 * Nodes are links: a model leads to its page, data leads to all that is known of it in the list below, which says the
 * same as the graph in words. On a wide screen the graph runs from left to right in columns; on a narrow one from top
 * to bottom, one node a line, with the ways between them at the left edge. */

import { path } from "./api.js";
import { debounce, el, shortName } from "./dom.js";
import { lineageList } from "./lineage_list.js";
import { dataLines, isModel, modelLines } from "./lineage_words.js";

/** @typedef {{key: string, kind: "model" | "data", name: string, made: any, source: any, rank: number, box: any, from: Edge[]}} GraphNode */
/** @typedef {{from: string, role: string}} Edge */

const SVG = "http://www.w3.org/2000/svg";
const GAP = 52;
const ROW_GAP = 18;
const WIDEST = 250;
const NARROWEST = 150;
const LANE = 12;
const PASSING = 6;
const PADDING = 8; // of the frame, both sides

/** The nodes by key, each model and each piece of data once, however often the tree names it. @param {any} root */
export function graphOf(root) {
  /** @type {Map<string, GraphNode>} */
  const nodes = new Map();
  /** @param {string} key @param {"model" | "data"} kind @param {string} name */
  const node = (key, kind, name) => {
    const found = nodes.get(key) ?? { key, kind, name, made: null, source: null, rank: 0, box: null, from: [] };
    nodes.set(key, found);
    return found;
  };
  /** @param {GraphNode} to @param {string} from @param {string} role */
  const link = (to, from, role) => {
    if (from !== to.key && !to.from.some((edge) => edge.from === from && edge.role === role)) to.from.push({ from, role });
  };
  /** @param {any} made */
  const grow = (made) => {
    const here = node(`model ${made.name}`, "model", made.name);
    if (!here.made || here.made.is_repeated) here.made = made;
    for (const source of made.inputs) {
      const own = source.models.find((/** @type {any} */ each) => each.name === source.name);
      if (own || isModel(source)) {
        node(`model ${source.name}`, "model", source.name);
        link(here, `model ${source.name}`, source.role);
        if (own) grow(own);
        continue;
      }
      const key = `data ${source.name} ${source.content_hash}`;
      const data = node(key, "data", source.name);
      data.source = source;
      link(here, key, source.role);
      for (const judged of source.models) {
        link(data, `model ${judged.name}`, "answers");
        grow(judged);
      }
    }
    return here;
  };
  grow(root);
  rank(nodes);
  return nodes;
}

/** How far each node is from where it all began. @param {Map<string, GraphNode>} nodes */
function rank(nodes) {
  const open = new Set();
  /** @param {GraphNode} one @returns {number} */
  const depth = (one) => {
    if (open.has(one.key)) return 0; // a model made anew on verdicts on its own answers
    open.add(one.key);
    one.rank = one.from.length ? 1 + Math.max(...one.from.map((edge) => depth(/** @type {GraphNode} */ (nodes.get(edge.from))))) : 0;
    open.delete(one.key);
    return one.rank;
  };
  for (const one of nodes.values()) depth(one);
  for (const one of nodes.values()) { // what comes from nowhere stands just before what it is used for
    const used = [...nodes.values()].filter((other) => other.from.some((edge) => edge.from === one.key));
    if (!one.from.length && used.length) one.rank = Math.min(...used.map((other) => other.rank)) - 1;
  }
}

/** @param {GraphNode} one @param {string} root @param {(key: string) => void} tell */
function box(one, root, tell) {
  const lines = one.kind === "model" ? modelLines(one.made, one.name) : dataLines(one.source);
  const inside = [el("span", { class: "node-name wrap" }, shortName(one.name)), ...lines.map((line) => el("span", { class: `node-line ${line.kind ?? ""}` }, line.text))];
  const isHere = one.kind === "model" && one.name === root;
  const properties = { class: `node ${one.kind}${isHere ? " here" : ""}`, dataset: { key: one.key } };
  if (one.kind === "data") return el("a", { ...properties, href: "#lineage-list", onclick: (/** @type {Event} */ event) => { event.preventDefault(); tell(one.key); } }, inside);
  const href = one.name.includes("/") ? null : path`/models/${one.name}`; // of a folder or a hub there is no page
  return el("a", { ...properties, href, "aria-current": isHere ? "page" : null }, inside);
}

/** Draw into `place`. @param {HTMLElement} place @param {any} made */
export function drawLineage(place, made) {
  const nodes = graphOf(made);
  const list = lineageList(made);
  const canvas = el("div", { class: "lineage" });
  const order = [...nodes.values()].sort((a, b) => a.rank - b.rank);
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("aria-hidden", "true");
  canvas.append(lines, ...order.map((one) => (one.box = box(one, made.name, list.tell))));
  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => step(event, order));
  const figure = el("div", { class: "scroll lineage-frame", role: "group", "aria-label": `What ${made.name} was made from, as a graph; the same as a list below` }, canvas);
  place.replaceChildren(figure,
    el("p", { class: "small dim legend" }, ["base", "started from", "", "learned from", "answers", "its answers were judged"].flatMap((text, index, all) => (index % 2 ? [el("span", { class: "nowrap" }, el("span", { class: `stroke ${all[index - 1]}` }), text)] : []))),
    list.node);
  const layout = () => arrange(canvas, lines, order);
  new ResizeObserver(debounce(layout, 50)).observe(place);
  layout();
}

// Where nodes stand ---------------------------------------------------------------------------------------------------

/** @param {HTMLElement} canvas @param {SVGElement} lines @param {GraphNode[]} order */
function arrange(canvas, lines, order) {
  const width = (canvas.parentElement?.clientWidth ?? PADDING) - PADDING;
  const columns = Math.max(...order.map((one) => one.rank)) + 1;
  const room = Math.floor((width - GAP * (columns - 1)) / columns);
  const narrow = room < NARROWEST;
  canvas.classList.toggle("narrow", narrow);
  lines.replaceChildren();
  if (narrow) stack(canvas, lines, order, width);
  else spread(canvas, lines, order, Math.min(room, WIDEST));
}

/** @typedef {{key: string, rank: number, height: number, box: any, from: string[]}} Slot */

/** The nodes' places in the columns, and for a way that leads past a column a place there to lead through.
 * @param {GraphNode[]} order @returns {{slots: Slot[], ways: {role: string, through: string[]}[]}} */
function slotsOf(order) {
  const slots = order.map((one) => /** @type {Slot} */ ({ key: one.key, rank: one.rank, height: one.box.offsetHeight, box: one.box, from: [] }));
  const byKey = new Map(slots.map((slot) => [slot.key, slot]));
  const ways = [];
  for (const one of order) {
    for (const edge of one.from) {
      const start = byKey.get(edge.from);
      if (!start) continue;
      const through = [start.key];
      for (let number = start.rank + 1; number < one.rank; number += 1) {
        const key = `${edge.from} ${edge.role} ${one.key} ${number}`;
        const passing = { key, rank: number, height: PASSING, box: null, from: [through[through.length - 1]] };
        slots.push(passing);
        through.push(key);
      }
      byKey.get(one.key)?.from.push(through[through.length - 1]);
      ways.push({ role: edge.role, through: [...through, one.key] });
    }
  }
  return { slots, ways };
}

/** In columns, from left to right. @param {HTMLElement} canvas @param {SVGElement} lines @param {GraphNode[]} order @param {number} wide */
function spread(canvas, lines, order, wide) {
  for (const one of order) one.box.style.width = `${wide}px`;
  const { slots, ways } = slotsOf(order);
  /** @type {Slot[][]} */
  const columns = [];
  for (const slot of slots) (columns[slot.rank] ??= []).push(slot);
  const heights = columns.map((column) => column.reduce((sum, slot) => sum + slot.height, ROW_GAP * (column.length - 1)));
  const high = Math.max(...heights);
  /** @type {Map<string, {x: number, y: number}>} */
  const places = new Map();
  columns.forEach((column, number) => {
    column.sort((a, b) => middle(a, places) - middle(b, places));
    let top = (high - heights[number]) / 2;
    for (const slot of column) {
      const x = number * (wide + GAP);
      if (slot.box) {
        slot.box.style.left = `${x}px`;
        slot.box.style.top = `${top}px`;
      }
      places.set(slot.key, { x, y: top + slot.height / 2 });
      top += slot.height + ROW_GAP;
    }
  });
  size(canvas, lines, columns.length * (wide + GAP) - GAP, high);
  const arriving = new Map(slots.map((slot) => [slot.key, slot.from.length]));
  const arrived = new Map();
  for (const way of ways) {
    const last = way.through[way.through.length - 1];
    const number = arrived.get(last) ?? 0;
    arrived.set(last, number + 1);
    lead(lines, way, places, wide, (number - ((arriving.get(last) ?? 1) - 1) / 2) * 9);
  }
}

/** @param {SVGElement} lines @param {{role: string, through: string[]}} way @param {Map<string, {x: number, y: number}>} places @param {number} wide @param {number} aside how far from the middle it arrives */
function lead(lines, way, places, wide, aside) {
  const points = way.through.map((key) => /** @type {{x: number, y: number}} */ (places.get(key)));
  let drawn = `M${points[0].x + wide} ${points[0].y}`;
  points.slice(1).forEach((to, index) => {
    const from = points[index];
    const isLast = index === points.length - 2;
    const [end, y] = isLast ? [to.x - 7, to.y + aside] : [to.x, to.y];
    const bend = Math.max(GAP / 2, (to.x - from.x - wide) / 2);
    drawn += `C${from.x + wide + bend} ${from.y} ${to.x - bend} ${y} ${end} ${y}`;
    if (!isLast) drawn += `H${to.x + wide}`;
  });
  line(lines, drawn, way.role);
  const to = points[points.length - 1];
  arrow(lines, to.x, to.y + aside, way.role);
}

/** The mean height of what a node comes from. @param {Slot} slot @param {Map<string, {y: number}>} places */
function middle(slot, places) {
  const known = slot.from.map((key) => places.get(key)?.y).filter((y) => y !== undefined);
  return known.length ? known.reduce((sum, y) => sum + y, 0) / known.length : 0;
}

/** One below the other, ways at the left edge. @param {HTMLElement} canvas @param {SVGElement} lines @param {GraphNode[]} order @param {number} width */
function stack(canvas, lines, order, width) {
  const edges = order.flatMap((one, index) => one.from.map((edge) => ({ role: edge.role, start: order.findIndex((other) => other.key === edge.from), end: index })));
  edges.sort((a, b) => a.end - a.start - (b.end - b.start));
  /** @type {{start: number, end: number}[][]} */
  const lanes = [];
  const placed = edges.map((edge) => {
    let lane = lanes.findIndex((taken) => taken.every((other) => edge.end <= other.start || edge.start >= other.end));
    if (lane < 0) lane = lanes.push([]) - 1;
    lanes[lane].push(edge);
    return { ...edge, lane };
  });
  const gutter = 14 + lanes.length * LANE;
  let top = 0;
  /** @type {number[]} */
  const middles = [];
  for (const one of order) {
    one.box.style.width = `${width - gutter}px`;
    one.box.style.left = `${gutter}px`;
    one.box.style.top = `${top}px`;
    const height = one.box.offsetHeight;
    middles.push(top + height / 2);
    top += height + ROW_GAP;
  }
  size(canvas, lines, width, top - ROW_GAP);
  for (const edge of placed) {
    const x = gutter - 12 - edge.lane * LANE;
    const [from, to] = [middles[edge.start] + 4, middles[edge.end] - 4];
    line(lines, `M${gutter} ${from}H${x + 6}Q${x} ${from} ${x} ${from + 6}V${to - 6}Q${x} ${to} ${x + 6} ${to}H${gutter - 7}`, edge.role);
    arrow(lines, gutter, to, edge.role);
  }
}

/** @param {HTMLElement} canvas @param {SVGElement} lines @param {number} width @param {number} height */
function size(canvas, lines, width, height) {
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  lines.setAttribute("width", String(width));
  lines.setAttribute("height", String(height));
}

/** @param {SVGElement} lines @param {string} way @param {string} role */
function line(lines, way, role) {
  const drawn = document.createElementNS(SVG, "path");
  drawn.setAttribute("d", way);
  drawn.setAttribute("class", `edge ${role === "base" ? "base" : role === "answers" ? "answers" : ""}`);
  lines.append(drawn);
}

/** @param {SVGElement} lines @param {number} x @param {number} y @param {string} role */
function arrow(lines, x, y, role) {
  const drawn = document.createElementNS(SVG, "path");
  drawn.setAttribute("d", `M${x - 1} ${y}l-8 -4.5v9z`);
  drawn.setAttribute("class", `head ${role === "base" ? "base" : ""}`);
  lines.append(drawn);
}

// By keyboard ---------------------------------------------------------------------------------------------------------

/** Arrow keys go to the nearest node on that side. @param {KeyboardEvent} event @param {GraphNode[]} order */
function step(event, order) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const way = ways[/** @type {keyof typeof ways} */ (event.key)];
  const here = order.find((one) => one.box === document.activeElement);
  if (!way || !here) return;
  event.preventDefault();
  const centre = (/** @type {GraphNode} */ one) => [one.box.offsetLeft + one.box.offsetWidth / 2, one.box.offsetTop + one.box.offsetHeight / 2];
  const [x, y] = centre(here);
  const distances = order.filter((one) => one !== here).map((one) => {
    const [dx, dy] = [centre(one)[0] - x, centre(one)[1] - y];
    const ahead = dx * way[0] + dy * way[1];
    return { one, far: ahead <= 1 ? Infinity : ahead + 2 * Math.abs(dx * way[1] + dy * way[0]) };
  });
  const nearest = distances.reduce((best, each) => (each.far < best.far ? each : best), { one: here, far: Infinity });
  nearest.one.box.focus();
}
