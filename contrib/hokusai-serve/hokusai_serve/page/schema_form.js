// Makes form fields out of JSON Schema, and reads typed values from them.
//
// Every field is {node, read, fill, fail}: `read` returns the value, undefined where none was given; `fill` sets it;
// `fail` shows a message at a path such as ["key_points", "0"] and returns the element to focus.

import { el, uniqueId } from "./dom.js";

const TYPES = { string: "Text", integer: "Whole number", number: "Number", boolean: "Yes or no", array: "List", object: "Fields", null: "Nothing" };

/** Returns the field of a schema. */
export function makeField(schema, options) {
  const resolved = resolve(schema, options.root);
  const known = { ...options, label: options.label || resolved.title || options.name, help: options.help ?? resolved.description };
  const { field, nullable } = choose(resolved, known);
  if (nullable) known.required = false;
  return field(resolved, known);
}

/** Returns the fields of an object without a frame around them, for a whole form. */
export function makeFields(schema, root) {
  const required = new Set(schema.required || []);
  const fields = Object.entries(schema.properties || {}).map(([name, part]) => [
    name, makeField(part, { root, name, label: name.replaceAll("_", " "), required: required.has(name) }),
  ]);
  return group(fields, el("div", { class: "fields" }, fields.map(([, field]) => field.node)));
}

function resolve(schema, root) {
  if (!schema.$ref) return schema;
  const { $ref, ...own } = schema;
  return { ...resolve(root.$defs[$ref.split("/").pop()], root), ...own };
}

function choose(schema, options) {
  const members = (schema.anyOf || schema.oneOf || []).map((member) => resolve(member, options.root));
  if (members.length) {
    const rest = members.filter((member) => member.type !== "null");
    const nullable = rest.length < members.length;
    if (rest.length === 1) {
      const { field } = choose(rest[0], options);
      return { field: (whole, known) => field({ ...rest[0], default: whole.default }, known), nullable };
    }
    return { field: (whole, known) => variants({ ...whole, members: rest }, known), nullable };
  }
  if ("const" in schema) return { field: (whole, known) => select({ ...whole, enum: [whole.const] }, known) };
  if (schema.enum) return { field: select };
  if (schema.type === "boolean") return { field: flag };
  if (schema.type === "integer" || schema.type === "number") return { field: number };
  if (schema.type === "array" && schema.prefixItems) return { field: tuple };
  if (schema.type === "array") return { field: list };
  if (schema.type === "object" && schema.properties) return { field: object };
  if (schema.type === "object" && typeof schema.additionalProperties === "object") return { field: mapping };
  if (schema.type === "string" && schema.contentEncoding) return { field: media };
  if (schema.type === "string") return { field: text };
  return { field: json };
}

// -- parts --------------------------------------------------------------------------------------------------------

function frame(options, control, { labelled = true, place = control } = {}) {
  const id = control.id || (control.id = uniqueId("f"));
  const help = options.help ? el("p", { class: "help", id: `${id}-help`, text: options.help }) : null;
  const error = el("p", { class: "error", id: `${id}-error` });
  control.setAttribute("aria-describedby", `${help ? help.id : ""} ${error.id}`.trim());
  const note = options.required ? null : el("span", { class: "optional", text: " (optional)" });
  const label = labelled ? el("label", { for: id }, options.label, note) : null;
  if (options.bare && label) label.className = "unseen";
  const node = el("div", { class: "field" }, label, help, place, error);
  const fail = (_path, message) => {
    error.textContent = message;
    control.setAttribute("aria-invalid", message ? "true" : "false");
    return control;
  };
  return { node, fail };
}

function simple(options, control, read, fill) {
  const { node, fail } = frame(options, control);
  control.addEventListener("input", () => fail([], ""));
  return { node, fail, read, fill };
}

function text(schema, options) {
  const kinds = { date: "date", time: "time", "date-time": "datetime-local", email: "email", uri: "url" };
  const kind = kinds[schema.format];
  const attributes = { required: options.required, minlength: schema.minLength, maxlength: schema.maxLength };
  const control = kind ? el("input", { type: kind, step: kind.includes("time") ? "1" : null, ...attributes }) : el("textarea", { rows: 1, ...attributes });
  const fill = (value) => { control.value = kind === "datetime-local" && value ? local(value) : value ?? ""; };
  fill(schema.default);
  const read = () => {
    if (control.value === "" && !options.required) return undefined;
    return kind === "datetime-local" && control.value ? new Date(control.value).toISOString() : control.value;
  };
  return simple(options, control, read, fill);
}

function local(value) {
  const moment = new Date(value);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function number(schema, options) {
  const whole = schema.type === "integer";
  const control = el("input", {
    type: "number", inputmode: whole ? "numeric" : "decimal", step: whole ? schema.multipleOf ?? 1 : "any",
    min: schema.minimum, max: schema.maximum, required: options.required,
  });
  const fill = (value) => { control.value = value ?? ""; };
  fill(schema.default);
  return simple(options, control, () => (control.value === "" ? undefined : Number(control.value)), fill);
}

function flag(schema, options) {
  if (!options.required && typeof schema.default !== "boolean") return select({ ...schema, enum: [true, false], names: ["Yes", "No"] }, options);
  const control = el("input", { type: "checkbox", id: uniqueId("f") });
  const place = el("div", { class: "check" }, control, el("label", { for: control.id, text: options.label }));
  const { node, fail } = frame(options, control, { labelled: false, place });
  const fill = (value) => { control.checked = value === true; };
  fill(schema.default);
  return { node, fail, fill, read: () => control.checked };
}

function select(schema, options) {
  const values = schema.enum;
  const names = schema.names || values.map(String);
  const control = el("select", { required: options.required });
  if (!options.required || values.length > 1) control.append(el("option", { value: "", text: options.required ? "Choose ..." : "Not given" }));
  names.forEach((name, index) => control.append(el("option", { value: index, text: name })));
  const fill = (value) => {
    const index = values.findIndex((item) => item === value);
    control.value = index < 0 ? (values.length === 1 && options.required ? "0" : "") : String(index);
  };
  fill(schema.default);
  return simple(options, control, () => (control.value === "" ? undefined : values[Number(control.value)]), fill);
}

function json(schema, options) {
  const control = el("textarea", { rows: 2, required: options.required, spellcheck: "false", placeholder: "Text, or JSON such as [1, 2] or {\"a\": 1}" });
  const fill = (value) => { control.value = value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 2); };
  fill(schema.default);
  const read = () => {
    if (control.value.trim() === "") return options.required ? "" : undefined;
    try { return JSON.parse(control.value); } catch { return control.value; }
  };
  return simple(options, control, read, fill);
}

function media(schema, options) {
  const [, kind] = /^\^data:(image|audio)\//.exec(schema.pattern) || [];
  const accepted = { image: "image/png,image/jpeg,image/gif,image/webp", audio: "audio/*" }[kind];
  const control = el("input", { type: "file", accept: accepted, required: options.required });
  let value;
  const picture = el("img", { class: "preview", alt: "", hidden: true });
  const field = simple(options, control, () => value, () => {});
  field.node.append(picture);
  control.addEventListener("change", () => {
    value = undefined;
    picture.hidden = true;
    const [file] = control.files;
    if (!file) return;
    field.pending = new Promise((done) => {
      const reader = new FileReader();
      reader.addEventListener("load", () => {
        value = reader.result;
        if (kind === "image") {
          picture.src = value;
          picture.alt = `The chosen picture ${file.name}`;
          picture.hidden = false;
        }
        done();
      });
      reader.addEventListener("error", () => { field.fail([], "The file cannot be read."); done(); });
      reader.readAsDataURL(file);
    });
  });
  field.ready = () => field.pending;
  return field;
}

// -- fields of fields ---------------------------------------------------------------------------------------------

function fieldset(options, ...children) {
  const id = uniqueId("f");
  const error = el("p", { class: "error", id: `${id}-error` });
  const note = options.required ? null : el("span", { class: "optional", text: " (optional)" });
  const help = options.help ? el("p", { class: "help", id: `${id}-help`, text: options.help }) : null;
  const described = `${help ? help.id : ""} ${error.id}`.trim();
  const node = el("fieldset", { id, "aria-describedby": described, tabindex: "-1" }, el("legend", {}, options.label, note), help, children, error);
  return { node: el("div", { class: "field" }, node), set: node, error };
}

function group(fields, node, own = null) {
  const byName = new Map(fields);
  return {
    node,
    read: () => Object.fromEntries(fields.map(([name, field]) => [name, field.read()]).filter(([, value]) => value !== undefined)),
    fill: (values) => fields.forEach(([name, field]) => field.fill(values?.[name])),
    fail: ([name, ...rest], message) => {
      const field = byName.get(name);
      if (field) return field.fail(rest, message);
      if (own) { own.error.textContent = message; return own.set; }
      return null;
    },
    ready: () => Promise.all(fields.map(([, field]) => field.ready?.())),
    clear: () => node.querySelectorAll(".error").forEach((place) => {
      place.textContent = "";
      place.parentElement.querySelectorAll("[aria-invalid=true]").forEach((control) => control.setAttribute("aria-invalid", "false"));
    }),
  };
}

function object(schema, options) {
  const inner = makeFields(schema, options.root);
  const set = fieldset(options, inner.node);
  const fill = (value) => inner.fill(value ?? schema.default);
  const read = () => {
    const value = inner.read();
    return !options.required && !Object.keys(value).length ? undefined : value;
  };
  return { ...inner, node: set.node, fill, read, fail: (path, message) => inner.fail(path, message) || (set.error.textContent = message, set.set) };
}

function rows(options, make, addText) {
  const place = el("div", { class: "rows" });
  const add = el("button", { type: "button", class: "quiet", text: addText });
  const set = fieldset(options, place, el("div", {}, add));
  let fields = [];
  const append = (value) => {
    const field = make(fields.length + 1);
    if (value !== undefined) field.fill(value);
    const remove = el("button", { type: "button", class: "quiet", "aria-label": `Remove item ${fields.length + 1} of ${options.label}`, text: "Remove" });
    const row = el("div", { class: "item" }, field.node, remove);
    remove.addEventListener("click", () => {
      fields = fields.filter((other) => other !== field);
      row.remove();
      add.focus();
    });
    fields.push(field);
    place.append(row);
    return field;
  };
  add.addEventListener("click", () => append().node.querySelector("input, textarea, select, button")?.focus());
  const refill = (values) => { fields = []; place.replaceChildren(); values.forEach(append); };
  return {
    node: set.node, set: set.set, error: set.error, append, refill, all: () => fields,
    fail: ([index, ...rest], message) => {
      const field = fields[Number(index)];
      if (index !== undefined && field) return field.fail(rest, message);
      set.error.textContent = message;
      return set.set;
    },
    ready: () => Promise.all(fields.map((field) => field.ready?.())),
  };
}

function list(schema, options) {
  const items = schema.items || {};
  const make = (index) => makeField(items, { root: options.root, name: String(index), label: `${options.label}, item ${index}`, help: "", required: true, bare: true });
  const made = rows(options, make, "Add an item");
  const fill = (value) => {
    const given = value ?? schema.default ?? [];
    made.refill(Array.isArray(given) ? given : []);
    if (options.required && !made.all().length) made.append();
  };
  fill(undefined);
  const read = () => {
    const values = made.all().map((field) => field.read()).filter((value) => value !== undefined && value !== "");
    return values.length || options.required || schema.default?.length ? values : undefined;
  };
  return { ...made, read, fill };
}

function tuple(schema, options) {
  const fields = schema.prefixItems.map((part, index) => [String(index), makeField(part, { root: options.root, name: String(index), label: `Part ${index + 1}`, required: options.required })]);
  const inner = group(fields, el("div", {}, fields.map(([, field]) => field.node)));
  const set = fieldset(options, inner.node);
  const read = () => {
    const values = fields.map(([, field]) => field.read());
    return values.every((value) => value === undefined) ? undefined : values;
  };
  const fill = (value) => fields.forEach(([index, field]) => field.fill((value ?? schema.default)?.[Number(index)]));
  return { ...inner, node: set.node, read, fill };
}

function mapping(schema, options) {
  const make = (index) => {
    const key = text({}, { label: `${options.label}, name ${index}`, required: true, bare: true });
    const value = makeField(schema.additionalProperties, { root: options.root, name: String(index), label: `${options.label}, value ${index}`, help: "", required: true, bare: true });
    return {
      node: el("div", { class: "pair" }, key.node, value.node),
      read: () => [key.read(), value.read()],
      fill: ([name, item]) => { key.fill(name); value.fill(item); },
      fail: (path, message) => value.fail(path, message),
      name: () => key.read(),
    };
  };
  const made = rows(options, make, "Add a pair");
  const fill = (value) => made.refill(Object.entries(value ?? schema.default ?? {}));
  fill(undefined);
  const read = () => {
    const pairs = made.all().map((field) => field.read());
    return pairs.length || options.required ? Object.fromEntries(pairs) : undefined;
  };
  const fail = ([name, ...rest], message) => made.all().find((field) => field.name() === name)?.fail(rest, message) || made.fail([], message);
  return { ...made, read, fill, fail };
}

function variants(schema, options) {
  const names = schema.members.map((member) => member.title && member.type === "object" ? member.title : TYPES[member.type] || member.title || "Anything");
  const fields = schema.members.map((member) => makeField(
    { ...member, title: undefined, description: undefined },
    { root: options.root, name: options.name, label: options.label, help: "", required: options.required, bare: true },
  ));
  const picker = el("select", { "aria-label": `Kind of ${options.label}` }, names.map((name, index) => el("option", { value: index, text: name })));
  const place = el("div", {});
  const set = fieldset(options, picker, el("div", { class: "item" }, place));
  const pick = (index) => { picker.value = String(index); place.replaceChildren(fields[index].node); };
  const current = () => fields[Number(picker.value)];
  picker.addEventListener("change", () => pick(Number(picker.value)));
  const fill = (value) => {
    const given = value ?? schema.default;
    const index = schema.members.findIndex((member) => fits(given, member));
    pick(Math.max(0, index));
    if (given !== undefined && given !== null && index >= 0) current().fill(given);
  };
  fill(undefined);
  return { node: set.node, read: () => current().read(), fill, fail: (path, message) => current().fail(path, message), ready: () => current().ready?.() };
}

function fits(value, schema) {
  if (Array.isArray(value)) return schema.type === "array";
  if (Number.isInteger(value)) return schema.type === "integer" || schema.type === "number";
  const kinds = { string: "string", number: "number", boolean: "boolean", object: "object" };
  return value !== undefined && value !== null && kinds[typeof value] === schema.type;
}
