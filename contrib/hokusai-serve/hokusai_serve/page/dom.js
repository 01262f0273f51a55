// Builds elements. Text is always set as text, never as HTML.

let count = 0;

/** Returns an id that no other element has. */
export function uniqueId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

/** Returns an element; `on` in the attributes holds listeners, everything else is an attribute. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "text") {
      node.textContent = value;
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Tells a screen reader what has happened. */
export function announce(text) {
  const place = document.getElementById("announcer");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

/** Returns a value of an output or input as elements. */
export function shown(value) {
  if (value === null || value === undefined) return el("span", { class: "status", text: "nothing" });
  if (typeof value === "string") return el("div", { class: "text", text: value });
  if (typeof value !== "object") return el("div", { class: "text", text: String(value) });
  if (Array.isArray(value)) {
    if (!value.length) return el("span", { class: "status", text: "an empty list" });
    return el("ul", {}, value.map((item) => el("li", {}, shown(item))));
  }
  const parts = Object.entries(value).flatMap(([name, item]) => [el("dt", { text: name }), el("dd", {}, shown(item))]);
  return el("dl", { class: "values" }, parts);
}

/** Returns a number for people, "-" where there is none. */
export function figure(value, digits = 3) {
  return typeof value === "number" ? value.toFixed(digits).replace(/\.?0+$/, "") || "0" : "-";
}

/** Returns a point in time for people. */
export function when(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Returns a box that tells of an error. */
export function problemBox(error) {
  return el("p", { class: "notice bad", role: "alert", text: error.message });
}
