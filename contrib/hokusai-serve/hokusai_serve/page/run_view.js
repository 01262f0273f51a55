// Runs a signature from a form, and shows its answer while it comes in.

import { ProblemError, get, stream } from "./api.js";
import { announce, el, figure, problemBox, shown } from "./dom.js";
import { feedbackForm } from "./feedback_form.js";
import { makeFields } from "./schema_form.js";

/** Shows the list of signatures, and the one that is chosen. */
export async function runView(main, name) {
  const { signatures } = await get("v1/signatures");
  if (!signatures.length) {
    main.replaceChildren(el("p", { class: "empty", text: "This server offers no signature." }));
    return;
  }
  const chosen = name || signatures[0].name;
  const place = el("div", {});
  main.replaceChildren(el("div", { class: "columns" }, sideList(signatures, chosen), el("div", {}, picker(signatures, chosen), place)));
  await showSignature(place, chosen);
}

function grouped(signatures) {
  const groups = new Map();
  for (const signature of signatures) {
    const category = signature.category || "other";
    groups.set(category, [...(groups.get(category) || []), signature]);
  }
  return groups;
}

function sideList(signatures, chosen) {
  const filter = el("input", { type: "search", placeholder: "Find a signature", "aria-label": "Find a signature" });
  const parts = [...grouped(signatures)].map(([category, found]) => {
    const items = found.map((item) => el("li", { "data-name": `${item.name} ${item.tags.join(" ")}`.toLowerCase() },
      el("a", { href: `#/run/${item.name}`, "aria-current": item.name === chosen ? "true" : null, text: item.name })));
    return el("div", {}, el("h2", { class: "group", text: category }), el("ul", {}, items));
  });
  filter.addEventListener("input", () => {
    for (const part of parts) {
      for (const item of part.querySelectorAll("li")) item.hidden = !item.dataset.name.includes(filter.value.toLowerCase());
      part.hidden = !part.querySelector("li:not([hidden])");
    }
  });
  return el("nav", { class: "side", "aria-label": "Signatures" }, filter, parts);
}

function picker(signatures, chosen) {
  const select = el("select", { id: "signature-picker", on: { change: () => { location.hash = `#/run/${select.value}`; } } },
    signatures.map((item) => el("option", { value: item.name, text: item.name, selected: item.name === chosen })));
  return el("div", { class: "pick field" }, el("label", { for: "signature-picker", text: "Signature" }), select);
}

async function showSignature(place, name) {
  const signature = await get(`v1/signatures/${name}`);
  const fields = makeFields(signature.inputs, signature.inputs);
  const answer = el("section", { class: "card", "aria-labelledby": "answer-title" });
  const run = el("button", { type: "submit", class: "main", text: "Run" });
  const stop = el("button", { type: "button", text: "Stop", hidden: true });
  const example = signature.examples.length ? el("button", { type: "button", class: "quiet", text: "Fill in the example" }) : null;
  const errors = el("div", {});
  const form = el("form", { class: "card", "aria-label": `Inputs of ${name}` }, el("h2", { text: "Inputs" }), fields.node, errors,
    el("div", { class: "buttons" }, run, stop, example));
  example?.addEventListener("click", () => { fields.fill(signature.examples[0].inputs); announce("The example is filled in."); });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fields.clear();
    errors.replaceChildren();
    await fields.ready();
    const controller = new AbortController();
    stop.onclick = () => controller.abort();
    run.disabled = true;
    stop.hidden = false;
    try {
      await execute(answer, name, signature, fields.read(), controller.signal);
    } catch (error) {
      tellError(error, fields, errors, answer);
    } finally {
      run.disabled = false;
      stop.hidden = true;
    }
  });
  answer.replaceChildren(el("h2", { id: "answer-title", text: "Answer" }), el("p", { class: "empty", text: "Fill in the inputs and press Run, or Ctrl and Enter." }));
  const notes = [`version ${signature.version}`, signature.category, signature.strategy, signature.promoted ? "promoted edition" : "", ...signature.tags];
  place.replaceChildren(
    el("h1", { text: signature.name }),
    signature.deprecated === null ? "" : el("p", { class: "notice", text: `Deprecated. ${signature.deprecated}` }),
    el("ul", { class: "chips", "aria-label": "Facts" }, notes.filter(Boolean).map((note) => el("li", { text: note }))),
    el("details", {}, el("summary", { text: "Instructions" }), el("p", { class: "lead text", text: signature.instructions })),
    el("div", { class: "work" }, form, answer));
}

async function execute(answer, name, signature, inputs, signal) {
  const view = answerView(answer, signature);
  const body = { inputs, collect_feedback: true };
  announce("The signature runs.");
  for await (const { kind, data } of stream(`v1/stream/${name}`, body, signal)) {
    if (data.step && kind === "finished") continue;
    view[kind]?.(data);
  }
}

function answerView(answer, signature) {
  const title = el("h2", { id: "answer-title", text: "Answer" });
  const status = el("p", { class: "status", text: "Waiting for the answer ..." });
  const place = el("div", { "aria-busy": "true" });
  answer.replaceChildren(title, status, place);
  let blocks = new Map();
  const block = (name) => {
    if (!blocks.has(name)) {
      const content = el("div", { class: "text growing" });
      blocks.set(name, content);
      place.append(el("section", { class: "output", "aria-label": name.replaceAll("_", " ") }, el("header", {}, el("h3", { text: name.replaceAll("_", " ") })), content));
    }
    return blocks.get(name);
  };
  const restart = () => { blocks = new Map(); place.replaceChildren(); };
  return {
    thought: ({ name, text }) => { block(name).append(text); status.textContent = "Thinking ..."; },
    delta: ({ field, text }) => { block(field).append(text); status.textContent = "Answering ..."; },
    partial: ({ outputs }) => {
      for (const [name, value] of Object.entries(outputs)) block(name).replaceChildren(shown(value));
    },
    retracted: ({ reason }) => { restart(); status.textContent = `The answer so far does not count: ${reason}`; },
    finished: (result) => {
      restart();
      place.setAttribute("aria-busy", "false");
      for (const [name, value] of Object.entries(result.outputs)) {
        const content = block(name);
        content.classList.remove("growing", "text");
        content.replaceChildren(shown(value));
        const copy = el("button", { type: "button", class: "quiet", text: "Copy", "aria-label": `Copy ${name}` });
        copy.addEventListener("click", async () => {
          await navigator.clipboard?.writeText(typeof value === "string" ? value : JSON.stringify(value, null, 2));
          announce("Copied.");
        });
        content.previousElementSibling.append(copy);
      }
      status.textContent = summary(result);
      announce(`The answer is complete. ${Object.values(result.outputs).filter((value) => typeof value === "string").join(" ").slice(0, 400)}`);
      answer.append(el("hr", {}), feedbackForm({ executionId: result.execution_id, signature: signature.qualified_name, outputs: result.outputs }));
    },
  };
}

function summary(result) {
  const parts = [result.model || "no language model", `${figure(result.latency, 2)} s`];
  parts.push(result.cached ? `from the ${result.cached} cache` : `${result.usage.input_tokens} + ${result.usage.output_tokens} tokens`);
  if (result.cost) parts.push(`$${result.cost.toFixed(4)}`);
  return parts.join(" · ");
}

function tellError(error, fields, errors, answer) {
  if (error.name === "AbortError") {
    answer.replaceChildren(el("h2", { text: "Answer" }), el("p", { class: "notice", text: "Stopped. The call was cancelled." }));
    announce("Stopped.");
    return;
  }
  let first = null;
  const rest = [];
  for (const item of (error instanceof ProblemError && error.problem.errors) || []) {
    const path = item.field.split(".");
    if (path[0] === "inputs") path.shift();
    const control = fields.fail(path, item.message);
    if (control) first ??= control;
    else rest.push(`${item.field}: ${item.message}`);
  }
  if (!first || rest.length) errors.replaceChildren(problemBox(rest.length ? new Error(rest.join("; ")) : error));
  answer.replaceChildren(el("h2", { text: "Answer" }), el("p", { class: "empty", text: "There is no answer." }));
  first?.focus();
  announce(error.message);
}
