// The form that rates and corrects an execution.

import { get, post } from "./api.js";
import { announce, el, problemBox, uniqueId } from "./dom.js";
import { makeFields } from "./schema_form.js";

const WORDS = ["bad", "poor", "fair", "good", "right"];

/** Returns a form for an execution; `saved` is called when the feedback is stored. */
export function feedbackForm({ executionId, signature, outputs, drawn = false, submitText = "Send the rating", saved }) {
  const name = uniqueId("rating");
  const stars = WORDS.map((word, index) => el("label", {}, el("input", { type: "radio", name, value: index + 1, required: true }), `${index + 1} ${word}`));
  const comment = el("textarea", { rows: 1, id: uniqueId("comment"), maxlength: 10000 });
  const place = el("div", {});
  const status = el("div", { role: "status" });
  let fields = null;
  const corrections = el("details", {
    on: {
      toggle: async () => {
        if (!corrections.open || fields) return;
        try {
          const known = await get(`v1/signatures/${signature}`);
          fields = makeFields({ ...known.outputs, required: [] }, known.outputs);
          fields.fill(outputs);
          place.replaceChildren(fields.node);
        } catch (error) {
          place.replaceChildren(problemBox(error));
        }
      },
    },
  }, el("summary", { text: "Correct the answer" }), place);
  const button = el("button", { type: "submit", class: "main", text: submitText });
  const form = el("form", { class: "stack" },
    el("fieldset", {}, el("legend", { text: "How good is the answer?" }), el("div", { class: "stars" }, stars)),
    corrections,
    el("div", { class: "field" }, el("label", { for: comment.id }, "Comment", el("span", { class: "optional", text: " (optional)" })), comment),
    el("div", { class: "buttons" }, button), status);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    fields?.clear();
    try {
      const rating = Number(new FormData(form).get(name));
      await post(`v1/executions/${encodeURIComponent(executionId)}/feedback`, {
        rating, drawn, source: "page", corrections: changed(fields?.read() ?? {}, outputs), comment: comment.value.trim() || null,
      });
      status.replaceChildren(el("p", { class: "notice", text: "Thank you. The rating is stored." }));
      announce("The rating is stored.");
      saved?.();
    } catch (error) {
      status.replaceChildren(problemBox(error));
      button.disabled = false;
    }
  });
  return form;
}

function changed(values, before) {
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));
}
