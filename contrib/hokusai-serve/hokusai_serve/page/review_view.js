// The review queue: executions without feedback, drawn at random, one after the other.

import { get } from "./api.js";
import { announce, el, shown, when } from "./dom.js";
import { feedbackForm } from "./feedback_form.js";

/** Shows the queue, of one signature or of all. */
export async function reviewView(main, name) {
  const { signatures } = await get("v1/signatures");
  const select = el("select", { id: "review-signature", on: { change: () => { location.hash = select.value ? `#/review/${select.value}` : "#/review"; } } },
    el("option", { value: "", text: "All signatures" }),
    signatures.map((item) => el("option", { value: item.name, text: item.name, selected: item.name === name })));
  const place = el("div", { class: "stack" });
  main.replaceChildren(
    el("h1", { text: "Review" }),
    el("p", { class: "lead", text: "Executions without feedback, drawn at random. Rate right answers as well as wrong ones: an optimization then knows how often the signature is right." }),
    el("div", { class: "field" }, el("label", { for: "review-signature", text: "Signature" }), select),
    place);
  await next(place, name, []);
}

async function next(place, name, queue) {
  let waiting = queue;
  let total = waiting.total;
  if (!waiting.length) {
    const found = await get(`v1/review?limit=10${name ? `&signature=${encodeURIComponent(name)}` : ""}`);
    waiting = found.executions;
    total = found.waiting;
  }
  if (!waiting.length) {
    place.replaceChildren(el("p", { class: "card empty", text: "Nothing waits for a review. Runs of this page are kept, and so are executions with collect_feedback." }));
    announce("Nothing waits for a review.");
    return;
  }
  const [kept, ...rest] = waiting;
  rest.total = total - 1;
  const skip = el("button", { type: "button", text: "Skip", on: { click: () => next(place, name, rest) } });
  const form = feedbackForm({
    executionId: kept.execution_id, signature: kept.signature, outputs: kept.outputs, drawn: true, submitText: "Save, and show the next",
    saved: () => next(place, name, rest),
  });
  form.querySelector(".buttons").append(skip);
  const heading = el("h2", { tabindex: "-1", text: kept.signature });
  place.replaceChildren(
    el("p", { class: "status", text: `${total} ${total === 1 ? "execution waits" : "executions wait"}` }),
    el("div", { class: "work" },
      el("article", { class: "card stack" }, heading, el("p", { class: "status", text: `${when(kept.started_at)} · ${kept.model || "no language model"}` }),
        el("h3", { text: "Inputs" }), shown(kept.inputs), el("h3", { text: "Answer" }), shown(kept.outputs)),
      el("section", { class: "card", "aria-label": "Rating" }, form)));
  if (queue.length || document.activeElement === document.body) heading.focus({ preventScroll: true });
}
