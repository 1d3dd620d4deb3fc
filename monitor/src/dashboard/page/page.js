"use strict";

// Time between two looks here, and the time that plots show, in milliseconds.
const EVERY = 2000;
const HOUR = 3600e3;
// Longer gaps between two looks are gaps in the line of a plot.
const GAP = 15e3;

const find = (id) => document.getElementById(id);

/** An element with these children; text is never read as HTML. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function makeSvg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const whole = (number) => Math.round(number).toLocaleString("en").replace(/,/g, " ");
const rate = (number) => (number >= 100 ? whole(number) : number.toFixed(1));
const orDash = (value, show) => (value === null || value === undefined ? "–" : show ? show(value) : String(value));

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([unit]) => seconds >= unit);
  if (at < 0) return "0 s";
  const [unit, name] = parts[at];
  const first = Math.floor(seconds / unit);
  if (at === 3) return `${first} ${name}`;
  const [nextUnit, nextName] = parts[at + 1];
  const second = Math.floor((seconds % unit) / nextUnit);
  return second && first < 10 ? `${first} ${name} ${second} ${nextName}` : `${first} ${name}`;
}

const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** The least of 2, 4, 6, 10, 20, … that is not below a number: half of it is whole, too. */
function ceiling(number) {
  if (!(number > 0)) return 2;
  const power = 10 ** Math.floor(Math.log10(number));
  return [2, 4, 6, 10].map((step) => step * power).find((step) => step >= number * 0.999999);
}

function figures(list, entries) {
  list.replaceChildren(...entries.map(([name, value, more]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value, ...(more ? [" ", make("small", {}, more)] : [])))));
}

/** A table: columns are [title, class, cell of a row]. */
function table(element, columns, rows, none) {
  if (!rows.length) {
    element.replaceChildren(make("tbody", {}, make("tr", { class: "gone" }, make("td", {}, none))));
    return;
  }
  const head = columns.map(([title, kind]) => make("th", { class: kind, scope: "col" }, title));
  const body = rows.map((row) => make("tr", { class: row.silent_s !== null || row.ended ? "gone" : "" },
    ...columns.map(([, kind, cell]) => make("td", { class: kind }, cell(row)))));
  element.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

function bar(part, all, label) {
  return make("progress", { max: Math.max(all, 1), value: Math.min(part, all), "aria-label": label });
}

/**
 * A plot over time that grows with the window. `lines`: [class, value of a sample], the main one first; `show`: the text for a
 * sample under the pointer, or the last one.
 */
class Plot {
  constructor(parent, title, lines, show) {
    Object.assign(this, { lines, show, samples: [], span: [0, 1], pointer: null });
    this.reading = make("span", {});
    this.svg = makeSvg("svg", { class: "plot", role: "img", "aria-label": title });
    parent.append(make("figure", {}, make("figcaption", {}, title, this.reading), this.svg));
    this.svg.addEventListener("pointermove", (event) => {
      this.pointer = event.offsetX;
      this.draw();
    });
    this.svg.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
  }

  set(samples, span) {
    Object.assign(this, { samples, span });
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth || 400, height = 150;
    const left = 40, right = width - 6, top = 10, bottom = height - 20;
    const [from, to] = this.span;
    const most = ceiling(this.samples.reduce((most, sample) =>
      this.lines.reduce((most, [, value]) => Math.max(most, value(sample)), most), 0));
    const x = (ms) => left + ((ms - from) / (to - from)) * (right - left);
    const y = (value) => bottom - (value / most) * (bottom - top);
    const parts = [];
    const text = (x, y, anchor, content) => {
      const element = makeSvg("text", { x, y, "text-anchor": anchor });
      element.textContent = content;
      parts.push(element);
    };
    for (const share of [0, 0.5, 1]) {
      const at = y(share * most);
      parts.push(makeSvg("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      text(left - 6, at + 4, "end", short(share * most));
    }
    const step = [10e3, 30e3, 60e3, 300e3, 600e3, 900e3, 1800e3].find((step) => (to - from) / step <= width / 80) || HOUR;
    for (let ms = Math.ceil(from / step) * step; ms <= to; ms += step) {
      const label = step < 60e3 ? new Date(ms).toLocaleTimeString("en-GB") : clock(ms);
      if (x(ms) > left + 12 && x(ms) < right - 12) text(x(ms), height - 4, "middle", label);
    }
    this.lines.toReversed().forEach(([kind, value]) => {
      for (const piece of pieces(this.samples)) {
        const points = piece.map((sample) => `${x(sample.at_ms).toFixed(1)},${y(value(sample)).toFixed(1)}`).join("L");
        if (kind === "main") {
          const [first, last] = [piece[0], piece[piece.length - 1]];
          parts.push(makeSvg("path", { class: "area", d: `M${x(first.at_ms)},${bottom}L${points}L${x(last.at_ms)},${bottom}Z` }));
        }
        parts.push(makeSvg("path", { class: kind, d: `M${points}` }));
      }
    });
    let shown = this.samples[this.samples.length - 1];
    if (this.pointer !== null && shown) {
      const at = from + ((this.pointer - left) / (right - left)) * (to - from);
      shown = this.samples.reduce((best, sample) => (Math.abs(sample.at_ms - at) < Math.abs(best.at_ms - at) ? sample : best));
      const place = x(shown.at_ms);
      parts.push(makeSvg("line", { class: "cursor", x1: place, x2: place, y1: top, y2: bottom }));
    }
    const when = this.pointer === null || !shown ? "" : `${new Date(shown.at_ms).toLocaleTimeString("en-GB")}  `;
    this.reading.textContent = shown ? when + this.show(shown) : "";
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
  }
}

function short(number) {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (number >= unit) return `${+(number / unit).toFixed(1)}${name}`;
  return String(+number.toFixed(2));
}

/** The samples in pieces without gaps. */
function pieces(samples) {
  const all = [];
  for (const sample of samples) {
    const last = all[all.length - 1];
    if (last && sample.at_ms - last[last.length - 1].at_ms <= GAP) last.push(sample);
    else all.push([sample]);
  }
  return all;
}

/** From the first sample on, a minute at least, an hour at most. */
function span(samples) {
  const to = samples.length ? samples[samples.length - 1].at_ms : Date.now();
  const first = samples.length ? samples[0].at_ms : to;
  return [Math.max(Math.min(first, to - 60e3), to - HOUR), to];
}

const plots = [
  new Plot(find("plots"), "Throughput", [["main", (s) => s.jobs_per_s]], (s) => `${rate(s.jobs_per_s)} jobs/s`),
  new Plot(find("plots"), "Busy workers", [["main", (s) => s.busy_workers], ["second", (s) => s.workers]],
    (s) => `${s.busy_workers} of ${s.workers}`),
  new Plot(find("plots"), "Units waiting", [["main", (s) => s.ready]], (s) => whole(s.ready)),
];
const runPlots = [
  new Plot(find("run-plots"), "Throughput", [["main", (s) => s.jobs_per_s]], (s) => `${rate(s.jobs_per_s)} jobs/s`),
  new Plot(find("run-plots"), "Jobs done", [["main", (s) => s.done]], (s) => whole(s.done)),
];

let samples = [];

const silence = (row) => (row.silent_s === null ? "" : `silent for ${duration(row.silent_s)}`);
const percent = (run) => `${Math.floor((100 * run.done) / Math.max(run.jobs, 1))} %`;

const RUNS = [
  ["Run", "", (run) => make("a", { href: `#run=${run.run}` }, run.run)],
  ["Jobs", "", (run) => run.what],
  ["Done", "wide", (run) => bar(run.done, run.jobs, `${run.done} of ${run.jobs}`)],
  ["", "number", percent],
  ["Jobs/s", "number", (run) => (run.ended ? "" : rate(run.jobs_per_s))],
  ["Left", "", (run) => (run.ended ? "ended" : silence(run) || orDash(run.left_s, duration))],
  ["Share", "number", (run) => run.share],
  ["By", "", (run) => orDash(run.by)],
];
const NODES = [
  ["Node", "", (node) => node.node],
  ["Busy", "wide", (node) => bar(node.busy_workers, node.workers, `${node.busy_workers} of ${node.workers} workers busy`)],
  ["", "number", (node) => `${node.busy_workers}/${node.workers}`],
  ["CPU", "number", (node) => `${Math.round(node.cpu_pct)} %`],
  ["Memory", "number", (node) => `${Math.round(node.mem_pct)} %`],
  ["Units held", "number", (node) => whole(node.in_flight)],
  ["Jobs ok", "number", (node) => whole(node.jobs_ok)],
  ["Failed", "number", (node) => whole(node.jobs_failed)],
  ["Kernel", "", (node) => node.kernel],
  ["Version", "", (node) => silence(node) || node.program],
];
const QUEUES = [
  ["Queue", "", (queue) => queue.queue],
  ["Ready", "number", (queue) => whole(queue.ready)],
  ["Unacknowledged", "number", (queue) => orDash(queue.unacked, whole)],
  ["Consumers", "number", (queue) => queue.consumers],
  ["In/s", "number", (queue) => orDash(queue.publish_rate, rate)],
  ["Out/s", "number", (queue) => orDash(queue.deliver_rate, rate)],
];

function showPool(pool) {
  const report = pool.report;
  find("broker").textContent = report.broker;
  find("alarms").replaceChildren(...report.alarms.map((alarm) => make("li", { role: "alert" }, alarm)));
  find("unknown").replaceChildren(...report.unknown.map((text) => make("li", {}, `Not known: ${text}`)));
  const last = samples[samples.length - 1];
  const failed = report.nodes.reduce((sum, node) => sum + node.jobs_failed, 0);
  figures(find("figures"), [
    ["Throughput", rate(last.jobs_per_s), "jobs/s"],
    ["Busy workers", whole(last.busy_workers), `of ${whole(last.workers)}`],
    ["Nodes", whole(report.nodes.filter((node) => node.silent_s === null).length)],
    ["Runs", whole(report.runs.length)],
    ["Units waiting", whole(last.ready)],
    ["Jobs failed", whole(failed)],
    ["Dead letters", whole(report.dead.letters)],
  ]);
  for (const plot of plots) plot.set(samples, span(samples));
  const ended = pool.ended.map((run) => ({ ...run, ended: true }));
  table(find("runs"), RUNS, report.runs.concat(ended), "No run has announced itself in the last hour.");
  table(find("nodes"), NODES, report.nodes, "No consumer has announced itself: start one with the same --amqp-url.");
  table(find("queues"), QUEUES, report.queues.map((queue) => ({ ...queue, silent_s: null })), "No queue of the pool is in this virtual host.");
  find("dead").hidden = !report.dead.reasons.length;
  table(find("reasons"), [["Letters", "number", (row) => whole(row.letters)], ["Reason", "", (row) => row.reason]],
    report.dead.reasons.map((row) => ({ ...row, silent_s: null })), "");
}

function showRun(name, run) {
  find("run-name").textContent = `Run ${name}`;
  if (!run) {
    find("run-what").textContent = "It has not announced itself in the last hour.";
    figures(find("run-figures"), []);
    for (const plot of runPlots) plot.set([], span([]));
    return;
  }
  const line = run.line;
  find("run-what").textContent = [line.what, line.by && `by ${line.by}`, `share ${line.share}`].filter(Boolean).join(" · ");
  const state = run.ended ? "ended" : silence(line) || "at work";
  figures(find("run-figures"), [
    ["State", state],
    ["Done", percent(line), `${whole(line.done)} of ${whole(line.jobs)}`],
    ["Throughput", run.ended ? "–" : rate(line.jobs_per_s), "jobs/s"],
    ["Left", run.ended ? "–" : orDash(line.left_s, duration)],
  ]);
  for (const plot of runPlots) plot.set(run.samples, span(run.samples));
}

const asked = () => (location.hash.startsWith("#run=") ? location.hash.slice(5) : null);

const newest = () => (samples.length ? samples[samples.length - 1].at_ms : 0);

/** Two looks at a time may bring the same samples. */
function take(more) {
  samples = samples.concat(more.filter((sample) => sample.at_ms > newest()));
  samples = samples.filter((sample) => sample.at_ms > newest() - HOUR);
}

async function look() {
  const state = find("state"), name = asked();
  const query = new URLSearchParams({ since: newest(), ...(name ? { run: name } : {}) });
  let pool;
  try {
    const answer = await fetch(`/pool.json?${query}`);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    pool = await answer.json();
  } catch (error) {
    state.textContent = `no answer: ${error.message}`;
    state.className = "trouble";
    return;
  }
  take(pool.samples);
  state.textContent = pool.trouble || (pool.report ? "live" : "looking at the pool …");
  state.className = pool.trouble ? "trouble" : "";
  if (!pool.report || !samples.length || name !== asked()) return;
  find("run").hidden = !name;
  find("pool").hidden = !!name;
  if (name) showRun(name, pool.run);
  else showPool(pool);
}

async function watch() {
  await look();
  setTimeout(watch, EVERY);
}

window.addEventListener("hashchange", look);
window.addEventListener("resize", () => plots.concat(runPlots).forEach((plot) => plot.draw()));
watch();
