// Reports of evaluations and optimizations, with their plots.

import { get, pictureUrl } from "./api.js";
import { el, figure, shown, when } from "./dom.js";

/** Shows the list of reports, or one of them. */
export async function reportsView(main, id) {
  if (id) {
    await showReport(main, id);
    return;
  }
  const { reports } = await get("v1/reports");
  const rows = reports.map((report) => [
    el("a", { href: `#/reports/${report.id}`, text: report.title }), report.kind, report.metric, number(report.score), when(report.modified_at),
  ]);
  main.replaceChildren(
    el("h1", { text: "Reports" }),
    reports.length
      ? el("div", { class: "card scroll" }, table(["Signature", "Kind", "Metric", "Score", "Written"], rows, [3]))
      : el("p", { class: "card empty" }, "There are no reports. Start the server with ", el("code", { text: "--reports FOLDER" }),
        ", and write reports into the folder with ", el("code", { text: "hokusai evaluate --output" }), " or ", el("code", { text: "hokusai optimize" }), "."));
}

async function showReport(main, id) {
  const found = await get(`v1/reports/${id}`);
  const picture = el("img", { class: "plot", alt: `Plot of ${found.title}: ${found.metric} ${figure(found.score)}`, src: await pictureUrl(`v1/reports/${id}/plot`) });
  const parts = found.kind === "evaluation" ? evaluation(found.report) : optimization(found, found.report);
  main.replaceChildren(
    el("p", {}, el("a", { href: "#/reports", text: "All reports" })),
    el("h1", { text: `${found.title}: ${found.kind}` }),
    el("p", { class: "status", text: found.file }),
    el("div", { class: "stack" }, el("section", { class: "card scroll", "aria-label": "Plot", tabindex: "0" }, picture), parts));
}

function evaluation(report) {
  const [metric] = report.metrics;
  const systems = report.systems.map((system) => {
    const score = system.scores[metric] || {};
    return [system.label, interval(score), number(system.cost, 4), number(system.latency_p50, 2), number(system.latency_p95, 2), String(sum(system.failures)), String(sum(system.unanswered))];
  });
  const comparisons = report.comparisons.map((pair) => [
    `${pair.label} against ${pair.against}`, verdict(pair.verdict), `${figure(pair.difference)} (${figure(pair.low)} to ${figure(pair.high)})`, figure(pair.p_value), `${pair.wins} / ${pair.losses} / ${pair.ties}`,
  ]);
  const worst = report.worst.map((row) => [String(row.number), scores(row.scores), shown(row.inputs), shown(row.expected), shown(row.outputs)]);
  return [
    card("Systems", table(["System", metric, "Cost", "P50 s", "P95 s", "Failed", "Not asked"], systems, [2, 3, 4, 5, 6])),
    comparisons.length ? card("Comparison", table(["Systems", "Verdict", "Difference", "p", "Wins / losses / ties"], comparisons, [])) : null,
    worst.length ? card("Worst rows", table(["Row", "Score", "Inputs", "Expected", "Given"], worst, [])) : null,
    report.notes.length ? card("Notes", el("ul", {}, report.notes.map((note) => el("li", { text: note })))) : null,
  ];
}

function optimization(found, report) {
  const facts = {
    verdict: report.verdict, optimizer: report.optimizer, metric: found.metric, "language model": report.model,
    baseline: figure(report.baseline_score, 4), "best candidate": figure(report.candidate_score, 4),
    improvement: report.interval ? `${figure(report.improvement, 4)} (${figure(report.interval[0], 4)} to ${figure(report.interval[1], 4)})` : "not measured",
    "wins, losses, ties": `${report.wins}, ${report.losses}, ${report.ties}`, calls: String(report.calls), demos: String(report.demos),
    cost: report.cost === null ? "unknown" : `$${report.cost.toFixed(4)}`,
  };
  const trials = report.trials.map((trial) => [trial.label, number(trial.score), String(trial.calls), String(trial.demos), trial.chosen ? "chosen" : ""]);
  return [
    card(found.promoted ? "Found to be better" : "Not found to be better", shown(facts)),
    card("Instructions", el("div", { class: "work" }, el("div", {}, el("h3", { text: "Before" }), el("div", { class: "text", text: report.instructions.before })),
      el("div", {}, el("h3", { text: "After" }), el("div", { class: "text", text: report.instructions.after })))),
    trials.length ? card("Candidates", table(["Candidate", "Score", "Calls by then", "Demos", ""], trials, [1, 2, 3])) : null,
    el("details", { class: "card" }, el("summary", { text: "The report as text" }), el("pre", { text: report.table })),
  ];
}

function card(title, content) {
  return el("section", { class: "card scroll", "aria-label": title, tabindex: "0" }, el("h2", { text: title }), content);
}

/** A table. On a phone its rows are lists of cells with their heads; the roles keep it a table for screen readers. */
function table(heads, rows, numbers) {
  const kind = (index) => (numbers.includes(index) ? "number" : null);
  const headRow = heads.map((head, index) => el("th", { scope: "col", role: "columnheader", class: kind(index), text: head }));
  const cell = (content, index) => el("td", { role: "cell", class: kind(index), "data-head": heads[index] }, content);
  return el("table", { role: "table" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, headRow)),
    el("tbody", { role: "rowgroup" }, rows.map((row) => el("tr", { role: "row" }, row.map(cell)))));
}

function number(value, digits = 3) { return figure(value, digits); }
function interval(score) { return typeof score.value === "number" ? `${figure(score.value)} (${figure(score.low)} to ${figure(score.high)})` : "-"; }
function sum(counts) { return Object.values(counts).reduce((total, count) => total + count, 0); }
function scores(values) { return Object.entries(values).map(([label, value]) => `${label} ${figure(value, 2)}`).join(", "); }
function verdict(text) { return el("span", { class: { better: "good", worse: "bad-text" }[text] || null, text }); }
