// Shows the view that the address names.

import { keepToken, onTokenNeeded } from "./api.js";
import { el, problemBox } from "./dom.js";
import { reportsView } from "./reports_view.js";
import { reviewView } from "./review_view.js";
import { runView } from "./run_view.js";

const VIEWS = { run: runView, review: reviewView, reports: reportsView };
const TITLES = { run: "Run", review: "Review", reports: "Reports" };
let shown = 0;

async function show() {
  const [, view = "run", ...rest] = location.hash.split("/");
  const name = VIEWS[view] ? view : "run";
  const main = document.getElementById("main");
  const turn = (shown += 1);
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} · Hokusai`;
  const page = el("div", { class: "stack" });
  try {
    await VIEWS[name](page, decodeURIComponent(rest.join("/")));
  } catch (error) {
    page.replaceChildren(problemBox(error));
  }
  if (turn !== shown) return; // another view was asked for meanwhile
  main.replaceChildren(page);
  if (turn > 1) main.focus({ preventScroll: true });
}

let asking = null;

function askForToken(wrong) {
  asking ??= new Promise((done, giveUp) => {
    const dialog = document.getElementById("token-dialog");
    const input = document.getElementById("token-input");
    document.getElementById("token-error").textContent = wrong ? "The server does not take this token." : "";
    input.value = "";
    dialog.addEventListener("close", () => {
      document.getElementById("token-button").hidden = false;
      asking = null;
      if (dialog.returnValue !== "use") {
        giveUp(new Error("This server needs a token. Press Token to give it."));
        return;
      }
      keepToken(input.value.trim());
      input.value = "";
      done();
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
    input.focus();
  });
  return asking;
}

onTokenNeeded(askForToken);
document.getElementById("token-button").addEventListener("click", async () => {
  await askForToken(false).then(show, () => {});
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", show);
show();
